//! What is doubtful about a set of requests, whatever makes the images.

use std::collections::{HashMap, HashSet};

use super::SampleRequest;

/// A sentence for each: images without a label in a set that has labels, images asked for twice, and different images that start from the
/// same noise.
#[must_use]
pub fn doubts(requests: &[SampleRequest]) -> Vec<String> {
    [unlabelled(requests), repeated(requests), of_one_noise(requests)].into_iter().flatten().collect()
}

/// Requests whose labels are all missing, where others have some.
fn unlabelled(requests: &[SampleRequest]) -> Option<String> {
    let without = requests.iter().filter(|request| request.is_unlabelled()).count();
    (without > 0 && without < requests.len()).then(|| {
        format!("{without} of {} images are asked for without any label; a classifier learns nothing from them", requests.len())
    })
}

/// Requests with prompt and seed of an earlier one.
fn repeated(requests: &[SampleRequest]) -> Option<String> {
    let mut seen = HashSet::new();
    let repeated = requests.iter().filter(|request| !seen.insert((request.seed, &request.prompt))).count();
    (repeated > 0).then(|| {
        format!(
            "{repeated} of {} images repeat the prompt and the seed of another one: they are the same images again; give their rows other seeds, \
             or none",
            requests.len()
        )
    })
}

/// Requests with the seed of a request with another prompt.
fn of_one_noise(requests: &[SampleRequest]) -> Option<String> {
    let mut prompts: HashMap<u64, HashSet<&str>> = HashMap::new();
    for request in requests {
        prompts.entry(request.seed).or_default().insert(&request.prompt);
    }
    let shared: usize = prompts.values().map(HashSet::len).filter(|prompts| *prompts > 1).sum();
    (shared > 0).then(|| {
        format!(
            "{shared} of {} images start from the same noise as an image of another prompt and resemble it; give their rows seeds further apart, \
             or none",
            requests.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Label;
    use crate::supply::fake::request;

    fn asked(rows: &[(&str, u64, Label)]) -> Vec<SampleRequest> {
        let row = |(prompt, seed, label): &(&str, u64, Label)| SampleRequest {
            prompt: (*prompt).to_owned(),
            seed: *seed,
            labels: vec![Label::Missing, *label],
            ..request(0)
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn each_doubt_is_one_sentence_with_its_count() {
        use Label::{Missing, Negative, Positive};
        assert_eq!(doubts(&[]), [""; 0]);
        assert_eq!(doubts(&asked(&[("a", 0, Positive), ("a", 1, Positive), ("b", 2, Negative)])), [""; 0]);
        // A set without labels is meant to have none.
        assert_eq!(doubts(&asked(&[("a", 0, Missing), ("a", 1, Missing)])), [""; 0]);
        let all = doubts(&asked(&[("a", 0, Positive), ("a", 0, Positive), ("b", 0, Missing), ("c", 4, Negative)]));
        assert_eq!(all.len(), 3, "{all:?}");
        for (said, part) in
            all.iter().zip(["1 of 4 images are asked for without", "1 of 4 images repeat", "2 of 4 images start from"])
        {
            assert!(said.starts_with(part), "{said}");
        }
    }
}
