//! Retrieval between sets of images.

use std::collections::{BTreeSet, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::record::{Finding, Label};
use serde::{Deserialize, Serialize};

use super::category::{CategoryQueries, QuerySettings, by_category};
use super::label_set::{LabelSetQueries, by_label_set};
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
    /// Real images ask: the upper row. The findings are the same.
    pub real: QueryReport,
    /// Synthetic images ask for the same labels throughout.
    pub synthetic_label_sets: LabelSetReport,
    /// Real images do.
    pub real_label_sets: LabelSetReport,
    /// What is doubtful, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Retrieval in both sets' features. Patients of the real set are parted by the seed of the bootstrap: a fifth of them ask, the images of the
/// others are the candidates of both rows. Images without a known label take no part. Images are resampled by patient. Findings that only
/// one of the rows asks for are left out of both, so that their means are over the same ones.
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
    let all = real.vocabulary().findings();
    let known = labelled(real, all);
    let asking = asking(real, &known, settings.bootstrap.seed);
    let (queries, candidates): (Vec<usize>, Vec<usize>) =
        known.into_iter().partition(|index| asking.contains(real.patient(*index)));
    let made = labelled(synthetic, all);
    let (findings, mut notes) = compared(all, [(real, &queries), (synthetic, &made)]);
    let gallery: HashSet<&str> = candidates.iter().map(|index| real.patient(*index)).collect();
    let own = made.iter().filter(|index| gallery.contains(synthetic.patient(**index))).count();
    if own > 0 {
        notes.push(format!(
            "{own} of {} synthetic images that ask are of patients among the candidates, and may find the image that they were made from.",
            made.len()
        ));
    }

    let names: Vec<String> = findings.iter().map(|finding| finding.name().to_owned()).collect();
    let has: Vec<bool> =
        candidates.iter().flat_map(|index| findings.iter().map(|finding| shows(real, *index, *finding))).collect();
    let offered = chosen(of_real, &candidates);
    let offered = Rows::new(&offered, of_real.width()).map_err(RetrievalError::from)?;
    let theirs = label_sets(real, &candidates, all);
    let row = |set: &ImageSet, rows: Rows<'_, f32>, indices: &[usize]| -> Result<(QueryReport, LabelSetReport), QueryError> {
        let asks = indices.iter().flat_map(|index| (0..findings.len()).map(move |category| (*index, category)));
        let asks: Vec<(usize, usize)> = asks.filter(|(index, category)| shows(set, *index, findings[*category])).collect();
        let (places, categories): (Vec<usize>, Vec<usize>) = asks.into_iter().unzip();
        let patients: Vec<&str> = places.iter().map(|index| set.patient(*index)).collect();
        let values = chosen(rows, &places);
        let asked = Rows::new(&values, rows.width()).map_err(RetrievalError::from)?;
        let queries = CategoryQueries { rows: asked, categories: &categories, patients: &patients };
        let of_category = by_category(&names, queries, (offered, &has), settings)?;
        let mine = label_sets(set, indices, all);
        let values = chosen(rows, indices);
        let patients: Vec<&str> = indices.iter().map(|index| set.patient(*index)).collect();
        let rows = Rows::new(&values, rows.width()).map_err(RetrievalError::from)?;
        let queries = LabelSetQueries { rows, labels: &mine, patients: &patients };
        Ok((of_category, by_label_set(queries, (offered, &theirs), settings)?))
    };
    let (synthetic, synthetic_label_sets) = row(synthetic, of_synthetic, &made)?;
    let (real, real_label_sets) = row(real, of_real, &queries)?;
    Ok(SetRetrieval { synthetic, real, synthetic_label_sets, real_label_sets, notes })
}

/// Images with a label of one of `findings` that is known.
fn labelled(set: &ImageSet, findings: &[Finding]) -> Vec<usize> {
    let known = |index: usize, finding| matches!(set.label(index, finding), Label::Positive | Label::Negative);
    (0..set.len()).filter(|index| findings.iter().any(|finding| known(*index, *finding))).collect()
}

fn shows(set: &ImageSet, index: usize, finding: Finding) -> bool {
    set.label(index, finding) == Label::Positive
}

fn label_sets(set: &ImageSet, indices: &[usize], findings: &[Finding]) -> Vec<Vec<String>> {
    let of = |index: usize| findings.iter().filter(move |finding| shows(set, index, **finding));
    indices.iter().map(|index| of(*index).map(|finding| finding.name().to_owned()).collect()).collect()
}

/// The rows at `indices`, one after the other.
fn chosen(rows: Rows<'_, f32>, indices: &[usize]) -> Vec<f32> {
    indices.iter().flat_map(|index| rows.row(*index)).copied().collect()
}

/// The findings that both rows ask for, or the synthetic one where no real image asks at all; and what is left out, if anything is.
fn compared(findings: &[Finding], [real, synthetic]: [(&ImageSet, &Vec<usize>); 2]) -> (Vec<Finding>, Vec<String>) {
    let asks = |(set, indices): (&ImageSet, &Vec<usize>), finding| indices.iter().any(|index| shows(set, *index, finding));
    let asked: Vec<Finding> =
        findings.iter().copied().filter(|finding| asks(real, *finding) || asks(synthetic, *finding)).collect();
    if real.1.is_empty() {
        let note = "No real images stand beside it: those with labels are of fewer than two patients.".to_owned();
        return (asked, vec![note]);
    }
    let (both, one): (Vec<Finding>, Vec<Finding>) =
        asked.into_iter().partition(|finding| asks(real, *finding) && asks(synthetic, *finding));
    let left_out = one.iter().map(|finding| finding.name()).collect::<Vec<_>>().join(", ");
    let note = format!("Left out, as only real or only synthetic images ask for them: {left_out}.");
    (both, if one.is_empty() { Vec::new() } else { vec![note] })
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

    fn count(set: &ImageSet, finding: Finding) -> usize {
        (0..set.len()).filter(|index| shows(set, *index, finding)).count()
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
        let recall = |report: &LabelSetReport, k: usize| report.recall[k].unwrap().value;
        assert_eq!([0, 1].map(|k| recall(&good.synthetic_label_sets, k)), [1.0, 1.0]);
        assert!(precision(&bad.synthetic) < precision(&good.synthetic) - 0.3, "{bad:?}");
        assert!(recall(&good.synthetic_label_sets, 1) > recall(&bad.synthetic_label_sets, 1));
        let asked = |report: &QueryReport| report.categories.iter().map(|one| one.category.clone()).collect::<Vec<_>>();
        assert_eq!(asked(&good.synthetic), asked(&good.real));
        assert!(good.notes.iter().any(|note| note.contains("are of patients among the candidates")), "{:?}", good.notes);
        assert!(good.synthetic.candidates < real.len() && good.synthetic.candidates == good.real.candidates);
        // A finding that no synthetic image asks for is asked for by nobody.
        let finding = real.vocabulary().findings().iter().copied().max_by_key(|finding| count(&real, *finding)).unwrap();
        let kept: Vec<usize> = (0..made.len()).filter(|index| !shows(&made, *index, finding)).collect();
        let without = made.select(&kept);
        let (ours, theirs) = (features(&real, true), features(&without, true));
        let [ours, theirs] = [&ours, &theirs].map(|values| Rows::new(values, width).unwrap());
        let fewer = between_sets((&real, ours), (&without, theirs), &settings).unwrap();
        assert_eq!(asked(&fewer.synthetic), asked(&fewer.real));
        assert!(!asked(&fewer.real).contains(&finding.name().to_owned()));
        assert!(fewer.notes.iter().any(|note| note.contains("Left out") && note.contains(finding.name())), "{:?}", fewer.notes);
        let short = Rows::new(&[1.0f32, 2.0], 1).unwrap();
        let error = between_sets((&real, short), (&made, short), &settings).unwrap_err().to_string();
        assert_eq!(error, "2 rows for 150 images; give one each, in the same order");
    }
}
