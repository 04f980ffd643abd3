//! One examination: a patient, what is wrong, and how the image was taken.

use rand::RngExt;

use super::anatomy::{Anatomy, side_of};
use super::finding::template_text;
use super::lesion::{Lesion, LungPoint};
use super::noise::{Purpose, derive, deviate, rng};
use super::render::render;
use super::tube::Projection;
use super::{Grade, Mask, Pathology, PhantomFinding, PhantomPatient, PhantomPhysics, Prevalence, Side, Zone};
use crate::image::GrayImage;
use crate::record::{Details, Finding, FindingDetail, Label, Laterality, Location, Severity, View, Vocabulary};

/// How the patient stands to the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// Rotation in the plane of the image, radians.
    pub roll: f32,
    /// Rotation about the long axis, radians.
    pub yaw: f32,
    /// Tilt forward, radians.
    pub pitch: f32,
    /// Offset of the centre of the image, cm to the patient's left and downward.
    pub shift_cm: [f32; 2],
    /// 1 is a patient who fills the image as most do.
    pub magnification: f32,
}

/// One examination of a phantom, fully determined by its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomStudy {
    /// The body.
    pub patient: PhantomPatient,
    /// What is wrong, at most one entry a pathology and side.
    pub findings: Vec<PhantomFinding>,
    /// Frontal projections only: `Pa`, or `Ap` for bedside images.
    pub view: View,
    /// How the patient stands.
    pub pose: Pose,
    /// Depth of breath, in standard deviations.
    pub inspiration: f32,
    /// Exposure (photons and film density), in standard deviations.
    pub exposure: f32,
    /// Seed of the noise.
    pub seed: u64,
}

impl PhantomStudy {
    /// The examination of that seed, of a new patient.
    #[must_use]
    pub fn sample(seed: u64, prevalence: &Prevalence) -> Self {
        Self::of_patient(&PhantomPatient::sample(seed), derive(seed, 0), prevalence)
    }

    /// An examination of `patient`. Chronic findings follow from the patient, acute ones and the pose from `seed`.
    #[must_use]
    pub fn of_patient(patient: &PhantomPatient, seed: u64, prevalence: &Prevalence) -> Self {
        let mut findings = prevalence.draw(&mut rng(patient.seed, Purpose::ChronicFindings), true, false);
        let enlarged = findings.iter().any(|f| f.pathology == Pathology::Cardiomegaly);
        findings.extend(prevalence.draw(&mut rng(seed, Purpose::AcuteFindings), false, enlarged));
        findings.sort_by_key(|f| f.pathology);
        // Three in ten images of a hospital are taken at the bedside.
        let view = if rng(seed, Purpose::Noise).random_bool(0.3) { View::Ap } else { View::Pa };
        Self::of_findings(patient.clone(), findings, view, seed)
    }

    /// An examination with these findings; `seed` settles pose, breath, exposure and noise.
    #[must_use]
    pub fn of_findings(patient: PhantomPatient, findings: Vec<PhantomFinding>, view: View, seed: u64) -> Self {
        let mut rng = rng(seed, Purpose::Pose);
        let mut z = || deviate(&mut rng);
        // Bedside patients lie as they can.
        let care = if view == View::Ap { 1.5 } else { 1.0 };
        let pose = Pose {
            roll: 0.018 * care * z(),
            yaw: 0.030 * care * z(),
            pitch: 0.040 * care * z(),
            shift_cm: [0.6 * care * z(), 0.7 * care * z()],
            magnification: 1.0 + 0.03 * z(),
        };
        Self { patient, findings, view, pose, inspiration: z(), exposure: z(), seed }
    }

    /// The image, 8 bits, `size` pixels a side, bone white.
    ///
    /// # Panics
    /// If `size` is 0.
    #[must_use]
    pub fn render(&self, size: usize, physics: &PhantomPhysics) -> GrayImage {
        render(self, size, physics)
    }

    /// Ground truth of every finding, in the order of `findings`, on the image that [`PhantomStudy::render`] makes.
    #[must_use]
    pub fn masks(&self, size: usize, physics: &PhantomPhysics) -> Vec<(Finding, Mask)> {
        let (anatomy, projection) = self.posed(size, physics);
        let mask = |finding: &PhantomFinding| {
            let lesion = Lesion::place(finding, &anatomy, physics, 1.0 / projection.pixels_per_cm);
            let inside = |column, row| {
                let [x, y] = projection.to_patient(column, row);
                lesion.covers(LungPoint { x, y, lung: anatomy.lung(x, y) }, &anatomy)
                    && finding.side.is_none_or(|side| side == side_of(x))
            };
            (finding.pathology.finding(), Mask::new(size, inside))
        };
        self.findings.iter().map(mask).collect()
    }

    /// Where rays meet more than a millimetre of lung of that side.
    #[must_use]
    pub fn lung_mask(&self, side: Side, size: usize, physics: &PhantomPhysics) -> Mask {
        let (anatomy, projection) = self.posed(size, physics);
        Mask::new(size, |column, row| {
            let [x, y] = projection.to_patient(column, row);
            side_of(x) == side && anatomy.lung(x, y) > 0.1
        })
    }

    /// Where rays meet more than half a centimetre of heart.
    #[must_use]
    pub fn heart_mask(&self, size: usize, physics: &PhantomPhysics) -> Mask {
        let (anatomy, projection) = self.posed(size, physics);
        Mask::new(size, |column, row| {
            let [x, y] = projection.to_patient(column, row);
            anatomy.heart(x, y) > 0.5
        })
    }

    /// Widest width of the heart over the widest inner width of the thorax; above 0.5 the heart is enlarged (Danzer, 1919).
    #[must_use]
    pub fn cardiothoracic_ratio(&self, physics: &PhantomPhysics) -> f32 {
        Anatomy::of(self, physics).cardiothoracic_ratio()
    }

    /// Template text of the findings, one sentence each. Made by rule; no person ever dictated it.
    #[must_use]
    pub fn template_text(&self) -> String {
        template_text(&self.findings)
    }

    /// What is known of the image beside its labels: the template text, and side, severity and location of every finding.
    #[must_use]
    pub fn details(&self) -> Details {
        let findings = self.findings.iter().map(|found| FindingDetail {
            finding: found.pathology.finding(),
            side: found.side.map(|side| match side {
                Side::Left => Laterality::Left,
                Side::Right => Laterality::Right,
            }),
            severity: Some(match found.grade() {
                Grade::Mild => Severity::Mild,
                Grade::Moderate => Severity::Moderate,
                Grade::Severe => Severity::Severe,
            }),
            location: match found.zone {
                Some(Zone::Upper) => Some(Location::UpperZone),
                Some(Zone::Mid) => Some(Location::MiddleZone),
                Some(Zone::Lower) => Some(Location::LowerZone),
                // As its template text says.
                None => (found.pathology == Pathology::Atelectasis).then_some(Location::Base),
            },
        });
        Details { template: Some(self.template_text()), findings: findings.collect(), ..Details::default() }
    }

    /// The label of every finding of `vocabulary`: positive or negative where the phantom knows, missing where it draws no such
    /// thing (`Hernia`, `Fracture`, …).
    #[must_use]
    pub fn labels(&self, vocabulary: &Vocabulary) -> Vec<Label> {
        let any = |wanted: &[Pathology]| {
            let found = self.findings.iter().any(|f| wanted.contains(&f.pathology));
            if found { Label::Positive } else { Label::Negative }
        };
        let label = |finding: &Finding| match (Pathology::of(*finding), finding.name()) {
            (Some(pathology), _) => any(&[pathology]),
            (None, "No Finding") if self.findings.is_empty() => Label::Positive,
            (None, "No Finding") => Label::Negative,
            (None, "Lung Lesion") => any(&[Pathology::Mass, Pathology::Nodule]),
            _ => Label::Missing,
        };
        vocabulary.findings().iter().map(label).collect()
    }

    /// Strongest severity of `pathology` on `side` (anywhere if `None`) as `physics` draws it; 0 if there is none.
    pub(super) fn severity(&self, pathology: Pathology, side: Option<Side>, physics: &PhantomPhysics) -> f32 {
        let matching = self.findings.iter().filter(|f| f.pathology == pathology && (side.is_none() || f.side == side));
        matching.map(|f| f.severity * physics.finding_strength).fold(0.0, f32::max)
    }

    fn posed(&self, size: usize, physics: &PhantomPhysics) -> (Anatomy, Projection) {
        let anatomy = Anatomy::of(self, physics);
        let projection = Projection::new(self, physics, size, anatomy.height);
        (anatomy, projection)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::GrayDepth;

    const SIZE: usize = 96;

    /// An upright body of that seed with these findings.
    fn study(seed: u64, findings: Vec<PhantomFinding>) -> PhantomStudy {
        PhantomStudy::of_findings(PhantomPatient::sample(seed), findings, View::Pa, seed)
    }

    fn finding(pathology: Pathology, side: Side, severity: f32, seed: u64) -> PhantomFinding {
        let finding = PhantomFinding { severity, ..PhantomFinding::sample(pathology, seed) };
        PhantomFinding { side: finding.side.map(|_| side), ..finding }
    }

    fn image(study: &PhantomStudy) -> Vec<f32> {
        match study.render(SIZE, &PhantomPhysics::reference()).depth() {
            GrayDepth::U8(samples) => samples.iter().map(|&v| f32::from(v)).collect(),
            GrayDepth::U16(_) => unreachable!("images are 8 bits"),
        }
    }

    /// Mean of `values` where `inside` says so.
    fn mean(values: &[f32], inside: impl Fn(usize, usize) -> bool) -> f32 {
        let picked = values.iter().enumerate().filter(|(i, _)| inside(i % SIZE, i / SIZE)).map(|(_, v)| *v);
        let (sum, count) = picked.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
        sum / count.max(1) as f32
    }

    /// Within `reach` pixels of `mask`.
    fn near(mask: &Mask, column: usize, row: usize, reach: usize) -> bool {
        let around = |i: usize| i.saturating_sub(reach)..=i + reach;
        around(row).any(|r| around(column).any(|c| mask.contains(c, r)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn an_image_is_a_function_of_its_study(seed: u64) {
            let study = PhantomStudy::sample(seed, &Prevalence::enriched());
            prop_assert_eq!(&study, &PhantomStudy::sample(seed, &Prevalence::enriched()));
            prop_assert_eq!(study.render(32, &PhantomPhysics::reference()), study.render(32, &PhantomPhysics::reference()));
        }

        #[test]
        fn hearts_are_wide_only_when_enlarged(seed: u64, severity in 0.05..=1.0f32) {
            for physics in [PhantomPhysics::reference(), PhantomPhysics::shifted()] {
                // Half the thorax is the limit of normal (Danzer 1919).
                let normal = study(seed, vec![]).cardiothoracic_ratio(&physics);
                prop_assert!((0.38..0.5).contains(&normal), "{normal}");
                let enlarged = study(seed, vec![finding(Pathology::Cardiomegaly, Side::Left, severity, seed)]);
                let enlarged = enlarged.cardiothoracic_ratio(&physics);
                prop_assert!((0.5..0.8).contains(&enlarged), "{enlarged}");
            }
        }

        #[test]
        fn no_image_breaks_at_any_size(seed: u64, size in 1..40usize) {
            let study = PhantomStudy::sample(seed, &Prevalence::enriched());
            let image = study.render(size, &PhantomPhysics::shifted());
            prop_assert_eq!((image.width(), image.height()), (size, size));
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_masks() {
        for seed in 0..5 {
            let study = study(seed, vec![]);
            let physics = PhantomPhysics::reference();
            let columns = |mask: &Mask| {
                let touched = |c: &usize| (0..256).any(|r| mask.contains(*c, r));
                let (first, last) = ((0..256).find(touched).unwrap(), (0..256).rev().find(touched).unwrap());
                (first, last)
            };
            let heart = columns(&study.heart_mask(256, &physics));
            let right = columns(&study.lung_mask(Side::Right, 256, &physics));
            let left = columns(&study.lung_mask(Side::Left, 256, &physics));
            let measured = (heart.1 - heart.0) as f32 / (left.1 - right.0) as f32;
            // Chambers end in a thin edge that the mask's half centimetre cuts off, and a tilted patient is wider.
            assert!((measured - study.cardiothoracic_ratio(&physics)).abs() < 0.03, "{seed}: {measured}");
        }
    }

    #[test]
    fn findings_change_their_mask_in_the_right_direction() {
        // Gray levels that a severe finding moves its mask by, at least.
        let brighter = [
            (Pathology::Atelectasis, 8.0),
            (Pathology::Consolidation, 15.0),
            (Pathology::Edema, 10.0),
            (Pathology::Effusion, 25.0),
            (Pathology::Mass, 15.0),
            (Pathology::Nodule, 6.0),
        ];
        let darker = [(Pathology::Pneumothorax, 15.0), (Pathology::Emphysema, 10.0)];
        for seed in 0..6 {
            let healthy = image(&study(seed, vec![]));
            for side in Side::BOTH {
                let cases =
                    brighter.map(|(p, least)| (p, least, 1.0)).into_iter().chain(darker.map(|(p, least)| (p, least, -1.0)));
                for (pathology, least, direction) in cases {
                    let ill = study(seed, vec![finding(pathology, side, 0.9, seed)]);
                    let mask = ill.masks(SIZE, &PhantomPhysics::reference()).remove(0).1;
                    let change: Vec<f32> = image(&ill).iter().zip(&healthy).map(|(a, b)| direction * (a - b)).collect();
                    let inside = mean(&change, |c, r| mask.contains(c, r));
                    assert!(mask.area() > 4 && inside > least, "{pathology:?} {side} {seed}: {inside} over {}", mask.area());
                }
            }
        }
    }

    #[test]
    fn local_findings_leave_the_rest_of_the_image_alone() {
        let local =
            [Pathology::Consolidation, Pathology::Effusion, Pathology::Mass, Pathology::Nodule, Pathology::Pneumothorax];
        for (seed, pathology) in local.into_iter().enumerate() {
            let seed = seed as u64;
            let healthy = image(&study(seed, vec![]));
            let ill = study(seed, vec![finding(pathology, Side::Left, 0.8, seed)]);
            let mask = ill.masks(SIZE, &PhantomPhysics::reference()).remove(0).1;
            let change: Vec<f32> = image(&ill).iter().zip(&healthy).map(|(a, b)| (a - b).abs()).collect();
            let outside = mean(&change, |c, r| !near(&mask, c, r, 6));
            let inside = mean(&change, |c, r| mask.contains(c, r));
            // What is left is scatter that came from the finding.
            assert!(outside < 2.0 && outside < 0.15 * inside, "{pathology:?}: {outside} outside, {inside} inside");
        }
    }

    #[test]
    fn findings_lie_in_the_lung_of_their_side() {
        for seed in 0..8 {
            for pathology in Pathology::ALL.into_iter().filter(|p| p.has_side()) {
                for side in Side::BOTH {
                    let study = study(seed, vec![finding(pathology, side, 0.7, seed)]);
                    let mask = study.masks(SIZE, &PhantomPhysics::reference()).remove(0).1;
                    let lung = study.lung_mask(side, SIZE, &PhantomPhysics::reference());
                    let strays = (0..SIZE * SIZE).filter(|i| mask.pixels()[*i] && !lung.pixels()[*i]).count();
                    assert_eq!(strays, 0, "{pathology:?} {side} {seed}");
                    let column = (0..SIZE * SIZE).filter(|i| mask.pixels()[*i]).map(|i| i % SIZE).sum::<usize>() / mask.area();
                    // The patient's left is on the viewer's right.
                    assert_eq!(column > SIZE / 2, side == Side::Left, "{pathology:?} {side} {seed}: column {column}");
                }
            }
        }
    }

    #[test]
    fn upright_fluid_sinks_and_gas_rises() {
        let rows = |mask: &Mask| {
            let sum: usize = (0..SIZE * SIZE).filter(|i| mask.pixels()[*i]).map(|i| i / SIZE).sum();
            sum as f32 / mask.area() as f32
        };
        let physics = PhantomPhysics::reference();
        for seed in 0..6 {
            for severity in [0.2, 0.6] {
                let row = |pathology| {
                    let study = study(seed, vec![finding(pathology, Side::Right, severity, seed)]);
                    let lung = rows(&study.lung_mask(Side::Right, SIZE, &physics));
                    rows(&study.masks(SIZE, &physics)[0].1) - lung
                };
                let (fluid, gas) = (row(Pathology::Effusion), row(Pathology::Pneumothorax));
                assert!(fluid > 8.0 && gas < -2.0, "{seed} {severity}: fluid {fluid}, gas {gas} rows below the lung's centre");
            }
        }
    }

    #[test]
    fn an_image_has_the_tones_of_a_chest_image() {
        for seed in 0..6 {
            let study = study(seed, vec![]);
            let values = image(&study);
            let physics = PhantomPhysics::reference();
            let (left, right) = (study.lung_mask(Side::Left, SIZE, &physics), study.lung_mask(Side::Right, SIZE, &physics));
            let heart = study.heart_mask(SIZE, &physics);
            let lungs = mean(&values, |c, r| (left.contains(c, r) || right.contains(c, r)) && !heart.contains(c, r));
            let hearts = mean(&values, |c, r| heart.contains(c, r));
            let abdomen = mean(&values, |c, r| r > SIZE * 9 / 10 && c.abs_diff(SIZE / 2) < SIZE / 5);
            let corner = mean(&values, |c, r| c < 4 && r < 4);
            assert!(corner < 40.0 && lungs + 40.0 < hearts && hearts < abdomen + 30.0, "{corner} {lungs} {hearts} {abdomen}");
        }
    }

    #[test]
    fn labels_say_what_was_drawn() {
        let vocabulary = Vocabulary::parse(["No Finding", "Mass", "Lung Lesion", "Edema", "Hernia"]).unwrap();
        let ill = study(1, vec![finding(Pathology::Mass, Side::Left, 0.5, 1)]);
        let (yes, no) = (Label::Positive, Label::Negative);
        assert_eq!(ill.labels(&vocabulary), [no, yes, yes, no, Label::Missing]);
        assert_eq!(study(1, vec![]).labels(&vocabulary), [yes, no, no, no, Label::Missing]);
    }
}
