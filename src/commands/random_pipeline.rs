//! `roentgen dev random-pipeline`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::diffusion::pipeline::{RandomSize, write_random_pipeline};

use crate::cli::{RandomPipelineArgs, RandomSizeChoice};
use crate::commands::print;
use crate::commands::progress::Bars;

pub fn run(args: &RandomPipelineArgs) -> Result<ExitCode> {
    if args.out.join("model_index.json").exists() {
        bail!("{} holds a pipeline already; give another folder", args.out.display());
    }
    let size = match args.size {
        RandomSizeChoice::Tiny => RandomSize::Tiny,
        RandomSizeChoice::Sd14 => RandomSize::Sd14,
    };
    let bars = Bars::new(false);
    let task = bars.begin("drawing weights", 0, "parts");
    write_random_pipeline(&args.out, size, args.seed, args.dtype.into(), |part| task.message(&format!("{part} written")))?;
    drop(task);
    print(format!("random weights, of no use but to try and measure: {}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
