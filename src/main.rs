//! The `roentgen` command line.

#![forbid(unsafe_code)]

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, DataCommand, DevCommand};
use roentgen_kernels::keep_freed_memory;

fn main() -> ExitCode {
    // Networks allocate the same tensors in every step.
    keep_freed_memory();
    let result = match Cli::parse().command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Fill(args) => commands::fill::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Finetune(args) => commands::finetune::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Probe(args) => commands::probe::run(&args),
        Command::Merge(args) => commands::merge::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Dev(DevCommand::RandomPipeline(args)) => commands::random_pipeline::run(&args),
        Command::Dev(DevCommand::TextProjection(args)) => commands::text_projection::run(&args),
        Command::Data(DataCommand::Summary(args)) => commands::data::summary(&args),
        Command::Data(DataCommand::Check(args)) => commands::data::check(&args),
        Command::Data(DataCommand::Label(args)) => commands::label::run(&args),
        Command::Data(DataCommand::Convert(args)) => commands::data::convert::run(&args),
        Command::Data(DataCommand::Vocab(args)) => commands::data::vocab::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
