//! `roentgen fill`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use roentgen::compare::{self, Filled, PoolJob};
use roentgen::config::RunConfig;
use roentgen::generate::Shard;
use roentgen::run_folder::{StudyCommand, StudyStart};

use crate::cli::{Common, FillArgs};
use crate::commands::progress::Bars;
use crate::commands::{open_study, print, say_notes, settle, study_data, study_device};

pub fn run(args: &FillArgs) -> Result<ExitCode> {
    let mut config = RunConfig::read(&args.run)?;
    settle(config.checkpoints(), args.common.json)?;
    let begun = Instant::now();
    let Filled { made, notes } = fill(&config, &args.out, args.shard, &args.common)?;
    say_notes(&notes);
    let seconds = begun.elapsed().as_secs_f64();
    if args.common.json {
        let summary = serde_json::json!({ "shard": args.shard.to_string(), "made": made, "seconds": seconds, "notes": notes });
        print(serde_json::to_string_pretty(&summary)?)?;
    } else if config.generator.as_ref().is_some_and(|generator| generator.images.is_some()) {
        print("nothing to make: the images exist already")?;
    } else {
        let part = if args.shard.is_whole() { String::new() } else { format!(" of shard {}", args.shard) };
        print(format!("{made} samples{part} made in {seconds:.0} s; the others existed"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the samples of every arm that the run folder `out` lacks, or a shard of them; their number.
pub fn fill(config: &RunConfig, out: &Path, shard: Shard, common: &Common) -> Result<Filled> {
    let (device, opened) = study_device(config, common.device)?;
    let study = study_data(config, opened)?;
    let bars = Bars::new(common.json);
    let start = StudyStart { command: StudyCommand::Fill, config, study: &study };
    let _shared = open_study(&start, out, &bars)?;
    let job = PoolJob { config, study: &study, device: &device, folder: out, progress: &bars };
    Ok(compare::fill(&job, shard)?)
}
