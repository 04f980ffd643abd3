//! `roentgen demo`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use roentgen::config::RunConfig;

use crate::cli::DemoArgs;
use crate::commands::compare::compare;
use crate::commands::print;

/// The demo's run file: the same that a user would write.
const RUN: &str = include_str!("../../examples/demo.toml");

pub fn run(args: &DemoArgs) -> Result<ExitCode> {
    let mut config = RunConfig::parse(RUN, Path::new("examples/demo.toml"), Path::new("."))?;
    config.validate()?;
    if args.quick {
        config.seeds.truncate(1);
        config.training.steps = 20;
        config.training.eval_every = 10;
        config.training.warmup_steps = 5;
        config.bootstrap.replicates = 200;
    }
    if !args.common.json {
        print(
            "The \"real\" films of this demo are an analytic chest phantom; its synthetic films come from a shifted simulator, the \
             same phantom drawn less faithfully.\nNothing here says anything about patients: it shows what a comparison does.\n",
        )?;
    }
    compare(&config, &args.out, &args.common)
}
