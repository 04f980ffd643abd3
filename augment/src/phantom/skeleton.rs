//! Ribs, spine, clavicles and shoulder blades.

use std::f32::consts::PI;

use super::PhantomStudy;
use super::anatomy::Anatomy;
use super::tube::{Section, Tube};
use crate::record::View;

/// Half-width of the loop of ribs 1 to 12, relative to the widest.
const LOOP: [f32; 12] = [0.48, 0.68, 0.82, 0.90, 0.95, 0.98, 0.995, 1.0, 0.99, 0.96, 0.89, 0.68];
/// Drop from the spine to the front end of the whole loop of ribs 1 to 12, cm.
const DROP: [f32; 12] = [5.2, 7.2, 8.6, 9.4, 10.2, 10.8, 11.2, 11.2, 10.6, 9.4, 6.6, 5.0];
/// Where bone gives way to cartilage, in fractions of the half loop from spine to sternum.
const REACH: [f32; 12] = [0.84, 0.82, 0.80, 0.79, 0.78, 0.77, 0.75, 0.72, 0.68, 0.62, 0.46, 0.32];
/// Distance between vertebrae, cm.
const VERTEBRA_CM: f32 = 2.3;

/// How the skeleton is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bones {
    /// Scale of anatomical variation.
    pub(super) variation: f32,
    /// Share of mineral in the cortex.
    pub(super) cortex: f32,
}

/// All bones of the image; path lengths in cm of healthy trabecular bone.
pub(super) fn skeleton(study: &PhantomStudy, anatomy: &Anatomy, bones: Bones) -> Vec<Tube> {
    let mut tubes = Vec::with_capacity(120);
    spine(&mut tubes, study, anatomy, bones);
    for side in [-1.0, 1.0] {
        for rib in 0..12 {
            tubes.push(rib_tube(study, anatomy, bones, rib, side));
        }
        clavicle(&mut tubes, study, anatomy, bones, side);
        shoulder(&mut tubes, study, anatomy, bones, side);
    }
    tubes
}

/// Sideways offset of the spine at height `y`.
fn curve(study: &PhantomStudy, bones: Bones, y: f32) -> f32 {
    bones.variation * study.patient.scoliosis * 0.28 * (y * 0.16).sin()
}

fn rib_tube(study: &PhantomStudy, anatomy: &Anatomy, bones: Bones, rib: usize, side: f32) -> Tube {
    let s = anatomy.scale;
    let slope = 1.0 + bones.variation * 0.10 * study.patient.rib_slope;
    let start = (-0.9 + VERTEBRA_CM * rib as f32) * s;
    let half = LOOP[rib] * (anatomy.cage + 0.15);
    let steps = 36;
    let axis = (0..=steps)
        .map(|i| {
            let turn = PI * REACH[rib] * (0.06 + 0.94 * i as f32 / steps as f32);
            // Straight down and out from the spine, round at the side, then down and in.
            let quarter = if turn < 0.5 * PI { turn.sin() } else { 2.0 - turn.sin() };
            let y = start + DROP[rib] * s * slope * (0.14 * quarter + 0.86 * turn / PI);
            let x = half * turn.sin().powf(0.88);
            [side * x + curve(study, bones, y) * (1.0 - i as f32 / steps as f32), y, -6.5 * s * turn.cos()]
        })
        .collect();
    let half_width = if rib == 0 { 0.72 } else { 0.60 } * s;
    Tube {
        axis,
        radius: [half_width, half_width * 1.1],
        thickness: [0.85, 0.34],
        section: Section::Bone(bones.cortex),
        round: false,
    }
}

fn spine(tubes: &mut Vec<Tube>, study: &PhantomStudy, anatomy: &Anatomy, bones: Bones) {
    let s = anatomy.scale;
    let pitch = VERTEBRA_CM * s;
    for level in -4..16 {
        let top = (-1.9 + VERTEBRA_CM * level as f32) * s;
        let grow = 1.0 + 0.022 * level as f32;
        let half = 1.35 * s * grow;
        let centre = |y: f32| curve(study, bones, y);
        let at = |x: f32, y: f32| [x + centre(y), y, -5.5 * s];
        let block = |axis: Vec<[f32; 3]>, radius: f32, thickness: f32, section: Section| Tube {
            axis,
            radius: [radius; 2],
            thickness: [thickness; 2],
            section,
            round: false,
        };
        // The body with its two end plates.
        tubes.push(block(vec![at(0.0, top + 0.12), at(0.0, top + 0.88 * pitch)], half, 0.75, Section::Block));
        for y in [top + 0.10, top + 0.84 * pitch] {
            tubes.push(block(vec![at(-half, y), at(half, y)], 0.2, 0.22, Section::Rod));
        }
        // Pedicles and the spinous process.
        for x in [-0.72 * half, 0.72 * half] {
            tubes.push(block(vec![at(x, top + 0.25 * pitch), at(x, top + 0.6 * pitch)], 0.34, 0.55, Section::Bone(0.6)));
        }
        tubes.push(block(vec![at(0.0, top + 0.7 * pitch), at(0.0, top + 1.15 * pitch)], 0.26, 0.8, Section::Bone(0.4)));
        if (0..12).contains(&level) {
            for side in [-1.0, 1.0] {
                let process = vec![at(side * half, top + 0.35 * pitch), at(side * (half + 1.3), top + 0.22 * pitch)];
                tubes.push(block(process, 0.38, 0.4, Section::Bone(0.5)));
            }
        }
    }
}

fn clavicle(tubes: &mut Vec<Tube>, study: &PhantomStudy, anatomy: &Anatomy, bones: Bones, side: f32) {
    let s = anatomy.scale;
    let raised = bones.variation * 0.5 * study.patient.scapula + if study.view == View::Ap { 1.0 } else { 0.0 };
    let steps = 16;
    let axis = (0..=steps)
        .map(|i| {
            let t = i as f32 / steps as f32;
            let y = 3.1 - (3.6 + raised) * t.powf(1.15) + 0.45 * (2.0 * PI * t).sin();
            [side * (1.5 + 14.2 * t) * s, y * s, (5.5 - 4.0 * t) * s]
        })
        .collect();
    tubes.push(Tube {
        axis,
        radius: [0.85 * s, 0.62 * s],
        thickness: [1.0, 0.9],
        section: Section::Bone(bones.cortex.max(0.2)),
        round: true,
    });
}

/// Shoulder blade, head of the humerus and shaft. Images taken from behind turn the blades clear of the lungs.
fn shoulder(tubes: &mut Vec<Tube>, study: &PhantomStudy, anatomy: &Anatomy, bones: Bones, side: f32) {
    let s = anatomy.scale;
    let over = if study.view == View::Ap { -1.8 } else { 0.0 } + bones.variation * 0.5 * study.patient.scapula;
    let at = |x: f32, y: f32| [side * (x + over) * s, y * s, -5.0 * s];
    let tube = |axis: Vec<[f32; 3]>, radius: [f32; 2], thickness: f32, section: Section| Tube {
        axis,
        radius,
        thickness: [thickness; 2],
        section,
        round: true,
    };
    let hollow = Section::Bone(bones.cortex.max(0.3));
    // The blade: a thin plate with a thick outer border, its spine and the acromion.
    tubes.push(tube(vec![at(14.9, 2.2), at(14.6, 6.5), at(14.3, 11.8)], [2.3 * s, 0.7 * s], 0.22, Section::Block));
    tubes.push(tube(vec![at(16.6, 3.4), at(16.1, 7.0), at(14.8, 11.8)], [0.55 * s, 0.42 * s], 0.55, hollow));
    tubes.push(tube(vec![at(12.7, 3.6), at(15.2, 1.3), at(17.8, -0.6)], [0.35 * s, 0.6 * s], 0.5, hollow));
    tubes.push(tube(vec![at(16.6, 1.6), at(16.9, 4.4)], [0.6 * s, 0.6 * s], 0.7, Section::Block));
    let arm = |x: f32, y: f32| [side * (x + 0.4 * over) * s, y * s, -2.0 * s];
    tubes.push(tube(vec![arm(18.5, 0.8), arm(19.0, 3.2), arm(19.6, 5.4)], [2.1 * s, 1.5 * s], 1.7, Section::Rod));
    tubes.push(tube(vec![arm(19.3, 4.2), arm(21.0, 11.0), arm(23.0, 20.0)], [1.3 * s, 1.1 * s], 1.4, hollow));
}
