//! Folds by patient, in which every finding is about equally frequent.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The fold of every text, from 0: all texts of a patient are in one fold.
///
/// Findings are spread over the folds, the rarest first (iterative stratification, Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1, with
/// patients in the place of examples). A function of the arguments alone.
///
/// `targets` is `[texts, findings]`, 1 for a positive.
pub(in crate::evaluation::probe) fn folds(
    patients: &[usize],
    targets: &[f64],
    findings: usize,
    count: usize,
    seed: u64,
) -> Vec<usize> {
    let groups = groups(patients, targets, findings);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut fold_of = vec![usize::MAX; groups.len()];
    // What each fold still wants: patients with each finding, and texts.
    let total = |finding: usize| groups.iter().filter(|group| group.positive[finding]).count();
    let mut wanted: Vec<Vec<f64>> = (0..findings).map(|finding| vec![total(finding) as f64 / count as f64; count]).collect();
    let mut room = vec![patients.len() as f64 / count as f64; count];
    let mut assign = |group: usize, wanted: &mut Vec<Vec<f64>>, by: Option<usize>| {
        let appetite = |fold: &usize| (by.map_or(0.0, |finding| wanted[finding][*fold]), room[*fold]);
        let mut best = 0;
        for fold in 1..count {
            if appetite(&fold) > appetite(&best) {
                best = fold;
            }
        }
        room[best] -= groups[group].texts as f64;
        for (finding, wanted) in wanted.iter_mut().enumerate() {
            wanted[best] -= f64::from(u8::from(groups[group].positive[finding]));
        }
        best
    };
    loop {
        let left =
            |finding: usize| order.iter().filter(|at| fold_of[**at] == usize::MAX && groups[**at].positive[finding]).count();
        let rarest = (0..findings).map(|finding| (left(finding), finding)).filter(|(left, _)| *left > 0).min();
        let Some((_, finding)) = rarest else { break };
        for &at in &order {
            if fold_of[at] == usize::MAX && groups[at].positive[finding] {
                fold_of[at] = assign(at, &mut wanted, Some(finding));
            }
        }
    }
    for &at in &order {
        if fold_of[at] == usize::MAX {
            fold_of[at] = assign(at, &mut wanted, None);
        }
    }
    let group_of: HashMap<usize, usize> = groups.iter().enumerate().map(|(at, group)| (group.patient, at)).collect();
    patients.iter().map(|patient| fold_of[group_of[patient]]).collect()
}

/// A patient.
struct Group {
    patient: usize,
    texts: usize,
    /// Whether any text has the finding.
    positive: Vec<bool>,
}

/// Patients in order of appearance.
fn groups(patients: &[usize], targets: &[f64], findings: usize) -> Vec<Group> {
    let (mut places, mut groups) = (HashMap::new(), Vec::new());
    for (text, &patient) in patients.iter().enumerate() {
        let place = *places.entry(patient).or_insert_with(|| {
            groups.push(Group { patient, texts: 0, positive: vec![false; findings] });
            groups.len() - 1
        });
        let group: &mut Group = &mut groups[place];
        group.texts += 1;
        for (positive, target) in group.positive.iter_mut().zip(&targets[text * findings..][..findings]) {
            *positive |= *target == 1.0;
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn patients_stay_whole_and_folds_are_of_one_size(
            patients in prop::collection::vec(0_usize..40, 30..200),
            seed in any::<u64>(),
            count in 2_usize..6,
        ) {
            let targets: Vec<f64> = patients.iter().map(|patient| f64::from(u8::from(patient % 7 == 0))).collect();
            let found = folds(&patients, &targets, 1, count, seed);
            prop_assert_eq!(&found, &folds(&patients, &targets, 1, count, seed));
            let mut seen = HashMap::new();
            let mut sizes = vec![0; count];
            for (patient, fold) in patients.iter().zip(&found) {
                prop_assert_eq!(*seen.entry(patient).or_insert(fold), fold);
                sizes[*fold] += 1;
            }
            // No fold is larger than its share and one patient.
            let largest = patients.iter().map(|one| patients.iter().filter(|other| one == *other).count()).max().unwrap();
            prop_assert!(sizes.iter().all(|size| *size <= patients.len().div_ceil(count) + 2 * largest), "{sizes:?}");
        }

        #[test]
        fn a_rare_finding_is_in_every_fold(seed in any::<u64>(), rare in 5_usize..15) {
            // 200 patients; the first `rare` have the second finding, half of all the first.
            let patients: Vec<usize> = (0..200).collect();
            let has = |patient: usize| [f64::from(u8::from(patient.is_multiple_of(2))), f64::from(u8::from(patient < rare))];
            let targets: Vec<f64> = patients.iter().flat_map(|patient| has(*patient)).collect();
            let found = folds(&patients, &targets, 2, 5, seed);
            for finding in 0..2 {
                let mut positives = [0_usize; 5];
                patients.iter().filter(|p| has(**p)[finding] == 1.0).for_each(|p| positives[found[*p]] += 1);
                let total: usize = positives.iter().sum();
                prop_assert!(positives.iter().all(|count| count.abs_diff(total / 5) <= 2), "{positives:?}");
                prop_assert!(finding == 0 || positives.iter().all(|count| *count == total / 5 || *count == total.div_ceil(5)), "{positives:?}");
            }
        }
    }
}
