//! `roentgen generate`.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use roentgen::diffusion::pipeline::{
    Checkpoint, Depth, OpenOptions, PipelineSource, SamplingPreset, Settings, Start, initial_pixels,
};
use roentgen::finetune::Lora;
use roentgen::generate::store::Store;
use roentgen::generate::{DiffusionSynthesizer, ImageSet, Outcome, Progress, colour_note, make, merge, prompts};
use roentgen::memory::{Estimate, machine_bytes};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::formats::OwnColumns;

use crate::cli::{GenerateArgs, LoraChoice};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

pub fn run(args: &GenerateArgs) -> Result<ExitCode> {
    args.check()?;
    let own = OwnColumns { findings: args.custom_finding.clone(), ignored: args.extra_column.clone() };
    let table = prompts(args.prompt.as_deref(), args.prompts.as_deref(), &own)?;
    say_notes(table.notes());
    args.check_rows(table.requests(1, 0)?.len())?;
    let requests = table.requests(args.count, args.seed)?;
    let store = Store::open(&args.out)?;
    let set = ImageSet { store: &store, vocabulary: &table.vocabulary, requests: &requests };
    if args.merge {
        let images = merge(set)?;
        let manifest = store.describe("manifest.csv");
        if args.common.json {
            let summary = serde_json::json!({ "manifest": manifest, "images": images });
            print(serde_json::to_string_pretty(&summary)?)?;
        } else {
            print(format!("{images} images\nmanifest: {}", manifest.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let folder = args.pipeline.as_deref().context("give --pipeline")?;
    let (device, name) = args.common.device.open()?;
    let bars = Bars::new(args.common.json);

    let source = PipelineSource { folder: folder.to_owned(), variant: args.variant.clone(), unet: args.unet.clone() };
    let checkpoint = Checkpoint::read(source)?;
    let of_weights = checkpoint.notes()?;
    say_notes(&of_weights);
    let settings = settings(args, &checkpoint)?;
    let evaluations = settings.evaluations()?;
    memory(args, &settings).check(machine_bytes())?;
    let start = start(args, &settings, &device)?;
    let opening = bars.begin(&format!("loading {}", folder.display()), 0, "parts");
    let options = OpenOptions { device: device.clone(), dtype: args.dtype.into(), offload: args.offload };
    let mut pipeline = checkpoint.load(&options, |part| opening.message(&format!("{part} loaded")))?;
    for LoraChoice { path, scale } in &args.lora {
        pipeline = Lora::read(path)?.merge(pipeline, *scale, path)?;
    }
    drop(opening);
    let mut synthesizer = DiffusionSynthesizer::new(pipeline, settings, args.negative_prompt.clone(), args.batch_size);
    if let Some((start, digest)) = start {
        synthesizer = synthesizer.with_start(start, digest);
    }

    let total = args.shard.of(&requests).count();
    let task = bars.begin("", (total * evaluations) as u64, "steps");
    let (begun, mut images) = (Instant::now(), 0);
    let outcome = make(set, args.shard, &synthesizer, |progress| {
        match progress {
            Progress::Step(step) => {
                let batch = args.batch_size.get().min(total - images);
                task.set(((images * evaluations) + batch * step.number * evaluations / step.total) as u64);
            }
            Progress::Images(more) => {
                images += more;
                task.set((images * evaluations) as u64);
                task.message(&format!("{images}/{total} images"));
            }
        }
        ControlFlow::Continue(())
    })?;
    drop(task);
    let of_images = outcome.cut_prompts.note().into_iter().chain(colour_note(outcome.mean_channel_spread));
    let of_images: Vec<String> = of_images.collect();
    let notes = [table.notes(), &of_weights, &of_images].concat();
    report(args, &store, &outcome, begun.elapsed().as_secs_f64(), (&name.to_string(), &notes))?;
    say_notes(&of_images);
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &GenerateArgs, checkpoint: &Checkpoint) -> Result<Settings> {
    let defaults = checkpoint.settings();
    let mut scheduler = defaults.scheduler;
    if let Some(kind) = args.sampler.or(args.preset.map(SamplingPreset::sampler)) {
        scheduler = scheduler.with_kind(kind)?;
    }
    if args.karras {
        scheduler = scheduler.with_karras_sigmas(true)?;
    }
    if args.eta != 0.0 {
        scheduler = scheduler.with_eta(args.eta)?;
    }
    let settings = Settings {
        scheduler,
        steps: args.steps.or(args.preset.map(SamplingPreset::steps)).unwrap_or(defaults.steps),
        guidance_scale: args.guidance.or(args.preset.map(SamplingPreset::guidance_scale)).unwrap_or(defaults.guidance_scale),
        guidance_rescale: args.guidance_rescale,
        size: args.size.map_or(defaults.size, |size| [size.height, size.width]),
        depth: if args.bits == "16" { Depth::Sixteen } else { Depth::Eight },
        tiled: args.tiled,
        clip_skip: defaults.clip_skip,
    };
    checkpoint.check(&settings)?;
    Ok(settings)
}

/// Least memory of the last images of a batch, which are decoded on the host.
fn memory(args: &GenerateArgs, settings: &Settings) -> Estimate {
    let [height, width] = settings.size;
    Estimate::new("--size or --batch-size").with("a batch of images", &[args.batch_size.get(), 3, height, width])
}

/// The start image and its digest.
fn start(args: &GenerateArgs, settings: &Settings, device: &Device) -> Result<Option<(Start, Fingerprint)>> {
    let Some(path) = &args.init_image else { return Ok(None) };
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let digest = Fingerprint::of(&[&bytes, &args.strength.to_le_bytes()]);
    let pixels = initial_pixels(path, settings.size, device)?;
    Ok(Some((Start::Picture { pixels, strength: args.strength }, digest)))
}

fn report(
    args: &GenerateArgs,
    store: &Store,
    outcome: &Outcome,
    seconds: f64,
    (device, notes): (&str, &[String]),
) -> Result<()> {
    let manifest = args.shard.is_whole().then(|| store.describe("manifest.csv"));
    if args.common.json {
        let summary = serde_json::json!({
            "manifest": manifest,
            "images": outcome.images,
            "made": outcome.made,
            "seconds": seconds,
            "device": device,
            "mean_channel_spread": outcome.mean_channel_spread,
            "cut_prompts": outcome.cut_prompts.prompts,
            "most_tokens_cut": outcome.cut_prompts.most_tokens,
            "notes": notes,
        });
        print(serde_json::to_string_pretty(&summary)?)?;
        return Ok(());
    }
    let there = outcome.images - outcome.made;
    let rate = if outcome.made == 0 {
        String::new()
    } else {
        format!(", {:.1} s per image on {device}", seconds / outcome.made as f64)
    };
    print(format!("{} images made{rate}; {there} existed", outcome.made))?;
    match manifest {
        Some(manifest) => print(format!("manifest: {}", manifest.display()))?,
        None => print(format!("shard {}; --merge writes the manifest once all are done", args.shard))?,
    }
    Ok(())
}
