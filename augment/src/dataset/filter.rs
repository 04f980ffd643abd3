//! Parts of a data set that a study asks for: some views, or one image per patient.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::record::{PatientId, Split, View};

impl CxrDataset {
    /// The rows of these views, with a note of how many others there are. A row whose view is unknown is one of the others.
    ///
    /// # Errors
    /// [`AugmentError::RowsLost`] if no row remains, or none of a split that there was.
    pub fn with_views(self, views: &[View]) -> Result<Self, AugmentError> {
        let name = |view: Option<View>| match view {
            Some(View::Pa) => "PA",
            Some(View::Ap) => "AP",
            Some(View::Lateral) => "L",
            None => "unknown",
        };
        let is_wanted = |row: &Row| row.record.view.is_some_and(|view| views.contains(&view));
        let mut others = BTreeMap::new();
        for row in self.rows().iter().filter(|row| !is_wanted(row)) {
            *others.entry(name(row.record.view)).or_insert(0usize) += 1;
        }
        let (rows, out) = (self.rows().len(), others.values().sum::<usize>());
        let others = others.iter().map(|(view, count)| format!("{count} {view}")).collect::<Vec<_>>().join(", ");
        let wanted = views.iter().map(|view| name(Some(*view))).collect::<Vec<_>>().join(", ");
        let cause = format!("{out} of {rows} images are of other views than data.views = [{wanted}] ({others})");
        self.keeping(is_wanted, &cause)
    }

    /// The first row of each patient, whole, with a note of how many others there are: the first by date where the data set has dates
    /// ([`Details::order`](crate::record::Details::order)), rows without one coming last, and else the first in the order of the rows. A
    /// row without a patient stays; so does a synthetic one, which is nobody's radiograph.
    ///
    /// # Errors
    /// [`AugmentError::RowsLost`] if no row remains of a split that there was.
    pub fn with_one_per_patient(self) -> Result<Self, AugmentError> {
        let order = |index: usize| self.rows()[index].record.details.order.unwrap_or(f64::INFINITY);
        let mut earliest: HashMap<&PatientId, usize> = HashMap::new();
        for (index, row) in self.rows().iter().enumerate() {
            let Some(patient) = real_patient(row) else { continue };
            let first = earliest.entry(patient).or_insert(index);
            if order(index).total_cmp(&order(*first)).is_lt() {
                *first = index;
            }
        }
        let is_first = |(index, row)| real_patient(row).is_none_or(|patient| earliest[patient] == index);
        let first: Vec<bool> = self.rows().iter().enumerate().map(is_first).collect();
        let (rows, out) = (first.len(), first.iter().filter(|first| !**first).count());
        let cause = format!("{out} of {rows} images are not the first of their patient (one_image_per_patient)");
        let mut first = first.into_iter();
        self.keeping(|_| first.next().unwrap_or(true), &cause)
    }

    /// The rows that `is_kept`, asked once per row in order; `cause` says why the others are left out.
    fn keeping(self, mut is_kept: impl FnMut(&Row) -> bool, cause: &str) -> Result<Self, AugmentError> {
        let kept: Vec<usize> = (0..self.rows().len()).filter(|&index| is_kept(&self.rows()[index])).collect();
        if kept.len() == self.rows().len() {
            return Ok(self);
        }
        let splits = |data: &Self| data.rows().iter().filter_map(|row| row.record.split).collect::<BTreeSet<Split>>();
        let data = self.select(&kept);
        let lost = |lost: String| AugmentError::RowsLost {
            name: self.name().to_owned(),
            cause: cause.to_owned(),
            lost,
            remedy: "ask for less in [data]",
        };
        if kept.is_empty() {
            return Err(lost("nothing is left".to_owned()));
        }
        if let Some(split) = splits(&self).difference(&splits(&data)).next() {
            return Err(lost(format!("nothing is left of the {split} split")));
        }
        Ok(data.with_note(format!("{cause} and are left out")))
    }
}

/// The patient whose radiograph the row is.
fn real_patient(row: &Row) -> Option<&PatientId> {
    row.record.patient_id.as_ref().filter(|_| !row.record.origin.is_synthetic())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::dataset::tests::{dataset, record};
    use crate::record::CxrRecord;

    fn rows(of: &[(&str, Option<View>, Option<Split>)]) -> CxrDataset {
        let record = |(i, (patient, view, split)): (usize, &(&str, Option<View>, Option<Split>))| CxrRecord {
            view: *view,
            ..record(&format!("r{i}"), patient, *split)
        };
        dataset(of.iter().enumerate().map(record).collect()).unwrap()
    }

    fn ids(data: &CxrDataset) -> Vec<&str> {
        data.rows().iter().map(|row| row.record.id.as_str()).collect()
    }

    #[test]
    fn other_and_unknown_views_are_left_out_and_counted() {
        let data = rows(&[
            ("1", Some(View::Pa), None),
            ("2", Some(View::Lateral), None),
            ("3", None, None),
            ("4", Some(View::Ap), None),
        ]);
        let kept = data.clone().with_views(&[View::Pa, View::Ap]).unwrap();
        assert_eq!(ids(&kept), ["r0", "r3"]);
        let said = "2 of 4 images are of other views than data.views = [PA, AP] (1 L, 1 unknown) and are left out";
        assert_eq!(kept.notes(), [said]);
        let all = data.with_views(&[View::Pa, View::Ap, View::Lateral]).unwrap();
        assert_eq!((all.rows().len(), all.notes().len()), (3, 1));
    }

    #[test]
    fn a_split_that_a_filter_would_empty_is_refused() {
        let (train, valid) = (Some(Split::Train), Some(Split::Valid));
        let data = rows(&[("1", Some(View::Pa), train), ("2", Some(View::Lateral), valid)]);
        let error = data.clone().with_views(&[View::Pa]).unwrap_err().to_string();
        assert!(error.contains("nothing is left of the valid split"), "{error}");
        let error = data.with_views(&[View::Ap]).unwrap_err().to_string();
        assert!(error.contains("2 of 2 images") && error.contains("nothing is left;"), "{error}");
        let data = rows(&[("1", None, train), ("1", None, valid)]);
        assert!(data.with_one_per_patient().unwrap_err().to_string().contains("the valid split"));
    }

    #[test]
    fn rows_without_a_patient_and_whole_sets_stay_without_a_note() {
        let data = rows(&[("", None, None), ("", None, None), ("1", None, None)]).with_one_per_patient().unwrap();
        assert_eq!((data.rows().len(), data.notes().len()), (3, 0));
    }

    proptest! {
        #[test]
        fn one_image_of_every_patient_is_its_first(
            of in prop::collection::vec((0u8..6, prop::option::of(0u8..4)), 1..40),
            blank in any::<u8>(),
        ) {
            let name = |patient: u8| if patient == blank % 6 { String::new() } else { patient.to_string() };
            let records = of.iter().enumerate().map(|(at, (patient, date))| {
                let mut record = record(&format!("r{at}"), &name(*patient), None);
                record.details.order = date.map(f64::from);
                record
            });
            let data = dataset(records.collect()).unwrap();
            let kept = data.clone().with_one_per_patient().unwrap();
            // No other image of the patient has an earlier date, or the same one in an earlier row.
            let key = |at: usize| (of[at].1.map_or(u8::MAX, |date| date), at);
            let expected: Vec<usize> = (0..of.len())
                .filter(|&at| name(of[at].0).is_empty() || (0..of.len()).all(|other| of[other].0 != of[at].0 || key(at) <= key(other)))
                .collect();
            prop_assert_eq!(kept.rows().len(), expected.len());
            for (row, index) in kept.rows().iter().zip(expected) {
                // The record as it was, not one put together of several rows.
                prop_assert!(std::sync::Arc::ptr_eq(&row.record, data.record(index)));
                prop_assert_eq!(row.image, data.rows()[index].image);
            }
        }
    }
}
