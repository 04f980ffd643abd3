//! Long thin things (ribs, clavicles, vessels, bronchi) as tubes along polylines, drawn as path lengths.

use super::{PhantomPhysics, PhantomStudy};
use crate::record::View;

/// How the material of a tube is spread across it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Section {
    /// A solid round rod: thickest in the middle.
    Rod,
    /// A hollow bone: `0` is a uniform strip, `1` has all of its mineral in two thin walls.
    Bone(f32),
    /// A block with sharp edges.
    Block,
}

/// A tube through points of the patient.
#[derive(Clone, Debug)]
pub(super) struct Tube {
    /// Points of its axis, cm.
    pub(super) axis: Vec<[f32; 3]>,
    /// Half-width at the first and the last point, cm.
    pub(super) radius: [f32; 2],
    /// Mean path length through the tube at right angles to its axis, cm, at the first and the last point.
    pub(super) thickness: [f32; 2],
    /// Its section.
    pub(super) section: Section,
    /// Whether its ends are rounded off; ends that others join on to are not.
    pub(super) round: bool,
}

impl Tube {
    /// A solid rod of round section.
    pub(super) fn rod(axis: Vec<[f32; 3]>, radius: [f32; 2]) -> Self {
        // A circle of radius r has the mean chord pi r / 2.
        let thickness = radius.map(|r| 0.5 * std::f32::consts::PI * r);
        Self { axis, radius, thickness, section: Section::Rod, round: false }
    }

    /// Adds the path lengths through the tube, cm, to `plane`, a square of `size` pixels a side.
    pub(super) fn draw(&self, plane: &mut [f32], size: usize, projection: &Projection) {
        let points: Vec<[f32; 2]> = self.axis.iter().map(|&p| projection.to_image(p)).collect();
        let last = points.len().saturating_sub(1);
        for segment in 0..last {
            let (a, b) = (points[segment], points[segment + 1]);
            let along = direction(a, b);
            let ends = Ends {
                enter: if segment > 0 { bisector(direction(points[segment - 1], a), along) } else { along },
                leave: if segment + 1 < last { bisector(along, direction(b, points[segment + 2])) } else { along },
            };
            let at = |values: [f32; 2], i: usize| values[0] + (values[1] - values[0]) * i as f32 / last as f32;
            // A rib that turns edge-on is met along its length.
            let (p, q) = (self.axis[segment], self.axis[segment + 1]);
            let length = (q[0] - p[0]).hypot(q[1] - p[1]).hypot(q[2] - p[2]) * projection.pixels_per_cm;
            let oblique = (length / (b[0] - a[0]).hypot(b[1] - a[1]).max(1e-3)).clamp(1.0, 2.2);
            let radius = 0.5 * (at(self.radius, segment) + at(self.radius, segment + 1)) * projection.pixels_per_cm;
            let thickness = 0.5 * (at(self.thickness, segment) + at(self.thickness, segment + 1)) * oblique;
            // Blurred by half a pixel, so that thin tubes fade instead of breaking up.
            let blurred = radius.hypot(0.55);
            let stroke = Stroke {
                a,
                b,
                along,
                ends,
                caps: [self.round && segment == 0, self.round && segment + 1 == last],
                radius: blurred,
                thickness: thickness * radius / blurred,
            };
            stroke.draw(plane, size, softened(self.section, radius));
        }
    }
}

/// Walls that are thinner than a pixel melt into the strip between them.
fn softened(section: Section, radius: f32) -> Section {
    match section {
        Section::Bone(cortex) => Section::Bone(cortex * (0.4 * radius).min(1.0)),
        other => other,
    }
}

/// Normals of the lines that cut a segment off from its neighbours.
struct Ends {
    enter: [f32; 2],
    leave: [f32; 2],
}

struct Stroke {
    a: [f32; 2],
    b: [f32; 2],
    along: [f32; 2],
    ends: Ends,
    caps: [bool; 2],
    radius: f32,
    thickness: f32,
}

impl Stroke {
    fn draw(&self, plane: &mut [f32], size: usize, section: Section) {
        let bounds = |axis: usize| {
            let (low, high) = (self.a[axis].min(self.b[axis]), self.a[axis].max(self.b[axis]));
            let clip = |v: f32| v.clamp(0.0, size as f32) as usize;
            clip((low - self.radius).floor())..clip((high + self.radius).ceil())
        };
        let inverse = 1.0 / (self.radius * self.radius);
        for row in bounds(1) {
            for column in bounds(0) {
                let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
                let from = [x - self.a[0], y - self.a[1]];
                let to = [x - self.b[0], y - self.b[1]];
                let off = from[0] * self.along[1] - from[1] * self.along[0];
                let squared = match (dot(from, self.ends.enter) < 0.0, dot(to, self.ends.leave) >= 0.0) {
                    (false, false) => off * off,
                    (true, false) if self.caps[0] => dot(from, from),
                    (false, true) if self.caps[1] => dot(to, to),
                    _ => continue,
                } * inverse;
                if squared < 1.0 {
                    plane[row * size + column] += self.thickness * across(section, squared);
                }
            }
        }
    }
}

/// Relative thickness at `u2`, the square of the distance from the axis in radii; its mean over the width is 1.
#[inline]
fn across(section: Section, u2: f32) -> f32 {
    let u4 = u2 * u2;
    match section {
        Section::Rod => 1.5 * (1.0 - u2),
        Section::Block => 9.0 / 8.0 * (1.0 - u4 * u4),
        // Walls: 17.5 u^4 (1 - u^2), highest at 0.8 of the half-width.
        Section::Bone(cortex) => (1.0 - cortex) * 1.25 * (1.0 - u4) + cortex * 17.5 * u4 * (1.0 - u2),
    }
}

fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn direction(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    let (x, y) = (b[0] - a[0], b[1] - a[1]);
    let length = x.hypot(y).max(1e-6);
    [x / length, y / length]
}

fn bisector(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    direction([0.0; 2], [a[0] + b[0], a[1] + b[1]])
}

/// Side of the image, cm.
const FIELD_CM: f32 = 36.0;
/// Height that lies at the centre of the image for an upright patient of mean size, cm below the lung apices.
const CENTRE_CM: f32 = 12.2;

/// The pose of one study on an image of one size.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    /// Pixels a centimetre.
    pub(super) pixels_per_cm: f32,
    half: f32,
    sin: f32,
    cos: f32,
    centre: [f32; 2],
    yaw: f32,
    pitch: f32,
}

impl Projection {
    /// `lungs_cm` is the height of the lungs: the technician centres on them.
    pub(super) fn new(study: &PhantomStudy, physics: &PhantomPhysics, size: usize, lungs_cm: f32) -> Self {
        let pose = &study.pose;
        let v = physics.variation;
        // Bedside images magnify: the tube is close and the heart lies far from the plate.
        let magnification = (1.0 + v * (pose.magnification - 1.0)) * if study.view == View::Ap { 1.05 } else { 1.0 };
        let (sin, cos) = (v * pose.roll).sin_cos();
        Self {
            pixels_per_cm: size as f32 / FIELD_CM * magnification,
            half: 0.5 * size as f32,
            sin,
            cos,
            centre: [v * pose.shift_cm[0], CENTRE_CM + 0.5 * (lungs_cm - 24.4) + v * pose.shift_cm[1]],
            yaw: v * pose.yaw,
            pitch: v * pose.pitch,
        }
    }

    /// Pixel coordinates of a point of the patient; the centre of pixel `(i, j)` is `(i + 0.5, j + 0.5)`.
    pub(super) fn to_image(&self, [x, y, z]: [f32; 3]) -> [f32; 2] {
        let (x, y) = (x + z * self.yaw - self.centre[0], y + z * self.pitch - self.centre[1]);
        [
            self.half + self.pixels_per_cm * (x * self.cos - y * self.sin),
            self.half + self.pixels_per_cm * (x * self.sin + y * self.cos),
        ]
    }

    /// The point of the plane `z = 0` that projects to the centre of pixel `(column, row)`.
    #[inline]
    pub(super) fn to_patient(&self, column: usize, row: usize) -> [f32; 2] {
        let u = (column as f32 + 0.5 - self.half) / self.pixels_per_cm;
        let v = (row as f32 + 0.5 - self.half) / self.pixels_per_cm;
        [u * self.cos + v * self.sin + self.centre[0], v * self.cos - u * self.sin + self.centre[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PhantomPhysics, PhantomStudy, Prevalence};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_keep_their_mass() {
        for section in [Section::Rod, Section::Block, Section::Bone(0.0), Section::Bone(0.6), Section::Bone(1.0)] {
            let n = 10_000;
            let mean = (0..n).map(|i| across(section, ((i as f32 + 0.5) / n as f32).powi(2))).sum::<f32>() / n as f32;
            assert!((mean - 1.0).abs() < 1e-3, "{section:?}: {mean}");
        }
    }

    #[test]
    fn the_mass_of_a_thin_vessel_does_not_depend_on_the_size_of_the_image() {
        let study = PhantomStudy::sample(3, &Prevalence::healthy());
        let tube = Tube::rod(vec![[3.0, 5.0, 0.0], [6.0, 9.0, 0.0], [7.0, 14.0, 0.0]], [0.12, 0.12]);
        // cm of path times cm² of image: the volume, pi r² l, with l = 5 + sqrt(26).
        let expected = std::f32::consts::PI * 0.12 * 0.12 * (5.0 + 26.0_f32.sqrt());
        for size in [64, 256] {
            let projection = Projection::new(&study, &PhantomPhysics::reference(), size, 25.0);
            let mut plane = vec![0.0; size * size];
            tube.draw(&mut plane, size, &projection);
            let volume = plane.iter().sum::<f32>() / projection.pixels_per_cm.powi(2);
            assert!((volume / expected - 1.0).abs() < 0.12, "{size}: {volume} for {expected}");
        }
    }

    proptest! {
        #[test]
        fn pixels_map_back_onto_themselves(seed: u64, column in 0..64usize, row in 0..64usize) {
            let study = PhantomStudy::sample(seed, &Prevalence::healthy());
            let projection = Projection::new(&study, &PhantomPhysics::reference(), 64, 25.0);
            let [x, y] = projection.to_patient(column, row);
            let [u, v] = projection.to_image([x, y, 0.0]);
            prop_assert!((u - column as f32 - 0.5).abs() < 1e-3 && (v - row as f32 - 0.5).abs() < 1e-3);
        }
    }
}
