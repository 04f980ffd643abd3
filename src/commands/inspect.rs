//! `roentgen inspect`.

use std::process::ExitCode;

use anyhow::Result;
use roentgen::adapters;
use roentgen::diffusion::pipeline::{PipelineSource, inspect};
use roentgen::hub::{Asked, Place, Want, Wanted};

use crate::cli::InspectArgs;
use crate::commands::{print, settle};

pub fn run(args: &InspectArgs) -> Result<ExitCode> {
    let (mut place, mut unet) = (args.folder.clone(), args.unet.clone());
    let replaced = if unet.is_some() { vec!["unet"] } else { Vec::new() };
    let wanted = |want, replaced| Wanted { want, variant: args.variant.clone(), replaced };
    let whole = Asked { key: "folder".to_owned(), place: &mut place, wanted: wanted(Want::Any, replaced) };
    let unet_key = || "--unet".to_owned();
    let part = unet.iter_mut().map(|place| Asked { key: unet_key(), place, wanted: wanted(Want::OtherUNet, Vec::new()) });
    settle([whole].into_iter().chain(part).collect(), args.json)?;
    let path = place.path();
    if let Some(adapter) = adapters::inspect(&path)? {
        print(if args.json { serde_json::to_string_pretty(&adapter)? } else { adapter.to_string() })?;
        return Ok(ExitCode::SUCCESS);
    }
    let source = PipelineSource { folder: path, variant: args.variant.clone(), unet: unet.as_ref().map(Place::path) };
    let inspection = inspect(&source)?;
    if args.json {
        print(serde_json::to_string_pretty(&inspection)?)?;
    } else {
        print(inspection.to_string())?;
    }
    Ok(if inspection.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
