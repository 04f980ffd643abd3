//! One short file a verb.

pub mod compare;
pub mod data;
pub mod demo;
pub mod finetune;
pub mod generate;
pub mod inspect;
pub mod predict;
pub mod random_pipeline;
pub mod text_projection;
pub mod train;

use std::io::{self, Write};

use roentgen::compare::Pools;

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

/// Says what the prompts of a generator were made from.
pub fn say_prompts(pools: &Pools) {
    if let Some(prompts) = &pools.prompts {
        eprintln!("{prompts}");
    }
}
