//! `roentgen evaluate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use roentgen::config::{EvaluationConfig, LpipsConfig, ReportsConfig, TextsConfig};
use roentgen::evaluation::features::{NetworkChoice, ResizePath};
use roentgen::evaluation::images::{ImageSet, Wanted};
use roentgen::evaluation::run::{EvaluationJob, evaluate, terminal_table, write};
use roentgen_augment::record::Split;

use crate::cli::{Benchmark, EvaluateArgs};
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes, settle};

pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    let resize = match (args.resize, args.benchmark) {
        (None, Some(Benchmark::Chexgenbench)) => ResizePath::Chexgenbench,
        (resize, _) => resize.map(ResizePath::from).unwrap_or_default(),
    };
    let resolved = |choices: &[NetworkChoice]| choices.iter().map(|choice| choice.clone().resolved(Path::to_owned)).collect();
    let mut config = EvaluationConfig {
        networks: resolved(&args.network),
        judges: resolved(&args.judge),
        resize,
        dtype: args.dtype,
        findings: (!args.finding.is_empty()).then(|| args.finding.clone()),
        splits: args.splits,
        batch: args.batch,
        seed: args.seed,
        // Either flag requires the other.
        lpips: args.lpips.clone().zip(args.lpips_weights.clone()).map(|(network, weights)| LpipsConfig { network, weights }),
        texts: args.texts.clone().map(|table| TextsConfig {
            table,
            embeddings: args.text_embeddings.clone(),
            network: args.text_network.clone().map(|choice| choice.resolved(Path::to_owned)),
        }),
        reports: ReportsConfig {
            decoder: args.report_decoder,
            uncertain: args.uncertain.into(),
            synthetic: args.synthetic_reports.clone(),
            real: args.real_reports.clone(),
            synthetic_entities: pair(&args.synthetic_entities),
            real_entities: pair(&args.real_entities),
        },
        ..EvaluationConfig::default()
    };
    let (device, _) = args.common.device.open()?;
    config.dtype.check("--dtype", &device)?;
    let networks = config.networks.iter_mut().map(|network| network.asked("--network"));
    let judges = config.judges.iter_mut().map(|judge| judge.asked("--judge"));
    let texts = config.texts.iter_mut().filter_map(|texts| Some(texts.network.as_mut()?.asked("--text-network")));
    settle(networks.chain(judges).chain(texts).collect(), args.common.json)?;
    let real = ImageSet::open(&args.real, Wanted::Real(args.real_split.split())).context("--real")?;
    let synthetic = ImageSet::open(&args.synthetic, Wanted::Synthetic).context("--synthetic")?;
    let (real, repeated) = match args.benchmark {
        Some(Benchmark::Chexgenbench) => real.without_repeated_prompts(),
        None => (real, 0),
    };
    if repeated > 0 {
        let note = format!("{repeated} real images with the caption of an earlier one are left out, as CheXGenBench does");
        say_notes(&[note]);
    }
    let train = args.train.as_ref().map(|path| ImageSet::open(path, Wanted::Real(Some(Split::Train))));
    let train = train.transpose().context("--train")?;
    let bars = Bars::new(args.common.json);
    let cache = args.cache.clone().unwrap_or_else(|| args.out.join("features"));
    let evaluation = evaluate(&EvaluationJob {
        real: &real,
        synthetic: &synthetic,
        train: train.as_ref(),
        config: &config,
        benchmark: args.benchmark.map(|_| "chexgenbench"),
        device: &device,
        cache: &cache,
        progress: &bars,
    })?;
    let written = write(&evaluation, &args.out)?;
    let report = &evaluation.report;
    if args.common.json {
        print(serde_json::to_string_pretty(report)?)?;
    } else {
        print(format!("{}report: {}", terminal_table(report), written.html.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The two files of a flag that takes two.
fn pair(files: &[PathBuf]) -> Option<[PathBuf; 2]> {
    files.to_vec().try_into().ok()
}
