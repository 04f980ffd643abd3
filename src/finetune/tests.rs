//! Trainings of a few steps at a tiny size.

use std::collections::BTreeMap;
use std::convert::Infallible;

use burn::store::burn_pack;
use burn::tensor::{Device, FloatDType, TensorData};
use roentgen_classifier::training::EmaConfig;

use super::testing::{batch, contents, noise, pipeline, pixels, trainee};
use super::{
    FinetuneError, Latents, LoraSettings, Objective, Strategy, TextCondition, TrainBatch, Trainee, TraineeSettings, Tuning,
    Which,
};
use crate::diffusion::pipeline::{Checkpoint, OpenOptions, StableDiffusion};

fn settings(strategy: Strategy) -> TraineeSettings {
    TraineeSettings { ema: Some(EmaConfig::default()), ..TraineeSettings::new(strategy) }
}

fn lora(targets: &[&str]) -> LoraSettings {
    LoraSettings { rank: 2, alpha: 4.0, targets: targets.iter().map(|target| (*target).to_owned()).collect(), start: None }
}

fn strategies() -> Vec<Strategy> {
    vec![
        Strategy::unet_only(),
        Strategy::text_encoder_only(),
        Strategy::both(),
        Strategy::unet_lora(lora(&[])),
        Strategy::Denoise {
            unet: Tuning::Lora(lora(&["attn2.to_k", "conv1"])),
            text_encoder: Tuning::Lora(lora(&[])),
            text_projection: false,
        },
        Strategy::Reconstruct { encoder: true, decoder: true },
    ]
}

/// What pipelines compute in.
const DTYPES: [FloatDType; 2] = [FloatDType::F32, FloatDType::BF16];

fn any_batch(trainee: &Trainee, seed: u64) -> TrainBatch {
    match trainee.settings().strategy {
        Strategy::Denoise { .. } => batch(trainee, seed, 2),
        Strategy::Reconstruct { .. } => pixels(seed, 2),
    }
}

fn step(trainee: &mut Trainee, seed: u64) {
    let batch = any_batch(trainee, seed);
    trainee.accumulate(&batch, 1.0).unwrap();
    trainee.step(1.0).unwrap();
}

fn weights(trainee: &Trainee, which: Which) -> BTreeMap<String, TensorData> {
    trainee.weights(which).map(|(name, data)| (name.to_owned(), data)).collect()
}

/// Every weight that has a part in the loss moves, in every strategy; and the average follows it.
#[test]
fn what_trains_moves_and_names_its_part() {
    for (strategy, dtype) in strategies().into_iter().flat_map(|strategy| DTYPES.map(|dtype| (strategy.clone(), dtype))) {
        let mut trainee = trainee(&TraineeSettings { dtype, ..settings(strategy.clone()) });
        let start = weights(&trainee, Which::Live);
        for seed in 0..3 {
            step(&mut trainee, seed);
        }
        let (live, average) = (weights(&trainee, Which::Live), weights(&trainee, Which::Ema));
        // At the lowest resolution there is one token, which sees itself whatever query and key are.
        let idle = |name: &str| {
            name.contains("mid_block") && (name.contains("attn1.to_q.lora_B") || name.contains("attn1.to_k.lora_B"))
        };
        for (name, value) in live.iter().filter(|(name, _)| !idle(name)) {
            assert_ne!(value, &start[name], "{name} of {strategy:?}");
            assert_ne!(value, &average[name], "{name} of {strategy:?}");
            assert!(trainee.parts().iter().any(|part| name.starts_with(&format!("{part}."))), "{name}");
        }
        assert_eq!(live.len(), trainee.names().count());
    }
}

#[test]
fn halves_of_an_autoencoder_train_alone() {
    for (encoder, decoder, trained) in
        [(true, false, ["vae.encoder.", "vae.quant_conv."]), (false, true, ["vae.decoder.", "vae.post_quant_conv."])]
    {
        let mut trainee = trainee(&settings(Strategy::Reconstruct { encoder, decoder }));
        assert!(trainee.names().all(|name| trained.iter().any(|start| name.starts_with(start))));
        step(&mut trainee, 1);
    }
}

/// Training that is interrupted after any step and restored in a new process ends with the same bits.
#[test]
fn a_resumed_training_is_the_uncut_one() {
    const STEPS: u64 = 4;
    for (strategy, dtype) in strategies().into_iter().flat_map(|strategy| DTYPES.map(|dtype| (strategy.clone(), dtype))) {
        let settings = TraineeSettings { dtype, ..settings(strategy) };
        let mut uncut = trainee(&settings);
        let mut states = Vec::new();
        for seed in 0..STEPS {
            states.push(uncut.state());
            step(&mut uncut, seed);
        }
        for (cut, state) in states.into_iter().enumerate() {
            let mut resumed = trainee(&settings);
            // Another history, all of which is overwritten, pending gradients too.
            step(&mut resumed, 77);
            let pending = any_batch(&resumed, 78);
            resumed.accumulate(&pending, 1.0).unwrap();
            resumed.restore(state).unwrap();
            assert_eq!(resumed.steps(), cut as u64);
            for seed in cut as u64..STEPS {
                step(&mut resumed, seed);
            }
            assert!(contents(&resumed.state()) == contents(&uncut.state()), "cut after {cut} of {settings:?}");
        }
    }
}

#[test]
fn a_state_of_another_training_is_refused_whole() {
    let state = trainee(&settings(Strategy::unet_lora(lora(&["to_q"])))).state();
    let mut other = trainee(&settings(Strategy::unet_lora(LoraSettings { rank: 3, ..lora(&["to_q", "to_k"]) })));
    let before = other.state();
    let message = other.restore(state.clone()).unwrap_err().to_string();
    assert!(
        message.contains("missing") && message.contains("wrong shape") && message.contains("attn1.to_k.lora_A"),
        "{message}"
    );
    assert!(contents(&other.state()) == contents(&before));
    let mut without = trainee(&TraineeSettings::new(Strategy::unet_lora(lora(&["to_q"]))));
    assert!(without.restore(state).unwrap_err().to_string().contains("unexpected average.unet."));
}

#[test]
fn a_state_whose_file_fails_is_named() {
    let mut trainee = trainee(&settings(Strategy::unet_only()));
    let mut state = trainee.state();
    let name = "second_moment.unet.conv_in.bias";
    let (whole, read) = (state.tensors[name].clone(), || Err(burn_pack::Error::IoError("the disk is gone".to_owned())));
    let broken = burn_pack::Tensor::deferred(name.to_owned(), whole.dtype, whole.shape.clone(), None, whole.byte_len(), read);
    state.tensors.insert(name.to_owned(), broken);
    let message = trainee.restore(state).unwrap_err().to_string();
    assert!(message.contains(name) && message.contains("the disk is gone"), "{message}");
}

/// Gradients of micro-batches of 1 and 3 rows, by their share, are those of the 4 rows: up to the order of sums.
#[test]
fn accumulated_gradients_are_the_mean_not_the_sum() {
    /// Norms are of size 1 and sums of some thousand terms in F32.
    const TOLERANCE: f64 = 1e-4;
    let settings = TraineeSettings::new(Strategy::unet_only());
    let (mut whole, mut parts) = (trainee(&settings), trainee(&settings));
    let all = batch(&whole, 3, 4);
    let part = |start: usize, rows: usize| {
        let TrainBatch::Denoise(mut batch) = all.clone() else { unreachable!() };
        let Latents::Drawn(latents) = batch.latents else { unreachable!() };
        let TextCondition::States(states) = batch.text else { unreachable!() };
        batch.latents = Latents::Drawn(latents.narrow(0, start, rows));
        batch.text = TextCondition::States(states.narrow(0, start, rows));
        batch.noise = batch.noise.narrow(0, start, rows);
        batch.offset_noise = None;
        batch.timesteps = batch.timesteps[start..start + rows].to_vec();
        TrainBatch::Denoise(batch)
    };
    let loss = whole.accumulate(&all, 1.0).unwrap();
    let losses = [parts.accumulate(&part(0, 1), 0.25).unwrap(), parts.accumulate(&part(1, 3), 0.75).unwrap()];
    assert!((loss.mean - (0.25 * losses[0].mean + 0.75 * losses[1].mean)).abs() < TOLERANCE);
    let (whole, parts) = (whole.step(1.0).unwrap(), parts.step(1.0).unwrap());
    for (a, b) in whole.gradient_norms.iter().zip(&parts.gradient_norms) {
        assert!((a - b).abs() < TOLERANCE * whole.gradient_norm, "{a} {b}");
    }
}

#[test]
fn losses_can_be_read_with_the_step() {
    let [mut read, mut unread] = [(), ()].map(|()| trainee(&settings(Strategy::unet_only())));
    let batches = [batch(&read, 1, 2), batch(&read, 2, 1)];
    let losses: Vec<_> = batches.iter().map(|batch| read.accumulate(batch, 0.5).unwrap()).collect();
    batches.iter().for_each(|batch| unread.accumulate_unread(batch, 0.5).unwrap());
    let (mut first, second) = (read.step(1.0).unwrap(), unread.step(1.0).unwrap());
    assert!(first.losses.is_empty());
    first.losses = losses;
    assert_eq!(first, second);
    assert!(contents(&read.state()) == contents(&unread.state()));
    assert!(unread.step(1.0).is_err(), "nothing is left");
}

#[test]
fn gradients_can_be_exchanged_before_the_step() {
    let mut trainee = trainee(&TraineeSettings { max_grad_norm: None, ..TraineeSettings::new(Strategy::unet_lora(lora(&[]))) });
    let batch = batch(&trainee, 1, 1);
    trainee.accumulate(&batch, 1.0).unwrap();
    let mut norms = Vec::new();
    let doubled = trainee.exchange_gradients(|gradient| {
        norms.push(f64::from(gradient.clone().square().sum().sqrt().into_scalar::<f32>()));
        Ok::<_, Infallible>(gradient * 2.0)
    });
    doubled.unwrap();
    let report = trainee.step(1.0).unwrap();
    for (norm, doubled) in norms.iter().zip(&report.gradient_norms) {
        // F32 sums.
        assert!((2.0 * norm - doubled).abs() <= 1e-5 * doubled, "{norm} {doubled}");
    }
}

#[test]
fn losses_without_gradients_are_those_of_training() {
    for strategy in strategies() {
        let mut trainee = trainee(&settings(strategy));
        let batch = any_batch(&trainee, 2);
        let validated = trainee.losses(&batch, Which::Live).unwrap();
        let trained = trainee.accumulate(&batch, 1.0).unwrap().samples;
        for (a, b) in validated.iter().zip(&trained) {
            // Kernels with and without autodiff sum in another order.
            assert!((a - b).abs() < 1e-5 * b, "{a} {b}");
        }
        assert_eq!(trainee.losses(&batch, Which::Ema).unwrap(), validated, "before the first step the average is the weights");
    }
}

#[test]
fn a_learning_rate_is_a_parts_own() {
    let mut settings = TraineeSettings::new(Strategy::both());
    settings.learning_rates.text_encoder = 0.0;
    let mut trainee = trainee(&settings);
    let start = weights(&trainee, Which::Live);
    step(&mut trainee, 0);
    for (name, value) in weights(&trainee, Which::Live) {
        assert_eq!(value == start[&name], name.starts_with("text_encoder."), "{name}");
    }
    let before = weights(&trainee, Which::Live);
    let batch = batch(&trainee, 1, 1);
    trainee.accumulate(&batch, 1.0).unwrap();
    trainee.step(0.0).unwrap();
    assert!(weights(&trainee, Which::Live) == before, "a scale of 0 changes nothing");
}

#[test]
fn what_is_no_number_stops_before_a_weight_changes() {
    let mut trainee = trainee(&settings(Strategy::unet_only()));
    step(&mut trainee, 0);
    let before = trainee.state();
    let TrainBatch::Denoise(mut broken) = batch(&trainee, 1, 2) else { unreachable!() };
    let timestep = broken.timesteps[1];
    broken.noise = broken.noise.clone().slice_assign([1..2, 0..1, 0..1, 0..1], noise::<4>(0, [1, 1, 1, 1]) * f32::INFINITY);
    let broken = TrainBatch::Denoise(broken);
    let read = trainee.accumulate(&broken, 1.0).unwrap_err();
    trainee.accumulate_unread(&batch(&trainee, 1, 2), 0.5).unwrap();
    trainee.accumulate_unread(&broken, 0.5).unwrap();
    for error in [read, trainee.step(1.0).unwrap_err()] {
        let FinetuneError::NonFiniteLoss { step: 2, sample: 1, timestep: named, .. } = error else { panic!("{error}") };
        assert_eq!(named, timestep);
    }
    assert!(matches!(trainee.step(1.0).unwrap_err(), FinetuneError::NoGradient { .. }), "the gradients are gone");

    let good = batch(&trainee, 1, 2);
    trainee.accumulate(&good, 1.0).unwrap();
    let mut position = 0;
    let broken = trainee.exchange_gradients(|gradient| {
        position += 1;
        Ok::<_, Infallible>(if position == 3 { gradient * f32::NAN } else { gradient })
    });
    broken.unwrap();
    let named = trainee.names().nth(2).unwrap().to_owned();
    let error = trainee.step(1.0).unwrap_err();
    assert!(matches!(&error, FinetuneError::NonFiniteGradient { step: 2, tensor, .. } if *tensor == named), "{error}");
    assert!(contents(&trainee.state()) == contents(&before));
    assert!(matches!(trainee.step(1.0), Err(FinetuneError::NoGradient { step: 2 })), "the broken gradients are gone");
}

#[test]
fn checkpointed_activations_change_nothing() {
    let run = |gradient_checkpointing| {
        let mut trainee = trainee(&TraineeSettings { gradient_checkpointing, ..settings(Strategy::both()) });
        (0..2).for_each(|seed| step(&mut trainee, seed));
        trainee.state()
    };
    assert!(contents(&run(true)) == contents(&run(false)));
}

/// Losses of a training in half the bits fall as in F32, and its weights are F32.
#[test]
fn brain_floats_train_f32_weights() {
    let run = |dtype| {
        let mut settings = TraineeSettings { dtype, ..TraineeSettings::new(Strategy::both()) };
        settings.learning_rates = super::LearningRates::uniform(1e-3);
        let mut trainee = trainee(&settings);
        let batch = batch(&trainee, 4, 2);
        let losses: Vec<f64> = (0..8)
            .map(|_| {
                let loss = trainee.accumulate(&batch, 1.0).unwrap().mean;
                trainee.step(1.0).unwrap();
                loss
            })
            .collect();
        (losses, trainee)
    };
    let ((full, _), (half, trainee)) = (run(FloatDType::F32), run(FloatDType::BF16));
    assert!(half[7] < 0.8 * half[0] && full[7] < 0.8 * full[0], "{half:?} {full:?}");
    // BF16 has 8 bits, in some thirty layers.
    assert!((half[0] - full[0]).abs() < 0.05 * full[0], "{half:?} {full:?}");
    // Updates of a learning rate of 1e-3 on weights of size 0.1: most are lost if the weights themselves have 8 bits.
    let odd = trainee.weights(Which::Live).flat_map(|(_, data)| data.iter::<f32>().collect::<Vec<_>>());
    let fine = odd.filter(|value| value.to_bits() & 0xffff != 0).count();
    assert!(fine > trainee.parameters() / 2, "{fine} of {}", trainee.parameters());
}

/// A folder that was exported is what was trained, to the bit; without a change in F32, byte for byte what it was.
#[test]
fn exports_are_what_was_trained() {
    for strategy in strategies() {
        let mut trainee = trainee(&settings(strategy.clone()));
        (0..2).for_each(|seed| step(&mut trainee, seed));
        for which in [Which::Live, Which::Ema] {
            let folder = tempfile::tempdir().unwrap();
            trainee.export(folder.path(), which).unwrap();
            let exported = StableDiffusion::open(folder.path(), &OpenOptions::new(&Device::flex()), |_| ()).unwrap();
            let again =
                Trainee::new(Checkpoint::read(folder.path()).unwrap(), &TraineeSettings::new(full(&strategy)), &Device::flex());
            let again = weights(&again.unwrap(), Which::Live);
            if !strategy.has_lora() {
                assert!(again == weights(&trainee, which), "{strategy:?}");
            }
            let here = trainee.pipeline(which);
            let ids = |pipeline: &StableDiffusion| pipeline.encode(&["Normal chest."], 0).unwrap().states.into_data();
            assert_eq!(ids(&exported), ids(&here), "{strategy:?}");
            let decoded = |pipeline: &StableDiffusion| pipeline.decode(noise(1, [1, 4, 4, 4]), false).into_data();
            assert_eq!(decoded(&exported), decoded(&here), "{strategy:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    trainee(&TraineeSettings::new(Strategy::both())).export(folder.path(), Which::Live).unwrap();
    for file in ["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors", "unet/config.json"] {
        assert!(std::fs::read(folder.path().join(file)).unwrap() == std::fs::read(pipeline().join(file)).unwrap(), "{file}");
    }
}

/// The strategy that trains in full what this one trains at all.
fn full(strategy: &Strategy) -> Strategy {
    match strategy {
        Strategy::Denoise { text_encoder, .. } if *text_encoder == Tuning::Frozen => Strategy::unet_only(),
        Strategy::Denoise { unet: Tuning::Frozen, .. } => Strategy::text_encoder_only(),
        Strategy::Denoise { .. } => Strategy::both(),
        reconstruct @ Strategy::Reconstruct { .. } => reconstruct.clone(),
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut trainee = trainee(&TraineeSettings::new(Strategy::unet_only()));
    let good = batch(&trainee, 0, 2);
    let TrainBatch::Denoise(good) = good else { unreachable!() };
    let with = |change: &dyn Fn(&mut super::Denoising)| {
        let mut batch = good.clone();
        change(&mut batch);
        batch
    };
    let cases = [
        (with(&|batch| batch.timesteps = vec![3]), "1 timesteps for 2 samples"),
        (with(&|batch| batch.timesteps = vec![3, 1000]), "timestep 1000 of a schedule of 1000"),
        (with(&|batch| batch.noise = noise(1, [2, 4, 8, 4])), "noise is [2, 4, 8, 4]"),
        (with(&|batch| batch.offset_noise = Some(noise(1, [2, 4, 8, 8]))), "offset noise is"),
        (with(&|batch| batch.latents = Latents::Drawn(noise(1, [2, 32, 8, 8]))), "latents have 32 channels"),
        (with(&|batch| batch.text = TextCondition::States(noise(1, [2, 77, 24]))), "24 wide, expected 32"),
        (with(&|batch| batch.text = TextCondition::States(noise(1, [1, 77, 32]))), "1 texts for 2 samples"),
    ];
    for (batch, said) in cases {
        let message = trainee.accumulate(&TrainBatch::Denoise(batch), 1.0).unwrap_err().to_string();
        assert!(message.contains(said), "{message}");
    }
    let message = trainee.accumulate(&pixels(0, 1), 1.0).unwrap_err().to_string();
    assert!(message.contains("pixels for one that reconstructs"), "{message}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut TraineeSettings)| {
        let mut settings = settings(Strategy::unet_only());
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    for (message, key) in [
        (refused(&|s| s.learning_rates.unet = -1.0), "learning_rates.unet is -1"),
        (refused(&|s| s.learning_rates.vae = f64::NAN), "learning_rates.vae is NaN"),
        (refused(&|s| s.max_grad_norm = Some(0.0)), "max_grad_norm is 0"),
        (refused(&|s| s.adamw.betas[1] = 1.0), "adamw.betas[1] is 1"),
        (refused(&|s| s.objective = Objective { snr_gamma: Some(0.0), noise_offset: 0.0 }), "objective.snr_gamma is 0"),
        (refused(&|s| s.ema = Some(EmaConfig { decay: 1.0, ..EmaConfig::default() })), "ema.decay is 1"),
        (refused(&|s| s.dtype = FloatDType::F16), "dtype is F16"),
        (refused(&|s| s.strategy = Strategy::Reconstruct { encoder: false, decoder: false }), "encoder or decoder"),
        (refused(&|s| s.strategy = Strategy::unet_lora(LoraSettings { rank: 0, ..lora(&[]) })), "lora.rank is 0"),
    ] {
        assert!(message.contains(key), "{message}");
    }
    let only_projection = Strategy::Denoise { unet: Tuning::Frozen, text_encoder: Tuning::Frozen, text_projection: true };
    let made = Trainee::new(Checkpoint::read(pipeline()).unwrap(), &TraineeSettings::new(only_projection), &Device::flex());
    assert!(made.unwrap_err().to_string().contains("a pipeline with a text projection"));
}
