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
}

impl Groups {
    /// Of images `0..patients.len()`.
    pub(super) fn of<'a>(patients: impl IntoIterator<Item = &'a str>) -> Self {
        let mut places = std::collections::HashMap::new();
        let mut people: Vec<Vec<usize>> = Vec::new();
        for (image, patient) in patients.into_iter().enumerate() {
            let place = *places.entry(patient).or_insert(people.len());
            match people.get_mut(place) {
                Some(person) => person.push(image),
                None => people.push(vec![image]),
            }
        }
        Self { people }
    }

    /// How many people there are.
    pub(super) fn people(&self) -> usize {
        self.people.len()
    }

    /// For each of `splits`, two sets of images without a person in both, drawn for `seed`. All have one length, at most `most`: what two
    /// sets of unlike length show can't be compared.
    pub(super) fn halves(&self, most: usize, seed: u64, splits: usize) -> Vec<[Vec<usize>; 2]> {
        let mut all: Vec<[Vec<usize>; 2]> = (0..splits).map(|split| self.halved((seed, split))).collect();
        let shortest = all.iter().flatten().map(Vec::len).min().unwrap_or_default().min(most);
        all.iter_mut().flatten().for_each(|half| half.truncate(shortest));
        all
    }

    fn halved(&self, drawn: (u64, usize)) -> [Vec<usize>; 2] {
        let mut halves = [Vec::new(), Vec::new()];
        for person in self.shuffled("halves", drawn) {
            // The smaller one takes the next person.
            let [first, second] = &mut halves;
            if first.len() <= second.len() { first.extend(person) } else { second.extend(person) }
        }
        halves
    }

    /// At most `most` images of some people, drawn for `seed` and `split`.
    pub(super) fn part(&self, most: usize, (seed, split): (u64, usize)) -> Vec<usize> {
        self.shuffled("part", (seed, split)).into_iter().flatten().copied().take(most).collect()
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
            let halves = groups.halves(most, seed, 5);
            let people = |half: &[usize]| half.iter().map(|&image| patients[image].clone()).collect::<HashSet<_>>();
            let length = halves[0][0].len();
            for [a, b] in &halves {
                prop_assert!(people(a).is_disjoint(&people(b)));
                prop_assert!(a.len() == length && b.len() == length && length <= most);
            }
            prop_assert_eq!(groups.halves(most, seed, 5), halves);
            let part = groups.part(most, (seed, 1));
            prop_assert_eq!(part.len(), most.min(patients.len()));
            prop_assert_eq!(part.iter().collect::<HashSet<_>>().len(), part.len());
        }
    }

    #[test]
    fn images_of_nobody_are_halved_evenly() {
        let names: Vec<String> = (0..11).map(|i| i.to_string()).collect();
        let groups = Groups::of(names.iter().map(String::as_str));
        let halves = groups.halves(9, 1, 2);
        assert_eq!((halves[0][0].len(), halves[1][1].len(), groups.people()), (5, 5, 11));
        assert_ne!(halves[0], halves[1]);
    }

    #[test]
    fn one_person_with_most_images_leaves_short_halves_of_one_length() {
        let groups = Groups::of(["a", "a", "a", "a", "a", "a", "a", "a", "b", "c"]);
        for [a, b] in groups.halves(5, 1, 20) {
            assert_eq!((a.len(), b.len()), (1, 1));
        }
    }
}
