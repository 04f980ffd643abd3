//! What a fine-tuning run will take.

use std::sync::Arc;

use crate::finetune::{FinetuneConfig, Strategy};
use crate::report::{FORWARD, Outlook, Work};

/// Smaller pictures make another generator.
const SMALL_PICTURE: usize = 128;

/// The outlook on a run whose validations are of `valid` images, and whose sheets are of `prompts` prompts.
pub(super) fn outlook(config: &FinetuneConfig, valid: usize, prompts: usize) -> Arc<Outlook> {
    let (schedule, samples) = (&config.schedule, &config.samples);
    let times = |every: u64| if every == 0 { 0 } else { schedule.steps.div_ceil(every) };
    // Images have no timesteps.
    let bins = if matches!(config.strategy, Strategy::Reconstruct { .. }) { 1 } else { config.validation.bins };
    // The averaged weights are validated beside those under training.
    let validated = times(config.validation.every) as usize * valid * bins * (1 + usize::from(config.ema.is_some()));
    // Guidance asks twice in every sampling step.
    let painted = times(samples.every) as usize * prompts * samples.count * samples.steps * 2;
    let judged = FORWARD * (validated + painted) as f64 / config.batch_size as f64;
    let mut cheaper = vec!["fewer `schedule.steps`"];
    if config.preprocess.size > SMALL_PICTURE {
        cheaper.push("a smaller `preprocess.size`");
    }
    if config.batch_size > 1 {
        cheaper.push("a smaller `batch_size`");
    }
    if painted > validated {
        cheaper.push("a larger `samples.every`");
    }
    Outlook::new(Work::training(1, schedule.steps as usize, judged, cheaper))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_long_run_says_what_it_will_take() {
        let text = "preset = \"roentgen-v1\"\nschedule = { steps = 3600 }\ndata = { format = \"phantom\" }\n";
        let config = FinetuneConfig::parse(text, Path::new("run.toml"), Path::new("."), &[]).unwrap();
        let outlook = outlook(&config, 0, 0);
        let began = Instant::now();
        assert_eq!(outlook.step(1, began), None);
        let said = outlook.step(2, began + Duration::from_secs(30)).unwrap();
        assert!(
            said.starts_with(
                "note: about 30 h 00 min for 1 run of 3,600 steps, at 30.0 s per step; cheaper: fewer `schedule.steps`"
            ),
            "{said}"
        );
    }
}
