//! Adapters through files and weights.

use std::path::Path;

use burn::tensor::{Device, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::diffusion::pipeline::{Checkpoint, OpenOptions, StableDiffusion};
use crate::finetune::testing::{batch, fixture, noise, pipeline, trainee};
use crate::finetune::{Trainee, TraineeSettings, Which};

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
    assert_eq!(read, lora);
    assert_eq!(Lora::read(&folder.path().join(DIFFUSERS_FILE)).unwrap(), lora);

    let mut joined = Lora::default();
    for part in lora.parts() {
        lora.save_peft(part, &folder.path().join(part.name())).unwrap();
        joined.adapters.extend(Lora::read(&folder.path().join(part.name())).unwrap().adapters);
    }
    assert_eq!(joined, lora);
    assert_eq!(lora.parts(), [Part::Unet, Part::TextEncoder]);

    // What generates with the file is what was trained.
    let merged = lora.merge(open(), 1.0, Path::new("lora")).unwrap();
    assert_eq!(denoised(&merged), denoised(&trainee.pipeline(Which::Live)));
    let untouched = lora.merge(open(), 0.0, Path::new("lora")).unwrap();
    assert_eq!(denoised(&untouched), denoised(&open()));
    assert_ne!(denoised(&merged), denoised(&open()));
    assert_ne!(merged.fingerprint(), open().fingerprint());
}

/// By hand: `B A` of `[[1], [2]]` and `[[3, 4, 5]]`, in the layout of files and in that of memory.
#[test]
fn a_product_has_the_layout_of_its_weight() {
    let device = Device::flex();
    let factors = Factors {
        a: Tensor::from_floats([3.0, 4.0, 5.0], &device),
        b: Tensor::from_floats([1.0, 2.0], &device),
        rank: 1,
        scale: 0.5,
    };
    let linear = Slot { key: "x.weight".to_owned(), shape: vec![3, 2], file_shape: vec![2, 3], transposed: true };
    let values = |slot: &Slot| factors.delta(slot).into_data().iter::<f32>().collect::<Vec<_>>();
    assert_eq!(values(&linear), [1.5, 3.0, 2.0, 4.0, 2.5, 5.0]);
    let convolution = Slot { shape: vec![2, 3, 1, 1], file_shape: vec![2, 3, 1, 1], transposed: false, ..linear };
    assert_eq!(values(&convolution), [1.5, 2.0, 2.5, 3.0, 4.0, 5.0]);
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
    let of_unet = |lora: &Lora| {
        lora.adapters
            .iter()
            .filter(|((part, _), _)| *part == Part::Unet)
            .map(|(key, adapter)| (key.clone(), adapter.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_unet(&second.lora(Which::Live)), of_unet(&lora));

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
    let bytes = std::fs::read(folder.path().join(DIFFUSERS_FILE)).unwrap();
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
    assert_eq!(Lora::read(folder.path()).unwrap(), six);

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

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let write = |tensors: &[(&str, &[usize])]| {
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| vec![0; 4 * shape.iter().product::<usize>()]).collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    let q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let (down, up) = (format!("unet.{q}.lora.down.weight"), format!("unet.{q}.lora.up.weight"));
    let (a, alpha) = (format!("unet.{q}.lora_A.weight"), format!("unet.{q}.alpha"));
    let message = || match Lora::read(&path) {
        Ok(lora) => lora.merge(open(), 1.0, &path).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (tensors, said) in [
        (&[(down.as_str(), &[4, 32][..])][..], "one factor of two"),
        (&[(&down, &[4, 32]), (&up, &[32, 5])], "their ranks differ"),
        // As many dimensions as a file likes.
        (&[(&down, &[]), (&up, &[32, 4])], "are [] and [32, 4], expected [rank, inputs]"),
        (&[(&down, &[4, 32]), (&up, &[])], "are [4, 32] and []"),
        (&[(&down, &[4]), (&up, &[32, 4])], "are [4] and [32, 4]"),
        (&[(&down, &[4, 32]), (&up, &[4])], "are [4, 32] and [4]"),
        (&[(&down, &[0, 32]), (&up, &[32, 0])], "or are none"),
        (&[(&down, &[4, 30]), (&up, &[32, 4])], "it was trained on another model"),
        (&[(&down, &[4, 8, 4]), (&up, &[32, 4])], "it was trained on another model"),
        (&[(&down, &[4, 32]), (&up, &[16, 4, 2])], "it was trained on another model"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&alpha, &[2])], "alpha of unet.mid_block"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&alpha, &[0])], "expected one number"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&a, &[4, 32])], "comes twice"),
        (
            &[("unet.conv_in.bias.lora_A.weight", &[4, 8]), ("unet.conv_in.bias.lora_B.weight", &[8, 4])],
            "the first unet.conv_in.bias",
        ),
        (&[("unet.conv_norm_out.lora_A.weight", &[4, 8]), ("unet.conv_norm_out.lora_B.weight", &[8, 4])], "another model"),
        (&[("unet.nowhere.lora_A.weight", &[4, 8]), ("unet.nowhere.lora_B.weight", &[8, 4])], "the first unet.nowhere"),
        (&[("lora_unet_mid_block.lora_down.weight", &[4, 8])], "kohya"),
        (&[("conv_in.weight", &[4, 8])], "no tensor of a LoRA"),
        (&[], "it holds no adapter"),
    ] {
        write(tensors);
        let message = message();
        assert!(message.contains(said) && message.contains("lora.safetensors"), "{message}");
    }
    std::fs::write(&path, b"not a file of tensors").unwrap();
    assert!(message().contains("cut short"), "{}", message());
    assert!(Lora::read(folder.path()).unwrap_err().to_string().contains("has neither"));
    assert!(Lora::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));

    let peft = fixture("07_training/lora_start_peft");
    for (key, value) in [("use_dora", "true"), ("use_rslora", "true"), ("bias", "\"all\""), ("peft_type", "\"LOHA\"")] {
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(peft.join(CONFIG_FILE)).unwrap()).unwrap();
        config[key] = serde_json::from_str(value).unwrap();
        std::fs::copy(peft.join(PEFT_FILE), folder.path().join(PEFT_FILE)).unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), config.to_string()).unwrap();
        assert!(Lora::read(folder.path()).unwrap_err().to_string().contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn a_factor_without_dimensions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let bytes = 1f32.to_le_bytes();
    let factor = |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    for (a, b) in [(&[][..], &[][..]), (&[1], &[1]), (&[1, 1], &[]), (&[], &[1, 1]), (&[1, 1], &[1])] {
        let tensors = [("unet.conv_in.lora_A.weight", factor(a)), ("unet.conv_in.lora_B.weight", factor(b))];
        std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        let message = Lora::read(&path).unwrap_err().to_string();
        assert!(message.contains("lora.safetensors") && message.contains("unet.conv_in"), "{message}");
    }
}
