//! Random run files: every key, with ordinary and extreme values.

use proptest::prelude::*;

/// What a key can hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Whole,
    Real,
    Text,
    Flag,
    /// One of these TOML values.
    Of(&'static [&'static str]),
}

use Kind::{Flag, Of, Real, Text, Whole};

const FINDINGS: &[&str] = &["[\"Mass\"]", "[\"Effusion\", \"Pleural Effusion\"]", "[]", "[\"\"]", "[\"Nothing\"]"];
const FORMATS: &[&str] = &[
    "\"phantom\"",
    "\"table\"",
    "\"nih\"",
    "\"medmnist\"",
    "\"class-folders\"",
    "\"imagefolder\"",
    "\"webdataset\"",
    "\"parquet\"",
];
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
const DEPTHS: &[&str] =
    &["8", "12", "16", "\"full\"", "\"per-image-range\"", "7", "17", "-9223372036854775808", "\"12\"", "nan"];
const SAMPLERS: &[&str] = &["\"pndm\"", "\"best\"", "\"\"", "7"];
const DEVICES: &[&str] = &["\"cpu\"", "\"cuda:99999999999999999999\"", "\"gpu\"", "\"\"", "\"cuda:7\""];

/// Keys of `[data]`, `[preprocess]`, which both kinds of run file have.
pub const DATA: &[(&str, Kind)] = &[
    ("data.format", Of(FORMATS)),
    ("data.name", Text),
    ("data.labels", Text),
    ("data.images", Text),
    ("data.findings", Of(FINDINGS)),
    ("data.custom_findings", Of(&["[\"Tuberculosis\"]", "[]", "[\" \"]"])),
    ("data.extra_columns", Of(&["[\"a\"]", "[]"])),
    ("data.report", Text),
    ("data.readers", Of(&["\"majority\"", "\"any\"", "\"most\""])),
    ("data.columns", Of(&["{ image = \"Path\" }", "{ order = \"date\", Mass = \"m\" }", "{ image = \" \" }", "{ image = 1 }"])),
    ("data.views", Of(&["[\"PA\", \"AP\"]", "[]", "[\"oblique\"]"])),
    ("data.one_image_per_patient", Flag),
    ("data.missing", Of(&["\"skip\"", "\"refuse\"", "\"keep\""])),
    ("data.delimiter", Of(&["\";\"", "\"\\t\"", "\"::\""])),
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
    ("preprocess.bit_depth", Of(DEPTHS)),
    ("preprocess.dicom", Of(&["\"stored\"", "\"window\"", "\"raw\""])),
    ("preprocess.jpeg_scale", Flag),
];

/// The other keys of a study.
pub const STUDY: &[(&str, Kind)] = &[
    ("title", Text),
    ("baseline", Of(&["\"a\"", "\"b\"", "\"\""])),
    ("seeds", Of(SEEDS)),
    (
        "network.architecture",
        Of(&["\"small\"", "\"densenet121\"", "\"resnet50\"", "\"convnext-tiny\"", "\"vit-b14\"", "\"large\""]),
    ),
    ("network.input", Of(&["\"signed\"", "\"xrv\"", "\"imagenet\"", "\"none\""])),
    ("network.weights", Text),
    ("network.train", Of(&["\"whole\"", "\"head\"", "\"tail\""])),
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
    ("training.stochastic_depth", Real),
    ("training.precision", Of(&["\"bf16\"", "\"fp32\"", "\"fp16\""])),
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
    ("generator.prompts.negatives", Whole),
    ("generator.prompts.no_finding", Text),
    ("generator.prompts.cleaning.section", Text),
    ("generator.prompts.cleaning.marks", Text),
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
    ("generator.diffusion.lora", Of(&["[\"a:0.5\"]", "[\"a:1e308\", \"b\"]", "[\":1\"]", "\"a\""])),
    ("generator.diffusion.embedding", Of(&["[\"<x>=a\"]", "[\"=\"]", "[1]"])),
    ("generator.diffusion.guidance_rescale", Real),
    ("generator.diffusion.karras", Flag),
    ("generator.diffusion.eta", Real),
    ("generator.diffusion.init_image", Text),
    ("generator.diffusion.strength", Real),
    ("generator.diffusion.bits", Whole),
    ("generator.diffusion.dtype", Of(&["\"bf16\"", "\"f16\"", "\"f64\""])),
    ("generator.diffusion.offload", Flag),
    ("generator.diffusion.tiled", Flag),
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
    ("fairness.columns", Of(&["[\"sex\"]", "[]", "[\"site\"]", "[\" \"]", "[\"age\", \"age\"]"])),
    ("fairness.ages", Of(&["[40, 60]", "[60, 40]", "[]", "[99999999999]", "[-1]"])),
    (
        "fairness.operating_point",
        Of(&["\"youden\"", "{ sensitivity = 0.9 }", "{ specificity = nan }", "{ sensitivity = -1 }", "1"]),
    ),
    ("fairness.least_images", Whole),
    ("fairness.least_patients", Whole),
    ("bootstrap.replicates", Whole),
    ("bootstrap.seed", Whole),
];

/// Keys of an arm.
pub const ARM: &[(&str, Kind)] = &[
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
pub const FINETUNE: &[(&str, Kind)] = &[
    ("preset", Of(&["\"small\"", "\"roentgen-v1\"", "\"roentgen-v2\"", "\"large\""])),
    ("title", Text),
    ("seed", Whole),
    ("prompts.from", Of(&["\"report\"", "\"template\"", "\"nothing\""])),
    ("prompts.demographics", Flag),
    ("prompts.vary", Flag),
    ("prompts.seed", Whole),
    ("prompts.negatives", Whole),
    ("prompts.no_finding", Text),
    ("prompts.cleaning.section", Text),
    ("prompts.cleaning.marks", Text),
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

/// A study.
pub fn study() -> impl Strategy<Value = String> {
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

/// A fine-tuning.
pub fn finetuning() -> impl Strategy<Value = String> {
    (lines(DATA, 5), lines(FINETUNE, 12)).prop_map(|(data, own)| {
        let format = if data.contains("data.format") { "" } else { "data.format = \"phantom\"\n" };
        format!("{format}{data}{own}")
    })
}
