//! From path lengths to an image: Beer-Lambert attenuation, blur, scatter, photon noise, tone curve.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};
use serde::{Deserialize, Serialize};

use super::PhantomStudy;
use super::anatomy::Anatomy;
use super::lesion::{Effect, Lesion, LungPoint};
use super::noise::Texture;
use super::noise::{Purpose, rng};
use super::skeleton::{Bones, skeleton};
use super::tube::Projection;
use super::tube::Tube;
use super::vessels::vessels;
use crate::image::GrayImage;

/// Linear attenuation of soft tissue at 70 keV, the mean energy of a 120 kV beam, 1/cm (NIST XCOM, ICRU-44 soft tissue).
const SOFT: f32 = 0.20;
/// What trabecular bone attenuates beyond the soft tissue it displaces, 1/cm.
const BONE: f32 = 0.27;
/// Above this many expected photons the Poisson law is drawn as its normal limit, which differs by less than a gray level.
const NORMAL_LIMIT: f32 = 400.0;

/// Standard deviation of a pixel's own square aperture, pixels: 1/sqrt(12).
const APERTURE: f32 = 0.289;

/// The image of `study`.
pub(super) fn render(study: &PhantomStudy, size: usize, physics: &PhantomPhysics) -> GrayImage {
    assert!(size > 0, "an image needs at least one pixel");
    let anatomy = Anatomy::of(study, physics);
    let projection = Projection::new(study, physics, size, anatomy.height);
    let attenuation = attenuation(study, &anatomy, &projection, physics, size);
    let mut light: Vec<f32> = attenuation.iter().map(|&a| (-a).exp()).collect();
    blur(&mut light, size, (physics.blur_cm * projection.pixels_per_cm).hypot(APERTURE));
    let dose = physics.photons_per_mm2 * (1.0 + 0.25 * study.exposure * physics.variation).max(0.3);
    let pixel_mm = 10.0 / projection.pixels_per_cm;
    let scatter = Scatter::of(&light, size, physics.scatter_cm * projection.pixels_per_cm);
    let window = Window::of(study, &anatomy, physics);
    let mut rng = rng(study.seed, Purpose::Noise);
    let samples: Vec<u8> = light
        .iter()
        .enumerate()
        .map(|(i, &primary)| {
            let received = primary + physics.scatter_ratio * scatter.at(i % size, i / size);
            window.gray(photons(received * dose * pixel_mm * pixel_mm, &mut rng) / (dose * pixel_mm * pixel_mm))
        })
        .collect();
    GrayImage::from_u8(size, size, samples)
}

/// Line integrals of attenuation, row-major.
fn attenuation(
    study: &PhantomStudy,
    anatomy: &Anatomy,
    projection: &Projection,
    physics: &PhantomPhysics,
    size: usize,
) -> Vec<f32> {
    let plane = |tubes: &[Tube]| {
        let mut plane = vec![0.0; size * size];
        tubes.iter().for_each(|tube| tube.draw(&mut plane, size, projection));
        plane
    };
    let bones = Bones { variation: physics.variation, cortex: physics.cortex };
    let bone = plane(&skeleton(study, anatomy, bones));
    let blood = plane(&vessels(study.patient.seed, anatomy, physics.vessel_generations));
    let airways = plane(&airways(anatomy));
    let pixel_cm = 1.0 / projection.pixels_per_cm;
    let lesions: Vec<_> = study.findings.iter().map(|f| Lesion::place(f, anatomy, physics, pixel_cm)).collect();
    let texture = Texture::new(study.patient.seed);
    // Bone thins from the age of forty: about a third of its mineral is gone at ninety.
    let mineral = BONE * physics.bone * (1.0 - 0.0065 * (study.patient.age - 40.0).max(0.0));
    let mut total = vec![0.0; size * size];
    for (i, total) in total.iter_mut().enumerate() {
        let [x, y] = projection.to_patient(i % size, i / size);
        let column = anatomy.column(x, y);
        if column.body <= 0.0 {
            continue;
        }
        let (mut lung, mut added, mut vessel) = (0.0, 0.0, 0.0);
        if column.lung > 0.0 {
            let point = LungPoint { x, y, lung: column.lung };
            let effect = lesions.iter().fold(Effect::NONE, |all, lesion| all.and(lesion.effect(point, anatomy)));
            let open = (1.0 - effect.filled) * (1.0 - effect.empty);
            let mottle = 1.0 + 0.16 * physics.texture * texture.rough(x, y, 1.9);
            lung = column.lung * (anatomy.lung_density * mottle * open + (1.0 - effect.empty) * effect.filled);
            added = effect.added;
            vessel = 1.5 * blood[i] * open * effect.vessels * (0.4 * column.lung).min(1.0) * (1.0 - anatomy.lung_density);
        }
        let flesh = 1.0 + 0.012 * physics.texture * texture.rough(x + 90.0, y, 0.8);
        let gas = (column.gas + airways[i]).min(0.6 * column.body);
        let soft = (column.body - column.lung - gas) * flesh + column.skin + added + lung + vessel;
        // Bones reach as far as the body does.
        *total = SOFT * soft.max(0.0) + mineral * bone[i] * (0.5 * column.body).min(1.0);
    }
    total
}

/// Trachea and main bronchi.
fn airways(anatomy: &Anatomy) -> Vec<Tube> {
    let s = anatomy.scale;
    let at = |x: f32, y: f32| [x * s + 0.8 * anatomy.shift * smooth_down(y), y * s, 0.0];
    vec![
        Tube::rod(vec![at(0.0, -9.0), at(0.0, -2.0), at(0.15, 3.0), at(0.3, 8.4)], [0.85 * s, 0.80 * s]),
        Tube::rod(vec![at(0.1, 8.2), at(-1.5, 9.8), at(-3.2, 11.2)], [0.62 * s, 0.42 * s]),
        Tube::rod(vec![at(0.5, 8.2), at(2.2, 9.9), at(4.2, 11.2)], [0.55 * s, 0.38 * s]),
    ]
}

/// The neck stays in place while the mediastinum shifts.
fn smooth_down(y: f32) -> f32 {
    super::anatomy::smooth((y + 3.0) / 10.0)
}

/// Photons counted where `expected` are due.
fn photons(expected: f32, rng: &mut ChaCha8Rng) -> f32 {
    if expected > NORMAL_LIMIT {
        let z: f32 = StandardNormal.sample(rng);
        return expected + z * expected.sqrt();
    }
    Poisson::new(expected.max(1e-3)).expect("a finite positive mean").sample(rng)
}

/// Three-tap blur of `sigma` pixels (up to 0.8), rows then columns.
fn blur(plane: &mut [f32], size: usize, sigma: f32) {
    let side = (0.5 * sigma * sigma).min(1.0 / 3.0);
    let mut line = vec![0.0; size];
    let mut pass = |plane: &mut [f32], start: usize, step: usize| {
        for (i, value) in line.iter_mut().enumerate() {
            let at = |k: usize| plane[start + k.min(size - 1) * step];
            *value = side * (at(i.saturating_sub(1)) + at(i + 1)) + (1.0 - 2.0 * side) * at(i);
        }
        line.iter().enumerate().for_each(|(i, &value)| plane[start + i * step] = value);
    };
    for row in 0..size {
        pass(plane, row * size, 1);
    }
    for column in 0..size {
        pass(plane, column, size);
    }
}

/// Side of the coarse grid that scatter is computed on: it is smooth over centimetres.
const COARSE: usize = 24;

/// Light scattered from everywhere near, per unit of scatter ratio.
struct Scatter {
    grid: Vec<f32>,
    cell: f32,
}

impl Scatter {
    fn of(primary: &[f32], size: usize, sigma: f32) -> Self {
        let cells = COARSE.min(size);
        let cell = size as f32 / cells as f32;
        let mut sums = vec![(0.0_f32, 0.0_f32); cells * cells];
        for (i, &value) in primary.iter().enumerate() {
            let (column, row) = ((i % size) * cells / size, (i / size) * cells / size);
            let sum = &mut sums[row * cells + column];
            // Scatter is born along the whole path and leaves through half of it on average; air outside scatters nothing.
            *sum = (sum.0 + value.sqrt() * (1.0 - value), sum.1 + 1.0);
        }
        let means: Vec<f32> = sums.iter().map(|(sum, count)| sum / count.max(1.0)).collect();
        let reach = sigma / cell;
        let weights: Vec<f32> = (0..cells).map(|d| (-0.5 * (d as f32 / reach).powi(2)).exp()).collect();
        let rows = smeared(&means, &weights, cells, |line, i| line * cells + i);
        let grid = smeared(&rows, &weights, cells, |line, i| i * cells + line);
        Self { grid, cell }
    }

    fn at(&self, column: usize, row: usize) -> f32 {
        let cells = (self.grid.len() as f32).sqrt() as usize;
        let place = |i: usize| {
            let p = ((i as f32 + 0.5) / self.cell - 0.5).clamp(0.0, (cells - 1) as f32);
            let low = (p as usize).min(cells.saturating_sub(2));
            (low, (low + 1).min(cells - 1), p - low as f32)
        };
        let ((left, right, u), (top, bottom, v)) = (place(column), place(row));
        let mix = |line: usize| self.grid[line * cells + left] * (1.0 - u) + self.grid[line * cells + right] * u;
        mix(top) * (1.0 - v) + mix(bottom) * v
    }
}

/// Each line of a square grid convolved with `weights`, normalised to keep its sum inside the image.
fn smeared(grid: &[f32], weights: &[f32], cells: usize, index: impl Fn(usize, usize) -> usize) -> Vec<f32> {
    let mut out = vec![0.0; grid.len()];
    for line in 0..cells {
        for i in 0..cells {
            let (mut sum, mut norm) = (0.0, 0.0);
            for j in 0..cells {
                let weight = weights[i.abs_diff(j)];
                sum += weight * grid[index(line, j)];
                norm += weight;
            }
            out[index(line, i)] = sum / norm;
        }
    }
    out
}

/// The tone curve of a digital image: logarithm, window, shoulder and toe.
struct Window {
    low: f32,
    high: f32,
    gamma: f32,
}

impl Window {
    /// Set by the size of the body alone, as an automatic exposure is: a finding never changes the rest of the image.
    fn of(study: &PhantomStudy, anatomy: &Anatomy, physics: &PhantomPhysics) -> Self {
        let cavity = 13.5 * anatomy.scale;
        let lung = SOFT * (anatomy.depth - cavity * (1.0 - anatomy.lung_density));
        let off = 0.08 * study.exposure * physics.variation;
        Self { low: 0.41 * lung + off, high: 0.81 * SOFT * anatomy.depth + off, gamma: physics.gamma }
    }

    fn gray(&self, light: f32) -> u8 {
        let density = -light.max(1e-5).ln();
        let t = (density - self.low) / (self.high - self.low);
        // A logistic shoulder and toe: nothing clips, as on film.
        let tone = 1.0 / (1.0 + (-4.2 * (t - 0.5)).exp());
        (255.0 * ((tone - 0.06) / 0.88).clamp(0.0, 1.0).powf(self.gamma)).round() as u8
    }
}

/// Parameters of the renderer: what stands between an anatomy and its image.
///
/// Two presets exist. [`PhantomPhysics::reference`] plays the hospital; [`PhantomPhysics::shifted`] plays a generator that has
/// learned most but not all of it, so that what a classifier gains from its images is limited by domain shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomPhysics {
    /// Name for cards and reports (`reference`, `shifted`).
    pub name: String,
    /// Scattered light per square root of the primary light around; 0 is a perfect grid.
    pub scatter_ratio: f32,
    /// Standard deviation of the scatter kernel, cm.
    pub scatter_cm: f32,
    /// Photons on a square millimetre of detector outside the patient.
    pub photons_per_mm2: f32,
    /// Standard deviation of focal spot and detector blur together, cm.
    pub blur_cm: f32,
    /// Exponent of the tone curve after windowing; above 1 darkens the lungs.
    pub gamma: f32,
    /// How far individuals stray from the mean anatomy; 1 is the reference population, 0 is one body for all.
    pub variation: f32,
    /// Attenuation of bone relative to the reference.
    pub bone: f32,
    /// Share of a rib's mineral in its cortex, 0 (a uniform strip) to 1 (two thin lines).
    pub cortex: f32,
    /// Branchings of the lung vessels after the hilum.
    pub vessel_generations: u32,
    /// Amplitude of the fine texture of lung and soft tissue relative to the reference.
    pub texture: f32,
    /// Strength of a finding at a given severity relative to the reference.
    pub finding_strength: f32,
    /// How ragged the borders of lung opacities are; 0 is smooth.
    pub finding_texture: f32,
}

impl PhantomPhysics {
    /// The most faithful image this renderer makes.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            name: "reference".to_owned(),
            scatter_ratio: 0.33,
            scatter_cm: 3.2,
            photons_per_mm2: 60_000.0,
            blur_cm: 0.06,
            gamma: 1.0,
            variation: 1.0,
            bone: 1.0,
            cortex: 0.4,
            vessel_generations: 5,
            texture: 1.0,
            finding_strength: 1.0,
            finding_texture: 1.0,
        }
    }

    /// A deliberately less faithful image: clean, over-drawn findings in nearly identical bodies.
    #[must_use]
    pub fn shifted() -> Self {
        Self {
            name: "shifted".to_owned(),
            scatter_ratio: 0.14,
            scatter_cm: 2.0,
            photons_per_mm2: 2_000_000.0,
            blur_cm: 0.12,
            gamma: 1.25,
            variation: 0.4,
            bone: 0.75,
            cortex: 0.0,
            vessel_generations: 3,
            texture: 0.2,
            finding_strength: 1.35,
            finding_texture: 0.1,
        }
    }
}

/// A binary image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    size: usize,
    inside: Vec<bool>,
}

impl Mask {
    /// A square mask; `inside` is asked for every `(column, row)`.
    pub(super) fn new(size: usize, inside: impl Fn(usize, usize) -> bool) -> Self {
        Self { size, inside: (0..size * size).map(|i| inside(i % size, i / size)).collect() }
    }

    /// Pixels per side.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the pixel is covered; false outside the image.
    #[must_use]
    pub fn contains(&self, column: usize, row: usize) -> bool {
        column < self.size && row < self.size && self.inside[row * self.size + column]
    }

    /// Covered pixels.
    #[must_use]
    pub fn area(&self) -> usize {
        self.inside.iter().filter(|inside| **inside).count()
    }

    /// Row-major, `size * size` values.
    #[must_use]
    pub fn pixels(&self) -> &[bool] {
        &self.inside
    }

    /// 255 where covered, 0 elsewhere.
    #[must_use]
    pub fn to_gray8(&self) -> GrayImage {
        GrayImage::from_u8(self.size, self.size, self.inside.iter().map(|&inside| 255 * u8::from(inside)).collect::<Vec<_>>())
    }
}
