//! `roentgen demo`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use roentgen::config::RunConfig;
use roentgen::diffusion::pipeline::write_phantom_pipeline;
use roentgen::finetune::run::{INTERRUPTED, end_at_first_signal};
use roentgen::finetune::{Assembly, FinetuneConfig};
use roentgen::generate::Shard;

use crate::cli::DemoArgs;
use crate::commands::compare::compare;
use crate::commands::fill::fill;
use crate::commands::finetune::finetune;
use crate::commands::print;

/// The demo's run files: the same that a user would write.
const STUDY: &str = include_str!("../../examples/demo.toml");
const GENERATOR: &str = include_str!("../../examples/finetune-demo.toml");

pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let mut study = RunConfig::parse(STUDY, Path::new("examples/demo.toml"), Path::new("."))?;
    let mut generator = FinetuneConfig::parse(GENERATOR, Path::new("examples/finetune-demo.toml"), Path::new("."), &[])?;
    if args.quick {
        hasten(&mut study, &mut generator);
    }
    let folder = args.out.join("generator");
    let base = folder.join("base");
    generator.model = Assembly::of_base(&base);
    if let Some(diffusion) = study.generator.as_mut().and_then(|generator| generator.diffusion.as_mut()) {
        diffusion.pipeline = folder.join("pipeline").into();
    }
    study.validate()?;
    generator.validate()?;

    let say = |text: &str| if args.common.json { Ok(()) } else { print(text) };
    say(
        "The \"real\" images of this demo are of an analytic chest phantom; its synthetic images come from a small latent diffusion model, which \
         learns from the phantom's training images and template text.\nNothing here says anything about patients: it shows what a comparison \
         does.\n",
    )?;
    say("1/3  fine-tuning the generator on the training images")?;
    write_phantom_pipeline(&base)?;
    if finetune(&generator, &folder, &args.common)?.outcome.interrupted {
        say("interrupted and saved; the same command continues")?;
        return Ok(ExitCode::from(INTERRUPTED));
    }
    end_at_first_signal();
    say("2/3  generating the synthetic images")?;
    // In advance, so that training does not wait for them.
    fill(&study, &args.out, Shard::WHOLE, &args.common)?;
    say("3/3  training the classifiers of every arm")?;
    let code = compare(&study, &args.out, &args.common)?;
    if generator.samples.every > 0 {
        say(&format!("sheet of generated images (rows are prompts): {}", folder.join("samples").display()))?;
    }
    Ok(code)
}

/// Every part once, with few steps: about a minute.
fn hasten(study: &mut RunConfig, generator: &mut FinetuneConfig) {
    study.seeds.truncate(1);
    study.training.steps = 20;
    study.training.eval_every = 10;
    study.training.warmup_steps = 5;
    study.bootstrap.replicates = 200;
    for arm in &mut study.arms {
        if arm.pool_size(1) > 0 {
            arm.pool = Some(32);
        }
    }
    if let Some(diffusion) = study.generator.as_mut().and_then(|generator| generator.diffusion.as_mut()) {
        (diffusion.steps, diffusion.guidance) = (4, 1.0);
    }
    (generator.schedule.steps, generator.schedule.warmup_steps) = (4, 1);
    (generator.validation.every, generator.samples.every) = (0, 0);
}
