//! Which images of a pool an arm draws from.

use std::collections::BTreeMap;

use super::ImagePool;
use crate::AugmentError;
use crate::cycle::{BalancedCycle, Cycle};
use crate::record::Finding;
use crate::request::{LabelPlan, shows};

impl ImagePool {
    /// `n` of the images by a plan of labels, or as many as the plan counts; none twice. Of two choices by one plan and seed, the smaller
    /// is the beginning of the larger.
    ///
    /// # Errors
    /// [`AugmentError::TooFewImages`] if there are fewer; [`AugmentError::BadSetting`] for a finding of which the plan counts more.
    pub fn choose(&self, plan: &LabelPlan, n: usize, seed: u64) -> Result<Self, AugmentError> {
        let available = self.data.rows().len();
        let labels = || self.data.rows().iter().map(|row| &row.record.labels[..]);
        let chosen: Vec<usize> = match plan {
            LabelPlan::Prevalence => Cycle::new(available, seed, "images").rows().iter().copied().take(n).collect(),
            LabelPlan::Balanced => BalancedCycle::new(labels(), seed, "balanced images").distinct().take(n).collect(),
            LabelPlan::Counts(counts) => return Ok(Self { data: self.data.select(&self.counted(counts, seed)?) }),
        };
        if chosen.len() < n {
            return Err(AugmentError::TooFewImages { name: self.data.name().to_owned(), wanted: n, available });
        }
        Ok(Self { data: self.data.select(&chosen) })
    }

    /// Findings with fewer images choose first, since an image of several counts for one.
    fn counted(&self, counts: &BTreeMap<Finding, usize>, seed: u64) -> Result<Vec<usize>, AugmentError> {
        let (rows, vocabulary) = (self.data.rows(), self.data.vocabulary());
        let with = |finding| (0..rows.len()).filter(|&row| shows(&rows[row].record.labels, finding, vocabulary)).collect();
        let mut groups: Vec<(Finding, usize, Vec<usize>)> =
            counts.iter().map(|(&finding, &count)| (finding, count, with(finding))).collect();
        groups.sort_by_key(|(_, _, rows)| rows.len());
        let mut taken = vec![false; rows.len()];
        let mut chosen = Vec::new();
        for (group, (finding, count, with)) in (1..).zip(groups) {
            let free: Vec<usize> = with.iter().copied().filter(|&row| !taken[row]).collect();
            if free.len() < count {
                let expected = format!(
                    "at most {}: {} images of {} show it, and an image counts for one finding",
                    free.len(),
                    with.len(),
                    self.data.name()
                );
                return Err(AugmentError::setting(format!("plan.counts.{finding}"), count, expected));
            }
            for &row in &Cycle::over(free, seed, "counted images", group).rows()[..count] {
                taken[row] = true;
                chosen.push(row);
            }
        }
        Ok(chosen)
    }
}
