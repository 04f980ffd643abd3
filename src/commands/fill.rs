//! `roentgen fill`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use roentgen::compare::{PoolJob, RunFolder, fill};
use roentgen::config::RunConfig;
use roentgen::shard::Shard;
use roentgen::{data, progress};

use crate::cli::FillArgs;
use crate::commands::print;

pub fn run(args: &FillArgs) -> Result<ExitCode> {
    let config = RunConfig::read(&args.run)?;
    let (train, splits) = data::open(&config.data, config.preprocess)?;
    RunFolder::open(&args.out, &config, &train, &splits)?;
    let (device, _) = args.common.device.open()?;
    let bars = progress::bars(args.common.json);
    let job = PoolJob { config: &config, train: &train, splits: &splits, device: &device, folder: &args.out, progress: &bars };
    let begun = Instant::now();
    let made = fill_with_bar(&job, args.shard)?;
    let seconds = begun.elapsed().as_secs_f64();
    if args.common.json {
        let summary = serde_json::json!({ "shard": args.shard.to_string(), "made": made, "seconds": seconds });
        print(serde_json::to_string_pretty(&summary)?)?;
    } else {
        let part = if args.shard.is_whole() { String::new() } else { format!(" of shard {}", args.shard) };
        print(format!("{made} samples{part} made in {seconds:.0} s; the others were there"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes what the cache lacks and shows how far it is; the number of samples made.
pub fn fill_with_bar(job: &PoolJob<'_>, shard: Shard) -> Result<usize> {
    let bar = progress::counting(job.progress, 0, "samples");
    let made = fill(job, shard, |arm, done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(arm.to_owned());
    })?;
    bar.finish_and_clear();
    Ok(made)
}
