//! `roentgen merge`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::adapters::write_merged;
use roentgen::hub::{Asked, Want};

use crate::cli::MergeArgs;
use crate::commands::progress::Bars;
use crate::commands::{print, settle};

pub fn run(args: &MergeArgs) -> Result<ExitCode> {
    if args.lora.is_empty() && args.embedding.is_empty() {
        bail!("there is nothing to merge; give --lora FILE[:SCALE] or --embedding FILE");
    }
    args.check()?;
    let mut place = args.pipeline.clone();
    settle(vec![Asked { key: "--pipeline", place: &mut place, want: Want::Pipeline }], args.json)?;
    let bars = Bars::new(args.json);
    let task = bars.begin(&format!("merging into {place}"), 0, "parts");
    write_merged(&place.path(), &args.lora, &args.embedding, &args.out, |step| task.message(step))?;
    drop(task);
    if args.json {
        print(serde_json::to_string_pretty(&serde_json::json!({ "pipeline": args.out }))?)?;
    } else {
        print(format!("pipeline: {}", args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
