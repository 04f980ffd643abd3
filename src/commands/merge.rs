//! `roentgen merge`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::adapters::{adapter_places, write_merged};
use roentgen::hub::{Asked, Want};

use crate::cli::MergeArgs;
use crate::commands::progress::Bars;
use crate::commands::{print, settle};

pub fn run(args: &MergeArgs) -> Result<ExitCode> {
    if args.lora.is_empty() && args.embedding.is_empty() {
        bail!("there is nothing to merge; give --lora FILE[:SCALE] or --embedding FILE");
    }
    args.check()?;
    let MergeArgs { pipeline: mut place, lora: mut loras, embedding: mut embeddings, .. } = args.clone();
    let base = Asked::new("--pipeline", &mut place, Want::Pipeline);
    settle([base].into_iter().chain(adapter_places("--", &mut loras, &mut embeddings)).collect(), args.json)?;
    let bars = Bars::new(args.json);
    let task = bars.begin(&format!("merging into {place}"), 0, "parts");
    write_merged(&place.path(), &loras, &embeddings, &args.out, |step| task.message(step))?;
    drop(task);
    if args.json {
        print(serde_json::to_string_pretty(&serde_json::json!({ "pipeline": args.out }))?)?;
    } else {
        print(format!("pipeline: {}", args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
