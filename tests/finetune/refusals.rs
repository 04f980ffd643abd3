//! Bad input: each is refused with a message that says what is wrong and what to do.

use std::process::Stdio;

use super::{Bench, PHANTOMS, copy};

#[test]
fn run_files() {
    let bench = Bench::new();
    for (from, to, said) in [
        ("batch_size = 4", "batchsize = 4", vec!["run.toml", "unknown field `batchsize`"]),
        ("accumulation = 2", "accumulation = 3", vec!["accumulation is 3", "a divisor of batch_size"]),
        ("size = 32", "size = 30", vec!["preprocess.size is 30", "a multiple of 8", "32"]),
        ("steps = 8", "steps = 2", vec!["schedule.warmup_steps is 2", "fewer than schedule.steps"]),
        ("learning_rate = 1e-3", "learning_rate = -1.0", vec!["learning_rate is -1", "at least 0"]),
        ("base = \"sd\"", "base = \"nowhere\"", vec!["nowhere", "model_index.json"]),
        ("labels = \"table.csv\"", "labels = \"none.csv\"", vec!["none.csv"]),
        ("seed = 3", "preset = \"roentgen-v9\"", vec!["roentgen-v9", "roentgen-v1"]),
    ] {
        bench.write("run.toml", super::RUN);
        bench.edit("run.toml", from, to);
        bench.refuses("out", &[], &said);
    }
    bench.write("run.toml", super::RUN);
    bench.refuses("out", &["--set", "steps"], &["KEY=VALUE"]);
    bench.refuses("out", &["--set", "shedule.steps=4"], &["unknown field `shedule`"]);
}

#[test]
fn a_report_that_is_missing_is_counted_and_one_that_is_needed_is_named() {
    let bench = Bench::new();
    bench.edit("table.csv", "Phantom image number 2.", "");
    let output = bench.finishes("else", &["--set", "schedule.steps=3"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("13 from reports, 1 template text"));
    let output = bench.finishes("reports", &["--set", "schedule.steps=3", "--set", "prompts.from=\"report\""]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("13 prompts") && message.contains("no report 1"), "{message}");
    let data = std::fs::read_to_string(bench.path("reports/data.csv")).unwrap();
    assert!(!data.contains("phantoms/2.png") && data.contains("phantoms/3.png"), "{data}");
}

#[test]
fn prompts_that_are_all_filtered_out() {
    let bench = Bench::new();
    let strict = ["--set", "prompts.from=\"report\"", "--set", "prompts.cleaning.min_tokens=60"];
    let rows = format!("{} images of the train split", PHANTOMS[0]);
    bench.refuses("out", &strict, &["no text is left", &rows, "report too short: 14", "prompts.from = \"template\""]);
}

#[test]
fn images_that_are_missing_or_broken() {
    let bench = Bench::new();
    bench.write("phantoms/3.png", "no image");
    bench.refuses("out", &[], &["phantoms/3.png"]);
    std::fs::remove_file(bench.path("phantoms/3.png")).unwrap();
    bench.refuses("out", &[], &["phantoms/3.png"]);
}

#[test]
fn a_learning_rate_that_ruins_everything() {
    let bench = Bench::new();
    let wild = ["--set", "optimizer.learning_rate=1e3", "--set", "schedule.steps=400", "--set", "schedule.warmup_steps=0"];
    let more = ["--set", "checkpoints.every=10", "--set", "optimizer.weight_decay=0.0"];
    let output = bench.command("out", &[&wild[..], &more[..]].concat()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !message.contains("panicked"), "{message}");
    assert!(message.contains("lower learning rate"), "{message}");
    assert!(message.contains("the last good one") || message.contains("nothing was saved before"), "{message}");
    assert!(!bench.path("out/pipeline").exists());
}

#[test]
fn what_changed_between_stop_and_resume_is_named() {
    let bench = Bench::new();
    bench.finishes("out", &["--set", "validation.every=0"]);
    let same = ["--set", "validation.every=0"];
    // Settings
    bench.refuses(
        "out",
        &["--set", "optimizer.learning_rate=2e-3", "--set", "validation.every=0"],
        &["another run", "optimizer.learning_rate: 0.001, now 0.002", "another --out"],
    );
    bench.refuses("out", &["--seed", "4", "--set", "validation.every=0"], &["seed: 3, now 4"]);
    bench.refuses("out", &["--set", "schedule.steps=20", "--set", "validation.every=0"], &["schedule.steps: 8, now 20"]);
    // Pixels
    let phantom = std::fs::read(bench.path("phantoms/0.png")).unwrap();
    std::fs::copy(bench.path("phantoms/1.png"), bench.path("phantoms/0.png")).unwrap();
    bench.refuses("out", &same, &["another run", "data: 1 image with other content: phantoms/0.png (train)"]);
    std::fs::write(bench.path("phantoms/0.png"), phantom).unwrap();
    // Texts
    bench.edit("table.csv", "Phantom image number 2.", "Another image.");
    bench.refuses("out", &same, &["1 image with another row: phantoms/2.png", "Phantom image number 2.", "Another image."]);
    bench.edit("table.csv", "Another image.", "Phantom image number 2.");
    // Rows
    bench.edit("table.csv", "phantoms/4.png,p4,train", "phantoms/4.png,p4,test");
    bench.refuses("out", &same, &["1 image gone: phantoms/4.png (train)"]);
    bench.edit("table.csv", "phantoms/4.png,p4,test", "phantoms/4.png,p4,train");
    // Weights
    copy(&bench.path("sd"), &bench.path("other"));
    bench.edit("other/scheduler/scheduler_config.json", "0.012", "0.013");
    bench.refuses(
        "out",
        &["--set", "model.base=\"other\"", "--set", "validation.every=0"],
        &["another run", "weights and configurations of [model]: "],
    );
    // All as it was
    bench.finishes("out", &same);
}

#[test]
fn settings_that_cannot_be_read_are_no_reason_to_go_on_unchecked() {
    let bench = Bench::new();
    let config = bench.path("out/config.toml");
    bench.finishes("out", &["--set", "schedule.steps=3"]);
    std::fs::write(&config, "seed = ").unwrap();
    bench.refuses("out", &["--set", "schedule.steps=3"], &["out/config.toml", "the settings of a run", "delete the file"]);
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    bench.refuses("out", &["--set", "schedule.steps=3"], &["out/config.toml", "delete the file"]);
    std::fs::remove_dir(&config).unwrap();
    // The remedy works, and the settings are compared all the same.
    bench.refuses("out", &["--set", "schedule.steps=3", "--seed", "4"], &["seed: 3, now 4"]);
    bench.finishes("out", &["--set", "schedule.steps=3"]);
    assert!(config.is_file());
}

#[test]
fn a_folder_of_the_version_before() {
    let bench = Bench::new();
    bench.finishes("out", &["--set", "schedule.steps=3"]);
    let read = |name: &str| std::fs::read_to_string(bench.path("out").join(name)).unwrap();
    let new: serde_json::Value = serde_json::from_str(&read("run.json")).unwrap();
    let (start, data) = (&new["digests"]["weights and configurations of [model]"], &new["digests"]["data"]);
    // As version 0.1.0 wrote it.
    let old = |start: &serde_json::Value| {
        let record = serde_json::json!({
            "version": "0.1.0", "seed": 3, "device": "cpu", "pairs": [14, 4], "parameters": 1, "start": start, "data": data,
        });
        bench.write("out/run.json", &record.to_string());
        bench.write("out/data.csv", &read("data.csv").replacen("image,row", "image,prompt", 1));
    };
    old(start);
    let config = read("config.toml");
    bench.refuses("out", &["--set", "schedule.steps=3", "--seed", "4"], &["another run", "seed: 3, now 4"]);
    std::fs::remove_file(bench.path("out/config.toml")).unwrap();
    bench.refuses("out", &["--set", "schedule.steps=3"], &["out/config.toml", "restore the file"]);
    bench.write("out/config.toml", &config);
    old(&serde_json::json!("ab".repeat(32)));
    bench.refuses("out", &["--set", "schedule.steps=3"], &["weights and configurations of [model]: abababababab…, now "]);
    old(start);
    bench.edit("table.csv", "Phantom image number 2.", "Another image.");
    bench.refuses("out", &["--set", "schedule.steps=3"], &["1 image with another row: phantoms/2.png"]);
    bench.edit("table.csv", "Another image.", "Phantom image number 2.");
    bench.finishes("out", &["--set", "schedule.steps=3"]);
    assert!(read("run.json").contains("\"format\": 2"));
}

#[test]
fn a_checkpoint_of_another_architecture() {
    let bench = Bench::new();
    bench.finishes("out", &["--set", "schedule.steps=3"]);
    let lora = "strategy={ denoise = { unet = { lora = { rank = 2, alpha = 2.0 } }, text_encoder = \"frozen\", text_projection = false } }";
    bench.finishes("lora", &["--set", "schedule.steps=3", "--set", lora]);
    std::fs::remove_dir_all(bench.path("out/checkpoints")).unwrap();
    copy(&bench.path("lora/checkpoints"), &bench.path("out/checkpoints"));
    bench.refuses("out", &["--set", "schedule.steps=3"], &["not of this training", "missing"]);
}

#[test]
fn a_folder_that_another_process_writes() {
    let bench = Bench::new();
    let mut first = bench.command("out", &["--set", "schedule.steps=500"]);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !bench.path("out/config.toml").exists() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    bench.refuses("out", &["--set", "schedule.steps=500"], &["another roentgen process (pid", "`finetune`"]);
    first.kill().unwrap();
    first.wait().unwrap();
}
