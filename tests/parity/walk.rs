//! Computing a topic: from its folder to verdicts and produced tensors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{Array, Case, Compute, Topic, array, device};

/// The result of one topic.
#[derive(Debug, Default)]
pub struct Walked {
    /// Cases within their tolerances, with the largest error over tolerance.
    pub passed: Vec<(String, f64)>,
    /// Other cases that were computed or should have been, and what is wrong.
    pub failed: Vec<(String, String)>,
    /// Cases whose subject is not built yet.
    pub not_built: Vec<String>,
}

/// Computes every case of the topic in `folder` but those whose name starts as one of `not_built`.
///
/// A case that panics fails, and the others go on. With `out`, what was produced is written there as `TOPIC.safetensors`, whatever
/// the verdicts are.
pub fn walk(folder: &Path, compute: Compute, not_built: &[&str], out: Option<&Path>) -> Walked {
    let mut walked = Walked::default();
    let topic = match Topic::read(folder) {
        Ok(topic) => topic,
        Err(message) => {
            walked.failed.push((folder.display().to_string(), message));
            return walked;
        }
    };
    let mut produced = Vec::new();
    for entry in topic.cases {
        let name = entry.name;
        if not_built.iter().any(|start| name.starts_with(start)) {
            walked.not_built.push(name);
            continue;
        }
        let verdict = entry.case.and_then(|case| {
            let outputs = computed(&case, compute)?;
            let verdict = case.judge(&outputs, device::allowed());
            produced.extend(outputs.into_iter().map(|(output, array)| (format!("{name}/{output}"), array)));
            verdict
        });
        match verdict {
            Ok(ratio) => walked.passed.push((name, ratio)),
            Err(message) => walked.failed.push((name, message)),
        }
    }
    if let Some(out) = out {
        let name = folder.file_name().expect("a topic has a name").to_string_lossy();
        array::write(out, &name, &produced);
    }
    walked
}

/// The outputs of a case, or why there are none.
fn computed(case: &Case, compute: Compute) -> Result<Vec<(String, Array)>, String> {
    // A panic does not affect other cases: each reads its own files.
    match catch_unwind(AssertUnwindSafe(|| compute(case))) {
        Ok(Some(outputs)) => Ok(outputs),
        Ok(None) => Err("this harness does not know the case".to_owned()),
        Err(payload) => Err(format!("panicked: {}", message(&*payload))),
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
