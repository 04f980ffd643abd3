//! `gate.csv`: every image that a gate judged.

use std::path::Path;

use roentgen_augment::AugmentError;
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::gate::Attempt;
use roentgen_augment::request::SampleRequest;

const HEADER: [&str; 10] =
    ["request", "source_id", "patient_id", "replica", "attempt", "seed", "passed", "faults", "nearest_real", "nearest_real_id"];

/// Writes one row an image, in the order of judging.
pub(super) fn write_attempts(path: &Path, requests: &[SampleRequest], attempts: &[Attempt]) -> Result<(), AugmentError> {
    let written = write_atomic(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(HEADER)?;
        for attempt in attempts {
            csv.write_record(row(attempt, &requests[attempt.request]))?;
        }
        csv.flush()
    });
    written.map_err(|source| AugmentError::Io { action: "write", path: path.to_owned(), source })
}

fn row(attempt: &Attempt, request: &SampleRequest) -> [String; 10] {
    let source = request.source.as_ref();
    let nearest = attempt.verdict.nearest_real.as_ref();
    let faults: Vec<_> = attempt.verdict.faults.iter().map(ToString::to_string).collect();
    [
        attempt.request.to_string(),
        source.map_or_else(String::new, |source| source.id.clone()),
        source.map_or_else(String::new, |source| source.patient_id.to_string()),
        request.replica.to_string(),
        attempt.attempt.to_string(),
        attempt.seed.to_string(),
        u8::from(attempt.verdict.passed()).to_string(),
        faults.join("; "),
        nearest.map_or_else(String::new, |nearest| nearest.distance.to_string()),
        nearest.map_or_else(String::new, |nearest| nearest.id.clone()),
    ]
}
