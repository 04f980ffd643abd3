//! The half of `tests/interop/finetune.py` that runs here.
//!
//! `interop_finetune FOLDER OUT` fine-tunes the pipeline `FOLDER` for a few steps on noise, in two ways, and writes `OUT/both` (U-Net and text
//! encoder; the moving average) and `OUT/lora` (adapters in both; merged, with the adapters' own files in `OUT/lora/lora`).

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::{Device, Distribution, Tensor};
use roentgen::diffusion::pipeline::Checkpoint;
use roentgen::finetune::{
    Denoising, Latents, LearningRates, LoraSettings, Strategy, TextCondition, TrainBatch, Trainee, TraineeSettings, Tuning,
    Which,
};
use roentgen_classifier::training::EmaConfig;

const SEED: u64 = 0;
const STEPS: usize = 4;
const TEXTS: [&str; 2] = ["Big right-sided pleural effusion", "no pneumothorax"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, out] = arguments.as_slice() else {
        return Err("usage: interop_finetune FOLDER OUT".into());
    };
    // Another alpha than the rank, and modules beyond the usual ones.
    let lora = |rank, targets: &[&str]| {
        let targets = targets.iter().map(|target| (*target).to_owned()).collect();
        Tuning::Lora(LoraSettings { rank, alpha: 8.0, targets, start: None })
    };
    let unet = lora(4, &["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1"]);
    let strategies = [
        ("both", Strategy::both()),
        ("lora", Strategy::Denoise { unet, text_encoder: lora(2, &["q_proj", "v_proj", "fc1"]), text_projection: false }),
    ];
    let device = Device::flex();
    device.seed(SEED);
    for (name, strategy) in strategies {
        let settings = TraineeSettings {
            // Large enough to be seen in an image after four steps.
            learning_rates: LearningRates::uniform(3e-3),
            ema: Some(EmaConfig::default()),
            ..TraineeSettings::new(strategy)
        };
        let mut trainee = Trainee::new(Checkpoint::read(folder)?, &settings, &device)?;
        for _ in 0..STEPS {
            trainee.accumulate(&batch(&trainee, &device)?, 1.0)?;
            trainee.step(1.0)?;
        }
        trainee.export(&out.join(name), Which::Ema)?;
        trainee.export_adapters(&out.join(name).join("lora"), Which::Ema)?;
    }
    Ok(())
}

fn batch(trainee: &Trainee, device: &Device) -> Result<TrainBatch, Box<dyn Error>> {
    let normal = || Tensor::random([TEXTS.len(), 4, 8, 8], Distribution::Normal(0.0, 1.0), device);
    Ok(TrainBatch::Denoise(Denoising {
        latents: Latents::Drawn(normal()),
        noise: normal(),
        offset_noise: None,
        timesteps: vec![100, 700],
        text: TextCondition::Tokens(trainee.tokenize(&TEXTS)?),
    }))
}
