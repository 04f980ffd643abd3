//! From a mixture to the list of images of an epoch.

use std::sync::Arc;

use rand::seq::SliceRandom;

use crate::AugmentError;
use crate::cycle::{BalancedCycle, Cycle, rng};
use crate::mix::{Balance, EpochCounts, MAX_EPOCH, Mixture, Schedule};
use crate::record::CxrRecord;

/// One place in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Index of a real image.
    Real(usize),
    /// Index in the synthetic pool.
    Synthetic(usize),
}

#[derive(Clone, Debug)]
enum PoolOrder {
    AsPool(Cycle),
    PerFinding(BalancedCycle),
}

/// Lays out epochs: a pure function of mixture, seed, epoch and the two sizes.
///
/// Synthetic images are taken in one seeded order that continues from epoch to epoch and starts again when the pool is used up,
/// so none is taken twice before all are taken once (unless [`Balance::PerFinding`] asks for that). If an epoch has room for some
/// of the real images only, they take turns in the same way, and so do duplicated ones. Then all slots of the epoch are
/// shuffled by ChaCha8, keyed by (seed, epoch).
#[derive(Clone, Debug)]
pub struct EpochPlan {
    phases: Schedule,
    seed: u64,
    real: usize,
    turns: Cycle,
    duplicates: Cycle,
    pool: PoolOrder,
}

impl EpochPlan {
    /// A plan over `real` real images and the synthetic ones of `pool`.
    ///
    /// # Errors
    /// As [`Mixture::validate`], [`AugmentError::BadMixture`] for epochs of more than [`MAX_EPOCH`] images, and
    /// [`AugmentError::NothingToMix`] if a phase needs images of a kind that does not exist.
    pub fn new(mixture: &Mixture, seed: u64, real: usize, pool: &[Arc<CxrRecord>]) -> Result<Self, AugmentError> {
        mixture.validate()?;
        for span in mixture.phases.spans() {
            let counts = span.mode.counts(real);
            if counts.is_empty() {
                let remedy = "give a real training set, or use the mode `synthetic`";
                return Err(AugmentError::NothingToMix { kind: "real", remedy });
            }
            if counts.len() > MAX_EPOCH {
                let expected = "ratios that give an epoch at most 100000000 images";
                return Err(AugmentError::BadMixture { key: "phases".to_owned(), found: counts.len().to_string(), expected });
            }
            if counts.synthetic > 0 && pool.is_empty() {
                let remedy = "give requests and a generator or a cache, or use the mode `real-only`";
                return Err(AugmentError::NothingToMix { kind: "synthetic", remedy });
            }
        }
        let pool = match mixture.balance {
            Balance::AsPool => PoolOrder::AsPool(Cycle::new(pool.len(), seed, "pool")),
            Balance::PerFinding => {
                PoolOrder::PerFinding(BalancedCycle::new(pool.iter().map(|record| &record.labels[..]), seed, "pool"))
            }
        };
        let (turns, duplicates) = (Cycle::new(real, seed, "real"), Cycle::new(real, seed, "duplicates"));
        Ok(Self { phases: mixture.phases.clone(), seed, real, turns, duplicates, pool })
    }

    /// The make-up of an epoch.
    #[must_use]
    pub fn counts(&self, epoch: usize) -> EpochCounts {
        self.phases.mode(epoch).counts(self.real)
    }

    /// The images of an epoch, in order.
    #[must_use]
    pub fn epoch(&self, epoch: usize) -> Vec<Slot> {
        let EpochCounts { real, duplicated, synthetic } = self.counts(epoch);
        let steps = |count: fn(EpochCounts) -> usize, number: usize| {
            let start = self.phases.sum_before(epoch, self.real, count);
            start..start + number as u64
        };
        let mut slots = Vec::with_capacity(real + duplicated + synthetic);
        if real == self.real {
            slots.extend((0..real).map(Slot::Real));
        } else {
            slots.extend(steps(|counts| counts.real, real).map(|step| Slot::Real(self.turns.at(step))));
        }
        slots.extend(steps(|counts| counts.duplicated, duplicated).map(|step| Slot::Real(self.duplicates.at(step))));
        slots.extend(steps(|counts| counts.synthetic, synthetic).map(|step| {
            Slot::Synthetic(match &self.pool {
                PoolOrder::AsPool(order) => order.at(step),
                PoolOrder::PerFinding(order) => order.at(step),
            })
        }));
        slots.shuffle(&mut rng(self.seed, "epoch", epoch as u64));
        slots
    }

    /// Epoch and place in it of a position in the endless sequence of epochs 0, 1, 2, ….
    #[must_use]
    pub fn locate(&self, mut position: u64) -> (usize, usize) {
        for span in self.phases.spans() {
            let len = span.mode.counts(self.real).len() as u64;
            if span.epochs.is_none_or(|epochs| position < epochs * len) {
                return ((span.start + position / len) as usize, (position % len) as usize);
            }
            position -= span.epochs.unwrap_or(0) * len;
        }
        unreachable!("the last phase has no end")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::tests::record;
    use crate::mix::{MixMode, Phase};
    use crate::record::Label;

    fn pool(n: usize) -> Vec<Arc<CxrRecord>> {
        (0..n).map(|i| Arc::new(record(&i.to_string(), "", None))).collect()
    }

    fn plan(mixture: &Mixture, seed: u64, real: usize, synthetic: usize) -> EpochPlan {
        EpochPlan::new(mixture, seed, real, &pool(synthetic)).unwrap()
    }

    fn kinds(slots: &[Slot]) -> (usize, usize) {
        let real = slots.iter().filter(|slot| matches!(slot, Slot::Real(_))).count();
        (real, slots.len() - real)
    }

    fn mode() -> impl Strategy<Value = MixMode> {
        prop_oneof![
            Just(MixMode::RealOnly),
            (0.0..2.5).prop_map(|synthetic_per_real| MixMode::Add { synthetic_per_real }),
            (0.0..=1.0).prop_map(|fraction| MixMode::Replace { fraction }),
            (1usize..100).prop_map(|size| MixMode::Synthetic { size }),
            (0.0..2.5).prop_map(|per_real| MixMode::DuplicateReal { per_real }),
        ]
    }

    fn phases() -> impl Strategy<Value = Vec<Phase>> {
        prop::collection::vec((1usize..4, mode()).prop_map(|(epochs, mode)| Phase { epochs, mode }), 1..4)
    }

    proptest! {
        #[test]
        fn every_epoch_is_what_its_phase_asks(phases in phases(), seed: u64, real in 1usize..40, synthetic in 1usize..60) {
            let plan = plan(&Mixture::scheduled(phases.clone()), seed, real, synthetic);
            let expected = phases.iter().flat_map(|phase| std::iter::repeat_n(phase.mode, phase.epochs));
            for (epoch, mode) in expected.chain([phases.last().unwrap().mode; 2]).enumerate() {
                let counts = mode.counts(real);
                let slots = plan.epoch(epoch);
                prop_assert_eq!(kinds(&slots), (counts.real + counts.duplicated, counts.synthetic));
                let distinct: HashSet<_> = slots.iter().filter(|slot| matches!(slot, Slot::Real(_))).collect();
                prop_assert!(distinct.len() >= counts.real, "a real image occurs twice");
            }
        }

        #[test]
        fn ratio_0_is_the_real_set_in_its_order(seed: u64, real in 1usize..60, epoch in 0usize..5) {
            let plain = plan(&Mixture::new(MixMode::RealOnly), seed, real, 0).epoch(epoch);
            let each: HashSet<_> = plain.iter().copied().collect();
            prop_assert_eq!(each, (0..real).map(Slot::Real).collect::<HashSet<_>>());
            for mode in [
                MixMode::Add { synthetic_per_real: 0.0 },
                MixMode::Replace { fraction: 0.0 },
                MixMode::DuplicateReal { per_real: 0.0 },
            ] {
                prop_assert_eq!(&plan(&Mixture::new(mode), seed, real, 7).epoch(epoch), &plain);
            }
        }

        #[test]
        fn the_pool_is_used_up_before_any_sample_comes_again(phases in phases(), seed: u64, real in 1usize..30, pool in 1usize..50) {
            let plan = plan(&Mixture::scheduled(phases), seed, real, pool);
            let mut uses: HashMap<Slot, usize> = HashMap::new();
            for epoch in 0..8 {
                for slot in plan.epoch(epoch).into_iter().filter(|slot| matches!(slot, Slot::Synthetic(_))) {
                    *uses.entry(slot).or_default() += 1;
                }
                let most = uses.values().max().copied().unwrap_or(0);
                let least = if uses.len() < pool { 0 } else { uses.values().min().copied().unwrap_or(0) };
                prop_assert!(most - least <= 1, "{most} and {least} uses after epoch {epoch}");
            }
        }

        #[test]
        fn positions_run_through_the_epochs(phases in phases(), real in 1usize..20) {
            let plan = plan(&Mixture::scheduled(phases), 0, real, 5);
            let expected = (0..9).flat_map(|epoch| (0..plan.counts(epoch).len()).map(move |i| (epoch, i)));
            for (position, expected) in (0..).zip(expected) {
                prop_assert_eq!(plan.locate(position), expected);
            }
        }
    }

    #[test]
    fn replaced_real_images_take_turns() {
        let plan = plan(&Mixture::new(MixMode::Replace { fraction: 0.75 }), 1, 40, 9);
        let seen: HashSet<_> = (0..4).flat_map(|epoch| plan.epoch(epoch)).filter(|s| matches!(s, Slot::Real(_))).collect();
        assert_eq!(seen.len(), 40);
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch| plan(&Mixture::default(), seed, 50, 0).epoch(epoch);
        assert_ne!(order(0, 0), order(0, 1));
        assert_ne!(order(0, 0), order(1, 0));
    }

    #[test]
    fn balancing_asks_for_rare_findings_as_often() {
        let mut pool = pool(50);
        for record in &mut pool[..49] {
            Arc::make_mut(record).labels = vec![Label::Positive, Label::Negative];
        }
        Arc::make_mut(&mut pool[49]).labels = vec![Label::Negative, Label::Positive];
        let mixture = Mixture::new(MixMode::Synthetic { size: 60 }).with_balance(Balance::PerFinding);
        let slots = EpochPlan::new(&mixture, 5, 0, &pool).unwrap().epoch(3);
        assert_eq!(slots.iter().filter(|slot| **slot == Slot::Synthetic(49)).count(), 30);
    }

    #[test]
    fn nothing_to_mix_is_an_error() {
        let add = Mixture::new(MixMode::Add { synthetic_per_real: 1.0 });
        let error = EpochPlan::new(&add, 0, 3, &[]).unwrap_err().to_string();
        assert!(error.contains("asks for synthetic images and there are none"), "{error}");
        let error = EpochPlan::new(&Mixture::default(), 0, 0, &pool(3)).unwrap_err().to_string();
        assert!(error.contains("asks for real images and there are none"), "{error}");
        assert!(EpochPlan::new(&Mixture::new(MixMode::Synthetic { size: 9 }), 0, 0, &pool(3)).is_ok());
    }
}
