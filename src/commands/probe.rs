//! `roentgen probe`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use roentgen::data;
use roentgen::evaluation::probe::{
    FitConfig, FrozenEncoder, LabelSource, Prepared, ProbeConfig, ProbeReport, TextSet, check_folder, render_page,
    render_table, usual_blank,
};
use roentgen::hub::{Asked, Want};
use roentgen::run_folder::RunFolder;
use roentgen_augment::formats::{MissingImages, OwnColumns, PromptTable};
use roentgen_augment::record::Target;
use roentgen_augment::text::Labeler;

use crate::cli::{LabelsChoice, ProbeArgs};
use crate::commands::data::Source;
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes, settle};

/// The result, in the folder.
const REPORT: &str = "probe.json";

pub fn run(args: &ProbeArgs) -> Result<ExitCode> {
    let set = labelled(args, texts(args)?)?;
    let blank = args.blank.map_or_else(|| usual_blank(set.source), Target::from);
    let fit = FitConfig { c: args.c, balanced: !args.unweighted, hidden: args.hidden, seed: args.seed };
    let config = ProbeConfig {
        probes: args.probe.kinds(),
        fit,
        folds: args.folds,
        uncertain: args.uncertain.into(),
        blank,
        bootstrap: args.bootstrap,
        seed: args.seed,
        allow_template: args.allow_template,
    };
    // Before anything is downloaded or computed.
    let prepared = Prepared::new(&set, config)?;
    let (mut before, mut after) = (args.before.clone(), args.after.clone());
    let asked =
        [("--before", &mut before), ("--after", &mut after)].map(|(key, place)| Asked::new(key, place, Want::TextEncoder));
    settle(asked.into(), args.common.json)?;
    let (device, _) = args.common.device.open()?;
    let pooling = args.pooling.map(Into::into);
    let first = FrozenEncoder::open(&before.to_string(), &before.path(), pooling, &device).context("--before")?;
    let second = match before.path() == after.path() {
        true => first.clone(),
        false => FrozenEncoder::open(&after.to_string(), &after.path(), pooling, &device).context("--after")?,
    };
    let encoders = [&first, &second];
    let folder = RunFolder::take(&args.out, "probe")?;
    check_folder(&args.out.join(REPORT), &prepared.settings(encoders))?;
    let embeddings = args.embeddings.clone().unwrap_or_else(|| args.out.join("embeddings"));
    let bars = Bars::new(args.common.json);
    let outcome = prepared.run(encoders, &embeddings, &bars)?;
    let json = serde_json::to_string_pretty(&outcome.report)?;
    folder.write("predictions.csv", outcome.predictions.as_bytes())?;
    folder.write("probe.html", render_page(&outcome.report).as_bytes())?;
    folder.write(REPORT, format!("{json}\n").as_bytes())?;
    say(args, &outcome.report, &json)?;
    Ok(ExitCode::SUCCESS)
}

fn say(args: &ProbeArgs, report: &ProbeReport, json: &str) -> Result<()> {
    if args.common.json {
        print(json)?;
        return Ok(());
    }
    print(render_table(report))?;
    print(format!("\n{} and probe.html: {}", REPORT, args.out.display()))?;
    Ok(())
}

/// The texts of a table, or of a data set.
fn texts(args: &ProbeArgs) -> Result<TextSet> {
    let (path, section) = (args.texts.as_path(), args.section.into());
    if is_table(path) {
        let own = OwnColumns { findings: args.custom_finding.clone(), ignored: args.extra_column.clone() };
        let table = PromptTable::read(path, &own)?;
        say_notes(table.notes());
        return Ok(TextSet::of_prompts(&path.display().to_string(), &table, section)?);
    }
    if let Some(column) = args.extra_column.first().or(args.custom_finding.first()) {
        bail!("the column `{column}` is named for a table; a run file names it in its [data] table");
    }
    let config = Source::open(path)?.config;
    let data = data::read(&config.data, config.preprocess, MissingImages::Keep)?;
    if let Some(fault) = data.faults().first() {
        bail!("{fault}");
    }
    say_notes(data.notes());
    Ok(TextSet::of_data(&data, section)?)
}

fn is_table(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
    [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt"].iter().any(|ending| name.ends_with(ending)) && !path.is_dir()
}

/// The texts with the labels that are asked for.
fn labelled(args: &ProbeArgs, set: TextSet) -> Result<TextSet> {
    let from = match args.labels {
        LabelsChoice::Table => LabelSource::Table,
        LabelsChoice::Text => LabelSource::Text,
        LabelsChoice::Auto if set.is_labelled() => LabelSource::Table,
        LabelsChoice::Auto => LabelSource::Text,
    };
    Ok(match from {
        LabelSource::Table => set,
        LabelSource::Text => set.labelled_by(Labeler::standard()),
    })
}
