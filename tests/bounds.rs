//! Any number in a run file is used or refused by name: nothing panics, and nothing is allocated for a number alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;
use roentgen::config::{ConfigError, RunConfig};
use roentgen::finetune::FinetuneConfig;

use crate::cli::Study;

/// What a key can hold.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Whole,
    Real,
    Text,
    Flag,
    /// One of these TOML values.
    Of(&'static [&'static str]),
}

use Kind::{Flag, Of, Real, Text, Whole};

const FINDINGS: &[&str] = &["[\"Mass\"]", "[\"Effusion\", \"Pleural Effusion\"]", "[]", "[\"\"]", "[\"Nothing\"]"];
const FORMATS: &[&str] = &["\"phantom\"", "\"table\"", "\"nih\"", "\"medmnist\""];
const MODES: &[&str] = &[
    "\"real-only\"",
    "{ synthetic = { size = 9223372036854775807 } }",
    "{ synthetic = { size = 0 } }",
    "{ synthetic = { size = 100 } }",
    "{ add = { synthetic_per_real = 1e300 } }",
    "{ add = { synthetic_per_real = nan } }",
    "{ add = { synthetic_per_real = 10000.0 } }",
    "{ replace = { fraction = inf } }",
    "{ duplicate-real = { per_real = -0.5 } }",
];
const PHASES: &[&str] = &[
    "[]",
    "[{ epochs = 9223372036854775807, mode = \"real-only\" }, { epochs = 9223372036854775807, mode = { synthetic = { size = 5 } } }]",
    "[{ epochs = 0, mode = \"real-only\" }, { mode = \"real-only\" }]",
    "[{ epochs = 2, mode = { add = { synthetic_per_real = 3.0 } } }, { mode = \"real-only\" }]",
];
const PLANS: &[&str] = &[
    "\"prevalence\"",
    "\"balanced\"",
    "{ counts = { Mass = 9223372036854775807, Hernia = 9223372036854775807 } }",
    "{ counts = { Effusion = 5, \"Pleural Effusion\" = 7 } }",
    "{ counts = {} }",
    "{ prompts = \"\" }",
];
const SPLITS: &[&str] = &[
    "{ by = \"given\" }",
    "{ by = \"patient\", valid = nan, test = 0.1 }",
    "{ by = \"patient\", valid = 0.9, test = 0.9 }",
    "{ by = \"patient\", valid = 0.2, test = 0.2, seed = 9223372036854775807 }",
    "{ by = \"patient\", valid = -1.0, test = 1e300 }",
];
const SEEDS: &[&str] = &["[1]", "[]", "[1, 1]", "[9223372036854775807, 0]", "[18446744073709551615]", "[-1]"];
const SAMPLERS: &[&str] = &["\"pndm\"", "\"best\"", "\"\"", "7"];
const DEVICES: &[&str] = &["\"cpu\"", "\"cuda:99999999999999999999\"", "\"gpu\"", "\"\"", "\"cuda:7\""];

/// Keys of `[data]`, `[preprocess]`, which both kinds of run file have.
const DATA: &[(&str, Kind)] = &[
    ("data.format", Of(FORMATS)),
    ("data.name", Text),
    ("data.labels", Text),
    ("data.images", Text),
    ("data.findings", Of(FINDINGS)),
    ("data.custom_findings", Of(&["[\"Tuberculosis\"]", "[]", "[\" \"]"])),
    ("data.extra_columns", Of(&["[\"a\"]", "[]"])),
    ("data.report", Text),
    ("data.policy", Of(&["{ uncertain = \"one\" }", "{ blank_for = { Mass = \"zero\", Nodule = \"one\" } }"])),
    ("data.split", Of(SPLITS)),
    ("data.train_images", Whole),
    ("data.cache_mib", Whole),
    ("data.phantom.train", Whole),
    ("data.phantom.valid", Whole),
    ("data.phantom.test", Whole),
    ("data.phantom.seed", Whole),
    ("preprocess.size", Whole),
    ("preprocess.geometry", Of(&["\"pad\"", "\"crop\""])),
    ("preprocess.filter", Of(&["\"bicubic\"", "\"none\""])),
];

/// The other keys of a study.
const STUDY: &[(&str, Kind)] = &[
    ("title", Text),
    ("baseline", Of(&["\"a\"", "\"b\"", "\"\""])),
    ("seeds", Of(SEEDS)),
    ("network.architecture", Of(&["\"small\"", "\"densenet121\"", "\"large\""])),
    ("network.input", Of(&["\"signed\"", "\"xrv\"", "\"imagenet\"", "\"none\""])),
    ("network.weights", Text),
    ("training.steps", Whole),
    ("training.batch_size", Whole),
    ("training.accumulation", Whole),
    ("training.eval_every", Whole),
    ("training.patience", Whole),
    ("training.select", Of(&["\"loss\"", "\"best\""])),
    ("training.optimizer", Of(&["\"adam\"", "\"sgd\""])),
    ("training.learning_rate", Real),
    ("training.weight_decay", Real),
    ("training.warmup_steps", Whole),
    ("training.schedule", Of(&["\"cosine\"", "\"none\""])),
    ("training.clip_norm", Real),
    ("training.reduction", Of(&["\"mean\"", "\"max\""])),
    ("training.pos_weight", Flag),
    ("training.task_weights", Flag),
    ("training.augmentation.rotation", Real),
    ("training.augmentation.shift", Real),
    ("training.augmentation.scale", Real),
    ("training.augmentation.intensity", Real),
    ("training.augmentation.flip", Real),
    ("training.eval_batch_size", Whole),
    ("training.workers", Whole),
    ("generator.kind", Of(&["\"phantom\"", "\"shifted-phantom\"", "\"diffusion\""])),
    ("generator.size", Whole),
    ("generator.plan", Of(PLANS)),
    ("generator.seed", Whole),
    ("generator.prompts.from", Of(&["\"report\"", "\"template\"", "\"nothing\""])),
    ("generator.prompts.demographics", Flag),
    ("generator.prompts.vary", Flag),
    ("generator.prompts.seed", Whole),
    ("generator.prompts.cleaning.section", Text),
    ("generator.prompts.cleaning.strip_comparisons", Flag),
    ("generator.prompts.cleaning.min_tokens", Whole),
    ("generator.prompts.cleaning.max_tokens", Whole),
    ("generator.supply", Of(&["\"cached\"", "\"on-demand\"", "\"never\""])),
    ("generator.cache", Text),
    ("generator.cache_mib", Whole),
    ("generator.diffusion.pipeline", Text),
    ("generator.diffusion.preset", Of(&["\"fast\"", "\"slow\""])),
    ("generator.diffusion.sampler", Of(SAMPLERS)),
    ("generator.diffusion.steps", Whole),
    ("generator.diffusion.guidance", Real),
    ("generator.diffusion.negative_prompt", Text),
    ("generator.diffusion.batch_size", Whole),
    ("generator.diffusion.device", Of(DEVICES)),
    ("generator.diffusion.trained_on", Text),
    ("gate.attempts", Whole),
    ("gate.judges", Of(&["[]", "[\"sanity\"]", "[\"nobody\"]"])),
    ("gate.sanity.min_deviation", Real),
    ("gate.sanity.max_saturated", Real),
    ("gate.sanity.max_channel_spread", Real),
    ("gate.agreement.positive_quantile", Real),
    ("gate.agreement.negative_quantile", Real),
    ("gate.agreement.limits", Of(&["{ Mass = { positive = nan } }", "{ Effusion = {}, \"Pleural Effusion\" = {} }", "{}"])),
    ("gate.agreement.weights", Text),
    ("gate.agreement.seed", Whole),
    ("gate.copies.quantile", Real),
    ("bootstrap.replicates", Whole),
    ("bootstrap.seed", Whole),
];

/// Keys of an arm.
const ARM: &[(&str, Kind)] = &[
    ("description", Text),
    ("mode", Of(MODES)),
    ("phases", Of(PHASES)),
    ("ramp.from", Real),
    ("ramp.to", Real),
    ("ramp.epochs", Whole),
    ("balance", Of(&["\"as-pool\"", "\"per-finding\""])),
    ("pool", Whole),
    ("balanced_requests", Flag),
    ("gate", Flag),
    ("augmentation.rotation", Real),
    ("augmentation.scale", Real),
    ("augmentation.shift", Real),
    ("augmentation.intensity", Real),
    ("augmentation.flip", Real),
];

/// The other keys of a fine-tuning.
const FINETUNE: &[(&str, Kind)] = &[
    ("preset", Of(&["\"small\"", "\"roentgen-v1\"", "\"roentgen-v2\"", "\"large\""])),
    ("title", Text),
    ("seed", Whole),
    ("prompts.from", Of(&["\"report\"", "\"template\"", "\"nothing\""])),
    ("prompts.demographics", Flag),
    ("prompts.vary", Flag),
    ("prompts.seed", Whole),
    ("prompts.cleaning.section", Text),
    ("prompts.cleaning.strip_comparisons", Flag),
    ("prompts.cleaning.min_tokens", Whole),
    ("prompts.cleaning.max_tokens", Whole),
    ("model.base", Text),
    ("model.unet", Of(&["\"base\"", "{ scratch = \"u.json\" }"])),
    ("model.text_encoder", Of(&["\"base\"", "{ folder = \"t\" }"])),
    ("model.vae", Of(&["\"base\"", "{ folder = \"\" }"])),
    ("model.tokenizer", Text),
    ("model.text_length", Whole),
    ("model.scheduler", Text),
    ("model.text_projection", Flag),
    ("model.seed", Whole),
    ("strategy.denoise", Of(STRATEGIES)),
    ("objective.snr_gamma", Real),
    ("objective.noise_offset", Real),
    ("vae.distance", Of(&["\"l2\"", "\"l3\""])),
    ("vae.kl_weight", Real),
    ("optimizer.learning_rate", Real),
    ("optimizer.unet_learning_rate", Real),
    ("optimizer.text_encoder_learning_rate", Real),
    ("optimizer.text_projection_learning_rate", Real),
    ("optimizer.vae_learning_rate", Real),
    ("optimizer.betas", Of(&["[0.9, 0.999]", "[nan, 0.9]", "[1.0, inf]", "[0.9]"])),
    ("optimizer.epsilon", Real),
    ("optimizer.weight_decay", Real),
    ("optimizer.clip_norm", Real),
    ("schedule.steps", Whole),
    ("schedule.warmup_steps", Whole),
    ("schedule.shape", Of(&["\"cosine\"", "{ linear-to = { end = nan } }", "{ linear-to = { end = 1e-7 } }", "\"none\""])),
    ("batch_size", Whole),
    ("accumulation", Whole),
    ("caption_dropout", Real),
    ("ema.decay", Real),
    ("ema.min_decay", Real),
    ("ema.update_after_step", Whole),
    ("ema.use_ema_warmup", Flag),
    ("ema.inv_gamma", Real),
    ("ema.power", Real),
    ("precision", Of(&["\"fp32\"", "\"bf16\"", "\"fp8\""])),
    ("gradient_checkpointing", Flag),
    ("validation.every", Whole),
    ("validation.images", Whole),
    ("validation.bins", Whole),
    ("samples.every", Whole),
    ("samples.prompts", Of(&["[]", "[\"\"]", "[\"a\", \"b\"]"])),
    ("samples.count", Whole),
    ("samples.sampler", Of(SAMPLERS)),
    ("samples.steps", Whole),
    ("samples.guidance", Real),
    ("checkpoints.every", Whole),
    ("checkpoints.keep", Whole),
    ("checkpoints.export", Of(&["\"last\"", "\"best\"", "\"none\""])),
    ("watch.smoothing", Real),
    ("watch.warn_above", Real),
    ("watch.stop_above", Real),
    ("watch.patience", Whole),
    ("cache.folder", Text),
    ("cache.mib", Whole),
    ("devices", Of(&["[]", "[\"cpu\", \"cpu\"]", "[\"gpu\"]", "[\"cuda:18446744073709551615\"]"])),
    ("exchange", Of(&["\"auto\"", "\"host\"", "\"none\""])),
    ("log_every", Whole),
    ("workers", Whole),
];
const STRATEGIES: &[&str] = &[
    "{ unet = \"full\", text_encoder = \"frozen\", text_projection = false }",
    "{ unet = { lora = { rank = 9223372036854775807, alpha = nan } }, text_encoder = \"frozen\", text_projection = false }",
    "{ unet = { lora = { rank = 0 } }, text_encoder = \"frozen\", text_projection = false }",
    "{ unet = { lora = { rank = 8, alpha = 4.0, targets = [\"\"] } }, text_encoder = \"full\", text_projection = true }",
    "{ unet = \"frozen\", text_encoder = \"frozen\", text_projection = false }",
];

/// A value of a key as TOML: mostly of the right type, ordinary or extreme.
fn value(kind: Kind) -> BoxedStrategy<String> {
    let whole = prop_oneof![
        4 => prop::sample::select(vec!["0", "1", "2", "32", "64", "1000"]),
        3 => prop::sample::select(vec![
            "-1", "9223372036854775807", "9223372036854775806", "4611686018427387904", "-9223372036854775808", "4294967295",
            "4294967296", "1000000000", "51200",
        ]),
        1 => prop::sample::select(vec!["18446744073709551615", "99999999999999999999999", "1.5", "nan", "\"1\"", "[]", "{}", "true"]),
    ];
    let real = prop_oneof![
        3 => prop::sample::select(vec!["0.0", "0.1", "0.5", "0.9", "1.0", "2.0"]),
        3 => prop::sample::select(vec!["nan", "-nan", "inf", "-inf", "-0.0", "-1.0", "1e-320", "1e308", "3.5e38", "-1e308", "0.99999999999"]),
        1 => prop::sample::select(vec!["1", "9223372036854775807", "\"0.5\"", "[]", "{}"]),
    ];
    match kind {
        Whole => whole.prop_map(str::to_owned).boxed(),
        Real => real.prop_map(str::to_owned).boxed(),
        Flag => prop::sample::select(vec!["true", "false", "0"]).prop_map(str::to_owned).boxed(),
        Text => prop_oneof![
            6 => Just("\"a\"".to_owned()),
            1 => Just("\"\"".to_owned()),
            1 => Just(format!("\"{}\"", "x".repeat(100_000))),
            1 => Just("\"\\u0000/../é\"".to_owned()),
            1 => Just("7".to_owned()),
        ]
        .boxed(),
        Of(values) => prop::sample::select(values).prop_map(str::to_owned).boxed(),
    }
}

/// Some lines `KEY = VALUE` of those keys, each key once.
fn lines(keys: &'static [(&'static str, Kind)], most: usize) -> impl Strategy<Value = String> {
    prop::collection::btree_set(0..keys.len(), 0..most).prop_flat_map(move |chosen| {
        let line = |at: usize| {
            let (key, kind) = keys[at];
            value(kind).prop_map(move |value| format!("{key} = {value}\n"))
        };
        chosen.into_iter().map(line).collect::<Vec<_>>().prop_map(|lines| lines.concat())
    })
}

fn study() -> impl Strategy<Value = String> {
    let arms = prop::collection::vec((prop::sample::select(vec!["a", "b", "A", "a.b", "", "é"]), lines(ARM, 5)), 0..4);
    let keys = (lines(DATA, 6), lines(STUDY, 12), arms);
    keys.prop_map(|(data, study, arms)| {
        let mut text = format!("{data}{study}");
        if !text.contains("data.format") {
            text.push_str("data.format = \"phantom\"\n");
        }
        if text.contains("generator.") && !text.contains("generator.kind") {
            text.push_str("generator.kind = \"phantom\"\n");
        }
        for (name, lines) in arms {
            text.push_str(&format!("[[arms]]\nname = \"{name}\"\n{lines}"));
        }
        text
    })
}

fn finetuning() -> impl Strategy<Value = String> {
    (lines(DATA, 5), lines(FINETUNE, 12)).prop_map(|(data, own)| {
        let format = if data.contains("data.format") { "" } else { "data.format = \"phantom\"\n" };
        format!("{format}{data}{own}")
    })
}

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
    let config = FinetuneConfig::parse(text, Path::new("run.toml"), Path::new("."), &[])?;
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
    check(&toml::to_string(&config.arms[0]).unwrap(), &[ARM, &[("name", Text)]]);
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
        study.refuses(&["compare", "run.toml", "--out", "out"], &["run.toml, line ", key, most, "at most"]);
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
fn a_run_that_no_machine_can_hold_is_refused_with_the_estimate() {
    let study = Study::new();
    study.edit_run("size = 32", "size = 51200");
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
