//! Adapters through files and weights.

use std::path::Path;

use burn::tensor::{Device, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::adapters::lora::Lora;
use crate::diffusion::pipeline::{Checkpoint, OpenOptions, StableDiffusion};
use crate::finetune::testing::{batch, noise, pipeline, trainee};
use crate::finetune::{Trainee, TraineeSettings, Which};

/// The file of diffusers.
const FILE: &str = "pytorch_lora_weights.safetensors";

fn settings() -> LoraSettings {
    LoraSettings {
        rank: 3,
        alpha: 6.0,
        targets: vec!["attn2.to_k".to_owned(), "conv1".to_owned(), "proj_in".to_owned()],
        start: None,
    }
}

/// Adapters in both networks, a convolution's among them, after two steps.
fn trained() -> Trainee {
    let strategy = Strategy::Denoise {
        unet: Tuning::Lora(settings()),
        text_encoder: Tuning::Lora(LoraSettings { rank: 2, alpha: 2.0, ..LoraSettings::default() }),
        text_projection: false,
    };
    let mut trainee = trainee(&TraineeSettings::new(strategy));
    for seed in 0..2 {
        let batch = batch(&trainee, seed, 2);
        trainee.accumulate(&batch, 1.0).unwrap();
        trainee.step(1.0).unwrap();
    }
    trainee
}

fn open() -> StableDiffusion {
    StableDiffusion::open(pipeline(), &OpenOptions::new(&Device::flex()), |_| ()).unwrap()
}

fn denoised(pipeline: &StableDiffusion) -> TensorData {
    let states = pipeline.encode(&["Normal chest."], 0).unwrap().states;
    let timestep = Tensor::from_floats([400.0], &Device::flex());
    pipeline.unet().forward(noise(1, [1, 4, 8, 8]), timestep, states, None).into_data()
}

#[test]
fn adapters_go_through_both_formats() {
    let (trainee, folder) = (trained(), tempfile::tempdir().unwrap());
    let lora = trainee.lora(Which::Live);
    lora.save_diffusers(folder.path()).unwrap();
    let read = Lora::read(folder.path()).unwrap();
    assert_eq!(read.fingerprint(), lora.fingerprint());
    assert_eq!(Lora::read(&folder.path().join(FILE)).unwrap(), read);

    assert_eq!(lora.parts(), [Part::Unet, Part::TextEncoder]);
    let both = lora.parts().into_iter().fold(open(), |pipeline, part| {
        let folder = folder.path().join(part.name());
        lora.save_peft(part, &folder).unwrap();
        Lora::read(&folder).unwrap().merge(pipeline, 1.0, &folder).unwrap()
    });
    assert_eq!(denoised(&both), denoised(&lora.merge(open(), 1.0, Path::new("lora")).unwrap()));

    // Generating with the file gives what was trained.
    let merged = lora.merge(open(), 1.0, Path::new("lora")).unwrap();
    assert_eq!(denoised(&merged), denoised(&trainee.pipeline(Which::Live)));
    let untouched = lora.merge(open(), 0.0, Path::new("lora")).unwrap();
    assert_eq!(denoised(&untouched), denoised(&open()));
    assert_ne!(denoised(&merged), denoised(&open()));
    assert_ne!(merged.fingerprint(), open().fingerprint());
}

#[test]
fn new_adapters_change_nothing_yet() {
    let trainee = trainee(&TraineeSettings::new(Strategy::unet_lora(settings())));
    assert_eq!(denoised(&trainee.pipeline(Which::Live)), denoised(&open()));
}

#[test]
fn training_goes_on_from_a_file() {
    let (first, folder) = (trained(), tempfile::tempdir().unwrap());
    let lora = first.lora(Which::Live);
    lora.save_peft(Part::Unet, folder.path()).unwrap();
    let start = Some(folder.path().to_owned());
    let second = trainee(&TraineeSettings::new(Strategy::unet_lora(LoraSettings { start: start.clone(), ..settings() })));
    assert_eq!(second.lora(Which::Live).fingerprint(), Lora::read(folder.path()).unwrap().fingerprint());

    let refused = |settings: LoraSettings| {
        let settings = TraineeSettings::new(Strategy::unet_lora(LoraSettings { start: start.clone(), ..settings }));
        Trainee::new(Checkpoint::read(pipeline()).unwrap(), &settings, &Device::flex()).unwrap_err().to_string()
    };
    assert!(refused(LoraSettings { rank: 4, ..settings() }).contains("its rank is 3"));
    assert!(refused(LoraSettings { targets: vec!["to_q".to_owned()], ..settings() }).contains("no adapter for unet."));
    assert!(refused(LoraSettings { targets: vec!["conv1".to_owned()], ..settings() }).contains("name the same modules"));
    assert!(refused(LoraSettings { targets: vec!["to_qq".to_owned()], ..settings() }).contains("lora.targets is to_qq"));
}

/// Files of diffusers before metadata hold the factors alone: here of rank 3, trained with an alpha of 6.
#[test]
fn an_alpha_that_the_file_does_not_state_is_the_one_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let first = trainee(&TraineeSettings::new(Strategy::unet_lora(settings())));
    first.lora(Which::Live).save_diffusers(folder.path()).unwrap();
    let (stated, path) = (Lora::read(folder.path()).unwrap(), folder.path().join("bare.safetensors"));
    let bytes = std::fs::read(folder.path().join(FILE)).unwrap();
    // New adapters are zero: these are not.
    let filled = |view: TensorView<'_>| vec![0x3c; view.data().len()];
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let filled: Vec<_> = tensors.iter().map(|(name, view)| (name, view.shape().to_vec(), filled(view))).collect();
    let views = filled.iter().map(|(name, shape, data)| (*name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    assert_eq!(stated.clone().with_alpha(1.0).unwrap(), stated, "a file that states an alpha keeps it");

    let bare = || Lora::read(&path).unwrap();
    assert_eq!(bare().with_alpha(3.0).unwrap().fingerprint(), bare().fingerprint(), "without a word it is the rank");
    let merged = |lora: &Lora, scale: f64| denoised(&lora.merge(open(), scale, &path).unwrap());
    let six = bare().with_alpha(6.0).unwrap();
    assert_eq!(merged(&six, 1.0), merged(&bare(), 2.0));
    assert_ne!(merged(&six, 1.0), merged(&bare(), 1.0));
    assert_ne!(six.fingerprint(), bare().fingerprint());

    // Training begins from it, and writes the alpha down.
    let start = Some(path.clone());
    let second = trainee(&TraineeSettings::new(Strategy::unet_lora(LoraSettings { start, ..settings() })));
    assert_eq!(denoised(&second.pipeline(Which::Live)), merged(&six, 1.0));
    second.lora(Which::Live).save_diffusers(folder.path()).unwrap();
    assert_eq!(Lora::read(folder.path()).unwrap().fingerprint(), six.fingerprint());

    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(bare().with_alpha(alpha).unwrap_err().to_string().contains("lora.alpha"), "{alpha}");
    }
}

#[test]
fn targets_are_ends_of_names_cut_at_a_dot() {
    let settings = LoraSettings { targets: vec!["to_q".to_owned(), "attn2.to_k".to_owned()], ..LoraSettings::default() };
    for (module, is_target) in
        [("mid.attn1.to_q", true), ("mid.attn2.to_k", true), ("mid.attn1.to_k", false), ("mid.xto_q", false), ("to_q", true)]
    {
        assert_eq!(settings.is_target(module), is_target, "{module}");
    }
}
