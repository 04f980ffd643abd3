//! `roentgen finetune`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use roentgen::device::{DeviceChoice, GpuApi};
use roentgen::finetune::FinetuneConfig;
use roentgen::finetune::run::{Devices, INTERRUPTED, Opened, Run, RunOutcome};
use roentgen::memory::machine_bytes;

use crate::cli::{Common, FinetuneArgs};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes, settle};

pub fn run(args: &FinetuneArgs) -> Result<ExitCode> {
    let mut overrides = args.set.clone();
    overrides.extend(args.seed.map(|seed| format!("seed={seed}")));
    overrides.extend(args.preset.iter().map(|preset| format!("preset={preset}")));
    let mut config = FinetuneConfig::read(&args.run, &overrides)?;
    settle(config.model.checkpoints(), args.common.json)?;
    let trained = finetune(&config, &args.out, &args.common)?;
    report(args, &config, &trained)?;
    Ok(if trained.outcome.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The state of a run at its start and its end.
pub struct Trained {
    pub opened: Opened,
    pub outcome: RunOutcome,
    /// Wall time of the steps.
    pub seconds: f64,
}

/// Trains into `out`, or continues there.
pub fn finetune(config: &FinetuneConfig, out: &Path, common: &Common) -> Result<Trained> {
    config.memory().check(machine_bytes())?;
    let devices = devices(common, config)?;
    devices.list.iter().try_for_each(|device| config.trainee().check_device(device))?;
    let bars = Bars::new(common.json);
    let (mut run, opened) = Run::open(config, out, &devices, &bars)?;
    announce(&opened);
    let begun = Instant::now();
    let outcome = run.go()?;
    Ok(Trained { opened, outcome, seconds: begun.elapsed().as_secs_f64() })
}

/// The run file's devices, or that of the command line.
fn devices(common: &Common, config: &FinetuneConfig) -> Result<Devices> {
    let mut choices = config.devices.iter().map(|name| name.parse()).collect::<Result<Vec<DeviceChoice>, _>>()?;
    if choices.is_empty() {
        choices.push(common.device);
    }
    let opened = choices.into_iter().map(DeviceChoice::open).collect::<Result<Vec<_>, _>>()?;
    let have_collectives = opened.iter().all(|(_, name)| matches!(name, DeviceChoice::Gpu(GpuApi::Cuda, _)));
    let (list, names) = opened.into_iter().map(|(device, name)| (device, name.to_string())).unzip();
    Ok(Devices { list, names, have_collectives })
}

fn announce(opened: &Opened) {
    say_notes(&opened.notes);
    for message in &opened.damaged {
        eprintln!("warning: {message}");
    }
    eprintln!("training: {}", opened.train);
    if let Some(valid) = &opened.valid {
        eprintln!("validation: {valid}");
    }
    if opened.steps > 0 {
        eprintln!("continuing after step {}", opened.steps);
    }
}

fn report(args: &FinetuneArgs, config: &FinetuneConfig, trained: &Trained) -> Result<()> {
    let Trained { opened, outcome, seconds } = trained;
    if args.common.json {
        let best = outcome.best.map(|(step, loss)| serde_json::json!({ "step": step, "loss": loss }));
        let summary = serde_json::json!({
            "steps": outcome.steps,
            "of": config.schedule.steps,
            "interrupted": outcome.interrupted,
            "loss": outcome.loss,
            "best_validation": best,
            "parameters": opened.parameters,
            "prompts": opened.train,
            "pipeline": outcome.pipeline,
            "seconds": seconds,
        });
        print(serde_json::to_string_pretty(&summary)?)?;
        return Ok(());
    }
    let loss = outcome.loss.map_or_else(String::new, |loss| format!(", smoothed loss {loss:.4}"));
    let best = outcome.best.map_or_else(String::new, |(step, loss)| format!(", best validation {loss:.4} at step {step}"));
    print(format!("step {} of {}{loss}{best}; {seconds:.0} s", outcome.steps, config.schedule.steps))?;
    match &outcome.pipeline {
        Some(pipeline) => print(format!("pipeline: {}", pipeline.display()))?,
        None => print("interrupted and saved; the same command continues")?,
    }
    Ok(())
}
