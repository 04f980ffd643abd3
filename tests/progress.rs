//! What long commands say while they work, where there is no terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::cli::{RUN, Study, succeeds};

/// Every change, and every end, is a line.
const EVERY_MOMENT: (&str, &str) = ("ROENTGEN_PROGRESS_SECONDS", "0.000001");

#[test]
fn progress_is_lines_on_standard_error() {
    let study = Study::new();
    let [plain, json] = [&["plain"][..], &["json", "--json"]].map(|out| {
        let args = [&["train", "run.toml", "--out"], out].concat();
        let output = study.command(&args).env(EVERY_MOMENT.0, EVERY_MOMENT.1).output().unwrap();
        (succeeds(&output), String::from_utf8(output.stderr).unwrap())
    });
    for said in [&plain.1, &json.1] {
        let lines: Vec<_> = said.lines().filter(|line| line.starts_with("real seed 1: ")).collect();
        for part in ["real seed 1: 1/4 steps, ", "s elapsed, ", " left", "; loss "] {
            assert!(lines.iter().any(|line| line.contains(part)), "no line with {part}: {said}");
        }
        assert!(lines.last().unwrap().starts_with("real seed 1: 4/4 steps, "), "{said}");
        assert!(said.contains("60/60 images looked at"), "{said}");
    }
    assert!(!plain.0.contains("steps, ") && plain.0.starts_with("best step"), "{}", plain.0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.0).unwrap()["arm"], "real");

    let checked = study.command(&["data", "check", "run.toml"]).env(EVERY_MOMENT.0, EVERY_MOMENT.1).output().unwrap();
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(said.contains("60/60 images, ") && !String::from_utf8_lossy(&checked.stdout).contains("60/60"), "{said}");
}

#[test]
fn a_pause_that_is_no_number_is_said_and_not_used() {
    let output =
        Study::new().command(&["data", "check", "run.toml"]).env("ROENTGEN_PROGRESS_SECONDS", "soon").output().unwrap();
    succeeds(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("note: ROENTGEN_PROGRESS_SECONDS is `soon`, expected a number of seconds above 0"), "{said}");
}

/// A million steps take hours on any machine, so that the estimate comes whatever the pace. Each command is stopped then.
#[test]
fn a_long_study_says_how_long_it_takes_and_what_is_cheaper() {
    let study = Study::new();
    let run = RUN.replacen("steps = 4\n", "steps = 1000000\n", 1).replacen("eval_every = 2\n", "eval_every = 1000000\n", 1);
    let commands = [
        (
            "small",
            &["train", "run.toml", "--out", "train"][..],
            "for 1 run of 1,000,000 steps",
            "cheaper: fewer `training.steps`.",
        ),
        (
            "small",
            &["compare", "run.toml", "--out", "compare"],
            "for 4 runs of 1,000,000 steps",
            "fewer `training.steps`, fewer `seeds`.",
        ),
        (
            "densenet121",
            &["train", "run.toml", "--out", "large"],
            "for 1 run",
            "cheaper: `network.architecture = \"small\"`, fewer",
        ),
    ];
    for (architecture, args, runs, cheaper) in commands {
        study.write_run(&run.replacen("\"small\"", &format!("\"{architecture}\""), 1));
        let mut child = study.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.into_iter().find(|line| line.starts_with("note: about "));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = said.expect("an estimate");
        assert!(said.contains(runs) && said.contains(cheaper) && said.contains(" per step; "), "{said}");
    }
}
