//! The cases of networks in brain floats: judged by the numbers of the tree, which are of 32 bits, and beside what PyTorch's autocast
//! makes of the same cases (`brain.py`).

use std::collections::BTreeMap;

use burn::tensor::FloatDType;
use roentgen_classifier::training::Precision;
use serde::Deserialize;

use super::{Array, Case, Outputs, Topic, announce, classifier, device, fixtures, text_encoders, training, unet};

/// A rounding to a brain float is this much larger than one to a 32-bit float: 8 bits of mantissa, not 24.
///
/// To first order an output's error is a sum over all roundings on its way, each times what the network makes of it, so it is
/// proportional to their size. The tree knows that sum for 24 bits (`noise32`): for 8 bits it is so many times larger. This is an upper
/// estimate with nothing tuned, as the sums of products and the statistics of norms are still rounded to 24.
const COARSER: f64 = 65_536.0;

/// Our distance from the tree over PyTorch's. Both round the same tensors, in other places: two draws of one kind, whose norms are of
/// few numbers for the smallest outputs.
const BESIDE_TORCH: f64 = 2.0;

/// Distances of PyTorch's results, as shares of the outputs' norms, by case and output.
#[derive(Deserialize)]
struct Torch {
    cases: BTreeMap<String, BTreeMap<String, f64>>,
}

/// The cases of a topic; none on a device without brain floats, which is said.
fn cases(topic: &str) -> Vec<Case> {
    if !device::has_brain_floats() {
        announce(&format!("not run on {}: {topic} in brain floats, which it lacks", device::name()));
        return Vec::new();
    }
    let topic = Topic::read(&fixtures().join(topic)).unwrap();
    topic.cases.into_iter().map(|entry| entry.case.unwrap()).collect()
}

fn found<'a>(outputs: &'a Outputs, name: &str) -> &'a Array {
    &outputs.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} is missing")).1
}

/// The norm of the difference over that of what is expected.
fn distance(got: &Array, expected: &Array) -> f64 {
    assert_eq!(got.shape, expected.shape);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let differences = norm(&mut got.values.iter().zip(&expected.values).map(|(got, expected)| got - expected));
    differences / norm(&mut expected.values.iter().copied())
}

/// The largest difference over the largest that roundings to 8 bits explain.
fn over_bound(case: &Case, name: &str, got: &Array) -> f64 {
    let expected = case.expected(name);
    let largest = got.values.iter().zip(&expected.values).map(|(got, expected)| (got - expected).abs()).fold(0.0, f64::max);
    largest / (COARSER * case.noise32(name).expect("the tree knows the noise of this output"))
}

/// What was seen of an output, and whether it is within its bounds.
struct Seen(Vec<String>, bool);

impl Seen {
    fn add(&mut self, case: &Case, name: &str, [ratio, most]: [f64; 2], kind: &str) {
        let is_good = ratio <= most;
        let mark = if is_good { "ok " } else { "BAD" };
        self.0.push(format!("{mark} {} {name}: {ratio:.3} {kind}", case.name));
        self.1 &= is_good;
    }

    fn assert_good(self) {
        println!("{}", self.0.join("\n"));
        assert!(self.1 && self.0.is_empty() != device::has_brain_floats(), "{}", self.0.join("\n"));
    }
}

#[test]
fn classifiers_in_brain_floats_are_as_near_as_pytorchs() {
    let torch: Torch = serde_json::from_str(include_str!("brain.json")).unwrap();
    let mut seen = Seen(Vec::new(), true);
    for case in cases("08_classifier") {
        let Some(theirs) = torch.cases.get(&case.name) else { continue };
        let outputs = classifier::compute_in(&case, Precision::Bf16).unwrap();
        for (name, theirs) in theirs {
            let got = found(&outputs, name);
            let ours = distance(got, case.expected(name));
            // Equal numbers would mean that nothing was computed in brain floats.
            assert!(ours > 1e-4, "{} {name}: {ours:e}", case.name);
            seen.add(&case, name, [ours / theirs, BESIDE_TORCH], "times PyTorch's distance");
        }
    }
    assert!(torch.cases.len() >= 7);
    seen.assert_good();
}

#[test]
fn classifiers_in_brain_floats_are_within_their_rounding() {
    let mut seen = Seen(Vec::new(), true);
    for case in cases("08_classifier") {
        // Gradients and what follows from them are not proportional to roundings: in 8 bits some values change their side of ReLU's kink or
        // are no longer the largest of their window, in 24 none does. They are compared with PyTorch's alone.
        if case.optional_input("image").is_none() {
            continue;
        }
        let outputs = classifier::compute_in(&case, Precision::Bf16).unwrap();
        for name in case.output_names() {
            seen.add(&case, name, [over_bound(&case, name, found(&outputs, name)), 1.0], "of the bound");
        }
    }
    seen.assert_good();
}

/// Roundings of a text encoder's embeddings over those that the tree knows of: a sum in 32 bits, whose two terms are weights as they are. In
/// 8 bits the terms are rounded, too.
const OF_EMBEDDINGS: f64 = 3.0;

/// Every output of every case of a topic, with the values between.
fn within_rounding(topic: &str, compute: fn(&Case, FloatDType) -> Option<Outputs>) {
    let mut seen = Seen(Vec::new(), true);
    for case in cases(topic) {
        let outputs = compute(&case, FloatDType::BF16).unwrap();
        for name in case.output_names() {
            let most = if name == "hidden_states.0" { OF_EMBEDDINGS } else { 1.0 };
            seen.add(&case, name, [over_bound(&case, name, found(&outputs, name)), most], "of the bound");
        }
    }
    seen.assert_good();
}

#[test]
fn the_unet_in_brain_floats_is_within_its_rounding() {
    within_rounding("04_unet", unet::compute_in);
}

#[test]
fn text_encoders_in_brain_floats_are_within_their_rounding() {
    within_rounding("02_text_encoders", text_encoders::compute_in);
}

#[test]
fn fine_tuning_in_brain_floats_is_within_its_rounding() {
    let mut seen = Seen(Vec::new(), true);
    for case in cases("07_training").into_iter().filter(|case| case.params.get("steps").is_some()) {
        let outputs = training::train(&case, Precision::Bf16);
        for name in ["losses", "grad_norms", "first_step_grad_norms"] {
            if case.output_names().any(|output| output == name) {
                seen.add(&case, name, [over_bound(&case, name, found(&outputs, name)), 1.0], "of the bound");
            }
        }
    }
    seen.assert_good();
}
