//! `roentgen data convert`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use roentgen::config::DataConfig;
use roentgen::data;
use roentgen::guess::own_table;
use roentgen_augment::convert::{Conversion, DROPPED, Pixels, Storage};
use roentgen_augment::formats::{MissingImages, Place};

use super::{SHOWN, Source};
use crate::cli::DataConvertArgs;
use crate::commands::progress::Bars;
use crate::commands::{print, say_notes};

pub fn run(args: &DataConvertArgs) -> Result<ExitCode> {
    let source = Source::open(&args.data)?;
    if source.config.data.format.place == Place::Nowhere {
        bail!(
            "{}: the phantom is drawn anew wherever it is named; a table of its images could be taken for radiographs",
            args.data.display()
        );
    }
    let mut preprocess = source.config.preprocess;
    preprocess.size = args.size.unwrap_or(preprocess.size);
    preprocess.validate()?;
    // Every image is read once.
    let config = &DataConfig { cache_mib: 0, ..source.config.data.clone() };
    let data = data::read(config, preprocess, MissingImages::Keep)?;
    say_notes(data.notes());
    // The split of a run file is kept; one that was guessed is nobody's.
    let divided = if source.guessed.is_some() { None } else { data::plan(config).apply(&data).ok() };
    let data = divided.unwrap_or(data);
    let pixels = match (args.size, args.full_size) {
        (Some(_), _) => Pixels::Resized,
        (None, true) => Pixels::Whole,
        (None, false) => Pixels::InPlace,
    };
    let storage = args.shards.map_or(Storage::Table, Storage::Shards);
    let converted = Conversion { pixels, storage }.run(&data, &args.out, &Bars::new(args.json))?;
    let custom = data.vocabulary().findings().iter().filter(|finding| !finding.is_known()).map(|finding| finding.name());
    let is_split = data.rows().iter().all(|row| row.record.split.is_some() || row.record.origin.is_synthetic());
    let table = own_table(&args.out, args.shards.is_some(), &custom.collect::<Vec<_>>(), is_split);
    if args.json {
        let dropped = converted.dropped.iter();
        let dropped = dropped.map(|row| serde_json::json!({ "row": row.row, "image": row.image, "reason": row.reason }));
        let summary = serde_json::json!({
            "folder": args.out,
            "images": converted.images,
            "written_before": converted.resumed,
            "dropped": dropped.collect::<Vec<_>>(),
            "data": table,
        });
        print(serde_json::to_string_pretty(&summary)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let before =
        if converted.resumed == 0 { String::new() } else { format!(", {} of them by an earlier start", converted.resumed) };
    print(format!("{}: {} images{before}", args.out.display(), converted.images))?;
    if !converted.dropped.is_empty() {
        print(format!("{} left out, see {}:", converted.dropped.len(), args.out.join(DROPPED).display()))?;
        for row in converted.dropped.iter().take(SHOWN) {
            let place = row.row.map_or_else(String::new, |line| format!("row {line}: {}: ", row.image));
            print(format!("  {place}{}", row.reason))?;
        }
        if converted.dropped.len() > SHOWN {
            print(format!("  … and {} more", converted.dropped.len() - SHOWN))?;
        }
    }
    print(format!("\nIn a run file:\n\n{table}"))?;
    Ok(ExitCode::SUCCESS)
}
