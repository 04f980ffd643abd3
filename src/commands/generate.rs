//! `roentgen generate`.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use roentgen::generate::store::Store;
use roentgen::generate::{ImageSet, Opening, Outcome, Progress, colour_note, make, merge, prompts};
use roentgen::memory::machine_bytes;
use roentgen_augment::formats::OwnColumns;
use roentgen_augment::request::doubts;

use crate::cli::GenerateArgs;
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes, settle};

pub fn run(args: &GenerateArgs) -> Result<ExitCode> {
    args.check()?;
    let own = OwnColumns { findings: args.custom_finding.clone(), ignored: args.extra_column.clone() };
    let table = prompts(args.prompt.as_deref(), args.prompts.as_deref(), &own)?;
    say_notes(table.notes());
    args.check_rows(table.requests(1, 0)?.len())?;
    let requests = table.requests(args.count, args.seed)?;
    let doubts = doubts(&requests);
    say_notes(&doubts);
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
    let mut generator = args.generator(args.pipeline.clone().context("give --pipeline")?);
    let (device, name) = args.common.device.open()?;
    generator.dtype.check("--dtype", &device)?;
    settle(generator.checkpoints("--"), args.common.json)?;
    let place = generator.pipeline.clone();
    let bars = Bars::new(args.common.json);

    let generator = Opening::new(&generator, args.image_size())?;
    let of_weights = generator.notes()?;
    say_notes(&of_weights);
    let evaluations = generator.settings().evaluations()?;
    let keys = if args.tiled { "--size or --batch-size" } else { "--size or --batch-size, or add --tiled" };
    generator.check_memory(name.is_host(), machine_bytes(), keys)?;
    let opening = bars.begin(&format!("loading {place}"), 0, "parts");
    let synthesizer = generator.open(&device, |part| opening.message(&format!("{part} loaded")))?;
    drop(opening);

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
    let prompts = outcome.cut_prompts.note().into_iter().chain(outcome.cut_tokens.clone());
    let of_images = prompts.chain(colour_note(outcome.mean_channel_spread));
    let of_images: Vec<String> = of_images.collect();
    let notes = [table.notes(), &doubts, &of_weights, &of_images].concat();
    report(args, &store, &outcome, begun.elapsed().as_secs_f64(), (&name.to_string(), &notes))?;
    say_notes(&of_images);
    Ok(ExitCode::SUCCESS)
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
