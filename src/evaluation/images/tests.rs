use std::sync::Arc;

use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::Target;

use super::*;

/// One image with the labels positive, negative, uncertain and blank.
fn set() -> ImageSet {
    let vocabulary = Arc::new(Vocabulary::parse(["Mass", "Edema", "Nodule", "Hernia"]).unwrap());
    let labels = vec![Label::Positive, Label::Negative, Label::Uncertain, Label::Missing];
    let record = CxrRecord::real("a".to_owned(), None, labels);
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(1, 32, 7)).unwrap();
    let image = roentgen_augment::image::ImageFunction::new("phantom", move |at| phantoms.image(at));
    let data = CxrDataset::from_records("one", vocabulary, vec![record], Arc::new(image)).unwrap();
    ImageSet::of(data, Wanted::Real(None)).unwrap()
}

#[test]
fn uncertain_and_blank_labels_count_as_the_policy_says() {
    let targets = |set: &ImageSet| set.targets(0).map(|target| (!target.is_nan()).then_some(target)).collect::<Vec<_>>();
    assert_eq!(targets(&set()), [Some(1.0), Some(0.0), None, None]);
    let policy = LabelPolicy { uncertain: Target::One, blank: Target::Zero, ..LabelPolicy::default() };
    assert_eq!(targets(&set().with_policy(policy).select(&[0])), [Some(1.0), Some(0.0), Some(1.0), Some(0.0)]);
}
