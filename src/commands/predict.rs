//! `roentgen predict`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use roentgen::compare::macro_auroc;
use roentgen::config::{NetworkConfig, RunConfig, SplitConfig};
use roentgen::data;
use roentgen::memory::{Estimate, machine_bytes};
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::dataset::{CxrDataset, Splits};
use roentgen_augment::image::{BitDepth, Preprocess};
use roentgen_augment::record::{Split, Vocabulary};
use roentgen_classifier::batch::Batches;
use roentgen_classifier::networks::Network;
use roentgen_classifier::predict::{Predictions, write_predictions};
use roentgen_classifier::weights::read_card;

use crate::cli::{PredictArgs, SplitChoice};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

pub fn run(args: &PredictArgs) -> Result<ExitCode> {
    let mut config = RunConfig::read_data(&args.run)?;
    let card = read_card(&args.weights)?;
    let preprocess: Preprocess = serde_json::from_value(card.preprocess.clone())
        .with_context(|| format!("{} does not say how its images were prepared", args.weights.display()))?;
    // White is a matter of the files, whatever the network was trained on.
    let (stated, trained) = (config.preprocess.bit_depth, preprocess.bit_depth);
    let dicom = config.preprocess.dicom.or(preprocess.dicom);
    let preprocess = Preprocess { bit_depth: stated.or(trained), dicom, ..preprocess };
    config.preprocess = preprocess;
    // The network is the weights', too: these pictures are of its size, whatever the run file's takes.
    config.network = NetworkConfig::default();
    config.data.findings = Some(card.findings.clone());
    // Findings that the classifier learnt are known, whatever the run file says.
    config.data.custom_findings.extend(card.findings.iter().cloned());
    // The size of the images is the weights', which may be of another version or edited.
    config.validate_tables().with_context(|| format!("with the settings that {} names", args.weights.display()))?;
    let side = preprocess.size;
    let estimate = Estimate::new("training.eval_batch_size").with("a batch", &[config.training.eval_batch_size, side, side]);
    estimate.check(machine_bytes())?;
    let (device, _) = args.common.device.open()?;
    card.precision.check("the precision of the weights", &device)?;
    // Each image is read once: there is nothing to keep.
    config.data.cache_mib = 0;
    let data = rows(&config, preprocess, args.split)?;
    say_notes(data.notes());
    say_notes(&depth_notes(stated, trained));
    let net = Network::load(&args.weights, &device)?.net;
    let vocabulary = Arc::new(Vocabulary::parse(&card.findings)?);
    let batcher = CxrBatcher { vocabulary, policy: config.data.policy_of_rows(), input: card.input_range };
    let batches = Batches::new(data.clone(), &batcher, config.training.eval_batch_size, &device)?;
    let batches = batches.with_precision(card.precision);
    let bars = Bars::new(args.common.json);
    let task = bars.begin("", data.rows().len() as u64, "images");
    let predictions = Predictions::of(&net, &batches, |images| task.advance(images as u64))?;
    drop(task);
    let auroc = macro_auroc(&predictions)?;
    write_predictions(&args.out, &[(0, predictions)])?;
    if args.common.json {
        let summary = serde_json::json!({ "predictions": args.out, "images": data.rows().len(), "macro_auroc": auroc });
        print(serde_json::to_string_pretty(&summary)?)?;
    } else {
        let auroc = auroc.map_or_else(|| "undefined on these labels".to_owned(), |auroc| format!("{auroc:.3}"));
        print(format!("{} images, macro AUROC {auroc}\npredictions: {}", data.rows().len(), args.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is doubtful where files and weights differ in their white.
fn depth_notes(stated: Option<BitDepth>, trained: Option<BitDepth>) -> Vec<String> {
    match (stated, trained) {
        (None, Some(trained @ (BitDepth::Bits(..16) | BitDepth::PerImageRange))) => vec![format!(
            "bit_depth = {trained} is that of the images that the weights were trained on; write bit_depth under [preprocess] if these have another"
        )],
        (Some(stated), trained) if (stated == BitDepth::PerImageRange) != (trained == Some(BitDepth::PerImageRange)) => {
            vec![format!(
                "the weights were trained with bit_depth = {}, and these images are read with {stated}: their contrast differs",
                trained.unwrap_or_default()
            )]
        }
        _ => Vec::new(),
    }
}

/// The images to score. Those of the test split unless `split` says otherwise; all of them where nothing divides them.
fn rows(config: &RunConfig, preprocess: Preprocess, split: Option<SplitChoice>) -> Result<CxrDataset> {
    let data = data::read_unlabelled(&config.data, preprocess)?;
    let is_divided = config.data.split != SplitConfig::Given || data.rows().iter().any(|row| row.record.split.is_some());
    let part = match split {
        Some(SplitChoice::All) => return of_origin(&data, false),
        Some(SplitChoice::Synthetic) => return of_origin(&data, true),
        None if !is_divided => {
            let note = format!("{} names no splits: all of its images are scored", data.name());
            return Ok(of_origin(&data, false)?.with_note(note));
        }
        Some(SplitChoice::Train) => Split::Train,
        Some(SplitChoice::Valid) => Split::Valid,
        Some(SplitChoice::Test) | None => Split::Test,
    };
    let plan = data::plan(&config.data);
    match config.data.train_images.filter(|_| part == Split::Train) {
        Some(images) => Ok(Splits::new(&data, &plan)?.train().subset(images, plan.seed)?.data().clone()),
        None => Ok(Splits::part(&data, &plan, part)?),
    }
}

/// The real rows, on which alone a classifier is judged, or the synthetic ones.
fn of_origin(data: &CxrDataset, synthetic: bool) -> Result<CxrDataset> {
    let rows = data.of_origin(synthetic);
    let others = data.rows().len() - rows.rows().len();
    if rows.rows().is_empty() {
        let (wanted, other) = if synthetic { ("synthetic", "all") } else { ("real", "synthetic") };
        bail!("{} has no {wanted} row; give `--split {other}`", data.name());
    }
    Ok(match (synthetic, others) {
        (false, 1..) => rows.with_note(format!("{others} synthetic rows are left out: `--split synthetic` scores them")),
        _ => rows,
    })
}
