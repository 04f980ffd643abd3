//! Synthetic and held-out images against the training set.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use roentgen_classifier::metrics::Ranking;
use serde::{Deserialize, Serialize};

use super::nearest::{Found, Search};
use super::report::{Distances, MemorisationError, OwnSource, Pair, Repeats, SpaceReport, quantile, repeated};
use super::space::Space;
use crate::evaluation::Rows;

/// Who an image shows, and where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its patient, if known.
    pub patient: Option<&'a str>,
    /// Name of the row that a synthetic image was requested from, if known.
    pub source: Option<&'a str>,
}

/// The three sets of a comparison, one entry per image.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a> {
    /// What the generator was trained on.
    pub train: &'a [Image<'a>],
    /// Real images that it was not. Those of patients in `train` are left out.
    pub held_out: &'a [Image<'a>],
    /// What it made.
    pub synthetic: &'a [Image<'a>],
}

/// When an image is called a copy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemorisationSettings {
    /// Quantile of the held-out distances that is the limit, in `[0, 1)`: about this share of images of unseen people would be flagged.
    pub quantile: f64,
}

impl Default for MemorisationSettings {
    fn default() -> Self {
        Self { quantile: 0.01 }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The numbers.
    pub report: SpaceReport,
    /// Every synthetic image with its nearest training image, the closest pair first.
    pub pairs: Vec<Pair>,
}

/// A comparison whose training set is read block by block, so that it need not be in memory.
pub struct Comparison<'a> {
    space: Space,
    sets: Sets<'a>,
    settings: MemorisationSettings,
    width: usize,
    /// Prepared rows of the synthetic images.
    synthetic: Cow<'a, [f32]>,
    /// Prepared rows of the held-out images that are compared, and the patient of each as a number.
    held_out: Vec<f32>,
    patients: Vec<usize>,
    without_patient: usize,
    of_synthetic: Search,
    of_held_out: Search,
}

/// Compares sets whose rows are all in memory: of the training, the held-out and the synthetic images.
///
/// # Errors
/// As the methods of [`Comparison`].
pub fn compare(
    space: Space,
    sets: Sets<'_>,
    [train, held_out, synthetic]: [Rows<'_, f32>; 3],
    settings: MemorisationSettings,
) -> Result<Outcome, MemorisationError> {
    let mut comparison = Comparison::new(space, sets, held_out, synthetic, settings)?;
    comparison.train(train)?;
    comparison.finish()
}

impl<'a> Comparison<'a> {
    /// A comparison of these images; the rows of the training images are offered with [`train`](Self::train).
    ///
    /// # Errors
    /// [`MemorisationError`] for an empty training or synthetic set, another number of rows than of images, rows of unlike width, a
    /// quantile outside `[0, 1)`, or a row of zeros in [`Space::Cosine`].
    pub fn new(
        space: Space,
        sets: Sets<'a>,
        held_out: Rows<'_, f32>,
        synthetic: Rows<'a, f32>,
        settings: MemorisationSettings,
    ) -> Result<Self, MemorisationError> {
        if !(0.0..1.0).contains(&settings.quantile) {
            return Err(MemorisationError::Quantile { found: settings.quantile });
        }
        for (set, images) in [("training", sets.train), ("synthetic", sets.synthetic)] {
            if images.is_empty() {
                return Err(MemorisationError::Empty { set });
            }
        }
        count("synthetic", sets.synthetic.len(), synthetic.len())?;
        count("held-out", sets.held_out.len(), held_out.len())?;
        synthetic.comparable(&held_out).map_err(|source| MemorisationError::Rows { set: "held-out", source })?;
        let width = synthetic.width();
        let kept = strangers(sets);
        let prepared = space.prepared(held_out, "held-out")?;
        let rows: Vec<f32> = kept.iter().flat_map(|&row| &prepared[row * width..][..width]).copied().collect();
        let mut numbers = HashMap::new();
        // An image without a patient is one of its own.
        let person =
            |&row: &usize| sets.held_out[row].patient.map_or((sets.held_out[row].id, true), |patient| (patient, false));
        let patients = kept.iter().map(person).map(|person| {
            let next = numbers.len();
            *numbers.entry(person).or_insert(next)
        });
        Ok(Self {
            patients: patients.collect(),
            without_patient: kept.iter().filter(|&&row| sets.held_out[row].patient.is_none()).count(),
            of_synthetic: Search::new(synthetic.len()),
            of_held_out: Search::new(kept.len()),
            synthetic: space.prepared(synthetic, "synthetic")?,
            held_out: rows,
            space,
            sets,
            settings,
            width,
        })
    }

    /// Offers the rows of the next training images, in their order.
    ///
    /// # Errors
    /// [`MemorisationError`] for rows of another width, more rows than images, or a row of zeros in [`Space::Cosine`].
    pub fn train(&mut self, block: Rows<'_, f32>) -> Result<(), MemorisationError> {
        let (set, images) = ("training", self.sets.train.len());
        let rows = self.of_synthetic.offered() + block.len();
        if rows > images {
            return Err(MemorisationError::Count { set, images, rows });
        }
        let wrong = |source| MemorisationError::Rows { set, source };
        let prepared = self.space.prepared(block, set)?;
        let block = Rows::new(&prepared, block.width()).map_err(wrong)?;
        self.of_synthetic.offer(prepared_rows(&self.synthetic, self.width), block).map_err(wrong)?;
        self.of_held_out.offer(prepared_rows(&self.held_out, self.width), block).map_err(wrong)
    }

    /// The result, when every training image was offered.
    ///
    /// # Errors
    /// [`MemorisationError::Count`] if some were not.
    pub fn finish(self) -> Result<Outcome, MemorisationError> {
        count("training", self.sets.train.len(), self.of_synthetic.offered())?;
        let Self { space, sets, .. } = self;
        let distances = |search: &Search| -> Vec<f64> {
            search.found().iter().flatten().map(|found| space.distance(found.square)).collect()
        };
        let (of_synthetic, of_held_out) = (distances(&self.of_synthetic), distances(&self.of_held_out));
        let (synthetic, held_out) = (sorted(&of_synthetic), sorted(&of_held_out));
        let limit = quantile(&held_out, self.settings.quantile);
        let below = |sorted: &[f64]| limit.map(|limit| sorted.partition_point(|distance| *distance < limit));

        let alone: Vec<usize> = (0..sets.synthetic.len()).collect();
        let like = Search::within(prepared_rows(&self.synthetic, self.width), &alone);
        let like: Vec<Option<(usize, f64)>> =
            like.into_iter().map(|found| found.map(|found| (found.index, space.distance(found.square)))).collect();
        let repeats = limit.and_then(|limit| {
            let people = Search::within(prepared_rows(&self.held_out, self.width), &self.patients);
            let people = people.into_iter().flatten().map(|found| space.distance(found.square)).collect();
            let synthetic = repeated(like.iter().flatten().map(|(_, distance)| *distance).collect(), limit)?;
            Some(Repeats { synthetic, held_out: repeated(people, limit) })
        });

        let sources: HashMap<&str, usize> = sets.train.iter().enumerate().map(|(row, image)| (image.id, row)).collect();
        let pair = |(row, found): (usize, &Option<Found>)| {
            let (image, found) = (&sets.synthetic[row], found.as_ref()?);
            let distance = space.distance(found.square);
            Some(Pair {
                synthetic: row,
                image: image.id.to_owned(),
                train: found.index,
                nearest: sets.train[found.index].id.to_owned(),
                distance,
                flagged: limit.map(|limit| distance < limit),
                own_source: image.source.and_then(|source| sources.get(source)).map(|source| *source == found.index),
                like: like[row].map(|(other, distance)| (sets.synthetic[other].id.to_owned(), distance)),
            })
        };
        let mut pairs: Vec<Pair> = self.of_synthetic.found().iter().enumerate().filter_map(pair).collect();
        // A stable sort: of equal distances the first image comes first.
        pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let known = pairs.iter().filter(|pair| pair.own_source.is_some()).count();
        let nearest = pairs.iter().filter(|pair| pair.own_source == Some(true)).count();
        let report = SpaceReport {
            space,
            train: sets.train.len(),
            held_out: held_out.len(),
            same_patient: sets.held_out.len() - held_out.len(),
            synthetic: sets.synthetic.len(),
            quantile: self.settings.quantile,
            limit,
            synthetic_distances: Distances::of(&synthetic).ok_or(MemorisationError::Empty { set: "synthetic" })?,
            held_out_distances: Distances::of(&held_out),
            flagged: below(&synthetic),
            held_out_flagged: below(&held_out),
            nearer: nearer(&of_synthetic, &of_held_out),
            own_source: (known > 0).then_some(OwnSource { known, nearest }),
            repeats,
            notes: self.notes(),
        };
        Ok(Outcome { report, pairs })
    }

    fn notes(&self) -> Vec<String> {
        let (held_out, quantile) = (self.patients.len(), self.settings.quantile);
        let nobody = (held_out == 0).then(|| {
            "There is no held-out image of a patient outside the training set, so nothing says how near is too near.".to_owned()
        });
        let few = (held_out > 0 && quantile > 0.0 && quantile * (held_out as f64) < 1.0).then(|| {
            format!("The limit is the smallest of {held_out} held-out distances: too few for a quantile of {quantile}.")
        });
        let unknown = (self.without_patient > 0).then(|| {
            let count = self.without_patient;
            format!("{count} of {held_out} held-out images have no patient; if they show people of the training set, the limit is too low.")
        });
        [nobody, few, unknown].into_iter().flatten().collect()
    }
}

/// Rows that were checked when they came.
fn prepared_rows(values: &[f32], width: usize) -> Rows<'_, f32> {
    Rows::new(values, width).expect("prepared rows are whole and finite")
}

fn count(set: &'static str, images: usize, rows: usize) -> Result<(), MemorisationError> {
    if images == rows { Ok(()) } else { Err(MemorisationError::Count { set, images, rows }) }
}

/// Held-out images that neither are training images nor show their patients.
fn strangers(sets: Sets<'_>) -> Vec<usize> {
    let patients: HashSet<&str> = sets.train.iter().filter_map(|image| image.patient).collect();
    let ids: HashSet<&str> = sets.train.iter().map(|image| image.id).collect();
    let is_stranger = |&row: &usize| {
        let image = &sets.held_out[row];
        !ids.contains(image.id) && image.patient.is_none_or(|patient| !patients.contains(patient))
    };
    (0..sets.held_out.len()).filter(is_stranger).collect()
}

fn sorted(distances: &[f64]) -> Vec<f64> {
    let mut sorted = distances.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Probability that a synthetic distance is below a held-out one, ties one half: the area under the curve of "nearer".
fn nearer(synthetic: &[f64], held_out: &[f64]) -> Option<f64> {
    let nearness: Vec<f64> = synthetic.iter().chain(held_out).map(|distance| -distance).collect();
    let mut targets = vec![1.0; synthetic.len()];
    targets.resize(nearness.len(), 0.0);
    Ranking::new(&nearness, &targets).ok()?.auroc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image<'a>(id: &'a str, patient: &'a str, source: Option<&'a str>) -> Image<'a> {
        Image { id, patient: (!patient.is_empty()).then_some(patient), source }
    }

    fn rows(values: &[f32]) -> Rows<'_, f32> {
        Rows::new(values, 2).unwrap()
    }

    const TRAIN: [f32; 6] = [0.0, 0.0, 10.0, 0.0, 0.0, 10.0];

    fn train() -> Vec<Image<'static>> {
        vec![image("a", "1", None), image("b", "1", None), image("c", "2", None)]
    }

    fn of(held_out: &[Image<'_>], held: &[f32], synthetic: &[Image<'_>], made: &[f32], quantile: f64) -> Outcome {
        let train = train();
        let sets = Sets { train: &train, held_out, synthetic };
        compare(Space::Euclidean, sets, [rows(&TRAIN), rows(held), rows(made)], MemorisationSettings { quantile }).unwrap()
    }

    #[test]
    fn copies_are_flagged_and_their_source_is_named() {
        let held_out = [image("x", "3", None), image("y", "4", None), image("z", "2", None), image("a", "", None)];
        let held = [1.0, 0.0, 10.0, 2.0, 0.0, 10.0, 0.0, 0.0];
        let synthetic =
            [image("s0", "1", Some("b")), image("s1", "1", Some("a")), image("s2", "", None), image("s3", "9", Some("q"))];
        let made = [10.0, 0.5, 10.0, 0.0, 50.0, 0.0, 10.0, 0.0];
        let Outcome { report, pairs } = of(&held_out, &held, &synthetic, &made, 0.0);
        // `z` shows a patient of the training set, `a` is a training image.
        assert_eq!((report.held_out, report.same_patient, report.limit), (2, 2, Some(1.0)));
        assert_eq!((report.flagged, report.held_out_flagged), (Some(3), Some(0)));
        let order: Vec<_> = pairs.iter().map(|pair| (pair.image.as_str(), pair.nearest.as_str(), pair.distance)).collect();
        assert_eq!(order, [("s1", "b", 0.0), ("s3", "b", 0.0), ("s0", "b", 0.5), ("s2", "b", 40.0)]);
        assert_eq!(pairs.iter().map(|pair| pair.own_source).collect::<Vec<_>>(), [Some(false), None, Some(true), None]);
        assert_eq!(report.own_source, Some(OwnSource { known: 2, nearest: 1 }));
        // Six of eight pairs: three synthetic images are nearer than both held-out ones.
        assert_eq!(report.nearer, Some(0.75));
        let repeats = report.repeats.unwrap();
        assert_eq!((repeats.synthetic.images, repeats.synthetic.repeated), (4, 3));
        assert_eq!(repeats.held_out.unwrap().repeated, 0);
        assert_eq!(pairs[0].like, Some(("s3".to_owned(), 0.0)));
        assert!(report.notes.is_empty(), "{:?}", report.notes);
    }

    #[test]
    fn without_strangers_there_is_no_limit() {
        let Outcome { report, pairs } = of(&[image("x", "1", None)], &[1.0, 0.0], &[image("s", "", None)], &[0.0, 0.0], 0.1);
        assert_eq!((report.limit, report.flagged, report.nearer, report.repeats), (None, None, None, None));
        assert_eq!((pairs[0].distance, pairs[0].flagged, pairs[0].like.as_ref()), (0.0, None, None));
        assert!(report.notes[0].starts_with("There is no held-out image"), "{:?}", report.notes);
    }

    #[test]
    fn what_is_doubtful_is_said() {
        let held_out = [image("x", "", None), image("y", "7", None)];
        let report = of(&held_out, &[1.0, 0.0, 2.0, 0.0], &[image("s", "", None)], &[0.0, 0.0], 0.01).report;
        assert!(report.notes[0].contains("smallest of 2 held-out distances"), "{:?}", report.notes);
        assert!(report.notes[1].starts_with("1 of 2 held-out images have no patient"), "{:?}", report.notes);
    }

    #[test]
    fn copies_of_one_another_are_counted() {
        let held_out = [image("x", "3", None), image("y", "4", None), image("y2", "4", None)];
        let synthetic: Vec<Image<'_>> = ["p", "q", "r", "s"].iter().map(|id| image(id, "", None)).collect();
        // Two of them the same, far from every training image; the two of one patient don't count.
        let made = [30.0, 30.0, 30.0, 30.0, 60.0, 0.0, 0.0, 60.0];
        let repeats = of(&held_out, &[1.0, 0.0, 5.0, 5.0, 5.0, 5.0], &synthetic, &made, 0.0).report.repeats.unwrap();
        assert_eq!((repeats.synthetic.images, repeats.synthetic.repeated), (4, 2));
        let real = repeats.held_out.unwrap();
        assert_eq!((real.images, real.repeated, real.distances.least), (3, 0, 41f64.sqrt()));
    }

    #[test]
    fn the_cosine_knows_no_length() {
        let (train, made) = ([image("a", "1", None), image("b", "2", None)], [image("s", "", None)]);
        let sets = Sets { train: &train, held_out: &[], synthetic: &made };
        let [seen, none, new] = [&[3.0, 0.0, 0.0, 0.1][..], &[], &[1.0, 1.0]].map(|values| Rows::new(values, 2).unwrap());
        let pairs = compare(Space::Cosine, sets, [seen, none, new], MemorisationSettings::default()).unwrap().pairs;
        assert!((pairs[0].distance - (1.0 - 0.5f64.sqrt())).abs() < 1e-6, "{pairs:?}");
    }

    #[test]
    fn impossible_input_is_refused() {
        let (train, made) = (train(), [image("s", "", None)]);
        let sets = Sets { train: &train, held_out: &[], synthetic: &made };
        let settings = MemorisationSettings::default();
        let refused = |sets, given, settings| compare(Space::Euclidean, sets, given, settings).unwrap_err().to_string();
        let (seen, none, new) = (rows(&TRAIN), rows(&[]), rows(&[1.0, 1.0]));
        for quantile in [-0.1, 1.0, f64::NAN] {
            let error = refused(sets, [seen, none, new], MemorisationSettings { quantile });
            assert!(error.contains("write a number from 0 to below 1"), "{error}");
        }
        assert!(refused(Sets { train: &[], ..sets }, [none, none, new], settings).contains("training set has no image"));
        assert!(refused(Sets { synthetic: &[], ..sets }, [seen, none, none], settings).contains("synthetic set has no image"));
        let short = rows(&TRAIN[..4]);
        assert_eq!(
            refused(sets, [short, none, new], settings),
            "the training set has 3 images and 2 rows; give one row per image"
        );
        let wide = Rows::new(&TRAIN, 3).unwrap();
        let train = &sets.train[..2];
        assert!(refused(Sets { train, ..sets }, [wide, none, new], settings).contains("different networks"));
    }
}
