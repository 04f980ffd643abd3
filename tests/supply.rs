//! Synthetic images on their way into training: supplies, gate, shards, several processes on one cache, and the example run files.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use burn::data::dataset::Dataset;
use burn::tensor::{Device, FloatDType};
use roentgen::compare::{Comparison, PoolError, PoolJob, Pools, fill, pools};
use roentgen::config::{PhantomConfig, RunConfig, SplitConfig, SupplyMode};
use roentgen::data;
use roentgen::diffusion::pipeline::{RandomSize, write_random_pipeline};
use roentgen::generate::Shard;
use roentgen::run_folder::{RunFolder, StudyCommand, StudyStart};
use roentgen::study::StudyData;
use roentgen_augment::AugmentError;
use roentgen_augment::formats::Format;
use roentgen_augment::progress::Silent;
use roentgen_augment::record::Origin;
use roentgen_augment::supply::SyntheticDataset;
use roentgen_augment::text::PromptKind;

use crate::cli::Study;

/// A folder with two tiny pipelines of different weights.
struct Bench {
    folder: tempfile::TempDir,
}

const RUN: &str = r#"
seeds = [1]
data = { format = "phantom", phantom = { train = 20, valid = 20, test = 20 } }
preprocess = { size = 32 }
network = { architecture = "small" }
training = { steps = 2, batch_size = 4, eval_every = 2, warmup_steps = 1 }
bootstrap = { replicates = 20 }
arms = [{ name = "real" }, { name = "mixed", mode = { add = { synthetic_per_real = 0.4 } } }]

[generator]
kind = "diffusion"
cache = "samples"

[generator.diffusion]
pipeline = "tiny"
steps = 2
device = "cpu"
batch_size = 2
"#;

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, seed) in [("tiny", 3), ("other", 4)] {
            write_random_pipeline(&folder.path().join(name), RandomSize::Tiny, seed, FloatDType::F32, |_| ()).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The run file with parts replaced.
    fn config(&self, edits: &[(&str, &str)]) -> RunConfig {
        let text = edits.iter().fold(RUN.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the run file has no {from}");
            text.replacen(from, to, 1)
        });
        let config = RunConfig::parse(&text, &self.path("run.toml"), self.folder.path()).unwrap();
        config.validate().unwrap();
        config
    }

    fn pools(&self, config: &RunConfig, out: &str) -> Result<Pools, PoolError> {
        with_job(config, &self.path(out), pools)
    }
}

fn with_job<T>(config: &RunConfig, out: &Path, work: impl FnOnce(&PoolJob<'_>) -> T) -> T {
    let study = StudyData::open(config).unwrap();
    let (device, bars) = (Device::flex(), Silent);
    work(&PoolJob { config, study: &study, device: &device, folder: out, progress: &bars })
}

fn open(out: &Path, config: &RunConfig, study: &StudyData) -> RunFolder {
    StudyStart { command: StudyCommand::Compare, config, study }.open(out, &|| ()).unwrap()
}

/// Every image of a pool with its seed, requested in batches of that size.
fn images(pool: &SyntheticDataset, batch: usize) -> Vec<(u64, Vec<f32>)> {
    let indices: Vec<usize> = (0..pool.len()).collect();
    let samples = indices.chunks(batch).flat_map(|batch| pool.get_many(batch.to_vec()).unwrap());
    let seed = |origin: &Origin| match origin {
        Origin::Synthetic(provenance) => provenance.request.seed,
        Origin::Real => panic!("a real image in the pool"),
    };
    samples.map(|sample| (seed(&sample.record.origin), sample.image.values().to_vec())).collect()
}

fn supply(mode: &str) -> (&'static str, String) {
    ("cache = \"samples\"", format!("cache = \"samples\"\nsupply = \"{mode}\""))
}

#[test]
fn a_checkpoint_gives_the_same_images_in_every_supply() {
    let bench = Bench::new();
    let of = |mode: &str, batch| {
        let (from, to) = supply(mode);
        let pools = bench.pools(&bench.config(&[(from, &to)]), "run").unwrap();
        images(pools.arms[1].as_ref().unwrap(), batch)
    };
    let on_demand = of("on-demand", 3);
    assert_eq!(on_demand.len(), 8);
    assert!(!bench.path("samples/samples").exists(), "nothing is kept");
    // Other batches on the way, so that an image that depends on its batch would show.
    assert!(of("cache-then-generate", 5) == on_demand);
    assert!(of("cached", 8) == on_demand);
    assert!(of("on-demand", 1) == on_demand);
}

#[test]
fn changed_weights_miss_the_cache_and_the_error_says_what_fills_it() {
    let bench = Bench::new();
    let config = bench.config(&[]);
    let made = with_job(&config, &bench.path("run"), |job| fill(job, Shard::WHOLE)).unwrap();
    assert_eq!(made.made, 8);
    let (from, to) = supply("cached");
    assert!(bench.pools(&bench.config(&[(from, &to)]), "run").is_ok());
    for change in [("\"tiny\"", "\"other\""), ("steps = 2\ndevice", "steps = 3\ndevice")] {
        let config = bench.config(&[(from, &to), change]);
        let error = bench.pools(&config, "run").unwrap_err();
        assert!(matches!(&error, PoolError::Data(AugmentError::NotInCache { missing: 8, total: 8, .. })), "{error}");
        assert!(error.to_string().contains("roentgen fill RUN.toml"), "{error}");
    }
}

#[test]
fn runs_of_one_generator_are_not_continued_with_the_images_of_another() {
    let bench = Bench::new();
    let (from, to) = supply("on-demand");
    let config = bench.config(&[(from, &to)]);
    let study = StudyData::open(&config).unwrap();
    let claim = |config: &RunConfig| {
        let folder = open(&bench.path("run"), config, &study);
        bench.pools(config, "run").unwrap().claim(&config.arms, &folder)
    };
    claim(&config).unwrap();
    let (from, to) = supply("cache-then-generate");
    claim(&bench.config(&[(from, &to)])).unwrap();
    // The same path, other weights.
    std::fs::rename(bench.path("tiny"), bench.path("moved")).unwrap();
    std::fs::rename(bench.path("other"), bench.path("tiny")).unwrap();
    let message = claim(&config).unwrap_err().to_string();
    assert!(message.contains("arm `mixed`") && message.contains("the generator's weights"), "{message}");
}

#[test]
fn prompts_of_a_study_say_what_they_are() {
    let bench = Bench::new();
    let pools = bench.pools(&bench.config(&[]), "run").unwrap();
    assert_eq!((pools.prompts.as_ref().unwrap().reports, pools.prompts.as_ref().unwrap().dropped()), (0, 0));
    for record in pools.arms[1].as_ref().unwrap().records() {
        let Origin::Synthetic(provenance) = &record.origin else { panic!("a real row") };
        assert_eq!(provenance.request.prompt_kind, PromptKind::Template);
    }
}

/// A gate on phantom images, which differ enough for some to fail.
const GATED: &str = r#"
[gate]
attempts = 3
judges = ["sanity", "copies", "agreement"]
copies = { quantile = 0.3 }
agreement = { positive_quantile = 0.1, negative_quantile = 0.1 }
"#;

fn gated(study: &Study, supply: &str) -> String {
    let kind = "kind = \"shifted-phantom\"";
    let run = crate::cli::RUN
        .replace("seeds = [1, 2]", "seeds = [1]")
        .replace("synthetic_per_real = 0.5", "synthetic_per_real = 1.0");
    // Images of the same simulator, so that a classifier of four steps agrees with some.
    let generator = format!("kind = \"phantom\"\ncache = \"samples\"\nsupply = \"{supply}\"{GATED}");
    let run = run.replace(kind, &generator);
    let run = format!("{run}gate = true\n");
    study.write_run(&run);
    run
}

fn compared(study: &Study, out: &str) -> serde_json::Value {
    let output = study.roentgen(&["compare", "run.toml", "--out", out, "--device", "cpu", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_gate_is_an_arm_and_every_outcome_is_written_down() {
    let study = Study::new();
    let mut found = Vec::new();
    for supply in ["on-demand", "cache-then-generate", "cached"] {
        gated(&study, supply);
        let report = compared(&study, supply);
        if supply == "cache-then-generate" {
            // The verdicts were known, and so few steps do not draw every sample that passed.
            done(filler(&study, "1/1"));
        }
        let gate = &report["arms"][1]["gate"];
        assert!(report["arms"][0]["gate"].is_null());
        let passed: u64 = gate["passed"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
        let (requests, rejected) = (gate["requests"].as_u64().unwrap(), gate["rejected"].as_u64().unwrap());
        assert_eq!(passed + rejected, requests);
        assert!(gate["passed"].as_array().unwrap().len() > 1, "some passed after a retry: {gate}");
        assert_eq!(gate["limits"].as_array().unwrap().len(), 2 + 9, "sanity, copies, and nine findings: {gate}");
        let table = std::fs::read_to_string(study.path(supply).join("arms/mixed/gate.csv")).unwrap();
        assert_eq!(table.lines().count() as u64, 1 + gate["judged"].as_u64().unwrap());
        let page = std::fs::read_to_string(study.path(supply).join("report.html")).unwrap();
        assert!(page.contains("Quality gate"));
        found.push((gate.clone(), std::fs::read(study.path(supply).join("arms/mixed/predictions.csv")).unwrap(), table));
    }
    assert!(found.iter().all(|same| *same == found[0]));
}

#[test]
fn settings_of_gate_and_plan_are_checked() {
    let bench = Bench::new();
    let refuses = |edit: (&str, &str), said: &str| {
        let text = RUN.replacen(edit.0, edit.1, 1);
        let config = RunConfig::parse(&text, &bench.path("run.toml"), bench.folder.path());
        let message = config.and_then(|config| config.validate()).unwrap_err().to_string();
        assert!(message.contains(said), "{message}\nexpected {said}");
    };
    let table = "[generator]\n";
    refuses((table, "[gate]\njudges = []\n[generator]\n"), "gate.judges is empty");
    refuses((table, "[gate]\ncopies = { quantile = 1.0 }\n[generator]\n"), "gate.copies.quantile is 1");
    refuses((table, "[gate]\nattempts = 0\n[generator]\n"), "attempts");
    refuses((table, "[gate]\nsanity = { max_saturated = 2.0 }\n[generator]\n"), "gate.sanity.max_saturated is 2");
    refuses(
        (table, "[gate]\nagreement = { limits = { Mass = { positive = 7 } } }\n[generator]\n"),
        "gate.agreement.limits.Mass",
    );
    refuses(("{ name = \"real\" }", "{ name = \"real\", gate = true }"), "arms.real.gate");
    refuses((table, "[generator]\nplan = { count = { Mass = 1 } }\n"), "unknown variant `count`");
    let twice = "`Effusion` and `Pleural Effusion` are the same finding";
    refuses((table, "[generator]\nplan = { counts = { Effusion = 5, \"Pleural Effusion\" = 7 } }\n"), twice);
    let limits = "{ Effusion = { positive = 0.5 }, \"Pleural Effusion\" = { positive = 0.6 } }";
    refuses((table, &format!("[gate]\nagreement = {{ limits = {limits} }}\n[generator]\n")), twice);
    refuses(("0.4 } }", "0.4 } }, ramp = { from = 1.0, to = 0.0, epochs = 3 }"), "one of the three");
    refuses(
        ("mode = { add = { synthetic_per_real = 0.4 } }", "ramp = { from = 0.0, to = 1.5, epochs = 3 }"),
        "arms.mixed.ramp.to is 1.5",
    );
    refuses(
        (table, "[generator]\nprompts = { cleaning = { max_tokens = 3 } }\n"),
        "generator.prompts.cleaning.max_tokens is 3",
    );
}

/// `roentgen fill` on the study's run file, as a separate process.
fn filler(study: &Study, shard: &str) -> Child {
    let args = ["fill", "run.toml", "--out", "out", "--device", "cpu", "--json", "--shard", shard];
    study.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn done(child: Child) -> serde_json::Value {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

/// Every sample below a folder by name, with its bytes.
fn samples(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for shard in std::fs::read_dir(folder.join("samples")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            // The temporary file of a killed process stays until the cache is rebuilt or listed.
            if path.extension().is_none_or(|extension| extension != "png") {
                continue;
            }
            found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap());
        }
    }
    found
}

#[test]
fn processes_share_a_cache_and_a_killed_one_costs_nothing() {
    let reference = Study::new();
    let run = crate::cli::RUN.replace("synthetic_per_real = 0.5", "synthetic_per_real = 8.0");
    let run = run.replace("kind = \"shifted-phantom\"", "kind = \"shifted-phantom\"\ncache = \"cache\"\nsize = 192");
    reference.write_run(&run);
    let total = done(filler(&reference, "1/1"))["made"].as_u64().unwrap();
    let expected = samples(&reference.path("cache"));
    assert_eq!(expected.len() as u64, total);

    // Two that make everything, and one that is killed in the middle of it.
    let shared = Study::new();
    shared.write_run(&run);
    let mut killed = filler(&shared, "1/1");
    while !shared.path("cache/samples").exists() || std::fs::read_dir(shared.path("cache/samples")).unwrap().next().is_none() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let others = [filler(&shared, "1/1"), filler(&shared, "1/1")];
    killed.kill().unwrap();
    killed.wait().unwrap();
    others.into_iter().for_each(|other| drop(done(other)));
    assert!(samples(&shared.path("cache")) == expected, "every sample is there, and each is the same file");

    // Shards, and one of them twice.
    let sharded = Study::new();
    sharded.write_run(&run);
    let made = ["1/3", "2/3", "3/3", "2/3"].map(|shard| done(filler(&sharded, shard))["made"].as_u64().unwrap());
    assert_eq!((made[..3].iter().sum::<u64>(), made[3]), (total, 0));
    assert!(samples(&sharded.path("cache")) == expected);
}

#[test]
fn plans_ask_for_what_they_say() {
    let study = Study::new();
    std::fs::write(study.path("prompts.csv"), "prompt,Mass,patient_id\nA mass.,1,nobody\nNo mass.,0,\n").unwrap();
    let config = |plan: &str| {
        let kind = "kind = \"shifted-phantom\"";
        let text = crate::cli::RUN.replace(kind, &format!("{kind}\nplan = {plan}"));
        let config = RunConfig::parse(&text, &study.path("run.toml"), &study.path("")).unwrap();
        config.validate().unwrap();
        config
    };
    let asked = |plan: &str| {
        let pools = with_job(&config(plan), &study.path("out"), pools).unwrap();
        pools.arms[1].as_ref().unwrap().records().to_vec()
    };
    let counted = asked("{ counts = { Effusion = 11, \"No Finding\" = 4 } }");
    assert_eq!(counted.len(), 15);
    assert_eq!(counted.iter().filter(|record| !record.labels.contains(&roentgen_augment::record::Label::Positive)).count(), 4);
    let prompted = asked("{ prompts = \"prompts.csv\" }");
    let prompt = |at: usize| match &prompted[at].origin {
        Origin::Synthetic(provenance) => provenance.request.prompt.clone(),
        Origin::Real => panic!("a real row"),
    };
    assert_eq!([prompt(0), prompt(1), prompt(2)], ["A mass.", "No mass.", "A mass."]);

    // Every plan draws on training patients alone.
    let (_, splits) = data::open(&config("\"balanced\"").data, config("\"balanced\"").preprocess).unwrap();
    for plan in ["\"prevalence\"", "\"balanced\"", "{ counts = { Effusion = 30, Mass = 30, \"No Finding\" = 30 } }"] {
        for record in asked(plan) {
            let Origin::Synthetic(provenance) = &record.origin else { panic!("a real row") };
            let source = provenance.request.source.as_ref().unwrap();
            assert!(!splits.held_out_patients().contains(&source.patient_id), "{plan}: {source:?}");
        }
    }
    // A table may not request a patient of validation or test.
    let held_out = splits.held_out_patients().iter().next().unwrap().clone();
    std::fs::write(study.path("prompts.csv"), format!("prompt,Mass,patient_id\nA mass.,1,{held_out}\n")).unwrap();
    let refused = with_job(&config("{ prompts = \"prompts.csv\" }"), &study.path("out"), pools).unwrap_err().to_string();
    assert!(refused.contains(held_out.as_str()) && refused.contains("held out"), "{refused}");
    // Images without labels would teach nothing.
    std::fs::write(study.path("prompts.csv"), "prompt\nA mass.\n").unwrap();
    let refused = with_job(&config("{ prompts = \"prompts.csv\" }"), &study.path("out"), pools).unwrap_err().to_string();
    assert!(refused.starts_with("arm `") && refused.contains("none of its 10 prompts has a label"), "{refused}");
}

/// The examples with a generator, with phantoms and a random pipeline instead of data and checkpoint, and very few steps.
#[test]
fn example_studies_run_at_tiny_size() {
    let bench = Bench::new();
    for name in ["mix", "synthetic-only", "pretrain-then-real", "on-demand"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.toml"));
        let mut config = RunConfig::read(&path).unwrap();
        config.data.format = Format::named("phantom").unwrap();
        config.data.phantom = PhantomConfig { train: 24, valid: 24, test: 24, seed: 1 };
        config.data.split = SplitConfig::Given;
        config.preprocess.size = 32;
        config.seeds.truncate(1);
        (config.training.steps, config.training.eval_every, config.training.batch_size) = (2, 2, 4);
        config.training.warmup_steps = 1;
        config.bootstrap.replicates = 20;
        // Sanity alone: a classifier of two steps and noise agree on nothing.
        config.gate.judges = vec![roentgen::config::JudgeKind::Sanity];
        let generator = config.generator.as_mut().unwrap();
        let diffusion = generator.diffusion.as_mut().unwrap();
        (diffusion.pipeline, diffusion.steps, diffusion.device) = (bench.path("tiny").into(), 1, "cpu".to_owned());
        if let roentgen::config::PlanConfig::Counts(counts) = &mut generator.plan {
            counts.values_mut().for_each(|count| *count = 2);
        }
        let on_demand = generator.supply == SupplyMode::OnDemand;
        config.gate.sanity.max_channel_spread = 1.0;
        for arm in &mut config.arms {
            if let Some(pool) = &mut arm.pool {
                *pool = 6;
            }
        }
        config.validate().unwrap();

        let out = bench.path(name);
        let study = StudyData::open(&config).unwrap();
        let folder = open(&out, &config, &study);
        let (device, bars) = (Device::flex(), Silent);
        let pools = with_job(&config, &out, pools).unwrap();
        let comparison = Comparison {
            config: &config,
            study: &study,
            pools,
            device: &device,
            device_name: "cpu".to_owned(),
            folder,
            progress: &bars,
        };
        let report = comparison.run().unwrap().report;
        assert_eq!(report.arms.len(), config.arms.len());
        assert!(report.prompts.is_some_and(|prompts| prompts.templates == 24), "{name}");
        assert!(report.arms.iter().all(|arm| (0.0..=1.0).contains(&arm.runs[0].wait_share)), "{name}");
        assert_eq!(on_demand, !out.join("cache/samples").exists(), "{name}");
    }
}
