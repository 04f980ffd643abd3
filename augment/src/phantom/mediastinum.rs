//! The heart and the great vessels: what the lungs wrap around.

use super::{Pathology, PhantomPhysics, PhantomStudy};

/// A solid ellipsoid seen from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ellipse {
    centre: [f32; 2],
    half: [f32; 2],
    turn: [f32; 2],
    depth: f32,
}

impl Ellipse {
    /// `degrees` turns the first axis from the viewer's right towards the feet; `depth` is the longest ray, cm.
    pub(super) fn new(centre: [f32; 2], half: [f32; 2], degrees: f32, depth: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { centre, half, turn: [cos, sin], depth }
    }

    /// Square of the length of the ray, cm²: the squares of overlapping chambers add up to a smooth heart.
    #[inline]
    pub(super) fn squared(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let u = (dx * self.turn[0] + dy * self.turn[1]) / self.half[0];
        let v = (dy * self.turn[0] - dx * self.turn[1]) / self.half[1];
        self.depth * self.depth * (1.0 - u * u - v * v).max(0.0)
    }

    /// Widest extent to each side of its centre, cm.
    fn reach(&self) -> f32 {
        (self.half[0] * self.turn[0]).hypot(self.half[1] * self.turn[1])
    }
}

/// What the mediastinum has to fit into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Overall scale; 1 is the mean man.
    pub(super) scale: f32,
    /// Half-width of the thoracic cavity, cm.
    pub(super) cage: f32,
    /// Height of the right dome with the lungs fully open, cm.
    pub(super) dome: f32,
    /// Shift to the patient's left, cm.
    pub(super) shift: f32,
}

/// Heart, great vessels and hila.
#[derive(Clone, Debug)]
pub(super) struct Mediastinum {
    chambers: Vec<Ellipse>,
    great_vessels: Vec<Ellipse>,
}

impl Mediastinum {
    /// The borders that a reader names: right atrium on the viewer's left; aortic knob, pulmonary trunk and left ventricle down
    /// the viewer's right.
    pub(super) fn of(study: &PhantomStudy, physics: &PhantomPhysics, frame: Frame) -> Self {
        let p = &study.patient;
        let v = physics.variation;
        let Frame { scale, cage, dome, shift } = frame;
        let enlarged = study.severity(Pathology::Cardiomegaly, None, physics);
        let narrowed = study.severity(Pathology::Emphysema, None, physics).min(1.0);
        // Mean width 12.2 cm of 26.8 cm: a ratio of 0.455. Growing hearts widen more than they lengthen.
        let mut width = cage / 13.4 * (1.0 + v * 0.03 * p.heart);
        width *= if enlarged > 0.0 { 1.19 + 0.30 * enlarged.min(1.4) } else { 1.0 - 0.08 * narrowed };
        let tall = scale * (1.0 + 0.10 * enlarged);
        let base = dome - 3.3 * scale;
        let tilt = 40.0 - v * 5.0 * p.heart_axis + 6.0 * narrowed;
        let depth = 9.5 * scale;
        let at = |x: f32, y: f32| [x * width + shift, base + y * tall];
        let ventricle = Ellipse::new(at(2.3, -0.3), [6.4 * width, 4.0 * tall], tilt, depth);
        let atrium = Ellipse::new(at(-1.5, -0.8), [2.9 * width, 4.4 * tall], 0.0, depth * 0.8);
        let outflow = Ellipse::new(at(1.5, -4.0), [4.6 * width, 2.9 * tall], 58.0, depth * 0.7);

        let unfolded = ((p.age - 45.0) / 40.0).clamp(0.0, 1.0);
        let wide = scale * (1.0 + v * 0.08 * p.mediastinum);
        let knob_y = 6.8 * scale - 0.5 * unfolded;
        let great_vessels = vec![
            Ellipse::new([0.1 + shift, 7.0 * scale], [2.8 * wide, 10.5 * scale], 0.0, 11.0),
            Ellipse::new([-1.2 + shift, 8.0 * scale], [2.0 * wide, 7.5 * scale], 4.0, 6.0),
            Ellipse::new(
                [(1.9 + 0.5 * unfolded) * wide + shift, knob_y],
                [1.7 + 0.5 * unfolded, 1.6 + 0.3 * unfolded],
                0.0,
                7.0,
            ),
            // The hila, where the vessels of the lungs gather.
            Ellipse::new([-4.2 * scale + shift, 12.3 * scale], [1.3 * scale, 2.9 * scale], -12.0, 2.6),
            Ellipse::new([4.4 * scale + shift, 11.2 * scale], [1.3 * scale, 2.5 * scale], 14.0, 2.6),
            Ellipse::new([2.2 * wide + shift, 10.4 * scale], [2.2 * scale, 2.4 * scale], 50.0, 6.0),
            Ellipse::new([(1.4 + 0.7 * unfolded) + shift, 17.0 * scale], [1.5, 12.0 * scale], -2.0, 3.0),
        ];
        Self { chambers: vec![ventricle, atrium, outflow], great_vessels }
    }

    /// Heart along the ray, cm.
    #[inline]
    pub(super) fn heart(&self, x: f32, y: f32) -> f32 {
        squared(&self.chambers, x, y).sqrt()
    }

    /// Everything solid along the ray, cm.
    #[inline]
    pub(super) fn path(&self, x: f32, y: f32) -> f32 {
        (squared(&self.chambers, x, y) + squared(&self.great_vessels, x, y)).sqrt()
    }

    /// Widest width of the heart, cm.
    pub(super) fn heart_width(&self) -> f32 {
        let right = self.chambers.iter().map(|e| e.centre[0] - e.reach()).fold(f32::INFINITY, f32::min);
        let left = self.chambers.iter().map(|e| e.centre[0] + e.reach()).fold(f32::NEG_INFINITY, f32::max);
        left - right
    }
}

#[inline]
fn squared(ellipses: &[Ellipse], x: f32, y: f32) -> f32 {
    ellipses.iter().map(|e| e.squared(x, y)).sum()
}
