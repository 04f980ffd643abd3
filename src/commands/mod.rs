//! One short file a verb.

pub mod compare;
pub mod data;
pub mod demo;
pub mod fill;
pub mod finetune;
pub mod generate;
pub mod inspect;
pub mod predict;
pub mod progress;
pub mod random_pipeline;
pub mod text_projection;
pub mod train;

use std::io::{self, Write};

use roentgen::compare::Pools;
use roentgen::config::RunConfig;

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
