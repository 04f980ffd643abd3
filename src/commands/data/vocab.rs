//! `roentgen data vocab`.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use roentgen::data;
use roentgen_augment::formats::MissingImages;
use roentgen_augment::record::{CHEXPERT_14, Finding, NIH_14, XRV_18};
use serde::Serialize;

use super::Source;
use crate::cli::DataVocabArgs;
use crate::commands::{print, say_notes};

/// A finding as the table shows it.
#[derive(Serialize)]
struct Entry {
    finding: Finding,
    /// Other spellings that are read as this finding; case, blanks, `_` and `-` never matter.
    spellings: Vec<&'static str>,
    /// Public vocabularies that have it.
    vocabularies: Vec<&'static str>,
    /// Whether the data set has labels of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_data: Option<bool>,
}

pub fn run(args: &DataVocabArgs) -> Result<ExitCode> {
    let source = args.data.as_deref().map(Source::open).transpose()?;
    let data = source.as_ref().map(|source| data::read(&source.config.data, source.config.preprocess, MissingImages::Keep));
    let data = data.transpose()?;
    let of_data = data.as_ref().map(|data| data.vocabulary().findings());
    let custom = of_data.unwrap_or_default().iter().filter(|finding| !finding.is_known());
    let findings = Finding::known().chain(custom.map(|finding| (*finding, &[][..])));
    let entry = |(finding, spellings): (Finding, &'static [&'static str])| Entry {
        finding,
        spellings: spellings.to_vec(),
        vocabularies: vocabularies(finding),
        in_data: of_data.map(|findings| findings.contains(&finding)),
    };
    let entries: Vec<Entry> = findings.map(entry).collect();
    if args.json {
        print(serde_json::to_string_pretty(&serde_json::json!({ "findings": entries }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(source), Some(data), Some(path)) = (&source, &data, &args.data) {
        source.say(path)?;
        say_notes(data.notes());
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    let mut header = vec!["finding", "also spelled", "in"];
    header.extend(of_data.map(|_| "in the data"));
    table.set_header(header);
    for Entry { finding, spellings, vocabularies, in_data } in &entries {
        let mut row = vec![finding.name().to_owned(), spellings.join(", "), vocabularies.join(", ")];
        row.extend(in_data.map(|is_in| if is_in { "yes" } else { "no: unknown, and left out of the loss" }.to_owned()));
        table.add_row(row);
    }
    print(format!("{table}\n\nCase, blanks, `_` and `-` never matter. Other labels are declared as `custom_findings`."))?;
    Ok(ExitCode::SUCCESS)
}

fn vocabularies(finding: Finding) -> Vec<&'static str> {
    let lists: [(&str, &[&str]); 3] =
        [("NIH", &NIH_14), ("CheXpert and MIMIC-CXR", &CHEXPERT_14), ("torchxrayvision", &XRV_18)];
    lists.iter().filter(|(_, names)| names.contains(&finding.name())).map(|(name, _)| *name).collect()
}
