//! Any number in a run file is used or refused by name: nothing panics, and nothing is allocated for a number alone.

mod grammar;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;
use roentgen::config::{ConfigError, RunConfig};
use roentgen::finetune::FinetuneConfig;

use self::grammar::{ARM, DATA, FINETUNE, Kind, STUDY, finetuning, study};
use crate::cli::Study;

/// Everything that is planned from a study before its data are read, and with `images` real images.
fn plan_study(text: &str, images: usize) -> Result<(), ConfigError> {
    let config = RunConfig::parse(text, Path::new("run.toml"), Path::new("."))?;
    config.validate()?;
    config.validate_counts(images)?;
    for arm in &config.arms {
        let mixture = arm.mixture();
        assert!(arm.pool_size(images) <= 10_000_000);
        for epoch in [0, 1, 1_000, usize::MAX] {
            assert!(mixture.phases.mode(epoch).counts(images).len() <= 20_000_000);
        }
    }
    assert!(config.training.rounds() >= 1);
    assert!(config.memory(true).bytes() >= config.memory(false).bytes() && config.image_memory().bytes() > 0);
    let written = config.to_toml();
    let again = RunConfig::parse(&written, Path::new("config.toml"), Path::new("/")).expect("what is written is read");
    assert_eq!(again.to_toml(), written);
    Ok(())
}

/// Everything that is planned from a fine-tuning before its data and weights are read.
fn plan_finetuning(text: &str) -> Result<(), ConfigError> {
    let config = FinetuneConfig::parse(text, Path::new("run.toml"), Path::new("/"), &[])?;
    config.validate()?;
    let (schedule, trainee) = (config.schedule, config.trainee());
    for step in [0, 1, schedule.warmup_steps, schedule.steps - 1, schedule.steps] {
        let base = trainee.learning_rates.unet;
        let factor = schedule.factor(step, base);
        assert!(factor.is_finite() && factor >= -1e-9, "step {step}: {factor}");
        assert!(trainee.ema.is_none_or(|ema| (0.0..=1.0).contains(&ema.decay_at(step))));
    }
    assert!(config.memory().bytes() > 0);
    let written = config.to_toml();
    let again =
        FinetuneConfig::parse(&written, Path::new("config.toml"), Path::new("/"), &[]).expect("what is written is read");
    assert_eq!(again.to_toml(), written);
    Ok(())
}

/// Runs `plan`, and refuses a panic, an allocation beyond 16 MiB, and an error that names neither a key nor a line.
fn holds(text: &str, plan: impl Fn(&str) -> Result<(), ConfigError>) -> Result<(), TestCaseError> {
    let mut outcome = None;
    let used = allocation_counter::measure(|| {
        outcome = Some(catch_unwind(AssertUnwindSafe(|| plan(text))));
    });
    prop_assert!(used.bytes_max < 16 << 20, "{} bytes at once for\n{text}", used.bytes_max);
    match outcome.expect("it was run") {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let message = error.to_string();
            prop_assert!(message.contains(" is ") || message.contains("line "), "{message}");
            prop_assert!(message.len() < 400_000, "{} bytes of message", message.len());
            Ok(())
        }
        Err(_) => Err(TestCaseError::fail(format!("a panic for\n{text}"))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_study_is_planned_or_refused_by_name(text in study(), images in prop::sample::select(vec![0usize, 1, 300, 2_000_000])) {
        holds(&text, |text| plan_study(text, images))?;
    }

    #[test]
    fn any_fine_tuning_is_planned_or_refused_by_name(text in finetuning()) {
        holds(&text, plan_finetuning)?;
    }
}

#[test]
fn the_grammar_knows_every_key() {
    fn keys(table: &toml::Table, before: &str, found: &mut Vec<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) if !inner.is_empty() => keys(inner, &format!("{before}{key}."), found),
                _ => found.push(format!("{before}{key}")),
            }
        }
    }
    let check = |text: &str, grammar: &[&[(&str, Kind)]]| {
        let mut found = Vec::new();
        keys(&toml::from_str(text).unwrap(), "", &mut found);
        let known: Vec<&str> = grammar.iter().flat_map(|keys| keys.iter().map(|(key, _)| *key)).collect();
        let covers = |key: &str| known.iter().any(|known| key == *known || key.starts_with(&format!("{known}.")));
        let missing: Vec<_> = found.iter().filter(|key| *key != "arms" && !covers(key)).collect();
        assert!(missing.is_empty(), "no value is drawn for {missing:?}");
    };
    let study = "data = { format = \"phantom\" }\n[generator]\nkind = \"diffusion\"\n[generator.diffusion]\npipeline = \"p\"\n\
                 [[arms]]\nname = \"real\"\n";
    let config = RunConfig::parse(study, Path::new("run.toml"), Path::new(".")).unwrap();
    check(&config.to_toml(), &[DATA, STUDY]);
    check(&toml::to_string(&config.arms[0]).unwrap(), &[ARM, &[("name", Kind::Text)]]);
    let tuning = "preset = \"small\"\ndata = { format = \"phantom\" }\n";
    let config = FinetuneConfig::parse(tuning, Path::new("run.toml"), Path::new("."), &[]).unwrap();
    check(&config.to_toml(), &[DATA, FINETUNE]);
}

#[test]
fn every_command_that_reads_a_run_file_checks_all_of_it() {
    let study = Study::new();
    let kind = "kind = \"shifted-phantom\"";
    for (from, to, said) in [
        ("batch_size = 4", "batch_size = 4\neval_batch_size = 0", "run.toml, line 19: training.eval_batch_size is 0"),
        ("size = 32", "size = 0", "run.toml, line 11: preprocess.size is 0"),
        ("replicates = 50", "replicates = 0", "run.toml, line 26: bootstrap.replicates is 0"),
        (kind, "kind = \"shifted-phantom\"\nsize = 0", "run.toml, line 24: generator.size is 0"),
        ("0.5 } }", "nan } }", "run.toml, line 33: arms.mixed.mode.synthetic_per_real is NaN"),
        (kind, "kind = \"shifted-phantom\"\n[gate]\nattempts = 4294967295", "gate.attempts is 4294967295"),
    ] {
        study.edit_run(from, to);
        for command in [
            &["data", "summary", "run.toml"][..],
            &["data", "check", "run.toml"],
            &["train", "run.toml", "--out", "out"],
            &["fill", "run.toml", "--out", "out"],
            &["compare", "run.toml", "--out", "out"],
            &["predict", "run.toml", "--weights", "w.safetensors", "--out", "p.csv"],
        ] {
            study.refuses(command, &[said, "expected"]);
        }
    }
    assert!(!study.path("out").exists());
}

#[test]
fn numbers_near_the_largest_integer_are_refused() {
    let study = Study::new();
    let kind = "kind = \"shifted-phantom\"";
    let most = "9223372036854775807";
    for (from, to, key) in [
        ("{ add = { synthetic_per_real = 0.5 } }", "{ synthetic = { size = MOST } }".to_owned(), "arms.mixed.mode"),
        (
            "mode = { add = { synthetic_per_real = 0.5 } }",
            "ramp = { from = 0.0, to = 1.0, epochs = MOST }".to_owned(),
            "arms.mixed.ramp.epochs",
        ),
        ("mode = { add", "pool = MOST\nmode = { add".to_owned(), "arms.mixed.pool"),
        ("steps = 4", "steps = MOST".to_owned(), "training.steps"),
        ("batch_size = 4", "batch_size = MOST".to_owned(), "training.batch_size"),
        ("batch_size = 4", "batch_size = 4\nworkers = MOST".to_owned(), "training.workers"),
        ("eval_every = 2", "eval_every = MOST".to_owned(), "training.eval_every"),
        ("size = 32", "size = MOST".to_owned(), "preprocess.size"),
        ("replicates = 50", "replicates = MOST".to_owned(), "bootstrap.replicates"),
        ("labels = \"table.csv\"", "labels = \"table.csv\"\ncache_mib = MOST".to_owned(), "data.cache_mib"),
        ("labels = \"table.csv\"", "labels = \"table.csv\"\nphantom = { train = MOST }".to_owned(), "data.phantom.train"),
        ("labels = \"table.csv\"", "labels = \"table.csv\"\ntrain_images = MOST".to_owned(), "data.train_images"),
        (kind, format!("{kind}\ncache_mib = MOST"), "generator.cache_mib"),
        (kind, format!("{kind}\nplan = {{ counts = {{ Mass = MOST, Nodule = MOST }} }}"), "generator.plan.counts"),
    ] {
        study.edit_run(from, &to.replace("MOST", most));
        study.refuses(&["compare", "run.toml", "--out", "out"], &["run.toml, line ", key, most, "expected a"]);
    }
    // 60,000 samples per real image are ordinary numbers whose product is not.
    study.edit_run("synthetic_per_real = 0.5", "synthetic_per_real = 1e4");
    study.write_run(
        &std::fs::read_to_string(study.path("run.toml"))
            .unwrap()
            .replace(
                "[data]\nformat = \"table\"\nlabels = \"table.csv\"",
                "[data]\nformat = \"phantom\"\nphantom = { train = 3000, valid = 100, test = 100 }",
            )
            .replace("split = { by = \"patient\", valid = 0.3, test = 0.3, seed = 5 }\n", ""),
    );
    study.refuses(&["compare", "run.toml", "--out", "out"], &["arms.mixed.mode", "images", "at most 10000000"]);
}

#[test]
fn numbers_that_are_none_are_refused() {
    let study = Study::new();
    for (from, to, key) in [
        ("batch_size = 4", "batch_size = 4\nlearning_rate = nan", "training.learning_rate is NaN"),
        ("batch_size = 4", "batch_size = 4\nclip_norm = inf", "training.clip_norm is inf"),
        ("batch_size = 4", "batch_size = 4\naugmentation = { rotation = inf }", "training.augmentation.rotation is inf"),
        ("name = \"real\"", "name = \"real\"\naugmentation = { scale = -1.0 }", "arms.real.augmentation.scale is -1"),
        ("valid = 0.3", "valid = nan", "data.split.valid is NaN"),
        ("test = 0.3", "test = -0.1", "data.split.test is -0.1"),
    ] {
        study.edit_run(from, to);
        study.refuses(&["data", "summary", "run.toml"], &[key, "run.toml, line "]);
    }
}

#[test]
fn numbers_of_a_fine_tuning_are_refused_too() {
    let study = Study::new();
    let most = "9223372036854775807";
    for (line, key) in [
        ("schedule.steps = MOST", "schedule.steps"),
        ("batch_size = MOST", "batch_size"),
        ("workers = MOST", "workers"),
        ("cache.mib = MOST", "cache.mib"),
        ("preprocess.size = MOST", "preprocess.size"),
        ("model.text_length = MOST", "model.text_length"),
        ("samples.count = MOST", "samples.count"),
        ("samples.steps = MOST", "samples.steps"),
        ("validation.images = MOST", "validation.images"),
        ("ema = { update_after_step = MOST }", "ema.update_after_step"),
        ("optimizer.clip_norm = nan", "optimizer.clip_norm is NaN"),
        ("optimizer.clip_norm = -1.0", "optimizer.clip_norm is -1"),
        ("optimizer.unet_learning_rate = inf", "optimizer.unet_learning_rate is inf"),
        ("watch.stop_above = nan", "watch.stop_above is NaN"),
        ("schedule.shape = { linear-to = { end = nan } }", "schedule.shape.linear-to.end is NaN"),
        ("data.phantom.train = MOST", "data.phantom.train"),
        ("ema = { power = inf }", "ema.power is inf"),
    ] {
        study.write_run(&format!(
            "preset = \"small\"\nmodel.base = \"none\"\n{}\ndata.format = \"phantom\"\n",
            line.replace("MOST", most)
        ));
        let value = if line.contains("MOST") { most } else { "" };
        study.refuses(&["finetune", "run.toml", "--out", "out"], &["run.toml, line 3: ", key, value, "at least"]);
    }
    study.write_run("preset = \"small\"\nmodel.base = \"none\"\npreprocess.size = 8192\nbatch_size = 65536\naccumulation = 65536\ndata.format = \"phantom\"\n");
    study.refuses(&["finetune", "run.toml", "--out", "out", "--device", "cpu"], &["GiB of memory", "preprocess.size"]);
    assert!(!study.path("out").exists());
}

#[test]
fn a_run_that_no_machine_can_hold_is_refused_with_the_estimate() {
    let study = Study::new();
    study.write_run(&crate::cli::RUN.replace("size = 32", "size = 8192").replace("batch_size = 4", "batch_size = 65536"));
    for command in ["compare", "train", "fill"] {
        study.refuses(
            &[command, "run.toml", "--out", "out", "--device", "cpu"],
            &["at least", "GiB of memory", "preprocess.size"],
        );
    }
}

#[test]
fn two_names_of_one_finding_are_refused_by_both_names() {
    let study = Study::new();
    let kind = "kind = \"shifted-phantom\"";
    let counts = format!("{kind}\nplan = {{ counts = {{ \"Effusion\" = 5, \"Pleural Effusion\" = 7 }} }}");
    study.edit_run(kind, &counts);
    study.refuses(&["fill", "run.toml", "--out", "out"], &["run.toml", "`Effusion`", "Pleural Effusion"]);
}

#[test]
fn flags_out_of_range_are_refused_by_name() {
    let study = Study::new();
    let base = ["generate", "--pipeline", "none", "--prompt", "x", "--out", "out"];
    for (flag, value) in [
        ("--count", "4294967295"),
        ("--count", "99999999999999999999"),
        ("--batch-size", "18446744073709551615"),
        ("--size", "18446744073709551608"),
        ("--seed", "18446744073709551615"),
        ("--guidance", "inf"),
        ("--guidance", "1e300"),
        ("--lora", "file:1e300"),
        ("--shard", "1/18446744073709551615"),
        ("--steps", "-1"),
    ] {
        study.refuses(&[&base[..], &[flag, value]].concat(), &[flag]);
    }
    study.refuses(&["train", "run.toml", "--out", "out", "--seed", "18446744073709551615"], &["--seed", "9223372036854775807"]);
    study.refuses(
        &["finetune", "run.toml", "--out", "out", "--seed", "18446744073709551615"],
        &["--seed", "9223372036854775807"],
    );
    study.refuses(&["fill", "run.toml", "--out", "out", "--shard", "0/0"], &["--shard", "3/8"]);
    assert!(!study.path("out").exists());
}
