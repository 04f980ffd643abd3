//! Label tables in the forms that other programs write them, as a user's commands read them.

use serde_json::Value;

use crate::cli::{PHANTOMS, RUN, Study, succeeds};

fn summary(study: &Study) -> Value {
    serde_json::from_str(&succeeds(&study.roentgen(&["data", "summary", "run.toml", "--json"]))).unwrap()
}

/// The summary without the notes, and these.
fn parts(mut summary: Value) -> (Value, Vec<String>) {
    let notes = summary.as_object_mut().unwrap().remove("notes").unwrap_or_default();
    let notes = notes.as_array().cloned().unwrap_or_default();
    (summary, notes.iter().map(|note| note.as_str().unwrap().to_owned()).collect())
}

fn write_table(study: &Study, bytes: impl AsRef<[u8]>) {
    std::fs::write(study.path("table.csv"), bytes).unwrap();
}

fn table(study: &Study) -> String {
    std::fs::read_to_string(study.path("table.csv")).unwrap()
}

#[test]
fn a_table_says_the_same_in_every_dialect() {
    let study = Study::new();
    let plain = table(&study);
    let (expected, notes) = parts(summary(&study));
    assert!(notes.is_empty(), "{notes:?}");
    let semicolons = plain.replace(',', ";");
    let utf_16 = format!("\u{feff}{}", plain.replace(',', "\t")).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let indexed: String = plain
        .lines()
        .enumerate()
        .map(|(row, line)| if row == 0 { format!(",{line}\n") } else { format!("{},{line}\n", row - 1) })
        .collect();
    for (name, bytes, noted) in [
        ("semicolons", semicolons.clone().into_bytes(), &["separated by `;`"][..]),
        ("sep=", format!("sep=;\r\n{}", semicolons.replace('\n', "\r\n")).into_bytes(), &[]),
        ("UTF-16, tabs", utf_16, &["separated by tabs"]),
        ("CR and a mark", format!("\u{feff}{}", plain.replace('\n', "\r")).into_bytes(), &[]),
        ("pandas' index", indexed.into_bytes(), &["first column has no name"]),
        ("nothing behind", plain.replace('\n', ",,\n").into_bytes(), &[]),
    ] {
        write_table(&study, bytes);
        let (found, notes) = parts(summary(&study));
        assert_eq!(found, expected, "{name}");
        assert_eq!(notes.len(), noted.len(), "{name}: {notes:?}");
        assert!(noted.iter().zip(&notes).all(|(part, note)| note.contains(part)), "{name}: {notes:?}");
    }
}

#[test]
fn an_ambiguous_table_is_read_once_its_delimiter_is_named() {
    let study = Study::new();
    let names: Vec<String> = (0..4).map(|phantom| format!("phantoms/{phantom}.png,{phantom};{phantom}\n")).collect();
    write_table(&study, format!("image,Mass;Nodule\n{}", names.concat()));
    let args = ["data", "summary", "run.toml"];
    study.refuses(&args, &["table.csv", "by `,` or by `;`", "`delimiter` of [data]"]);
    study.edit_run("labels = \"table.csv\"", "labels = \"table.csv\"\ndelimiter = \";\"");
    // Now its header is known to be at fault.
    study.refuses(&args, &["no column `image`", "`image,Mass`, `Nodule`"]);
    study.edit_run("labels = \"table.csv\"", "labels = \"table.csv\"\ndelimiter = \"::\"");
    study.refuses(&args, &["delimiter", "`,`", "`;`"]);
}

#[test]
fn patients_of_no_name_are_no_patient() {
    let study = Study::new();
    let rows = |blank: &str| -> String {
        let patient = |phantom: usize| if phantom.is_multiple_of(2) { phantom.to_string() } else { blank.to_owned() };
        let rows: String =
            (0..40).map(|phantom| format!("phantoms/{phantom}.png,{},{}\n", patient(phantom), phantom % 4 / 2)).collect();
        format!("image,patient_id,Mass\n{rows}")
    };
    write_table(&study, rows(""));
    let expected = summary(&study);
    assert_eq!((&expected["unidentified"], &expected["patients"]), (&20.into(), &20.into()));
    for blank in ["nan", "None", "NA", "<NA>", "null", "-"] {
        write_table(&study, rows(blank));
        assert_eq!(summary(&study), expected, "{blank}");
    }
    // pandas makes numbers of them.
    write_table(
        &study,
        rows("nan")
            .replace(",nan", ",")
            .lines()
            .map(|line| match line.split(',').collect::<Vec<_>>()[..] {
                [image, patient, mass] if patient.parse::<u32>().is_ok() => format!("{image},{patient}.0,{mass}\n"),
                _ => format!("{line}\n"),
            })
            .collect::<String>(),
    );
    let (found, notes) = parts(summary(&study));
    assert_eq!(found, parts(expected).0);
    assert!(notes[0].contains("written as `12.0`"), "{notes:?}");
}

#[test]
fn an_open_quote_stops_every_command_with_its_row() {
    let study = Study::new();
    let plain = table(&study);
    let lines: Vec<&str> = plain.lines().collect();
    // Opened in row 4, met again in row 6.
    let at_fault: String = lines
        .iter()
        .enumerate()
        .map(|(row, line)| match row {
            3 => format!("\"{line}\n"),
            5 => format!("\"{}\n", line.replacen(',', "\",", 1)),
            _ => format!("{line}\n"),
        })
        .collect();
    write_table(&study, at_fault);
    // A check goes on after a fault, and lists it.
    let checked = study.roentgen(&["data", "check", "run.toml"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && said.contains("table.csv, row 4, column `image`: "), "{said}");
    for args in [&["data", "summary", "run.toml"][..], &["train", "run.toml", "--out", "out"]] {
        study.refuses(args, &["table.csv, row 4, column `image`", "quote"]);
    }
    write_table(&study, plain.replacen(",M,PA", ",M\u{0},PA", 1));
    study.refuses(&["data", "summary", "run.toml"], &["table.csv, row 2, column `sex`: a byte 0"]);
    let latin = plain.replacen("phantoms/0.png", "phantoms/r#ntgen.png", 1).into_bytes();
    write_table(&study, latin.iter().map(|byte| if *byte == b'#' { 0xf6 } else { *byte }).collect::<Vec<_>>());
    study.refuses(&["data", "summary", "run.toml"], &["table.csv, row 2, column `image`: not UTF-8", "iconv"]);
    write_table(&study, plain);
    assert_eq!(summary(&study)["images"], PHANTOMS);
}

#[test]
fn a_prompt_table_of_a_study_may_have_columns_of_its_own() {
    let study = Study::new();
    std::fs::write(study.path("prompts.csv"), "prompt,Mass,notes\nA mass.,1,x\nNo mass.,0,y\n").unwrap();
    let run = RUN.replace("seeds = [1, 2]", "seeds = [1]");
    let run = run.replace("kind = \"shifted-phantom\"", "kind = \"shifted-phantom\"\nplan = { prompts = \"prompts.csv\" }");
    study.write_run(&run);
    study.refuses(&["fill", "run.toml", "--out", "out"], &["prompts.csv", "`notes`", "`extra_columns`"]);
    study.write_run(&run.replace("[preprocess]", "extra_columns = [\"notes\"]\n[preprocess]"));
    succeeds(&study.roentgen(&["fill", "run.toml", "--out", "declared"]));
}
