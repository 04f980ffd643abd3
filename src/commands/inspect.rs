//! `roentgen inspect`.

use std::process::ExitCode;

use anyhow::Result;
use roentgen::diffusion::pipeline::{PipelineSource, inspect};

use crate::cli::InspectArgs;
use crate::commands::print;

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let source = PipelineSource { folder: args.folder.clone(), variant: args.variant.clone(), unet: args.unet.clone() };
    let inspection = inspect(&source)?;
    if args.json {
        print(serde_json::to_string_pretty(&inspection)?)?;
    } else {
        print(inspection.to_string())?;
    }
    Ok(if inspection.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
