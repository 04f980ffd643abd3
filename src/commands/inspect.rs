//! `roentgen inspect`.

use std::process::ExitCode;

use anyhow::Result;
use roentgen::adapters;
use roentgen::diffusion::pipeline::{PipelineSource, inspect};
use roentgen::hub::{Asked, Want};

use crate::cli::InspectArgs;
use crate::commands::{print, settle};

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let mut place = args.folder.clone();
    settle(vec![Asked { key: "folder", place: &mut place, want: Want::Pipeline }], args.json)?;
    let path = place.path();
    if let Some(adapter) = adapters::inspect(&path)? {
        print(if args.json { serde_json::to_string_pretty(&adapter)? } else { adapter.to_string() })?;
        return Ok(ExitCode::SUCCESS);
    }
    let source = PipelineSource { folder: path, variant: args.variant.clone(), unet: args.unet.clone() };
    let inspection = inspect(&source)?;
    if args.json {
        print(serde_json::to_string_pretty(&inspection)?)?;
    } else {
        print(inspection.to_string())?;
    }
    Ok(if inspection.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
