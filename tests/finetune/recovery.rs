//! Whatever ends a run, it continues with the same bits.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_classifier::training::{Metric, read_metrics};

use super::{Bench, copy};

#[test]
fn a_run_cut_at_any_step_equals_an_uncut_one() {
    for precision in ["fp32", "bf16"] {
        let bench = Bench::new();
        bench.edit("run.toml", "seed = 3", &format!("seed = 3\nprecision = \"{precision}\""));
        bench.finishes("whole", &[]);
        let expected = bench.learnt("whole");
        for cut in [1, 4, 6, 7] {
            let out = format!("cut-{cut}");
            copy(&bench.path("whole"), &bench.path(&out));
            std::fs::remove_dir_all(bench.path(&out).join("pipeline")).unwrap();
            for step in cut + 1..=8 {
                std::fs::remove_dir_all(bench.path(&out).join(format!("checkpoints/{step:08}"))).unwrap();
            }
            bench.finishes(&out, &[]);
            bench.learnt(&out).assert_is(&expected, &format!("{out} in {precision}"));
        }
        // A finished run is not trained again.
        bench.finishes("whole", &[]);
        bench.learnt("whole").assert_is(&expected, "finished");
        // Nor does it go on in other numbers.
        let other = if precision == "fp32" { "bf16" } else { "fp32" };
        let set = format!("precision=\"{other}\"");
        let said = format!("precision: \"{precision}\", now \"{other}\"");
        bench.refuses("whole", &["--set", &set], &["whole holds another run", &said]);
    }
}

#[test]
fn a_longer_run_goes_on_from_a_shorter_one_under_a_constant_rate() {
    let bench = Bench::new();
    bench.edit("run.toml", "shape = \"cosine\"", "shape = \"constant\"");
    bench.finishes("whole", &[]);
    bench.finishes("longer", &["--set", "schedule.steps=5"]);
    bench.finishes("longer", &[]);
    bench.learnt("longer").assert_same_weights(&bench.learnt("whole"), "5 steps, then 8");
}

fn start(bench: &Bench, out: &str, more: &[&str]) -> Child {
    bench.command(out, more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn steps(bench: &Bench, out: &str) -> u64 {
    let metrics = read_metrics(&bench.path(out).join("metrics.jsonl")).unwrap_or_default();
    metrics.iter().map(Metric::step).max().unwrap_or(0)
}

/// Kills of the loop.
const KILLS: usize = 20;

/// Seed of their moments.
const SEED: u64 = 20;

#[test]
fn twenty_kills_end_with_the_weights_of_none() {
    let bench = Bench::new();
    bench.edit("run.toml", "steps = 8", "steps = 40");
    let begun = Instant::now();
    bench.finishes("whole", &["--set", "validation.every=0"]);
    let whole = begun.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (mut killed, mut saved) = (0, 0);
    while killed < KILLS {
        let mut child = start(&bench, "killed", &["--set", "validation.every=0"]);
        // Some during the start, most between two steps or within a save, which there is one of after every step.
        std::thread::sleep(whole.mul_f64(random.random_range(0.0..0.15)));
        let done = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if done {
            // A kill after the end of a run does not count: from the start again.
            std::fs::remove_dir_all(bench.path("killed")).unwrap();
        }
        killed += 1;
        let now = steps(&bench, "killed");
        saved += usize::from(now > 0);
    }
    assert!(saved > 0, "no kill came after a step: the test kills too early");
    bench.finishes("killed", &["--set", "validation.every=0"]);
    bench.learnt("killed").assert_is(&bench.learnt("whole"), "20 kills");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_saves_and_goes_on() {
    let bench = Bench::new();
    bench.edit("run.toml", "every = 1\nkeep = 100", "every = 1000\nkeep = 2");
    bench.edit("run.toml", "steps = 8", "steps = 30");
    bench.finishes("whole", &[]);
    let mut child = start(&bench, "cut", &[]);
    let deadline = Instant::now() + Duration::from_secs(120);
    while steps(&bench, "cut") < 4 && Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let code = child.wait().unwrap().code();
    if sent.success() && code != Some(0) {
        assert_eq!(code, Some(130));
        assert!(!bench.path("cut/pipeline").exists());
        assert!(std::fs::read_dir(bench.path("cut/checkpoints")).unwrap().count() >= 1);
    }
    bench.finishes("cut", &[]);
    bench.learnt("cut").assert_is(&bench.learnt("whole"), "interrupted");
}

/// A limit on the size of files stands in for a full disk: the write fails in the middle of a save.
#[cfg(unix)]
#[test]
fn a_save_that_fails_leaves_the_last_checkpoint() {
    let bench = Bench::new();
    bench.edit("run.toml", "shape = \"cosine\"", "shape = \"constant\"");
    bench.finishes("whole", &[]);
    bench.finishes("full", &["--set", "schedule.steps=3"]);
    let program = env!("CARGO_BIN_EXE_roentgen");
    // In blocks of 512 bytes, or 1024 in bash; a state has some megabytes.
    let limited = format!("trap '' XFSZ; ulimit -f 200; exec {program} finetune run.toml --out full --device cpu --json");
    let output = std::process::Command::new("sh").args(["-c", &limited]).current_dir(bench.path("")).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !message.contains("panicked"), "{message}");
    for part in ["cannot save step 4", "free space on the disk", "the checkpoint of step 3 is intact"] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    let left: Vec<_> = std::fs::read_dir(bench.path("full/checkpoints")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
    bench.finishes("full", &[]);
    bench.learnt("full").assert_same_weights(&bench.learnt("whole"), "a full disk");
}
