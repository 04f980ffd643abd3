//! `roentgen convert`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::diffusion::single_file::{Conversion, Family, ModelConfigs, SingleFile, UNetWeights};

use crate::cli::{ConvertArgs, FamilyChoice};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

pub fn run(args: &ConvertArgs) -> Result<ExitCode> {
    for name in ["model_index.json", "config.json"] {
        if args.out.join(name).exists() {
            bail!("{} already holds a model; give another folder", args.out.display());
        }
    }
    let configs = match (&args.config, args.like) {
        (Some(folder), _) => ModelConfigs::Folder(folder.clone()),
        (None, Some(like)) => {
            let family = match like {
                FamilyChoice::Sd1 => Family::Sd1,
                FamilyChoice::Sd2 => Family::Sd2,
            };
            ModelConfigs::Like { family, tokenizer: args.tokenizer.clone() }
        }
        (None, None) => bail!("give --config or --like"),
    };
    let unet = if args.ema { UNetWeights::Average } else { UNetWeights::Plain };
    let conversion = Conversion { configs, prediction: args.prediction, unet };
    let bars = Bars::new(args.json);
    let task = bars.begin(&format!("reading {}", args.file.display()), 0, "parts");
    let file = SingleFile::open(&args.file)?;
    let converted = conversion.write(&file, &args.out, |part| task.message(&format!("{part} written")))?;
    drop(task);
    say_notes(&converted.notes);
    if args.json {
        let summary = serde_json::json!({
            "folder": args.out,
            "is_pipeline": converted.is_pipeline,
            "notes": converted.notes,
        });
        print(serde_json::to_string_pretty(&summary)?)?;
    } else if converted.is_pipeline {
        print(format!("{}: a folder for `generate --pipeline` and `base` of a fine-tuning", args.out.display()))?;
    } else {
        print(format!("{}: an autoencoder, to take the place of a pipeline's folder `vae`", args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
