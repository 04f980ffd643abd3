//! Retrieval between sets of images.

use std::collections::{BTreeSet, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::record::{Finding, Label};
use serde::{Deserialize, Serialize};

use super::category::{CategoryQueries, QuerySettings, by_category};
use super::label_set::by_label_set;
use super::report::{LabelSetReport, QueryError, QueryReport};
use crate::evaluation::Rows;
use crate::evaluation::images::ImageSet;
use crate::evaluation::retrieval::RetrievalError;

/// One in so many patients of the real set asks; the others' images are the candidates.
const ASKING: usize = 5;

/// What synthetic images find among real ones, beside what real images of other patients find there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetRetrieval {
    /// Synthetic images ask, once for each finding that they were asked to show.
    pub synthetic: QueryReport,
    /// Real images ask: the upper row.
    pub real: QueryReport,
    /// Synthetic images ask for the same labels throughout.
    pub synthetic_label_sets: LabelSetReport,
    /// Real images do.
    pub real_label_sets: LabelSetReport,
}

/// Retrieval in both sets' features. Patients of the real set are parted by the seed of the bootstrap: a fifth of them ask, the images of the
/// others are the candidates of both rows. Images without a known label take no part. Images are resampled by patient.
///
/// # Errors
/// As [`by_category`]; [`QueryError::Count`] for rows that are not one per image.
pub fn between_sets(
    (real, of_real): (&ImageSet, Rows<'_, f32>),
    (synthetic, of_synthetic): (&ImageSet, Rows<'_, f32>),
    settings: &QuerySettings,
) -> Result<SetRetrieval, QueryError> {
    for (set, rows) in [(real, of_real), (synthetic, of_synthetic)] {
        if set.len() != rows.len() {
            return Err(QueryError::Count { what: "rows", found: rows.len(), expected: format!("{} images", set.len()) });
        }
    }
    let findings: Vec<Finding> = real.vocabulary().findings().to_vec();
    let labelled = |set: &ImageSet, index: usize| {
        findings.iter().any(|finding| matches!(set.label(index, *finding), Label::Positive | Label::Negative))
    };
    let known: Vec<usize> = (0..real.len()).filter(|&index| labelled(real, index)).collect();
    let asking = asking(real, &known, settings.bootstrap.seed);
    let (queries, candidates): (Vec<usize>, Vec<usize>) =
        known.into_iter().partition(|index| asking.contains(real.patient(*index)));
    let made: Vec<usize> = (0..synthetic.len()).filter(|&index| labelled(synthetic, index)).collect();

    let names: Vec<String> = findings.iter().map(|finding| finding.name().to_owned()).collect();
    let shows = |set: &ImageSet, index: usize, finding: &Finding| set.label(index, *finding) == Label::Positive;
    let has: Vec<bool> =
        candidates.iter().flat_map(|index| findings.iter().map(|finding| shows(real, *index, finding))).collect();
    let chosen = |rows: Rows<'_, f32>, indices: &[usize]| -> Vec<f32> {
        indices.iter().flat_map(|index| rows.row(*index)).copied().collect()
    };
    let offered = chosen(of_real, &candidates);
    let offered = Rows::new(&offered, of_real.width()).map_err(RetrievalError::from)?;
    let row = |set: &ImageSet, rows: Rows<'_, f32>, indices: &[usize]| -> Result<(QueryReport, LabelSetReport), QueryError> {
        let asks = indices.iter().flat_map(|index| (0..findings.len()).map(move |category| (*index, category)));
        let asks: Vec<(usize, usize)> = asks.filter(|(index, category)| shows(set, *index, &findings[*category])).collect();
        let (places, categories): (Vec<usize>, Vec<usize>) = asks.into_iter().unzip();
        let patients: Vec<&str> = places.iter().map(|index| set.patient(*index)).collect();
        let values = chosen(rows, &places);
        let asked = Rows::new(&values, rows.width()).map_err(RetrievalError::from)?;
        let queries = CategoryQueries { rows: asked, categories: &categories, patients: &patients };
        let of_category = by_category(&names, queries, (offered, &has), settings)?;
        let labels = |set: &ImageSet, indices: &[usize]| -> Vec<Vec<String>> {
            let of = |index: usize| findings.iter().filter(move |finding| shows(set, index, finding));
            indices.iter().map(|index| of(*index).map(|finding| finding.name().to_owned()).collect()).collect()
        };
        let (mine, theirs) = (labels(set, indices), labels(real, &candidates));
        let values = chosen(rows, indices);
        let all = Rows::new(&values, rows.width()).map_err(RetrievalError::from)?;
        Ok((of_category, by_label_set((all, &mine), (offered, &theirs), &settings.ks)?))
    };
    let (synthetic, synthetic_label_sets) = row(synthetic, of_synthetic, &made)?;
    let (real, real_label_sets) = row(real, of_real, &queries)?;
    Ok(SetRetrieval { synthetic, real, synthetic_label_sets, real_label_sets })
}

/// A fifth of the patients, at least one where there are two.
fn asking<'a>(set: &'a ImageSet, images: &[usize], seed: u64) -> HashSet<&'a str> {
    let patients: BTreeSet<&str> = images.iter().map(|index| set.patient(*index)).collect();
    let mut patients: Vec<&str> = patients.into_iter().collect();
    patients.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let count = if patients.len() < 2 { 0 } else { patients.len().div_ceil(ASKING) };
    patients.into_iter().take(count).collect()
}

#[cfg(test)]
mod tests {
    use roentgen_augment::dataset::CxrDataset;
    use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
    use roentgen_classifier::metrics::Bootstrap;

    use super::*;
    use crate::evaluation::images::Wanted;

    fn phantoms(seed: u64) -> ImageSet {
        let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(150, 32, seed)).unwrap();
        ImageSet::of(CxrDataset::from_phantom(phantoms).unwrap(), Wanted::Real(None)).unwrap()
    }

    /// The labels themselves as features, or nothing of them.
    fn features(set: &ImageSet, honest: bool) -> Vec<f32> {
        let findings = set.vocabulary().findings();
        let value = |index: usize, place: usize| {
            let shown = honest && set.label(index, findings[place]) == Label::Positive;
            f32::from(u8::from(shown)) + 0.01 * (1 + (index * 7 + place * 3) % 5) as f32
        };
        (0..set.len())
            .flat_map(|index| (0..findings.len()).map(move |place| (index, place)))
            .map(|(i, p)| value(i, p))
            .collect()
    }

    #[test]
    fn features_that_know_the_labels_find_them() {
        let (real, made) = (phantoms(1), phantoms(2));
        let width = real.vocabulary().len();
        let settings = QuerySettings { ks: vec![1, 5], bootstrap: Bootstrap { replicates: 50, seed: 4 } };
        let of = |honest: bool| {
            let (ours, theirs) = (features(&real, true), features(&made, honest));
            let [ours, theirs] = [&ours, &theirs].map(|values| Rows::new(values, width).unwrap());
            between_sets((&real, ours), (&made, theirs), &settings).unwrap()
        };
        let (good, bad) = (of(true), of(false));
        let precision = |report: &QueryReport| report.macro_precision[0].unwrap().value;
        // Not 1: with two findings, images that have but one of them may be nearer than others with both.
        let chance = good.synthetic.chance.unwrap();
        assert!(precision(&good.synthetic) > 4.0 * chance && precision(&good.real) > 4.0 * chance, "{good:?}");
        assert_eq!(good.synthetic_label_sets.recall, [1.0, 1.0]);
        assert!(precision(&bad.synthetic) < precision(&good.synthetic) - 0.3, "{bad:?}");
        assert!(good.synthetic_label_sets.recall[1] > bad.synthetic_label_sets.recall[1]);
        assert!(good.synthetic.candidates < real.len() && good.synthetic.candidates == good.real.candidates);
        let short = Rows::new(&[1.0f32, 2.0], 1).unwrap();
        let error = between_sets((&real, short), (&made, short), &settings).unwrap_err().to_string();
        assert_eq!(error, "2 rows for 150 images; give one each, in the same order");
    }
}
