//! What findings do to the lung they lie in.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::anatomy::smooth;
use super::anatomy::{Anatomy, side_index, side_of};
use super::noise::Texture;
use super::noise::{Purpose, rng};
use super::{Pathology, PhantomFinding, PhantomPhysics, Side};

/// A place in a lung.
#[derive(Clone, Copy, Debug)]
pub(super) struct LungPoint {
    /// cm, patient coordinates.
    pub(super) x: f32,
    /// cm, patient coordinates.
    pub(super) y: f32,
    /// Lung along the ray, cm.
    pub(super) lung: f32,
}

/// What a finding does at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    /// Share of the lung's path that is filled with fluid or tissue, 0 to 1.
    pub(super) filled: f32,
    /// Share of the lung's path that holds gas and no lung, 0 to 1.
    pub(super) empty: f32,
    /// Soft tissue added, cm.
    pub(super) added: f32,
    /// Factor on the vessels.
    pub(super) vessels: f32,
}

impl Effect {
    /// Healthy lung.
    pub(super) const NONE: Self = Self { filled: 0.0, empty: 0.0, added: 0.0, vessels: 1.0 };

    /// Both at once.
    #[inline]
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            filled: 1.0 - (1.0 - self.filled) * (1.0 - other.filled),
            empty: self.empty.max(other.empty),
            added: self.added + other.added,
            vessels: self.vessels * other.vessels,
        }
    }
}

/// A finding placed in an anatomy.
#[derive(Clone, Debug)]
pub(super) struct Lesion {
    side: Option<Side>,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Fluid up to a level, climbing the walls.
    Fluid { level: f32, climb: f32 },
    /// Gas between the wall and a lung that has shrunk by `gap` at the side and `top` at the apex.
    Gas { gap: f32, top: f32, line: f32 },
    /// A patch with ragged borders and open bronchi.
    Patch { centre: [f32; 2], half: [f32; 2], filled: f32, ragged: f32, texture: Texture },
    /// A lobulated ball.
    Ball { centre: [f32; 2], radius: f32, lobes: f32, phase: f32, soft: f32 },
    /// Fluid around both hila and crowded vessels.
    Haze { filled: f32, mottle: f32, reach: f32, texture: Texture, hila: f32 },
    /// Collapsed plates above a diaphragm.
    Plates { plates: Vec<Plate>, base: f32 },
    /// Few vessels, and round holes in the upper zones.
    Holes { pruned: f32, holes: Vec<[f32; 4]> },
    /// Drawn by the anatomy alone.
    Heart,
}

/// A straight band: start, direction, length, half-width (cm) and fill.
#[derive(Clone, Copy, Debug)]
struct Plate {
    start: [f32; 2],
    along: [f32; 2],
    length: f32,
    half: f32,
    filled: f32,
}

impl Lesion {
    /// Places `finding` in `anatomy`. `pixel_cm` is the width of a pixel: a pleural line is never drawn thinner.
    pub(super) fn place(finding: &PhantomFinding, anatomy: &Anatomy, physics: &PhantomPhysics, pixel_cm: f32) -> Self {
        let mut rng = rng(finding.shape, Purpose::FindingShape);
        let severity = finding.severity * physics.finding_strength;
        let side = finding.side.unwrap_or(Side::Left);
        let s = anatomy.scale;
        let shape = match finding.pathology {
            Pathology::Cardiomegaly => Shape::Heart,
            Pathology::Effusion => {
                let top = (2.2 + 12.5 * severity * rng.random_range(0.9..1.1)) * s;
                Shape::Fluid { level: anatomy.height - top, climb: (1.6 + 2.0 * severity.min(1.0)) * s }
            }
            Pathology::Pneumothorax => {
                let gap = (0.9 + 3.6 * severity.min(1.3)) * s * rng.random_range(0.9..1.1);
                Shape::Gas { gap, top: 1.1 * gap + 0.5, line: pixel_cm }
            }
            Pathology::Consolidation => Shape::Patch {
                centre: site(anatomy, finding, side, 1.0, &mut rng),
                half: [2.2, 2.0].map(|cm| (cm + 1.9 * severity) * s * rng.random_range(0.85..1.2)),
                filled: (0.34 + 0.42 * severity).min(0.95),
                ragged: 0.75 * physics.finding_texture,
                texture: Texture::new(finding.shape),
            },
            Pathology::Mass | Pathology::Nodule => {
                let radius = 0.5 * finding.diameter_cm().expect("masses and nodules have a diameter");
                Shape::Ball {
                    centre: site(anatomy, finding, side, radius.min(2.0), &mut rng),
                    radius,
                    lobes: 0.10 * physics.finding_texture,
                    phase: rng.random_range(0.0..std::f32::consts::TAU),
                    soft: 0.25 + 0.15 * physics.finding_texture,
                }
            }
            Pathology::Edema => Shape::Haze {
                filled: 0.12 + 0.36 * severity,
                mottle: physics.finding_texture,
                reach: (4.6 + 2.6 * severity) * s,
                texture: Texture::new(finding.shape),
                hila: 11.6 * s,
            },
            Pathology::Atelectasis => plates(anatomy, side, severity, &mut rng),
            Pathology::Emphysema => holes(anatomy, severity, &mut rng),
        };
        Self { side: finding.side, shape }
    }

    /// What it does at `point`.
    #[inline]
    pub(super) fn effect(&self, point: LungPoint, anatomy: &Anatomy) -> Effect {
        if self.side.is_some_and(|side| side != side_of(point.x)) {
            return Effect::NONE;
        }
        let LungPoint { x, y, lung } = point;
        let filled = |filled: f32| Effect { filled: filled.clamp(0.0, 1.0), ..Effect::NONE };
        match &self.shape {
            Shape::Heart => Effect::NONE,
            Shape::Fluid { level, climb } => {
                let wall = (anatomy.outer(y) - x.abs()).max(0.0);
                let middle = (x.abs() - 2.5 * anatomy.scale).max(0.0);
                let surface = level - climb * (-wall / 1.5).exp() - 0.35 * climb * (-middle / 1.5).exp();
                filled(0.96 * smooth((y - surface) / 2.2 + 0.35))
            }
            Shape::Gas { gap, top, line } => gas(anatomy, point, *gap, *top, *line),
            Shape::Patch { centre, half, filled: dense, ragged, texture } => {
                let (u, v) = ((x - centre[0]) / half[0], (y - centre[1]) / half[1]);
                let reach = u * u + v * v;
                if reach > 4.0 {
                    return Effect::NONE;
                }
                let border = 1.15 - reach + ragged * texture.rough(x, y, 0.55);
                let mottle = 1.0 + 0.30 * ragged * texture.rough(x + 50.0, y, 1.3);
                filled(dense * mottle * smooth(border / 1.1))
            }
            Shape::Ball { centre, radius, lobes, phase, soft } => {
                let (dx, dy) = (x - centre[0], y - centre[1]);
                if dx * dx + dy * dy > 2.5 * radius * radius {
                    return Effect::NONE;
                }
                let angle = dy.atan2(dx);
                let outline = radius * (1.0 + lobes * (3.0 * angle + phase).sin() + 0.6 * lobes * (5.0 * angle - phase).sin());
                let q = (dx * dx + dy * dy) / (outline * outline);
                let path = 2.0 * radius * (1.0 - q).max(0.0).powf(0.5 + 0.5 * soft);
                filled(path / lung.max(0.1))
            }
            Shape::Haze { filled: dense, mottle, reach, texture, hila } => {
                let (dx, dy) = ((x.abs() - 4.5) / reach, (y - hila - 1.0) / (1.35 * reach));
                let wing = (-(dx * dx + dy * dy)).exp();
                let mottled = 1.0 + mottle * (0.45 * texture.rough(x, y, 0.7) + 0.25 * texture.octave(2.6 * x, 2.6 * y));
                Effect { vessels: 1.0 + 1.6 * dense, ..filled(dense * (0.25 + 0.9 * wing) * mottled) }
            }
            Shape::Plates { plates, base } => {
                let above = anatomy.diaphragm(side_of(x), x) - y;
                let wedge = base * smooth(1.0 - above / (3.2 * anatomy.scale));
                let collapsed = plates.iter().map(|plate| plate.filled_at(x, y)).fold(wedge, f32::max);
                filled(collapsed)
            }
            Shape::Holes { pruned, holes } => {
                let inside = holes.iter().map(|[cx, cy, radius, empty]| {
                    let q = ((x - cx).powi(2) + (y - cy).powi(2)) / (radius * radius);
                    empty * (1.0 - q).max(0.0).sqrt()
                });
                Effect { empty: inside.fold(0.0, f32::max), vessels: 1.0 - pruned, ..Effect::NONE }
            }
        }
    }

    /// Whether `point` belongs to the finding's ground truth.
    pub(super) fn covers(&self, point: LungPoint, anatomy: &Anatomy) -> bool {
        let effect = || self.effect(point, anatomy);
        match &self.shape {
            Shape::Heart => anatomy.heart(point.x, point.y) > 0.5,
            Shape::Holes { .. } => point.lung > 2.0,
            Shape::Gas { .. } => point.lung > 0.3 && effect().empty > 0.5,
            Shape::Ball { .. } => point.lung > 0.3 && effect().filled * point.lung > 0.3,
            Shape::Fluid { .. } => point.lung > 0.3 && effect().filled > 0.3,
            Shape::Patch { .. } | Shape::Haze { .. } | Shape::Plates { .. } => point.lung > 0.5 && effect().filled > 0.15,
        }
    }
}

impl Plate {
    fn filled_at(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.start[0], y - self.start[1]);
        let t = (dx * self.along[0] + dy * self.along[1]) / self.length;
        let off = (dx * self.along[1] - dy * self.along[0]).abs();
        self.filled * smooth(1.5 - 0.75 * off / self.half) * smooth(8.0 * t) * smooth(8.0 * (1.0 - t))
    }
}

/// A place in the finding's zone where the ray meets enough lung to show something `margin` cm in radius.
fn site(anatomy: &Anatomy, finding: &PhantomFinding, side: Side, margin: f32, rng: &mut ChaCha8Rng) -> [f32; 2] {
    let zone = finding.zone.map_or(0.5, super::Zone::centre);
    let y = 1.0 + (zone + rng.random_range(-0.07..0.07_f32)) * anatomy.dome[side_index(side)];
    let sign = side.sign();
    let open: Vec<f32> = (0..80).map(|i| 0.2 * i as f32).filter(|x| anatomy.lung(sign * x, y) > 5.0).collect();
    let (near, far) = match (open.first(), open.last()) {
        (Some(near), Some(far)) => (near + 0.6 * margin, far - margin),
        _ => (0.6 * anatomy.cage, 0.6 * anatomy.cage),
    };
    [sign * (near + (far - near).max(0.0) * rng.random_range(0.1..0.95)), y]
}

fn gas(anatomy: &Anatomy, point: LungPoint, gap: f32, top: f32, line: f32) -> Effect {
    let LungPoint { x, y, .. } = point;
    // Upright, gas gathers at the apex: the gap narrows towards the base.
    let narrowed = gap * (1.15 - 0.75 * (y / anatomy.height).clamp(0.0, 1.0));
    let shrunk = |y: f32| anatomy.outer(y - top) - narrowed;
    let slope = (shrunk(y + 0.25) - shrunk(y - 0.25)) / 0.5;
    let beside = (shrunk(y) - x.abs()) / slope.hypot(1.0);
    // Inside the shrunken lung the distance is positive.
    let inside = if y < top { (y - top).min(beside) } else { beside.min(y - top) };
    let width = (0.6 * line).max(0.07);
    let fringe = inside / width;
    Effect {
        filled: 0.06 * smooth(inside),
        empty: smooth(0.5 - 0.5 * fringe),
        // The ray grazes the pleura over a centimetre or two.
        added: 0.11 / width.max(0.11) * 1.7 * (-fringe * fringe).exp(),
        vessels: 1.0,
    }
}

fn plates(anatomy: &Anatomy, side: Side, severity: f32, rng: &mut ChaCha8Rng) -> Shape {
    let (s, sign) = (anatomy.scale, side.sign());
    let plates = (0..4)
        .map(|i| {
            let from = anatomy.cage * rng.random_range(0.34..0.50);
            let above = (0.9 + 1.25 * i as f32 + rng.random_range(-0.3..0.3)) * s;
            let slope = rng.random_range(-0.30..0.22_f32);
            let y = anatomy.diaphragm(side, 0.5 * anatomy.cage) - above;
            let size = 1.0_f32.hypot(slope);
            Plate {
                start: [sign * from, y],
                along: [sign / size, slope / size],
                length: (3.2 + 3.4 * severity * rng.random_range(0.7..1.2)) * s,
                half: (0.16 + 0.30 * severity * rng.random_range(0.6..1.2)) * s,
                // Mild collapse shows one or two plates.
                filled: if i as f32 <= 0.5 + 3.5 * severity { 0.22 + 0.22 * severity } else { 0.0 },
            }
        })
        .collect();
    Shape::Plates { plates, base: (0.16 + 0.42 * severity).min(0.8) }
}

fn holes(anatomy: &Anatomy, severity: f32, rng: &mut ChaCha8Rng) -> Shape {
    let holes = (0..6)
        .map(|i| {
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            let x = anatomy.cage * rng.random_range(0.35..0.8);
            let y = anatomy.height * rng.random_range(0.08..0.42);
            [sign * x, y, rng.random_range(0.8..2.0) * anatomy.scale, 0.42 * severity.min(1.2)]
        })
        .collect();
    Shape::Holes { pruned: (0.25 + 0.5 * severity).min(0.9), holes }
}
