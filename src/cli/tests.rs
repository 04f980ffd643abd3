//! Every command line is accepted or refused: nothing panics, and no number exceeds its bound.

use proptest::prelude::*;

use roentgen::config::limits::{MOST_BATCH, MOST_GUIDANCE, MOST_PIXELS, MOST_SAMPLES};

use super::*;

/// Commands with their required arguments.
const COMMANDS: &[&[&str]] = &[
    &["demo"],
    &["compare", "run.toml", "--out", "o"],
    &["train", "run.toml", "--out", "o"],
    &["fill", "run.toml", "--out", "o"],
    &["predict", "run.toml", "--weights", "w", "--out", "o"],
    &["finetune", "run.toml", "--out", "o"],
    &["generate", "--pipeline", "p", "--prompt", "x", "--out", "o"],
    &["generate", "--pipeline", "p", "--prompts", "x.csv", "--out", "o"],
    &["generate", "--merge", "--prompt", "x", "--out", "o"],
    &["inspect", "p"],
    &["merge", "--pipeline", "p", "--out", "o"],
    &["convert", "f", "--like", "sd1", "--out", "o"],
    &["convert", "f", "--config", "c", "--out", "o"],
    &["dev", "random-pipeline", "--out", "o"],
    &["dev", "text-projection", "p"],
    &["data", "summary", "run.toml"],
    &["data", "check", "run.toml"],
    &[],
];

const FLAGS: &[&str] = &[
    "--arm",
    "--seed",
    "--shard",
    "--set",
    "--preset",
    "--split",
    "--negative-prompt",
    "--count",
    "--sampler",
    "--karras",
    "--eta",
    "--steps",
    "--guidance",
    "--guidance-rescale",
    "--size",
    "--init-image",
    "--strength",
    "--lora",
    "--embedding",
    "--batch-size",
    "--bits",
    "--dtype",
    "--offload",
    "--tiled",
    "--device",
    "--json",
    "--quick",
    "--variant",
    "--unet",
    "--tokenizer",
    "--prediction",
    "--ema",
    "--no-such-flag",
];

const VALUES: &[&str] = &[
    "0",
    "1",
    "8",
    "-1",
    "1.5",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967295",
    "4294967296",
    "1000000000",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "512x512",
    "18446744073709551608x8",
    "x",
    "8x8x8",
    "0x0",
    "1/1",
    "0/0",
    "2/1",
    "1/18446744073709551615",
    "18446744073709551615/18446744073709551615",
    "f:1e308",
    "f:nan",
    ":",
    "f:-1e308",
    "",
    "cuda:18446744073709551615",
    "cuda:-1",
    "cpu",
    "é",
    "a=b",
    "=",
    "a..b=1",
    "f32",
    "16",
    "roentgen-v1",
    "pndm",
    "s3://",
    "\u{0}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_command_line_is_understood_or_refused(
        command in prop::sample::select(COMMANDS),
        flags in prop::collection::vec((prop::sample::select(FLAGS), prop::option::of(prop::sample::select(VALUES))), 0..5),
        prompts in prop::sample::select(vec![1usize, 1_000, 5_000_000, usize::MAX]),
    ) {
        let mut argv = vec!["roentgen"];
        argv.extend(command);
        for (flag, value) in flags {
            argv.push(flag);
            argv.extend(value);
        }
        let Ok(cli) = Cli::try_parse_from(&argv) else { return Ok(()) };
        match cli.command {
            Command::Generate(args) if args.check().is_ok() && args.check_rows(prompts).is_ok() => {
                let images = prompts * args.count as usize;
                prop_assert!(images <= MOST_SAMPLES && args.batch_size.get() <= MOST_BATCH, "{argv:?}");
                prop_assert!(args.seed.checked_add(images as u64).is_some(), "{argv:?}");
                prop_assert!(args.size.is_none_or(|size| size.width.max(size.height) <= MOST_PIXELS), "{argv:?}");
                prop_assert!(args.lora.iter().all(|lora| lora.scale.abs() <= MOST_GUIDANCE), "{argv:?}");
            }
            Command::Merge(args) if args.check().is_ok() => {
                prop_assert!(args.lora.iter().all(|lora| lora.scale.abs() <= MOST_GUIDANCE), "{argv:?}");
            }
            Command::Train(args) => prop_assert!(args.seed.is_none_or(|seed| seed <= MOST_SEED), "{argv:?}"),
            Command::Finetune(args) => prop_assert!(args.seed.is_none_or(|seed| seed <= MOST_SEED), "{argv:?}"),
            _ => {}
        }
    }
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

/// What `generate` can do, a study can do: a flag that is not a key of `[generator.diffusion]` is about something else, named here.
#[test]
fn a_run_file_has_every_flag_of_generate() {
    use clap::CommandFactory;
    use roentgen::config::DiffusionConfig;

    const ELSEWHERE: [(&str, &str); 12] = [
        ("prompt", "[generator.prompts] and generator.plan"),
        ("prompts", "generator.plan = { prompts = FILE }"),
        ("extra-column", "[data]"),
        ("custom-finding", "[data]"),
        ("count", "the arms"),
        ("seed", "generator.seed"),
        ("size", "generator.size"),
        ("shard", "`fill --shard`"),
        ("merge", "the cache of samples needs none"),
        ("out", "the run folder"),
        ("json", "how results are printed"),
        ("help", "clap's"),
    ];
    let mut command = Cli::command();
    let generate = command.find_subcommand_mut("generate").expect("a command");
    generate.build();
    let flags: Vec<String> = generate.get_arguments().filter_map(|flag| flag.get_long().map(str::to_owned)).collect();
    assert!(flags.len() > ELSEWHERE.len(), "{flags:?}");
    for flag in &flags {
        if ELSEWHERE.iter().any(|(name, _)| name == flag) {
            continue;
        }
        // No key takes a date: what is refused for its type is known.
        let key = flag.replace('-', "_");
        let text = if key == "pipeline" {
            "pipeline = 1979-05-27".to_owned()
        } else {
            format!("pipeline = \"p\"\n{key} = 1979-05-27")
        };
        let message = toml::from_str::<DiffusionConfig>(&text).unwrap_err().to_string();
        assert!(!message.contains("unknown field"), "--{flag} has no key in [generator.diffusion]: {message}");
    }
    for (name, place) in ELSEWHERE {
        assert!(flags.iter().any(|flag| flag == name), "--{name} is no flag any more ({place})");
    }
}

#[test]
fn help_names_every_device() {
    use clap::CommandFactory;
    let mut command = Cli::command();
    let train = command.find_subcommand_mut("train").expect("a command");
    assert!(train.render_long_help().to_string().contains(DeviceChoice::NAMES));
}
