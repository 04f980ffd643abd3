//! `roentgen data label`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use roentgen::data;
use roentgen_augment::dataset::Row;
use roentgen_augment::formats::{MissingImages, ReadLabels, Reading, ReportTable, TableRow, write_table};
use roentgen_augment::record::{CxrRecord, Label};
use roentgen_augment::text::{Evidence, Labeler, Labelling, Source as Rule};
use serde_json::json;

use crate::cli::LabelArgs;
use crate::commands::data::Source;
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

pub fn run(args: &LabelArgs) -> Result<ExitCode> {
    if args.print_rules {
        print(Labeler::standard_rules().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.file.as_deref().context("name the table, or a run file")?;
    let own = args.rules.as_deref().map(Labeler::open).transpose()?;
    let own = match (own, args.parents) {
        (Some(own), true) => Some(own.with_parents()),
        (None, true) => Some(Labeler::of_rules(Labeler::standard_rules())?.with_parents()),
        (own, false) => own,
    };
    let reading = Reading { labeler: own.as_ref().unwrap_or_else(|| Labeler::standard()), section: args.section.into() };
    let is_data_set = file.is_dir() || file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if is_data_set { of_data_set(args, file, reading) } else { of_table(args, file, reading) }
}

/// Labels any table: its other columns are copied.
fn of_table(args: &LabelArgs, file: &Path, reading: Reading<'_>) -> Result<ExitCode> {
    let column = args.report.as_deref().context("name the column of the reports with --report")?;
    let table = ReportTable::open(file, column, None)?;
    say_notes(&table.notes());
    if let Some(row) = args.explain {
        return explain(args, &table.report(row)?, reading);
    }
    let bars = Bars::new(args.json);
    let task = bars.begin("", 0, "reports");
    let read = table.read(reading, &|done| task.set(done))?;
    drop(task);
    let out = args.out.as_deref().context("name the table to write with --out")?;
    table.write(out, reading.labeler, &read, args.replace)?;
    say(args, out, &read, reading.labeler)
}

/// Labels the reports of a data set: what is known of its images becomes the project's own table.
fn of_data_set(args: &LabelArgs, file: &Path, reading: Reading<'_>) -> Result<ExitCode> {
    if let Some(column) = &args.report {
        bail!(
            "--report {column}: the reader of a data set knows its reports; in a run file, `report` of [data] names another column"
        );
    }
    let config = Source::open(file)?.config;
    let data = data::read(&config.data, config.preprocess, MissingImages::Keep)?;
    if let Some(fault) = data.faults().first() {
        bail!("{fault}");
    }
    say_notes(data.notes());
    let reports: Vec<&str> = data.rows().iter().map(|row| row.record.report.as_deref().unwrap_or_default()).collect();
    if reports.iter().all(|report| report.is_empty()) {
        bail!("{}: no row of {} has a report", file.display(), data.name());
    }
    if let Some(row) = args.explain {
        let at =
            data.rows().iter().position(|known| known.line == row).with_context(|| format!("{}: no row {row}", data.name()))?;
        return explain(args, reports[at], reading);
    }
    let bars = Bars::new(args.json);
    let task = bars.begin("", reports.len() as u64, "reports");
    let mut read = ReadLabels::default();
    for batch in reports.chunks(BATCH) {
        reading.add(batch, &mut read);
        task.advance(batch.len() as u64);
    }
    drop(task);
    let labelled = |(row, read): (&Row, &Labelling)| {
        let mut record = CxrRecord::clone(&row.record);
        record.labels.clone_from(&read.labels);
        record.details.findings.clone_from(&read.details);
        record
    };
    let records: Vec<CxrRecord> = data.rows().iter().zip(&read.rows).map(labelled).collect();
    let rows: Vec<_> = records.iter().map(|record| TableRow { image: &record.id, record, card: None }).collect();
    let out = args.out.as_deref().context("name the table to write with --out")?;
    write_table(out, reading.labeler.vocabulary(), &rows)?;
    say(args, out, &read, reading.labeler)
}

/// Reports of a data set that are labelled between two steps of the progress.
const BATCH: usize = 4096;

fn say(args: &LabelArgs, out: &Path, read: &ReadLabels, labeler: &Labeler) -> Result<ExitCode> {
    let counts = read.counts(labeler);
    if args.json {
        let json =
            json!({ "out": out, "rows": read.rows.len(), "taken": read.taken, "unread": read.unread, "findings": counts });
        print(serde_json::to_string_pretty(&json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(format!("{}: labels of {} rows, read from reports by rule", out.display(), read.rows.len()))?;
    list("read from", read.taken.iter().map(|(from, rows)| format!("{from} {rows}")).collect())?;
    list("rows without labels", read.unread.iter().map(|(why, rows)| format!("{why} {rows}")).collect())?;
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["finding", "positive", "negative", "uncertain", "blank"]);
    for count in &counts {
        let numbers = [count.positive, count.negative, count.uncertain, count.blank].map(|n| n.to_string());
        table.add_row(std::iter::once(count.finding.to_string()).chain(numbers));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print(format!(
        "\n{table}\n\nwhat the rules get wrong is in docs/labeler.md; --explain ROW shows why a report has its labels"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn list(what: &str, parts: Vec<String>) -> io::Result<()> {
    if parts.is_empty() { Ok(()) } else { print(format!("{what}: {}", parts.join(", "))) }
}

/// Shows which words of a report gave which label.
fn explain(args: &LabelArgs, report: &str, reading: Reading<'_>) -> Result<ExitCode> {
    let (from, text) = match reading.section.take(report) {
        Ok(taken) => taken,
        Err(why) => bail!("the report gives no labels: {why}"),
    };
    let evidence = reading.labeler.explain(text);
    let labels = reading.labeler.label(text);
    let named =
        || reading.labeler.vocabulary().findings().iter().zip(&labels.labels).filter(|(_, label)| **label != Label::Missing);
    if args.json {
        let mentions: Vec<_> = evidence.iter().map(json_of).collect();
        let labels: Vec<_> = named().map(|(finding, label)| json!({ "finding": finding, "label": label })).collect();
        print(serde_json::to_string_pretty(&json!({ "taken": from, "labels": labels, "mentions": mentions }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(format!("read from: {from}"))?;
    let mut sentence = None;
    for one in &evidence {
        if sentence != Some(one.sentence.as_ptr()) {
            sentence = Some(one.sentence.as_ptr());
            print(format!("\n{}", one.sentence.split_whitespace().collect::<Vec<_>>().join(" ")))?;
        }
        let name = one.finding.map_or("(another abnormality)", |finding| finding.name());
        let cue = one.cue.map_or(String::new(), |(words, rule)| format!(", by \"{words}\" ({}: {})", rule.key, rule.phrase));
        let place = [
            one.side.map(|side| side.to_string()),
            one.severity.map(|severity| severity.to_string()),
            one.location.map(|location| location.to_string()),
        ];
        let place: String = place.into_iter().flatten().map(|word| format!(", {word}")).collect();
        print(format!(
            "  {name}: {}{place}, from \"{}\" ({}: {}){cue}",
            word(one.label),
            one.words,
            one.rule.key,
            one.rule.phrase
        ))?;
    }
    let labels: Vec<_> = named().map(|(finding, label)| format!("{finding} {}", word(*label))).collect();
    print(format!("\nlabels: {}", if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }))?;
    Ok(ExitCode::SUCCESS)
}

fn word(label: Label) -> &'static str {
    match label {
        Label::Positive => "positive",
        Label::Negative => "negative",
        Label::Uncertain => "uncertain",
        Label::Missing => "spoken of, not seen",
    }
}

fn json_of(one: &Evidence<'_>) -> serde_json::Value {
    let source = |rule: Rule<'_>| json!({ "key": rule.key, "phrase": rule.phrase });
    json!({
        "finding": one.finding,
        "label": one.label,
        "sentence": one.sentence,
        "words": one.words,
        "rule": source(one.rule),
        "cue": one.cue.map(|(words, rule)| json!({ "words": words, "rule": source(rule) })),
        "side": one.side,
        "severity": one.severity,
        "location": one.location,
    })
}
