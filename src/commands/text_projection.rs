//! `roentgen dev text-projection`.

use std::process::ExitCode;

use anyhow::Result;
use roentgen::diffusion::pipeline::write_text_projection;

use crate::cli::TextProjectionArgs;
use crate::commands::print;

pub fn run(args: &TextProjectionArgs) -> Result<ExitCode> {
    let config = write_text_projection(&args.folder, args.seed)?;
    let (from, to) = (config.in_features, config.out_features);
    print(format!("an untrained projection from {from} to {to}, of no use before it is trained: {}", args.folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
