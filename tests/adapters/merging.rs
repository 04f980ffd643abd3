//! `merge`, and adapters in manifests and studies.

use std::path::Path;

use serde_json::Value;

use super::files::{Floats, Tensors, kohya, modules, write_safetensors};
use super::{Place, difference, explains, tiny};
use crate::cli::Study;

/// `lora.safetensors` and `x.safetensors` with three vectors of `<x>`.
fn place() -> Place {
    let place = Place::new();
    write_safetensors(&place.path("lora.safetensors"), &kohya(&modules(), "te", Some(2.0)), &[]);
    write_safetensors(&place.path("x.safetensors"), &Tensors::from([("<x>".to_owned(), Floats::drawn(&[3, 32], 5))]), &[]);
    place
}

const ADDED: [&str; 4] = ["--lora", "lora.safetensors:0.8", "--embedding", "x.safetensors"];

#[test]
fn a_merged_folder_makes_the_images_of_its_parts() {
    let place = place();
    let merge = [&["merge", "--pipeline", tiny().to_str().unwrap(), "--out", "merged"][..], &ADDED].concat();
    let output = place.roentgen(&merge);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let prompt = ["--prompt", "film in <x> style"];
    let (expected, ..) = place.makes(tiny(), "added", &[&prompt[..], &ADDED].concat());
    let (merged, origin, _) = place.makes(&place.path("merged"), "of-merged", &prompt);
    assert_eq!(difference(&expected, &merged), 0);
    assert!(difference(&merged, &place.makes(tiny(), "plain", &prompt).0) > 1);
    assert!(origin.card.adapters.is_empty() && origin.card.model == "merged");

    let record: Value = serde_json::from_slice(&std::fs::read(place.path("merged/merged.json")).unwrap()).unwrap();
    assert_eq!((&record["adapters"][0]["name"], &record["adapters"][0]["scale"]), (&"lora.safetensors".into(), &0.8.into()));
    assert_eq!(record["adapters"][1]["token"], "<x>");
    let digest = record["adapters"][0]["digest"].as_str().unwrap();
    assert_eq!(digest, blake3::hash(&std::fs::read(place.path("lora.safetensors")).unwrap()).to_string());
    let names: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{names:?}");
    assert!(place.roentgen(&["inspect", "merged"]).status.success());
    // It is taken for a checkpoint like any other, and its tokens are in the vocabulary.
    explains(
        &place.generate(&place.path("merged"), "twice", &[&prompt[..], &ADDED[2..]].concat()),
        &["twice"],
        &["`<x>` already"],
    );

    explains(&place.roentgen(&merge), &merge, &["merged is not empty", "does not exist yet"]);
    let nothing = ["merge", "--pipeline", "merged", "--out", "other"];
    explains(&place.roentgen(&nothing), &nothing, &["nothing to merge", "--lora"]);
    let wrong = ["merge", "--pipeline", "merged", "--out", "other", "--lora", "merged"];
    explains(&place.roentgen(&wrong), &wrong, &["name the file itself"]);
    assert!(!place.path("other").exists());
}

#[test]
fn manifests_and_images_name_what_changed_the_weights() {
    let place = place();
    let prompt = ["--prompt", "film in <x> style", "--negative-prompt", "blur"];
    let (_, origin, _) = place.makes(tiny(), "out", &[&prompt[..], &ADDED].concat());
    assert_eq!(origin.card.negative_prompt.as_deref(), Some("blur"));
    let lora = &origin.card.adapters[0];
    assert_eq!((lora.name.as_str(), lora.scale, lora.digest.len()), ("lora.safetensors", Some(0.8), 64));
    let manifest = std::fs::read_to_string(place.path("out/manifest.csv")).unwrap();
    let [header, row] = manifest.lines().collect::<Vec<_>>()[..] else { panic!("{manifest}") };
    assert!(header.ends_with(",negative_prompt,adapters,weights"), "{header}");
    let expected =
        format!("blur,lora lora.safetensors 0.8 blake3:{}; embedding x.safetensors as <x> blake3:", &lora.digest[..16]);
    assert!(row.contains(&expected), "{row}");

    // Another scale, another file and no negative prompt are other generators.
    let mut fingerprints = vec![origin.fingerprint];
    for (out, more) in [
        ("scale", &["--lora", "lora.safetensors:0.7", "--embedding", "x.safetensors", "--negative-prompt", "blur"][..]),
        ("none", &["--embedding", "x.safetensors", "--negative-prompt", "blur"]),
        ("token", &["--lora", "lora.safetensors:0.8", "--embedding", "<y>=x.safetensors", "--negative-prompt", "blur"]),
        ("blur", &ADDED),
    ] {
        fingerprints.push(place.makes(tiny(), out, &[&prompt[..2], more].concat()).1.fingerprint);
    }
    let distinct: std::collections::BTreeSet<_> = fingerprints.iter().collect();
    assert_eq!(distinct.len(), fingerprints.len());
    // And are not mixed into one folder.
    let other = place.generate(tiny(), "out", &[&prompt[..], &["--lora", "lora.safetensors:0.7"]].concat());
    explains(&other, &["another scale"], &["adapters: "]);

    // A manifest is a table of prompts, whose settings are given again.
    let again = ["--prompts", "out/manifest.csv", "--negative-prompt", "blur"];
    place.makes(tiny(), "again", &[&again[..], &ADDED].concat());
    assert_eq!(std::fs::read_to_string(place.path("again/manifest.csv")).unwrap(), manifest);
}

#[test]
fn a_run_file_takes_what_generate_takes() {
    let place = place();
    let run = |table: &str| {
        format!(
            "seeds = [1]\ndata = {{ format = \"phantom\", phantom = {{ train = 12, valid = 8, test = 8 }} }}\npreprocess = {{ size = 32 }}\n\
             arms = [{{ name = \"real\" }}, {{ name = \"mixed\", mode = {{ replace = {{ fraction = 0.1 }} }} }}]\n\
             [generator]\nkind = \"diffusion\"\n[generator.diffusion]\npipeline = {:?}\ndevice = \"cpu\"\nsteps = 2\n{table}\n",
            tiny().display().to_string()
        )
    };
    let fill = |table: &str, out: &str| {
        std::fs::write(place.path("run.toml"), run(table)).unwrap();
        place.roentgen(&["fill", "run.toml", "--out", out, "--device", "cpu", "--json"])
    };
    let all = "lora = [\"lora.safetensors:0.8\"]\nembedding = [\"x.safetensors\"]\nguidance_rescale = 0.7\nsampler = \"dpm++2m\"\nkarras = true\n\
               negative_prompt = \"blur\"\nbits = 16\ntiled = true";
    let output = fill(all, "all");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (at, (table, said)) in [
        ("lora = [\"absent.safetensors\"]", "absent.safetensors"),
        ("lora = [\"x.safetensors\"]", "give it to --embedding"),
        ("embedding = [\"lora.safetensors\"]", "give it to --lora"),
        ("lora = [\"lora.safetensors:1e6\"]", "line 11: generator.diffusion.lora is 1000000"),
        ("karras = true", "karras is on with the sampler pndm"),
        ("eta = 0.5", "eta is 0.5"),
        ("init_image = \"absent.png\"", "absent.png"),
        ("lora = \"lora.safetensors\"", "invalid type"),
    ]
    .into_iter()
    .enumerate()
    {
        explains(&fill(table, &format!("refused-{at}")), &[table], &[said]);
    }
}

/// The way that `docs/own-data.md` describes, with a table of phantoms, a tiny pipeline and few images.
#[test]
fn somebody_s_lora_makes_the_images_of_a_study() {
    let study = Study::new();
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/own-data.md")).unwrap();
    let section = page.split("## Somebody's LoRA").nth(1).expect("the page has the section");
    let text = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a run file");
    write_safetensors(&study.path("chest.safetensors"), &kohya(&modules(), "te", Some(2.0)), &[]);
    let edits = [
        ("pipeline = \"sd15\"", format!("pipeline = {:?}\ndevice = \"cpu\"\nsteps = 1", tiny().display().to_string())),
        ("labels.csv", "table.csv".to_owned()),
        ("pool = 1000", "pool = 6".to_owned()),
        (
            "[generator]\n",
            "[preprocess]\nsize = 32\n[network]\narchitecture = \"small\"\n[training]\nsteps = 2\nbatch_size = 4\n\
            eval_every = 2\nwarmup_steps = 1\n[bootstrap]\nreplicates = 20\n[generator]\n"
                .to_owned(),
        ),
    ];
    let text = edits.into_iter().fold(format!("seeds = [1]\n{text}"), |text, (from, to)| {
        assert!(text.contains(from), "the run file has no {from}");
        text.replacen(from, &to, 1)
    });
    study.write_run(&text);
    assert!(study.roentgen(&["inspect", "chest.safetensors"]).status.success());
    let report = |out: &str| -> Value {
        let output = study.roentgen(&["compare", "run.toml", "--out", out, "--device", "cpu", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let first = report("first");
    assert!(first["arms"][1]["synthetic_per_epoch"].as_u64().unwrap() > 0, "{first}");
    let page = std::fs::read_to_string(study.path("first/report.html")).unwrap();
    assert!(page.contains("what the LoRA") && page.contains("page says"));
    // A folder of one scale is not continued with another.
    study.write_run(&text.replace("chest.safetensors:0.8", "chest.safetensors:0.7"));
    study.refuses(
        &["compare", "run.toml", "--out", "first", "--device", "cpu"],
        &["another run", "synthetic images of arm `mixed`"],
    );
}
