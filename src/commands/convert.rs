//! `roentgen convert`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::diffusion::single_file::{Conversion, Family, ModelConfigs, SingleFile, UNetWeights};
use roentgen::hub::{Asked, Place, Want, Wanted};

use crate::cli::{ConvertArgs, FamilyChoice};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes, settle};

pub fn run(args: &ConvertArgs) -> Result<ExitCode> {
    for name in ["model_index.json", "config.json"] {
        if args.out.join(name).exists() {
            bail!("{} already holds a model; give another folder", args.out.display());
        }
    }
    let (mut file, mut config, mut tokenizer) = (args.file.clone(), args.config.clone(), args.tokenizer.clone());
    // Configurations alone are read.
    let wanted = Wanted { replaced: vec!["text_encoder", "unet", "vae"], ..Want::Pipeline.into() };
    let config_key = || "--config".to_owned();
    let asked = config.iter_mut().map(|place| Asked { key: config_key(), place, wanted: wanted.clone() });
    let asked = asked.chain(tokenizer.iter_mut().map(|place| Asked::new("--tokenizer", place, Want::Tokenizer)));
    settle(asked.chain([Asked::new("file", &mut file, Want::SingleFile)]).collect(), args.json)?;
    let configs = match (&config, args.like) {
        (Some(folder), _) => ModelConfigs::Folder(folder.path()),
        (None, Some(like)) => {
            let family = match like {
                FamilyChoice::Sd1 => Family::Sd1,
                FamilyChoice::Sd2 => Family::Sd2,
            };
            ModelConfigs::Like { family, tokenizer: tokenizer.as_ref().map(Place::path) }
        }
        (None, None) => bail!("give --config or --like"),
    };
    let unet = if args.ema { UNetWeights::Average } else { UNetWeights::Plain };
    let conversion = Conversion { configs, prediction: args.prediction, unet };
    let bars = Bars::new(args.json);
    let task = bars.begin(&format!("reading {file}"), 0, "parts");
    let file = SingleFile::open(&file.path())?;
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
