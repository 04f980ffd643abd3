//! One short file a verb.

pub mod compare;
pub mod data;
pub mod demo;
pub mod fill;
pub mod finetune;
pub mod generate;
pub mod inspect;
pub mod predict;
pub mod random_pipeline;
pub mod text_projection;
pub mod train;

use std::io::{self, Write};
use std::path::Path;

use indicatif::MultiProgress;
use roentgen::compare::Pools;
use roentgen::config::RunConfig;
use roentgen::progress;
use roentgen::run_folder::{RunFolder, RunFolderError, StudyCommand, StudyStart};
use roentgen_augment::{Splits, TrainSet};

/// Prints a result. A reader that has seen enough (`| head`) is no error.
///
/// # Errors
/// Any other fault of standard output.
pub fn print(text: impl AsRef<str>) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{}", text.as_ref()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Takes a run folder for a study, and says what is to be said of it.
pub fn open_study(
    command: StudyCommand,
    out: &Path,
    config: &RunConfig,
    (train, splits): (&TrainSet, &Splits),
    bars: &MultiProgress,
) -> Result<RunFolder, RunFolderError> {
    let rows = [train.data(), splits.valid().data(), splits.test().data()].map(|data| data.rows().len()).iter().sum();
    let bar = progress::counting(bars, rows, "images looked at");
    let folder = StudyStart { command, config, train, splits, progress: &|| bar.inc(1) }.open(out);
    bar.finish_and_clear();
    let folder = folder?;
    for note in folder.notes() {
        eprintln!("note: {note}");
    }
    Ok(folder)
}

/// Says what the prompts of a generator were made from, and what the gate did.
pub fn say_pools(config: &RunConfig, pools: &Pools) {
    if let Some(prompts) = &pools.prompts {
        eprintln!("{prompts}");
    }
    for (arm, gate) in config.arms.iter().zip(&pools.gates) {
        if let Some(gate) = gate {
            eprintln!("arm {}: {gate}", arm.name);
        }
    }
}
