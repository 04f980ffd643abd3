//! `roentgen compare`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use roentgen::compare::{Compared, Comparison, PoolJob, check_networks, pools, sample_grid};
use roentgen::config::RunConfig;
use roentgen::evaluation::run::{sections, terminal_table as evaluation_table};
use roentgen::report::{render_html, svg_forest, terminal_table};
use roentgen::run_folder::{StudyCommand, StudyStart};

use crate::cli::{Common, CompareArgs};
use crate::commands::progress::Bars;
use crate::commands::{open_study, print, say_pools, settle, study_data, study_device};

pub fn run(args: &CompareArgs) -> Result<ExitCode> {
    let mut config = RunConfig::read(&args.run)?;
    settle(config.checkpoints(), args.common.json)?;
    compare(&config, &args.out, &args.common)
}

/// Runs the comparison, writes the comparison reports, and prints where they are.
pub fn compare(config: &RunConfig, out: &Path, common: &Common) -> Result<ExitCode> {
    let (device, opened) = study_device(config, common.device)?;
    let study = study_data(config, opened)?;
    let bars = Bars::new(common.json);
    let start = StudyStart { command: StudyCommand::Compare, config, study: &study };
    let folder = open_study(&start, out, &bars)?;
    folder.claim_device(opened)?;
    // A wrong file is found before anything is trained.
    check_networks(config, &device).context("evaluation")?;
    let job = PoolJob { config, study: &study, device: &device, folder: out, progress: &bars };
    let pools = pools(&job)?;
    pools.claim(&config.arms, &folder)?;
    say_pools(config, &pools);
    let comparison =
        Comparison { config, study: &study, pools, device: &device, device_name: opened.to_string(), folder, progress: &bars };
    let compared = comparison.run()?;
    write_pages(&comparison, &compared)?;
    if common.json {
        print(serde_json::to_string_pretty(&compared.report)?)?;
    } else {
        print(terminal_table(&compared.report))?;
        if let Some(evaluation) = &compared.report.evaluation {
            print(format!("\n{}", evaluation_table(evaluation).trim_end()))?;
        }
        print(format!("\nreport: {}", out.join("report.html").display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(comparison: &Comparison<'_>, Compared { report, evaluation }: &Compared) -> Result<()> {
    // The pool of the arm with most images contains those of all others.
    let largest = comparison.pools.arms.iter().flatten().max_by_key(|pool| pool.records().len());
    let synthetic = match &comparison.config.generator {
        Some(generator) => format!("Synthetic: {}", generator.kind.title()),
        None => String::new(),
    };
    let real = match report.data.nature.as_str() {
        "phantom" => "Training images (phantom)",
        _ => "Training images (real)",
    };
    let grid =
        sample_grid(&comparison.study.train, largest, real, &synthetic).context("cannot make the sample grid of the report")?;
    let sections = evaluation.as_ref().map(sections);
    comparison.folder.write("report.html", render_html(report, Some(&grid), sections.as_ref()).as_bytes())?;
    comparison.folder.write("forest.svg", svg_forest(report).as_bytes())?;
    Ok(())
}
