//! Evaluation during a run: the loss on held-out images, with the same noise and timesteps each time, and images of
//! fixed prompts and seeds.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::image::{GrayDepth, GrayImage, encode_png};
use roentgen_classifier::training::BinnedLoss;

use super::error::RunError;
use super::interrupt::Interrupt;
use super::samples::{Coder, SampleMaker};
use crate::diffusion::pipeline::{ImageRequest, Settings, StableDiffusion, Start, Step};
use crate::finetune::{SampleConfig, TrainBatch, Trainee, Which};

/// A fixed validation set: every image once in each range of timesteps.
#[derive(Clone, Debug)]
pub struct Validation {
    samples: SampleMaker,
    bins: usize,
    timesteps: usize,
    batch: usize,
}

impl Validation {
    /// Samples of `samples`' pairs in `bins` ranges of `timesteps`, `batch` at a time.
    #[must_use]
    pub fn new(samples: SampleMaker, bins: usize, timesteps: usize, batch: usize) -> Self {
        Self { samples, bins: bins.min(timesteps), timesteps, batch }
    }

    /// How many images it has.
    pub fn images(&self) -> usize {
        self.samples.pairs().pairs().len()
    }

    /// The loss of these weights.
    ///
    /// # Errors
    /// [`RunError::Image`] and [`RunError::Finetune`].
    pub fn loss(&self, coder: &Coder<'_>, which: Which) -> Result<BinnedLoss, RunError> {
        let images = self.images();
        let mut bins = Vec::with_capacity(self.bins);
        for bin in 0..self.bins {
            let range = [bin, bin + 1].map(|edge| edge * self.timesteps / self.bins);
            let mut sum = 0.0;
            for first in (0..images).step_by(self.batch) {
                let pairs = first..images.min(first + self.batch);
                let number = |pair| (bin * images + pair) as u64;
                let made = pairs.map(|pair| self.samples.make(number(pair), pair, Some(range)));
                let batch = coder.batch(made.collect::<Result<Vec<_>, _>>()?)?;
                sum += losses(coder.trainee, &batch, which)?;
            }
            bins.push(sum / images as f64);
        }
        Ok(BinnedLoss { mean: bins.iter().sum::<f64>() / bins.len() as f64, bins })
    }
}

fn losses(trainee: &Trainee, batch: &TrainBatch, which: Which) -> Result<f64, RunError> {
    Ok(trainee.losses(batch, which)?.into_iter().map(f64::from).sum())
}

/// The fixed prompts and seeds of a sheet.
#[derive(Clone, Debug)]
pub struct SampleSheet {
    prompts: Vec<String>,
    count: usize,
    settings: Settings,
    folder: PathBuf,
}

/// A finished sheet.
#[derive(Clone, Debug)]
pub struct Painted {
    /// Its bytes.
    pub png: Vec<u8>,
    /// Height and width.
    pub size: [usize; 2],
}

/// Pixels between pictures.
const GAP: usize = 2;

impl SampleSheet {
    /// Sheets of `prompts` in `folder`, with a table of the rows.
    ///
    /// # Errors
    /// [`RunError::Config`] for a sampler that the pipeline's schedule can't have; [`RunError::Io`].
    pub fn new(folder: &Path, config: &SampleConfig, prompts: Vec<String>, settings: Settings) -> Result<Self, RunError> {
        let scheduler = match config.kind()? {
            Some(kind) => settings.scheduler.with_kind(kind)?,
            None => settings.scheduler.clone(),
        };
        let settings = Settings { scheduler, steps: config.steps, guidance_scale: config.guidance, ..settings };
        let table: String = prompts.iter().enumerate().map(|(row, prompt)| format!("row {row}: {prompt}\n")).collect();
        let path = folder.join("prompts.txt");
        write_atomic(&path, |out| out.write_all(table.as_bytes())).map_err(RunError::io("write", &path))?;
        Ok(Self { prompts, count: config.count, settings, folder: folder.to_owned() })
    }

    /// How many prompts it has.
    pub fn rows(&self) -> usize {
        self.prompts.len()
    }

    /// Makes the sheet of a step: one row per prompt, one column per seed.
    ///
    /// # Errors
    /// [`RunError::Diffusion`], with [`DiffusionError::Stopped`](crate::diffusion::DiffusionError::Stopped) for an interruption;
    /// [`RunError::Io`].
    pub fn paint(&self, pipeline: &StableDiffusion, step: u64, interrupt: &Interrupt) -> Result<Painted, RunError> {
        let mut watch = |_: &Step<'_>| if interrupt.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let mut pictures = Vec::new();
        for prompt in &self.prompts {
            let request = |seed| ImageRequest { prompt: prompt.clone(), negative_prompt: String::new(), seed };
            let requests: Vec<_> = (0..self.count as u64).map(request).collect();
            let row = pipeline.generate(&requests, &self.settings, &Start::Noise, &mut watch)?;
            pictures.extend(row.into_iter().map(|picture| picture.image));
        }
        let sheet = grid(&pictures, self.count);
        let path = self.folder.join(format!("step-{step:08}.png"));
        let png = encode_png(&sheet);
        write_atomic(&path, |out| out.write_all(&png)).map_err(RunError::io("write", &path))?;
        Ok(Painted { png, size: [sheet.height(), sheet.width()] })
    }
}

/// Pictures of one size row by row, with white between them.
fn grid(pictures: &[GrayImage], columns: usize) -> GrayImage {
    let (width, height) = (pictures[0].width(), pictures[0].height());
    let rows = pictures.len().div_ceil(columns);
    let size = [rows * (height + GAP) - GAP, columns * (width + GAP) - GAP];
    let mut sheet = vec![u8::MAX; size[0] * size[1]];
    for (place, picture) in pictures.iter().enumerate() {
        let GrayDepth::U8(samples) = picture.depth() else { unreachable!("sheets have 8 bits") };
        let (top, left) = (place / columns * (height + GAP), place % columns * (width + GAP));
        for (y, row) in samples.chunks_exact(width).enumerate() {
            sheet[(top + y) * size[1] + left..][..width].copy_from_slice(row);
        }
    }
    GrayImage::from_u8(size[1], size[0], sheet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_lie_in_rows() {
        let picture = |value| GrayImage::from_u8(2, 1, vec![value; 2]);
        let sheet = grid(&[picture(1), picture(2), picture(3)], 2);
        assert_eq!((sheet.width(), sheet.height()), (6, 4));
        let GrayDepth::U8(samples) = sheet.depth() else { panic!("8 bits went in") };
        assert_eq!(samples[..6], [1, 1, 255, 255, 2, 2]);
        assert_eq!(samples[18..], [3, 3, 255, 255, 255, 255]);
    }
}
