//! `roentgen data`.

pub mod convert;
pub mod vocab;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use roentgen::config::RunConfig;
use roentgen::data;
use roentgen::guess::GuessedData;
use roentgen::memory::machine_bytes;
use roentgen::study;
use roentgen_augment::dataset::{CheckReport, DataSummary, ImageCopy};
use roentgen_augment::formats::MissingImages;
use serde::Serialize;

use crate::cli::DataArgs;
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

/// Most faults of one kind that are printed; `--json` has them all.
const SHOWN: usize = 20;

/// Far above any run file, in bytes.
const LARGEST_RUN_FILE: u64 = 1 << 20;

/// A run file, or what one would say of the files that were given.
pub(super) struct Source {
    pub(super) config: RunConfig,
    guessed: Option<GuessedData>,
}

impl Source {
    /// Reads a run file, or guesses; the machine must have the memory for the images.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let guessed = if is_run_file(path) { None } else { Some(GuessedData::of(path)?) };
        let config = match &guessed {
            Some(guessed) => guessed.config.clone(),
            None => RunConfig::read_data(path)?,
        };
        config.image_memory().check(machine_bytes())?;
        Ok(Self { config, guessed })
    }

    /// Says what was guessed.
    fn say(&self, path: &Path) -> io::Result<()> {
        let Some(GuessedData { format, why, table, .. }) = &self.guessed else { return Ok(()) };
        print(format!("{}: read as `{format}`, since {why}. In a run file:\n\n{table}", path.display()))
    }

    /// The result as JSON, with what was guessed.
    fn json(&self, result: &impl Serialize) -> Result<String> {
        let mut json = serde_json::to_value(result)?;
        if let (Some(fields), Some(GuessedData { format, why, table, .. })) = (json.as_object_mut(), &self.guessed) {
            fields.insert("guess".to_owned(), serde_json::json!({ "format": format, "why": why, "data": table }));
        }
        Ok(serde_json::to_string_pretty(&json)?)
    }
}

/// Whether the path is a run file: by its name, or by what it holds.
fn is_run_file(path: &Path) -> bool {
    let is_named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    is_named
        || path.metadata().is_ok_and(|file| file.is_file() && file.len() < LARGEST_RUN_FILE)
            && std::fs::read_to_string(path)
                .is_ok_and(|text| text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("data")))
}

pub fn summary(args: &DataArgs) -> Result<ExitCode> {
    let source = Source::open(&args.data)?;
    let config = &source.config;
    let data = data::read(&config.data, config.preprocess, MissingImages::Keep)?;
    if let Some(fault) = data.faults().first() {
        bail!("{fault}");
    }
    say_notes(data.notes());
    // Rows without a split are counted as such; that they can't be trained on is for `data check` to say.
    let divided = data::plan(&config.data).apply(&data).ok();
    let summary = DataSummary::of(divided.as_ref().unwrap_or(&data));
    if args.json {
        print(source.json(&summary)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    source.say(&args.data)?;
    print(format!("{}: {} images of {} patients", summary.name, summary.images, summary.patients))?;
    for (what, counts) in [
        ("splits", summary.splits.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>()),
        ("views", summary.views.iter().map(|(name, n)| format!("{name} {n}")).collect()),
        ("sexes", summary.sexes.iter().map(|(name, n)| format!("{name} {n}")).collect()),
    ] {
        print(format!("{what}: {}", counts.join(", ")))?;
    }
    if let Some(ages) = &summary.ages {
        print(format!("ages: {} to {}, median {} ({} known)", ages.min, ages.max, ages.median, ages.known))?;
    }
    for (count, what) in [(summary.unidentified, "images without a patient"), (summary.synthetic, "synthetic images")] {
        if count > 0 {
            print(format!("{what}: {count}"))?;
        }
    }
    let splits: Vec<_> = summary.splits.keys().cloned().collect();
    let mut table = Table::new();
    table.load_preset(NOTHING);
    let header =
        ["finding".to_owned(), "positive".to_owned(), "negative".to_owned(), "uncertain".to_owned(), "blank".to_owned()];
    table.set_header(header.into_iter().chain(splits.iter().map(|split| format!("+ {split}"))));
    for finding in &summary.findings {
        let all = &finding.all;
        let counts = [all.positive, all.negative, all.uncertain, all.missing].map(|n| n.to_string());
        let by_split = splits.iter().map(|split| finding.by_split.get(split).map_or(0, |counts| counts.positive).to_string());
        table.add_row(std::iter::once(finding.finding.to_string()).chain(counts).chain(by_split));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print(format!("\n{table}\n\n{} images have no positive finding", summary.without_finding))?;
    Ok(ExitCode::SUCCESS)
}

pub fn check(args: &DataArgs) -> Result<ExitCode> {
    let source = Source::open(&args.data)?;
    if !args.json {
        source.say(&args.data)?;
    }
    let bars = Bars::new(args.json);
    let task = bars.begin("", 0, "images");
    let report = study::check(&source.config, |done, all| {
        if done == 1 {
            task.set_total(all as u64);
        }
        task.advance(1);
    });
    drop(task);
    say_notes(&report.notes);
    if args.json {
        print(source.json(&report)?)?;
    } else {
        say(&report)?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(report: &CheckReport) -> io::Result<()> {
    let sizes = if report.size_range.is_empty() { String::new() } else { format!(": {}", report.size_range) };
    print(format!("{} images examined{sizes}", report.images))?;
    list(["fault", "faults"], report.faults.clone())?;
    let unreadable = report.unreadable.iter().map(|fault| format!("row {}: {}: {}", fault.row, fault.image, fault.reason));
    list(["unreadable image", "unreadable images"], unreadable.collect())?;
    let patients = report.patients_across_splits.iter().map(|shared| {
        let rows: Vec<_> = shared.rows.iter().map(|(split, row)| format!("{split} (row {row})")).collect();
        format!("patient {}: {}", shared.patient, rows.join(", "))
    });
    list(["patient in two splits", "patients in two splits"], patients.collect())?;
    list(
        ["image in two splits", "images in two splits"],
        report.duplicates_across_splits.iter().map(|copies| same(copies)).collect(),
    )?;
    if report.is_clean() {
        print("no problems found")?;
    }
    list(
        ["image twice in one split (allowed)", "images twice in one split (allowed)"],
        report.duplicates_within_split.iter().map(|copies| same(copies)).collect(),
    )?;
    for warning in &report.warnings {
        let more = if warning.count > warning.examples.len() && !warning.examples.is_empty() { "; …" } else { "" };
        let examples =
            if warning.examples.is_empty() { String::new() } else { format!(" ({}{more})", warning.examples.join("; ")) };
        print(format!("warning: {}{examples}", warning.text))?;
    }
    Ok(())
}

fn list([one, many]: [&str; 2], faults: Vec<String>) -> io::Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    print(format!("{} {}", faults.len(), if faults.len() == 1 { one } else { many }))?;
    for fault in faults.iter().take(SHOWN) {
        print(format!("  {fault}"))?;
    }
    if faults.len() > SHOWN {
        print(format!("  … and {} more; --json lists all", faults.len() - SHOWN))?;
    }
    Ok(())
}

fn same(copies: &[ImageCopy]) -> String {
    let names = copies.iter().map(|copy| match copy.split {
        Some(split) => format!("{} ({split}, row {})", copy.image, copy.row),
        None => format!("{} (row {})", copy.image, copy.row),
    });
    names.collect::<Vec<_>>().join(" = ")
}
