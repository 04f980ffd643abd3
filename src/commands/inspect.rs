//! `roentgen inspect`.

use std::process::ExitCode;

use anyhow::Result;
use roentgen::diffusion::pipeline::inspect;
use roentgen::hub::{Asked, Want};

use crate::cli::InspectArgs;
use crate::commands::{print, settle};

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let mut place = args.folder.clone();
    settle(vec![Asked { key: "folder", place: &mut place, want: Want::Pipeline }], args.json)?;
    let inspection = inspect(&place.path())?;
    if args.json {
        print(serde_json::to_string_pretty(&inspection)?)?;
    } else {
        print(inspection.to_string())?;
    }
    Ok(if inspection.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
