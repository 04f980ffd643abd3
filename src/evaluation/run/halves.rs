//! Halves of a set of images that share no patient.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::digest::Fingerprint;

/// Images of one set by the people whom they show.
#[derive(Debug)]
pub(super) struct Groups {
    /// Images of each person, in the order of first images.
    people: Vec<Vec<usize>>,
    images: usize,
}

impl Groups {
    /// Of images `0..patients.len()`.
    pub(super) fn of<'a>(patients: impl IntoIterator<Item = &'a str>) -> Self {
        let mut places = std::collections::HashMap::new();
        let mut people: Vec<Vec<usize>> = Vec::new();
        let mut images = 0;
        for (image, patient) in patients.into_iter().enumerate() {
            let place = *places.entry(patient).or_insert(people.len());
            match people.get_mut(place) {
                Some(person) => person.push(image),
                None => people.push(vec![image]),
            }
            images += 1;
        }
        Self { people, images }
    }

    /// How many people there are.
    pub(super) fn people(&self) -> usize {
        self.people.len()
    }

    /// Two sets of at most `most` images without a person in both, drawn for `seed` and `split`.
    pub(super) fn halves(&self, most: usize, (seed, split): (u64, usize)) -> [Vec<usize>; 2] {
        let mut halves = [Vec::new(), Vec::new()];
        for person in self.shuffled("halves", (seed, split)) {
            // The smaller one takes the next person.
            let [first, second] = &mut halves;
            if first.len() <= second.len() { first.extend(person) } else { second.extend(person) }
        }
        halves.map(|half| half.into_iter().take(most).collect())
    }

    /// At most `most` images of some people, drawn for `seed` and `split`.
    pub(super) fn part(&self, most: usize, (seed, split): (u64, usize)) -> Vec<usize> {
        self.shuffled("part", (seed, split)).into_iter().flatten().copied().take(most).collect()
    }

    /// At most how many images both halves have: where one person has most of them, fewer than half.
    pub(super) fn half(&self) -> usize {
        let largest = self.people.iter().map(Vec::len).max().unwrap_or_default();
        (self.images / 2).min(self.images - largest)
    }

    fn shuffled(&self, what: &str, (seed, split): (u64, usize)) -> Vec<&Vec<usize>> {
        let parts = [b"roentgen evaluation 1", what.as_bytes(), &seed.to_le_bytes()[..], &(split as u64).to_le_bytes()];
        let mut random = ChaCha8Rng::from_seed(Fingerprint::of(&parts).0);
        let mut people: Vec<&Vec<usize>> = self.people.iter().collect();
        people.shuffle(&mut random);
        people
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_person_is_in_both(patients in prop::collection::vec("[a-f]", 2..40), seed: u64, most in 1usize..30) {
            let groups = Groups::of(patients.iter().map(String::as_str));
            let [a, b] = groups.halves(most, (seed, 0));
            let people = |half: &[usize]| half.iter().map(|&image| patients[image].clone()).collect::<HashSet<_>>();
            prop_assert!(people(&a).is_disjoint(&people(&b)));
            prop_assert!(a.len() <= most && b.len() <= most);
            prop_assert_eq!(groups.halves(most, (seed, 0)), [a, b]);
            let part = groups.part(most, (seed, 1));
            prop_assert_eq!(part.len(), most.min(patients.len()));
            prop_assert_eq!(part.iter().collect::<HashSet<_>>().len(), part.len());
        }
    }

    #[test]
    fn images_of_nobody_are_halved_evenly() {
        let names: Vec<String> = (0..11).map(|i| i.to_string()).collect();
        let groups = Groups::of(names.iter().map(String::as_str));
        let [a, b] = groups.halves(5, (1, 3));
        assert_eq!((a.len(), b.len(), groups.half(), groups.people()), (5, 5, 5, 11));
        assert_ne!(groups.halves(5, (1, 4)), [a, b]);
    }
}
