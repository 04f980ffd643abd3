//! `roentgen train`.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use roentgen::compare::{PoolJob, SeedRun, batcher, notes_after, outlook, pools};
use roentgen::config::RunConfig;
use roentgen::run_folder::{StudyCommand, StudyStart};

use crate::cli::TrainArgs;
use crate::commands::progress::Bars;
use crate::commands::{open_study, print, say_notes, say_pools, settle, study_data, study_device};

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let mut config = RunConfig::read(&args.run)?;
    let name = args.arm.clone().unwrap_or_else(|| config.baseline.clone());
    let seed = args.seed.unwrap_or(config.seeds[0]);
    config.arms.retain(|arm| arm.name == name);
    if config.arms.is_empty() {
        return Err(anyhow!("{} has no arm `{name}`; give --arm the name of one of its [[arms]]", args.run.display()));
    }
    config.baseline = name;
    config.seeds = vec![seed];
    settle(config.checkpoints(), args.common.json)?;

    let (device, opened) = study_device(&config, args.common.device)?;
    let study = study_data(&config, opened)?;
    let bars = Bars::new(args.common.json);
    let start = StudyStart { command: StudyCommand::Train, config: &config, study: &study };
    let folder = open_study(&start, &args.out, &bars)?;
    folder.claim_device(opened)?;
    let arm = &config.arms[0];
    let job = PoolJob { config: &config, study: &study, device: &device, folder: folder.path(), progress: &bars };
    let pools = pools(&job)?;
    pools.claim(&config.arms, &folder)?;
    say_pools(&config, &pools);
    let task = outlook(&config, &study.splits, 1).watch(bars.begin(&format!("{} seed {seed}", arm.name), 0, "steps"));
    let run = SeedRun { config: &config, arm, seed, study: &study, pool: pools.arms[0].as_ref(), device: &device };
    let (_, report) = run.train(folder.path(), &batcher(&config, study.train.data().vocabulary()), task)?;
    let weights = folder.path().join("model.safetensors");
    let after = notes_after(&pools.arms)?;
    say_notes(&after);
    if args.common.json {
        let notes = [study.notes, pools.notes, after].concat();
        let summary = serde_json::json!({ "arm": arm.name, "weights": weights, "run": report, "notes": notes });
        print(serde_json::to_string_pretty(&summary)?)?;
    } else {
        let auroc = report.valid_macro_auroc.map_or_else(|| "undefined".to_owned(), |auroc| format!("{auroc:.3}"));
        print(format!("best step {}: validation macro AUROC {auroc}; {:.0} s", report.best_step, report.seconds))?;
        print(format!("weights: {}", weights.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
