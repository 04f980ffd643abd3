//! `evaluate` asks for images by images and by texts: what comes out, and every bad input with its message.

use std::path::Path;

use roentgen::evaluation::run::EvaluationReport;
use roentgen_classifier::networks::DenseNetConfig;

use crate::cli::{RUN, Study, succeeds};
use crate::evaluate::{of, report, run, study};
use crate::parity::feature_networks::write_whole_clip;

/// Rows of numbers as numpy writes them.
fn write_npy(path: &Path, rows: usize, width: usize, value: impl Fn(usize, usize) -> f32) {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}").into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    let places = (0..rows).flat_map(|row| (0..width).map(move |column| (row, column)));
    bytes.extend(places.flat_map(|(row, column)| value(row, column).to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

fn width() -> usize {
    DenseNetConfig::small(1, 2).num_features()
}

/// Three texts, of which the last asks for nothing.
fn texts(study: &Study) {
    std::fs::write(study.path("texts.csv"), "prompt,Effusion,Cardiomegaly\nan effusion,1,0\na large heart,0,1\na chest,0,0\n")
        .unwrap();
    write_npy(&study.path("texts.npy"), 3, width(), |row, column| 0.1 + ((row * 7 + column * 3) % 11) as f32);
}

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&of("real.csv", "made.csv")[..], more].concat()
}

#[test]
fn images_ask_beside_real_ones_and_ranks_beyond_the_gallery_are_undefined() {
    let study = study();
    let found = report(&run(&study, "out", &[]));
    let [network] = &found.retrieval[..] else { panic!("one network: {:?}", found.retrieval) };
    let images = network.images.as_ref().unwrap();
    assert_eq!((network.network.as_str(), images.synthetic.ks.as_slice()), ("classifier", &[5, 10, 50, 100][..]));
    let (real, made) = (&images.real, &images.synthetic);
    assert!(made.candidates == real.candidates && (50..80).contains(&made.candidates), "{made:?}");
    let defined = |report: &roentgen::evaluation::query::QueryReport| -> Vec<bool> {
        report.macro_precision.iter().map(Option::is_some).collect()
    };
    assert_eq!(defined(made), [true, true, true, false]);
    assert_eq!(defined(real), [true, true, true, false]);
    assert!(made.chance.unwrap() > 0.0 && made.chance.unwrap() < 0.5);
    let names = |report: &roentgen::evaluation::query::QueryReport| -> Vec<String> {
        report.categories.iter().map(|one| one.category.clone()).collect()
    };
    assert_eq!(names(made), names(real));
    assert!(images.synthetic_label_sets.recall[3].is_none() && images.synthetic_label_sets.recall[0].is_some());
    assert!(network.chexpert.undefined.is_some() && network.texts.is_none());
    let page = std::fs::read_to_string(study.path("out/evaluation.html")).unwrap();
    assert!(page.contains("Retrieval by classifier") && page.contains("Precision at 100 is undefined"), "{page}");
    let csv = std::fs::read_to_string(study.path("out/retrieval.csv")).unwrap();
    assert!(csv.lines().any(|line| line.starts_with("classifier,synthetic images,real,finding,,")), "{csv}");
    assert!(csv.contains("label set,") && csv.contains(&format!("100 of {} candidates", made.candidates)), "{csv}");
    let args = of("real.csv", "made.csv");
    let shown = succeeds(&study.roentgen(&args.iter().copied().filter(|arg| *arg != "--json").collect::<Vec<_>>()));
    assert!(shown.contains("Retrieval by classifier, synthetic images among real: precision at 5 0."), "{shown}");
    assert!(shown.contains("at 100 undefined"), "{shown}");

    // An evaluation that an earlier version wrote.
    let mut old = serde_json::to_value(&found).unwrap();
    old.as_object_mut().unwrap().remove("retrieval");
    assert!(serde_json::from_value::<EvaluationReport>(old).unwrap().retrieval.is_empty());

    // One image is of one patient: nobody else asks, and nothing is compared.
    let one = std::fs::read_to_string(study.path("real.csv"))
        .unwrap()
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    std::fs::write(study.path("one.csv"), one).unwrap();
    let one = report(&study.roentgen(&of("one.csv", "made.csv")));
    let images = one.retrieval[0].images.as_ref().unwrap();
    assert!(images.synthetic.macro_precision.iter().all(Option::is_none) && images.real.queries == 0, "{images:?}");
    assert!(images.notes.iter().any(|note| note.contains("fewer than two patients")), "{:?}", images.notes);
    // Files of which nothing is known ask for nothing.
    let unknown = report(&study.roentgen(&of("real.csv", "made")));
    assert_eq!(unknown.retrieval[0].undefined.as_deref(), Some("no synthetic image has a label"));
}

#[test]
fn texts_ask_by_embeddings_of_the_networks_width_alone() {
    let study = study();
    texts(&study);
    let files = ["--texts", "texts.csv", "--text-embeddings", "texts.npy"];
    let found = report(&run(&study, "out", &files));
    let texts = found.retrieval[0].texts.as_ref().unwrap();
    assert_eq!((texts.texts, texts.cut, texts.source.as_str()), (2, 0, "texts.npy"));
    let real = texts.real.found.as_ref().unwrap();
    assert_eq!((real.queries, real.candidates), (2, 80));
    assert_eq!(texts.synthetic.found.as_ref().unwrap().candidates, 60);
    assert!(
        found.warnings.iter().any(|warning| warning == "1 of 3 texts ask for no finding and are left out."),
        "{:?}",
        found.warnings
    );

    write_npy(&study.path("narrow.npy"), 3, 5, |row, column| (1 + row + column) as f32);
    let narrow = ["--texts", "texts.csv", "--text-embeddings", "narrow.npy"];
    let width = format!("features of classifier have {}", width());
    study.refuses(&with(&narrow), &["narrow.npy: embeddings of 5 numbers", &width, "--text-network"]);
    write_npy(&study.path("few.npy"), 2, self::width(), |row, column| (1 + row + column) as f32);
    study.refuses(
        &with(&["--texts", "texts.csv", "--text-embeddings", "few.npy"]),
        &["few.npy: 2 embeddings for the 3 texts of texts.csv"],
    );
    write_npy(&study.path("zero.npy"), 3, self::width(), |row, _| row as f32);
    study.refuses(
        &with(&["--texts", "texts.csv", "--text-embeddings", "zero.npy"]),
        &["zero.npy: the embedding of text 1 is all 0"],
    );
    study.refuses(&with(&["--texts", "texts.csv"]), &["only clip:FOLDER makes embeddings of texts itself"]);
    study.refuses(&with(&["--text-embeddings", "texts.npy"]), &["--texts <TABLE>"]);
    let other = [&files[..], &["--text-network", "classifier:other.safetensors"]].concat();
    study.refuses(&with(&other), &["classifier:other.safetensors", "one of the networks whose features are compared"]);
    study.refuses(&with(&["--texts", "nowhere.csv", "--text-embeddings", "texts.npy"]), &["nowhere.csv"]);
    study.refuses(&with(&["--texts", "texts.csv", "--text-embeddings", "real.csv"]), &["real.csv"]);
    // A class that no image shows.
    std::fs::write(study.path("texts.csv"), "prompt,Effusion,Support Devices\na,1,0\nb,0,1\nc,1,0\n").unwrap();
    let found = report(&run(&study, "out", &files));
    let real = found.retrieval[0].texts.as_ref().unwrap().real.found.as_ref().unwrap();
    assert_eq!(real.categories[1].undefined.as_deref(), Some("no candidate has it"));
    std::fs::write(study.path("texts.csv"), "prompt,Effusion\na,0\nb,0\nc,0\n").unwrap();
    study.refuses(&with(&files), &["texts.csv: no text asks for a finding"]);
}

#[test]
fn a_clip_encodes_its_texts_itself() {
    let study = study();
    texts(&study);
    write_whole_clip(&study.path("clip"));
    let args = ["--network", "clip:clip", "--texts", "texts.csv"];
    let found = report(&run(&study, "out", &args));
    let [classifier, clip] = &found.retrieval[..] else { panic!("two networks: {:?}", found.retrieval) };
    assert!(classifier.texts.is_none());
    let texts = clip.texts.as_ref().unwrap();
    assert_eq!((texts.source.as_str(), texts.texts), ("the text tower of clip:clip", 2));
    assert!(texts.real.found.as_ref().unwrap().macro_precision[0].is_some());
    std::fs::remove_file(study.path("clip/vocab.json")).unwrap();
    study.refuses(&with(&args), &["vocab.json"]);
}

/// What `compare` is asked to measure is checked before anything is trained.
#[test]
fn compare_refuses_files_that_it_would_need_at_the_end() {
    let study = study();
    texts(&study);
    let refuses = |table: &str, said: &[&str]| {
        study.write_run(&format!("{RUN}\n[evaluation]\n{table}\n"));
        study.refuses(&["compare", "run.toml", "--out", "out", "--device", "cpu"], said);
        assert!(!study.path("out/arms").exists(), "it began to train");
    };
    refuses("lpips = { network = \"alexnet.pth\" }", &["missing field `weights`"]);
    refuses("lpips = { network = \"alexnet.pth\", weights = \"lin.pth\" }", &["alexnet.pth"]);
    refuses("texts = { table = \"texts.csv\", embeddings = \"texts.npy\" }", &["evaluation.texts.network", "names none"]);
    let network = "networks = [\"classifier:judge.safetensors\"]\n";
    refuses(&format!("{network}texts = {{ table = \"none.csv\", embeddings = \"texts.npy\" }}"), &["none.csv"]);
    let whole = format!("{network}texts = {{ table = \"texts.csv\", embeddings = \"texts.npy\" }}");
    study.write_run(&format!("{RUN}\n[evaluation]\n{whole}\n"));
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
    let page = std::fs::read_to_string(study.path("out/report.html")).unwrap();
    assert!(page.contains("Retrieval by classifier") && page.contains("texts ask"), "{page}");
    assert!(study.path("out/retrieval.csv").is_file());
}
