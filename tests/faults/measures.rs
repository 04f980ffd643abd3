//! Every measure of one set.

use std::collections::BTreeMap;

use roentgen::evaluation::Rows;
use roentgen::evaluation::correctness::{Columns, CorrectnessSettings, Judged, agreements, judge};
use roentgen::evaluation::diversity::ssim;
use roentgen::evaluation::fidelity::{Moments, frechet, prdc, vendi, whole_kid};
use roentgen::evaluation::memorisation::{Image, MemorisationSettings, Outcome, SIDE, Sets, Space, compare, picture};
use roentgen::evaluation::query::{CategoryQueries, QuerySettings, by_category};
use roentgen_augment::image::{GrayDepth, GrayImage, Preprocess};
use roentgen_classifier::metrics::Bootstrap;

use super::world::{Asked, FINDINGS, OUTPUTS, Seen, Set, World};

/// By name.
pub type Measures = BTreeMap<&'static str, f64>;

const BATCH: usize = 32;
const BOOTSTRAP: Bootstrap = Bootstrap { replicates: 20, seed: 1 };

pub fn measures(world: &World, set: &Set) -> Measures {
    measured(world, set, &world.judge.look(&set.images, BATCH))
}

/// With features and scores that are there already.
pub fn measured(world: &World, set: &Set, seen: &Seen) -> Measures {
    let (real, made) = (rows(&world.of_held_out), rows(seen));
    let prdc = prdc(real, made, 5).unwrap();
    let pixels = memorised(world, set, None);
    let features = memorised(world, set, Some(seen));
    let share = |flagged: usize| flagged as f64 / set.images.len() as f64;
    let (auroc, sex, side) = obeys(set, seen);
    BTreeMap::from([
        ("fid", frechet(&Moments::of(real).unwrap(), &Moments::of(made).unwrap()).unwrap()),
        ("kid", whole_kid(real, made).unwrap().value),
        ("kid of effusion", kid_of_effusion(world, set, seen)),
        ("precision", prdc.precision),
        ("recall", prdc.recall),
        ("coverage", prdc.coverage),
        ("vendi", vendi(made).unwrap()),
        ("ssim", mean_ssim(&set.images)),
        ("auroc", auroc),
        ("sex", sex),
        ("side", side),
        ("copies", share(pixels.report.flagged.unwrap())),
        ("copies in features", share(features.report.flagged.unwrap())),
        ("nearer", pixels.report.nearer.unwrap()),
        ("repeats", share(pixels.report.repeats.unwrap().synthetic.repeated)),
        ("retrieval", retrieval(world, set, seen)),
    ])
}

fn rows(seen: &Seen) -> Rows<'_, f32> {
    Rows::new(&seen.features, seen.width).unwrap()
}

/// Kernel distance of the images that were asked to show an effusion from real ones with one.
fn kid_of_effusion(world: &World, set: &Set, seen: &Seen) -> f64 {
    let of = |asked: &[Asked], seen: &Seen| -> Vec<f32> {
        let with = asked.iter().enumerate().filter(|(_, asked)| asked.labels()[1] == 1.0);
        with.flat_map(|(row, _)| &seen.features[row * seen.width..][..seen.width]).copied().collect()
    };
    let (real, made) = (of(&world.held_out.asked, &world.of_held_out), of(&set.asked, seen));
    whole_kid(Rows::new(&real, seen.width).unwrap(), Rows::new(&made, seen.width).unwrap()).unwrap().value
}

/// Mean likeness of images that are four apart: what is made of four images in turn repeats itself there.
fn mean_ssim(images: &[GrayImage]) -> f64 {
    let unit = |image: &GrayImage| -> Vec<f32> {
        let GrayDepth::U8(levels) = image.depth() else { panic!("phantoms have 8 bits") };
        levels.iter().map(|level| f32::from(*level) / 255.0).collect()
    };
    let units: Vec<Vec<f32>> = images.iter().map(unit).collect();
    let (width, height) = (images[0].width(), images[0].height());
    let pairs = units.windows(5).map(|five| ssim(&five[0], &five[4], width, height).unwrap());
    pairs.sum::<f64>() / (units.len() - 4) as f64
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Macro AUROC of the findings, and agreement of sex and side.
fn obeys(set: &Set, seen: &Seen) -> (f64, f64, f64) {
    let (outputs, labels) = (names(&OUTPUTS), names(&OUTPUTS[..FINDINGS]));
    let targets: Vec<f64> = set.asked.iter().flat_map(Asked::labels).collect();
    let groups: Vec<&str> = set.asked.iter().map(|asked| asked.id.as_str()).collect();
    let judged = Judged { outputs: &outputs, scores: &seen.scores, labels: &labels, targets: &targets, groups: &groups };
    let settings = CorrectnessSettings { fewest: 5, bootstrap: BOOTSTRAP, ..CorrectnessSettings::default() };
    let report = judge(&judged, None, &settings).unwrap();
    assert_eq!(report.averaged, labels);
    let columns =
        Columns::default().with("sex", set.asked.iter().map(Asked::sex)).with("side", set.asked.iter().map(Asked::side));
    let [sex, side] = &agreements(&judged, &columns, &settings).unwrap()[..] else { panic!("two columns") };
    let value = |agreement: &roentgen::evaluation::correctness::ColumnAgreement| agreement.agreement.unwrap().value;
    (report.synthetic.macro_auroc.unwrap().value, value(sex), value(side))
}

/// In pixels, or in features where these are given.
pub fn memorised(world: &World, set: &Set, seen: Option<&Seen>) -> Outcome {
    let images = |set: &'static str, asked: &[Asked]| -> Vec<(String, String)> {
        // Bodies of different sets are different people.
        asked.iter().map(|asked| (format!("{set} {}", asked.id), format!("{set} {}", asked.id))).collect()
    };
    let (train, held_out, made) =
        (images("train", &world.train.asked), images("held out", &world.held_out.asked), images("made", &set.asked));
    fn named(images: &[(String, String)]) -> Vec<Image<'_>> {
        images.iter().map(|(id, patient)| Image { id, patient: Some(patient), source: None }).collect()
    }
    let (train, held_out, made) = (named(&train), named(&held_out), named(&made));
    let sets = Sets { train: &train, held_out: &held_out, synthetic: &made };
    let settings = MemorisationSettings::default();
    match seen {
        Some(seen) => {
            let all = [rows(&world.of_train), rows(&world.of_held_out), rows(seen)];
            compare(Space::Cosine, sets, all, settings).unwrap()
        }
        None => {
            let pictures = [&world.train, &world.held_out, set].map(|set| -> Vec<f32> {
                set.images.iter().flat_map(|image| picture(image, &Preprocess::default())).collect()
            });
            let all = [0, 1, 2].map(|which| Rows::new(&pictures[which], SIDE * SIDE).unwrap());
            compare(Space::Pixels, sets, all, settings).unwrap()
        }
    }
}

/// Precision at 10 of images with one finding among held-out ones.
fn retrieval(world: &World, set: &Set, seen: &Seen) -> f64 {
    let alone = |asked: &Asked| {
        let labels = asked.labels();
        (labels.iter().sum::<f64>() == 1.0).then(|| labels.iter().position(|label| *label == 1.0).unwrap())
    };
    let (mut values, mut categories, mut patients) = (Vec::new(), Vec::new(), Vec::new());
    for (row, asked) in set.asked.iter().enumerate() {
        let Some(category) = alone(asked) else { continue };
        values.extend_from_slice(&seen.features[row * seen.width..][..seen.width]);
        categories.push(category);
        patients.push(asked.id.as_str());
    }
    let queries =
        CategoryQueries { rows: Rows::new(&values, seen.width).unwrap(), categories: &categories, patients: &patients };
    let has: Vec<bool> = world.held_out.asked.iter().flat_map(|asked| asked.labels().map(|label| label == 1.0)).collect();
    let settings = QuerySettings { ks: vec![10], bootstrap: BOOTSTRAP };
    let report = by_category(&names(&OUTPUTS[..FINDINGS]), queries, (rows(&world.of_held_out), &has), &settings).unwrap();
    report.macro_precision[0].unwrap().value
}
