//! The body as path lengths: how many centimetres of what a ray meets at each place of the image.
//!
//! Patient coordinates are centimetres: x grows to the patient's left (the viewer's right) from the midline, y grows downward
//! from the lung apices, z grows forward. Lengths of the mean anatomy are those of an adult man of 175 cm in full inspiration.

use super::mediastinum::{Ellipse, Frame, Mediastinum};
use super::{Pathology, PhantomPhysics, PhantomStudy, Side};
use crate::record::{Sex, View};

/// What a ray meets at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Whole body, cm.
    pub(super) body: f32,
    /// Lung of this side, cm; heart and diaphragm are taken off already.
    pub(super) lung: f32,
    /// Breast or other soft tissue on the skin, cm.
    pub(super) skin: f32,
    /// Gas outside the lungs (trachea, stomach), cm.
    pub(super) gas: f32,
}

/// One body, posed for one image.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    /// Overall scale of the frame; 1 is the mean man.
    pub(super) scale: f32,
    /// Half-width of the widest part of the thoracic cavity, cm.
    pub(super) cage: f32,
    /// Height from apex to costophrenic angle, cm.
    pub(super) height: f32,
    /// Height of the right and left dome, cm; index by [`side_index`].
    pub(super) dome: [f32; 2],
    /// Drop of the diaphragm from the dome to the costophrenic angle, cm.
    flank: f32,
    /// Lung density relative to soft tissue.
    pub(super) lung_density: f32,
    /// Shift of the mediastinum to the patient's left, cm.
    pub(super) shift: f32,
    /// Front-to-back depth of the trunk, cm.
    pub(super) depth: f32,
    mediastinum: Mediastinum,
    stomach: Ellipse,
    breast: Option<[f32; 4]>,
    outer: Profile,
    inner: Profile,
    cavity: Profile,
    width: Profile,
    trunk: Profile,
}

/// Index of a side in `[f32; 2]` fields.
#[inline]
pub(super) fn side_index(side: Side) -> usize {
    match side {
        Side::Right => 0,
        Side::Left => 1,
    }
}

/// Chord of a solid whose section is between an ellipse and a box, for `u` in `[-1, 1]`.
#[inline]
fn chord(u: f32) -> f32 {
    let u2 = u * u;
    (1.0 - u2 * (0.35 + 0.65 * u2)).max(0.0).sqrt()
}

/// Chord of the trunk, which is flatter in front and behind than a lung is.
#[inline]
fn flat_chord(u: f32) -> f32 {
    let u2 = u * u;
    (1.0 - u2 * u2 * (0.3 + 0.7 * u2)).max(0.0).sqrt()
}

impl Anatomy {
    /// The anatomy of `study` as `physics` draws it, findings that change the anatomy included.
    pub(super) fn of(study: &PhantomStudy, physics: &PhantomPhysics) -> Self {
        let p = &study.patient;
        let v = physics.variation;
        let female = p.sex == Sex::Female;
        let supine = study.view == View::Ap;
        let emphysema = study.severity(Pathology::Emphysema, None, physics);
        let [collapse_left, collapse_right] =
            Side::BOTH.map(|side| study.severity(Pathology::Atelectasis, Some(side), physics));

        let scale = 1.0 + v * 0.04 * p.stature - if female { 0.07 } else { 0.0 };
        let cage = (13.4 + v * 0.55 * p.breadth + 0.3 * emphysema) * scale;
        let breath = 20.2 + v * (0.9 * study.inspiration - 0.4 * p.habitus) - if supine { 1.8 } else { 0.0 };
        let dome = (breath + 1.8 * emphysema) * scale;
        let flank = (4.2 - 2.2 * emphysema.min(1.2)) * scale;
        let height = dome + flank;
        let left_lower = 1.3 + v * 0.45 * p.diaphragm;
        let fat = (1.5 + v * 0.75 * p.habitus + if female { 0.4 } else { 0.0 }).max(0.5);
        let depth = (19.5 + 0.6 * emphysema) * scale + 1.6 * fat;
        let shift = 0.9 * (collapse_left - collapse_right);

        let apex = 5.3 * scale;
        let full = 17.0 * scale;
        let outer = Profile::new(|y| {
            let t = (y / full).clamp(0.0, 1.0);
            apex + (cage - apex) * (1.0 - (1.0 - t).powf(1.9)).max(0.0).sqrt()
        });
        let inner = Profile::new(|y| (2.3 + 3.0 * (-(y.max(0.0)) / 1.1).exp()) * scale);
        let cavity = Profile::new(|y| {
            let t = 1.0 - (y / (13.0 * scale)).clamp(0.0, 1.0);
            scale * (14.0 + 1.2 * emphysema) * (0.30 + 0.70 * (1.0 - t * t).sqrt())
        });
        let flank_x = cage + 1.6 + fat;
        let neck = 5.8 * scale + 0.4 * fat;
        let (shoulder, up) = (21.0 * scale + 0.6 * fat, v * 0.4 * p.scapula);
        let width = Profile::through(&[
            (-9.0, neck),
            (-5.0 + up, neck + 0.5),
            (-3.2 + up, neck + 4.5),
            (-0.5 + up, shoulder - 2.0),
            (2.0, shoulder),
            (5.5, shoulder - 0.3),
            (10.5, flank_x + 0.5),
            (13.0, flank_x),
            (24.0, flank_x + 0.2),
            (34.0, flank_x - 0.6 + 0.3 * p.habitus * v),
        ]);
        let trunk = Profile::through(&[
            (-9.0, 11.0 * scale),
            (-3.0, 13.5 * scale),
            (1.0, depth * 0.78),
            (7.0, depth * 0.94),
            (13.0, depth),
            (32.0, depth + 0.5),
        ]);
        let centre = Mediastinum::of(study, physics, Frame { scale, cage, dome, shift });
        let breast_cm = (2.6 + v * (1.2 * p.breast + 0.7 * p.habitus)).max(1.0);
        let breast = female.then(|| {
            let sag = 15.5 * scale + 0.035 * (p.age - 40.0).max(0.0) + 0.25 * breast_cm;
            [0.60 * cage, sag, 5.4 * scale + 0.3 * breast_cm, breast_cm]
        });
        Self {
            scale,
            cage,
            height,
            dome: [dome - 2.6 * collapse_right, dome + left_lower * scale - 2.6 * collapse_left],
            flank,
            lung_density: 0.27 - 0.09 * emphysema.min(1.5) + if supine { 0.02 } else { 0.0 },
            shift,
            depth,
            mediastinum: centre,
            stomach: Ellipse::new([0.5 * cage, dome + (left_lower + 3.0) * scale], [3.0 * scale, 1.5 * scale], -8.0, 5.0),
            breast,
            outer,
            inner,
            cavity,
            width,
            trunk,
        }
    }

    /// Distance of the cavity's wall from the midline at height `y`, cm.
    #[inline]
    pub(super) fn outer(&self, y: f32) -> f32 {
        self.outer.at(y)
    }

    /// Height of the diaphragm of `side` at distance `x` from the midline, cm.
    #[inline]
    pub(super) fn diaphragm(&self, side: Side, x: f32) -> f32 {
        let crest = 0.46 * self.cage;
        let off = ((x.abs() - crest) / (self.cage - crest)).min(1.0);
        let dome = self.dome[side_index(side)];
        // The costophrenic angle stays where it is when a dome rises.
        let drop = self.flank + (self.dome[0].max(self.dome[1]) - dome).max(0.0);
        if off < 0.0 {
            return dome + 0.35 * self.flank * off * off;
        }
        // Between a circle and a parabola: a rounded dome that meets the wall at a sharp angle.
        dome + drop * (0.6 * (1.0 - (1.0 - off * off).sqrt()) + 0.4 * off * off)
    }

    /// The cavity between the walls and the mediastinum, cm, with nothing taken off.
    #[inline]
    pub(super) fn pleural_space(&self, x: f32, y: f32) -> f32 {
        let (out, inn, x) = (self.outer.at(y), self.inner.at(y), x.abs());
        if y <= 0.0 || x <= inn || x >= out {
            return 0.0;
        }
        let half = 0.5 * (out - inn);
        self.cavity.at(y) * chord((x - inn - half) / half)
    }

    /// Heart along the ray, cm.
    #[inline]
    pub(super) fn heart(&self, x: f32, y: f32) -> f32 {
        self.mediastinum.heart(x, y)
    }

    /// Lung of the side of `x` along the ray, cm.
    #[inline]
    pub(super) fn lung(&self, x: f32, y: f32) -> f32 {
        let space = self.pleural_space(x, y);
        if space <= 0.0 {
            return 0.0;
        }
        let below = y - self.diaphragm(side_of(x), x);
        // The dome is a flat-topped surface: a little below its top the posterior recess is all that still holds lung.
        let air = if below > 0.0 { 1.0 - (below * (1.0 / 4.2)).sqrt().cbrt() } else { 1.0 };
        if air <= 0.0 {
            return 0.0;
        }
        (space * air - self.mediastinum.path(x, y)).max(0.0)
    }

    /// The ray at `(x, y)`.
    #[inline]
    pub(super) fn column(&self, x: f32, y: f32) -> Column {
        let side = x.abs();
        let trunk = self.trunk.at(y) * flat_chord((side / self.width.at(y)).min(1.0));
        // The upper arm, held away from the chest wall.
        let (ax, ay) = (side - 19.3 * self.scale, y - 3.0);
        let along = ((ax * 0.22 + ay * 0.975) / 16.0).clamp(0.0, 1.0);
        let off = (ax - 3.52 * along).powi(2) + (ay - 15.6 * along).powi(2);
        let arm = 2.0 * (18.0 * self.scale - off).max(0.0).sqrt();
        let body = trunk.max(arm);
        let lung = if body > 0.0 { self.lung(x, y) } else { 0.0 };
        let skin = match self.breast {
            Some([cx, cy, radius, thick]) => {
                let dy = y - cy;
                // The fold below is sharp, the upper border runs out into the chest wall.
                let stretch = if dy < 0.0 { 1.7 } else { 0.95 };
                let q = ((side - cx).powi(2) + (dy / stretch).powi(2)) / (radius * radius);
                let rest = (1.0 - q).max(0.0);
                thick * if dy < 0.0 { rest + (rest.sqrt() - rest) * smooth(1.0 + dy / 6.0) } else { rest.sqrt() }
            }
            None => 0.0,
        };
        let gas = if x > 0.0 { self.stomach.squared(x, y).sqrt().min((body - lung).max(0.0)) } else { 0.0 };
        Column { body, lung, skin, gas }
    }

    /// Widest width of the heart over the widest inner width of the thorax.
    pub(super) fn cardiothoracic_ratio(&self) -> f32 {
        self.mediastinum.heart_width() / (2.0 * self.cage)
    }
}

/// The side a place lies on.
#[inline]
pub(super) fn side_of(x: f32) -> Side {
    if x < 0.0 { Side::Right } else { Side::Left }
}

/// A curve through control points, tabulated so that a look-up is one interpolation.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    values: Vec<f32>,
}

const START: f32 = -12.0;
const STEP: f32 = 0.2;
const COUNT: usize = 280;

impl Profile {
    /// Tabulates `curve` over heights from -12 cm to 44 cm; beyond, the end values hold.
    pub(super) fn new(curve: impl Fn(f32) -> f32) -> Self {
        Self { values: (0..COUNT).map(|i| curve(START + STEP * i as f32)).collect() }
    }

    /// A smooth curve through `(height, value)` points in order of height (monotone between points).
    pub(super) fn through(points: &[(f32, f32)]) -> Self {
        Self::new(|y| {
            let after = points.partition_point(|p| p.0 <= y);
            match (after.checked_sub(1).map(|i| points[i]), points.get(after)) {
                (Some((y0, v0)), Some(&(y1, v1))) => v0 + (v1 - v0) * smooth((y - y0) / (y1 - y0)),
                (Some((_, v)), None) | (None, Some(&(_, v))) => v,
                (None, None) => 0.0,
            }
        })
    }

    /// The value at height `y`.
    #[inline]
    pub(super) fn at(&self, y: f32) -> f32 {
        let position = ((y - START) * (1.0 / STEP)).clamp(0.0, (COUNT - 2) as f32);
        let index = position as usize;
        let (low, high) = (self.values[index], self.values[index + 1]);
        low + (high - low) * (position - index as f32).min(1.0)
    }
}

/// Hermite step from 0 at `t <= 0` to 1 at `t >= 1`.
#[inline]
pub(super) fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_its_points_and_holds_beyond() {
        let profile = Profile::through(&[(0.0, 1.0), (2.0, 5.0), (10.0, 3.0)]);
        for (y, expected) in [(-50.0, 1.0), (0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (10.0, 3.0), (90.0, 3.0)] {
            assert!((profile.at(y) - expected).abs() < 0.05, "{y}: {}", profile.at(y));
        }
    }
}
