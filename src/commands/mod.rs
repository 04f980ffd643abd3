//! One short file per command.

pub mod compare;
pub mod convert;
pub mod data;
pub mod demo;
pub mod devices;
pub mod evaluate;
pub mod fill;
pub mod finetune;
pub mod generate;
pub mod inspect;
pub mod label;
pub mod merge;
pub mod predict;
pub mod probe;
pub mod progress;
pub mod random_pipeline;
pub mod text_projection;
pub mod train;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use roentgen::compare::Pools;
use roentgen::config::{ComputeType, RunConfig};
use roentgen::device::DeviceChoice;
use roentgen::hub::{self, Asked};
use roentgen::memory::machine_bytes;
use roentgen::run_folder::{RunFolder, RunFolderError, StudyStart};
use roentgen::study::StudyData;

use progress::Bars;

/// Prints a result. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// Any other error of standard output.
pub fn print(text: impl AsRef<str>) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{}", text.as_ref()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Finds the folder of every checkpoint that is named as on the hub, and downloads what is not there.
///
/// # Errors
/// The first one, after its key or flag.
pub fn settle(asked: Vec<Asked<'_>>, json: bool) -> Result<()> {
    let bars = Bars::new(json);
    hub::settle(asked, &bars).map_err(|(key, error)| anyhow::Error::new(error).context(key))
}

/// Opens the device of a study, before its data are read; numbers that it lacks, or the generator's device, are refused.
///
/// # Errors
/// [`DeviceError`](roentgen::device::DeviceError), and the first key of the run file that asks for what is not there.
pub fn study_device(config: &RunConfig, device: DeviceChoice) -> Result<(Device, DeviceChoice)> {
    let (device, name) = device.open()?;
    config.training.precision.check("training.precision", &device)?;
    if let Some(evaluation) = &config.evaluation {
        evaluation.dtype.check("evaluation.dtype", &device)?;
    }
    let generator = config.generator.as_ref().and_then(|generator| generator.diffusion.as_ref());
    if let Some(generator) = generator.filter(|generator| generator.dtype != ComputeType::default()) {
        let (device, _) = generator.device()?.open().context("generator.diffusion.device")?;
        generator.dtype.check("generator.diffusion.dtype", &device)?;
    }
    Ok((device, name))
}

/// Reads the data of a study for training; the images that its arms ask for must be countable, and the machine large enough.
///
/// # Errors
/// Those of [`StudyData::open`], and the first number that is too large for the data or the machine.
pub fn study_data(config: &RunConfig, device: DeviceChoice) -> Result<StudyData> {
    config.memory(device.is_host()).check(machine_bytes())?;
    let study = StudyData::open(config)?;
    say_notes(&study.notes);
    config.validate_counts(study.train.data().rows().len())?;
    Ok(study)
}

/// Takes a run folder for a study, and says what is to be said of it.
pub fn open_study(start: &StudyStart<'_>, out: &Path, bars: &Bars) -> Result<RunFolder, RunFolderError> {
    let task = bars.begin("", start.rows() as u64, "images looked at");
    let folder = start.open(out, &|| task.advance(1))?;
    drop(task);
    say_notes(folder.notes());
    Ok(folder)
}

/// Says what is doubtful, a line each.
pub fn say_notes(notes: &[String]) {
    for note in notes {
        // A closed pipe (`2>&1 | head`) is no reason to fail.
        let _ = writeln!(io::stderr().lock(), "note: {note}");
    }
}

/// Prints what the prompts of a generator were made from, what is doubtful in how it reads them, and what the gate did.
pub fn say_pools(config: &RunConfig, pools: &Pools) {
    say_notes(&pools.notes);
    if let Some(prompts) = &pools.prompts {
        eprintln!("{prompts}");
    }
    for (arm, gate) in config.arms.iter().zip(&pools.gates) {
        if let Some(gate) = gate {
            eprintln!("arm {}: {gate}", arm.name);
        }
    }
}
