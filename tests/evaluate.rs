//! `evaluate` as a user types it, on phantoms: figures, floors, resume, and every bad input with its message.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use roentgen::evaluation::features::networks::Lpips;
use roentgen::evaluation::run::EvaluationReport;
use roentgen_augment::batch::InputRange;
use roentgen_augment::image::{GrayDepth, Preprocess, RgbImage, encode_png};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, PhantomPhysics};
use roentgen_classifier::networks::{DenseNetConfig, seeded};
use roentgen_classifier::training::Precision;
use roentgen_classifier::weights::{Card, save_weights};

use crate::cli::{Study, succeeds};
use crate::parity::lpips::write_files;

/// Side of the images of these tests.
const SIDE: usize = 48;

/// A folder with a real set, a synthetic one and a classifier, whose weights are drawn: its features tell pictures apart all the same.
pub fn study() -> Study {
    let study = Study::new();
    set(&study, "real", 80, 1, &PhantomPhysics::reference());
    set(&study, "made", 60, 2, &PhantomPhysics::shifted());
    classifier(&study.path("judge.safetensors"), 3);
    study
}

/// Phantoms in a folder, and a table of them beside it.
pub fn set(study: &Study, name: &str, images: usize, seed: u64, physics: &PhantomPhysics) {
    let config = PhantomDatasetConfig { physics: physics.clone(), ..PhantomDatasetConfig::new(images, SIDE, seed) };
    let phantoms = PhantomDataset::new(config).unwrap();
    let findings: Vec<_> = phantoms.vocabulary().findings().iter().map(|finding| finding.name()).collect();
    let mut table = format!("image,patient_id,report,{}\n", findings.join(","));
    std::fs::create_dir(study.path(name)).unwrap();
    for (i, record) in phantoms.records().iter().enumerate() {
        let image = format!("{name}/{i:03}.png");
        std::fs::write(study.path(&image), encode_png(&phantoms.image(i))).unwrap();
        let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
        let patient = record.patient_id.as_ref().unwrap();
        writeln!(table, "{image},{name}-{patient},Text {}.,{}", i / 4, labels.join(",")).unwrap();
    }
    std::fs::write(study.path(&format!("{name}.csv")), table).unwrap();
}

fn classifier(path: &Path, seed: u64) {
    let config = DenseNetConfig::small(1, 2);
    let net = seeded(config.init(&Device::flex()), seed);
    let card = Card {
        config: config.into(),
        findings: vec!["Mass".to_owned(), "Effusion".to_owned()],
        input_range: InputRange::Signed,
        image_size: SIDE,
        precision: Precision::Fp32,
        preprocess: serde_json::to_value(Preprocess::new(SIDE)).unwrap(),
    };
    save_weights(&net, path, &card).unwrap();
}

const ARGS: [&str; 12] = [
    "evaluate",
    "--real",
    "real.csv",
    "--synthetic",
    "made.csv",
    "--network",
    "classifier:judge.safetensors",
    "--splits",
    "4",
    "--json",
    "--device",
    "cpu",
];

pub fn run(study: &Study, out: &str, more: &[&str]) -> Output {
    study.roentgen(&[&ARGS[..], &["--out", out], more].concat())
}

pub fn report(output: &Output) -> EvaluationReport {
    serde_json::from_str(&succeeds(output)).unwrap()
}

/// The arguments with other sets.
pub fn of<'a>(real: &'a str, synthetic: &'a str) -> Vec<&'a str> {
    let mut args = [&ARGS[..], &["--out", "out"]].concat();
    (args[2], args[4]) = (real, synthetic);
    args
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1e-3)
}

#[test]
fn a_shifted_set_is_farther_than_its_floor_and_the_files_are_whole() {
    let study = study();
    let report = report(&run(&study, "out", &[]));
    let network = &report.fidelity[0];
    assert_eq!(
        (report.real.images, report.synthetic.images, network.width),
        (80, 60, DenseNetConfig::small(1, 2).num_features())
    );
    let fid = network.overall.fid.unwrap();
    let (at_half, floor) = (fid.at_half.unwrap(), fid.floor.unwrap());
    assert!(at_half.mean > 2.0 * floor.mean, "{fid:?}");
    let [low, high] = fid.interval.unwrap();
    assert!(low < fid.value && fid.value < high);
    assert!(network.overall.kid.unwrap().value > 0.0);
    // Phantoms show some findings too rarely: said, not computed.
    assert!(!network.findings.is_empty());
    let rare = network.findings.iter().filter(|row| row.fid.is_none()).collect::<Vec<_>>();
    assert!(rare.iter().all(|row| row.undefined[0].contains("at least 20 of each are needed")), "{rare:?}");
    let said = report.warnings.join("\n");
    assert!(said.contains("80 and 60 images for"), "{said}");
    assert!(report.diversity.intra_prompt.undefined.as_ref().unwrap().contains("161 pixels"));
    let saved: EvaluationReport = serde_json::from_slice(&std::fs::read(study.path("out/evaluation.json")).unwrap()).unwrap();
    assert_eq!(saved.fidelity[0].overall.fid, network.overall.fid);
    let page = std::fs::read_to_string(study.path("out/evaluation.html")).unwrap();
    assert!(page.contains("Before you quote a number") && page.ends_with("</html>"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    let rows = std::fs::read_to_string(study.path("out/fidelity.csv")).unwrap().lines().count();
    assert_eq!(rows, 1 + 7 * (1 + network.findings.len()));
    let shown = succeeds(&study.roentgen(&[&ARGS[..9], &["--out", "out"]].concat()));
    assert!(shown.contains("FID") && shown.contains("evaluation.html"), "{shown}");
}

#[test]
fn batches_order_and_other_formats_change_nothing() {
    let study = study();
    let first = report(&run(&study, "out", &[]));
    // In another order, one by one, and as BMP files of the same pixels.
    let table = std::fs::read_to_string(study.path("made.csv")).unwrap();
    let mut rows: Vec<&str> = table.lines().collect();
    rows[1..].reverse();
    std::fs::write(study.path("turned.csv"), rows.join("\n")).unwrap();
    let args = [&of("real.csv", "turned.csv")[..], &["--batch", "1", "--cache", "other"]].concat();
    let second = report(&study.roentgen(&args));
    let values = |report: &EvaluationReport| -> Vec<f64> {
        let rows = std::iter::once(&report.fidelity[0].overall).chain(&report.fidelity[0].findings);
        rows.flat_map(|row| row.figures().map(|(_, figure)| figure.map_or(-1.0, |figure| figure.value))).collect()
    };
    let (a, b) = (values(&first), values(&second));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| near(*a, *b)), "{a:?}\n{b:?}");
}

#[test]
fn brain_floats_have_features_of_their_own_and_are_named_everywhere() {
    let study = study();
    let wide = report(&run(&study, "wide", &["--cache", "kept", "--judge", "classifier:judge.safetensors"]));
    let brain =
        report(&run(&study, "brain", &["--cache", "kept", "--judge", "classifier:judge.safetensors", "--dtype", "bf16"]));
    let [a, b] = [&wide, &brain].map(|report| &report.fidelity[0]);
    assert_ne!(a.fingerprint, b.fingerprint);
    assert!(!a.preparation.contains("bf16") && b.preparation.ends_with("; computed in bf16"), "{}", b.preparation);
    assert!(brain.correctness[0].preparation.ends_with("; computed in bf16"));
    let files = std::fs::read_dir(study.path("kept")).unwrap().flatten();
    let files = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "safetensors")).count();
    assert_eq!(files, 4, "features and scores, of either type");
    // Features have 8 bits: the figures are near, and not the same.
    let [fid, other] = [a, b].map(|network| network.overall.fid.as_ref().unwrap().value);
    assert!(fid != other && (fid - other).abs() < 0.05 * fid, "{fid} and {other}");
    for file in ["evaluation.html", "evaluation.json", "fidelity.csv"] {
        let text = std::fs::read_to_string(study.path(&format!("brain/{file}"))).unwrap();
        assert!(text.contains("computed in bf16"), "{file}");
    }
    let settings: serde_json::Value =
        serde_json::from_slice(&std::fs::read(study.path("brain/evaluation.json")).unwrap()).unwrap();
    assert_eq!(settings["settings"]["dtype"], "bf16");
    let refused = run(&study, "half", &["--dtype", "f16"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("f32, bf16"), "{said}");
}

#[test]
fn a_killed_run_keeps_its_features() {
    let study = study();
    set(&study, "many", 600, 9, &PhantomPhysics::reference());
    let args = [&of("many.csv", "made.csv")[..], &["--batch", "2", "--cache", "kept"]].concat();
    let mut child = study.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = || {
        let entries = std::fs::read_dir(study.path("kept")).ok()?;
        let mut parts = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "part"));
        parts.next().and_then(|part| Some(part.metadata().ok()?.len())).filter(|length| *length > 20_000)
    };
    let begun = Instant::now();
    while journal().is_none() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        assert!(begun.elapsed() < Duration::from_secs(120), "it keeps nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = |ending: &str| {
        let entries = std::fs::read_dir(study.path("kept")).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect::<Vec<_>>()
    };
    let part = std::fs::metadata(&kept("part")[0]).unwrap().len();
    let resumed = report(&study.roentgen(&args));
    assert!(kept("part").is_empty());
    let file = std::fs::metadata(&kept("safetensors")[0]).unwrap().len();
    assert!(file > part, "what was kept is in the file");
    let whole = report(&study.roentgen(&[&of("many.csv", "made.csv")[..], &["--cache", "fresh"]].concat()));
    let fid = |report: &EvaluationReport| report.fidelity[0].overall.fid.unwrap().value;
    assert!(near(fid(&resumed), fid(&whole)), "{} and {}", fid(&resumed), fid(&whole));
}

#[test]
fn nothing_is_compared_without_a_network_or_by_a_wrong_one() {
    let study = study();
    let without: Vec<&str> =
        ARGS.iter().copied().enumerate().filter(|(at, _)| !(5..7).contains(at)).map(|(_, arg)| arg).collect();
    study.refuses(&[&without[..], &["--out", "out"]].concat(), &["at least one network", "xrv:FILE", "classifier:FILE"]);
    let with = |network: &'static str| {
        let mut args = of("real.csv", "made.csv");
        args[6] = network;
        args
    };
    let wrong = study.roentgen(&with("resnet:x.pt"));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("`resnet:x.pt` is no network") && said.contains("xrv:FILE"), "{said}");
    study.refuses(&with("classifier:nowhere.safetensors"), &["nowhere.safetensors"]);
    study.refuses(&with("xrv:judge.safetensors"), &["judge.safetensors", "trained here", "classifier:FILE"]);
    study.refuses(&with("classifier:real/000.png"), &["real/000.png"]);
    // Kept features of other weights are never taken for these.
    succeeds(&run(&study, "out", &["--cache", "kept"]));
    classifier(&study.path("other.safetensors"), 4);
    let args = [&with("classifier:other.safetensors")[..], &["--cache", "kept"]].concat();
    let other = report(&study.roentgen(&args));
    let own = report(&run(&study, "out", &["--cache", "kept"]));
    assert_ne!(other.fidelity[0].fingerprint, own.fidelity[0].fingerprint);
    assert_ne!(other.fidelity[0].overall.fid, own.fidelity[0].overall.fid);
}

#[test]
fn too_few_images_are_undefined() {
    let study = study();
    let table = std::fs::read_to_string(study.path("made.csv")).unwrap();
    let cut = |name: &str, rows: usize| {
        std::fs::write(study.path(name), table.lines().take(1 + rows).map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    };
    cut("one.csv", 1);
    let one = report(&study.roentgen(&of("real.csv", "one.csv")));
    let overall = &one.fidelity[0].overall;
    assert!(overall.figures().iter().all(|(_, figure)| figure.is_none()), "{overall:?}");
    assert_eq!(overall.undefined, ["80 real and 1 synthetic images; at least 20 of each are needed"]);
    study.refuses(&[&of("real.csv", "made.csv")[..], &["--finding", "Hernias"]].concat(), &["Hernias", "Hernia"]);
    study.refuses(
        &[&of("real.csv", "made.csv")[..], &["--finding", "Support Devices"]].concat(),
        &["no labels of Support Devices"],
    );
    let one_split: Vec<&str> =
        of("real.csv", "made.csv").into_iter().map(|part| if part == "4" { "1" } else { part }).collect();
    study.refuses(&one_split, &["evaluation.splits", "2"]);
    study.refuses(&[&of("real.csv", "made.csv")[..], &["--batch", "0"]].concat(), &["evaluation.batch", "1"]);
}

#[test]
fn a_network_that_is_named_as_on_the_hub_is_looked_for_there() {
    let study = study();
    let args = ["evaluate", "--real", "real.csv", "--synthetic", "made.csv", "--network", "rad-dino:me/none", "--out", "out"];
    let output = study.command(&args).env("HF_HUB_OFFLINE", "1").env("HF_HOME", study.path("hub")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--network") && said.contains("me/none"), "{said}");
}

#[test]
fn what_is_odd_about_the_images_is_said() {
    let study = study();
    // One picture all the time, from files that differ.
    let first = std::fs::read(study.path("made/000.png")).unwrap();
    std::fs::create_dir(study.path("same")).unwrap();
    (0..25).for_each(|i| std::fs::write(study.path(&format!("same/{i}.png")), &first).unwrap());
    let same = report(&study.roentgen(&of("real.csv", "same")));
    let said = same.warnings.join("\n");
    assert!(said.contains("All 25 synthetic images are one and the same picture"), "{said}");
    assert!(said.contains("read as a folder of image files"), "{said}");
    assert_eq!(same.synthetic.distinct, 1);
    let figures = &same.fidelity[0].overall;
    assert!(near(figures.vendi.unwrap().value, 1.0), "{figures:?}");
    assert!(figures.recall.unwrap().value < 0.05 && same.fidelity[0].findings.is_empty(), "{figures:?}");
    // Real images among the synthetic ones.
    std::fs::copy(study.path("real/003.png"), study.path("same/copy.png")).unwrap();
    let copied = report(&study.roentgen(&of("real.csv", "same")));
    assert_eq!(copied.copies, 1);
    assert!(copied.warnings.join("\n").contains("1 of 26 synthetic images are real images"), "{:?}", copied.warnings);
    // A cast, in other sizes.
    std::fs::create_dir(study.path("cast")).unwrap();
    for i in 0..25usize {
        let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(25, SIDE + i % 2, 5)).unwrap();
        let image = phantoms.image(i);
        let GrayDepth::U8(levels) = image.depth() else { panic!("phantoms have 8 bits") };
        let side = image.width();
        let mut pixels = Vec::new();
        // BMP: rows from the bottom, blue first, padded to words.
        for row in levels.chunks(side).rev() {
            row.iter().for_each(|&level| pixels.extend([level.saturating_sub(40), level, level]));
            pixels.resize(pixels.len().next_multiple_of(4), 0);
        }
        let mut file = b"BM".to_vec();
        file.extend((54 + pixels.len() as u32).to_le_bytes());
        file.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
        file.extend([side as u32, side as u32].into_iter().flat_map(u32::to_le_bytes));
        file.extend([1, 0, 24, 0, 0, 0, 0, 0]);
        file.extend([pixels.len() as u32, 2835, 2835, 0, 0].into_iter().flat_map(u32::to_le_bytes));
        file.extend(pixels);
        std::fs::write(study.path(&format!("cast/{i}.bmp")), file).unwrap();
    }
    let cast = report(&study.roentgen(&of("real.csv", "cast")));
    let said = cast.warnings.join("\n");
    assert!(said.contains("colour cast") && said.contains("The synthetic images have 2 sizes"), "{said}");
    assert!(cast.synthetic.channel_spread > 20.0 && cast.real.channel_spread == 0.0);
    // What can't be read is named, and neither left out nor black.
    std::fs::write(study.path("same/7.png"), &first[..first.len() / 2]).unwrap();
    study.refuses(&of("real.csv", "same"), &["1 of 26 images of same can't be read", "7.png"]);
}

#[test]
fn sets_come_from_run_files_tables_and_folders() {
    let study = study();
    let by_run = report(&study.roentgen(&[&of("run.toml", "made.csv")[..], &["--real-split", "all"]].concat()));
    assert_eq!(by_run.real.images, crate::cli::PHANTOMS);
    let test = report(&study.roentgen(&of("run.toml", "made.csv")));
    assert!(test.real.images < by_run.real.images && test.real.images > 0);
    // A repeated caption counts once in the benchmark: four images of one text each.
    let args = [&of("real.csv", "made.csv")[..], &["--benchmark", "chexgenbench"]].concat();
    let output = study.roentgen(&args);
    let benchmark = report(&output);
    assert_eq!((benchmark.real.images, benchmark.synthetic.images), (20, 60));
    assert!(benchmark.warnings.iter().any(|warning| warning.contains("No network is RAD-DINO")), "{:?}", benchmark.warnings);
    assert!(String::from_utf8_lossy(&output.stderr).contains("60 real images with the caption of an earlier one"));
    study.refuses(&of("nowhere", "made.csv"), &["--real", "nowhere"]);
    std::fs::create_dir(study.path("empty")).unwrap();
    study.refuses(&of("real.csv", "empty"), &["--synthetic", "empty"]);
}

#[test]
fn floors_never_share_a_patient() {
    // Two patients with forty images each: halves are a patient each, and there is no third.
    let study = study();
    let table = std::fs::read_to_string(study.path("real.csv")).unwrap();
    let mut rows = table.lines();
    let mut two = format!("{}\n", rows.next().unwrap());
    for (i, row) in rows.enumerate() {
        let cells: Vec<&str> = row.splitn(3, ',').collect();
        writeln!(two, "{},p{},{}", cells[0], i % 2, cells[2]).unwrap();
    }
    std::fs::write(study.path("two.csv"), &two).unwrap();
    let halves = report(&study.roentgen(&of("two.csv", "made.csv")));
    let overall = &halves.fidelity[0].overall;
    // The same two halves in each split, in one order or the other.
    assert!(overall.half > 0 && overall.fid.unwrap().floor.unwrap().deviation < 1.0);
    std::fs::write(study.path("one.csv"), two.replace(",p1,", ",p0,")).unwrap();
    let none = report(&study.roentgen(&of("one.csv", "made.csv")));
    let overall = &none.fidelity[0].overall;
    assert!(overall.fid.unwrap().floor.is_none() && overall.half == 0);
    assert!(overall.undefined[0].contains("of 1 patients, too few to be halved"), "{:?}", overall.undefined);
    let patients: HashSet<&str> = two.lines().skip(1).filter_map(|row| row.split(',').nth(1)).collect();
    assert_eq!(patients.len(), 2);
}

#[test]
fn copies_are_found_and_judges_judge() {
    let study = study();
    // Ten training images among sixty others.
    set(&study, "train", 90, 7, &PhantomPhysics::reference());
    let table = std::fs::read_to_string(study.path("made.csv")).unwrap();
    let copied: String = table.lines().skip(1).take(10).map(|row| format!("{}\n", row.replace("made", "train"))).collect();
    std::fs::write(study.path("with.csv"), format!("{table}{copied}")).unwrap();
    let args = [&of("real.csv", "with.csv")[..], &["--train", "train.csv", "--judge", "classifier:judge.safetensors"]].concat();
    let found = report(&study.roentgen(&args));
    let [pixels, network] = &found.memorisation[..] else { panic!("pixels and one network: {:?}", found.memorisation) };
    assert_eq!((pixels.by.as_str(), network.by.as_str()), ("pixels", "classifier"));
    for copies in [pixels, network] {
        let closest: Vec<_> =
            copies.closest.iter().take(10).map(|pair| (pair.image == pair.nearest, pair.distance < 1e-3)).collect();
        assert_eq!(closest, [(true, true); 10], "{:?}", copies.closest);
        assert!(copies.found.flagged.unwrap() >= 10, "{:?}", copies.found);
    }
    assert!(std::fs::read(study.path("out/closest.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(std::fs::read_to_string(study.path("out/pairs.csv")).unwrap().lines().count(), 1 + 2 * 70);
    let page = std::fs::read_to_string(study.path("out/evaluation.html")).unwrap();
    assert!(page.contains("Copies of training images") && page.contains("data:image/png"));
    // The judge knows two findings; its weights are drawn, so it sees nothing.
    let judged = found.correctness[0].correctness.as_ref().unwrap();
    assert_eq!(judged.findings.iter().map(|finding| finding.finding.as_str()).collect::<Vec<_>>(), ["Mass", "Effusion"]);
    assert!(judged.real_images == Some(80) && judged.images == 70);
    let wrong = [&of("real.csv", "made.csv")[..], &["--judge", "classifier:real/000.png"]].concat();
    study.refuses(&wrong, &["real/000.png"]);
}

#[test]
fn lpips_is_measured_with_both_files_and_never_with_one() {
    let study = study();
    write_files(&study.path("alexnet.pth"), &study.path("lin.pth"));
    let files = ["--lpips", "alexnet.pth", "--lpips-weights", "lin.pth"];
    let whole = report(&run(&study, "out", &files));
    let lpips = whole.diversity.lpips.as_ref().unwrap();
    // Four images of each text.
    assert_eq!((lpips.intra_prompt.groups, lpips.intra_prompt.size), (15, Some([SIDE, SIDE])));
    assert!(lpips.intra_prompt.mean.unwrap() > 0.0 && lpips.real_labels.mean.unwrap() > 0.0, "{lpips:?}");
    assert!(lpips.paired.undefined.as_ref().unwrap().contains("no synthetic image names a real one"));
    // The first group by hand, one image at a time.
    let network = Lpips::open(&study.path("alexnet.pth"), &study.path("lin.pth"), &Device::flex()).unwrap();
    let look = |image: usize| {
        let image = RgbImage::open(&study.path(&format!("made/{image:03}.png"))).unwrap();
        network.look(network.batch(&[image]))
    };
    let looks: Vec<_> = (0..60).map(look).collect();
    let distance = |a: usize, b: usize| f64::from(network.distance(&looks[a], &looks[b]).distance.into_scalar::<f32>());
    let group = |first: usize| {
        (0..4).flat_map(|a| (a + 1..4).map(move |b| (first + a, first + b))).map(|(a, b)| distance(a, b)).sum::<f64>() / 6.0
    };
    let expected = (0..15).map(|prompt| group(4 * prompt)).sum::<f64>() / 15.0;
    assert!(near(lpips.intra_prompt.mean.unwrap(), expected), "{lpips:?} {expected}");
    let page = std::fs::read_to_string(study.path("out/evaluation.html")).unwrap();
    assert!(page.contains("LPIPS among images of one prompt") && page.contains("Higher is more varied"));
    let shown = succeeds(&study.roentgen(&[&ARGS[..9], &["--out", "out"], &files[..]].concat()));
    assert!(shown.contains("LPIPS among images of one prompt: 0."), "{shown}");
    // One picture, four times.
    std::fs::copy(study.path("made.csv"), study.path("same.csv")).unwrap();
    let table = std::fs::read_to_string(study.path("made.csv")).unwrap();
    let same =
        (0..60).fold(table, |table, image| table.replace(&format!("made/{image:03}.png"), &format!("same/{image:03}.png")));
    std::fs::write(study.path("same.csv"), same).unwrap();
    std::fs::create_dir(study.path("same")).unwrap();
    for image in 0..60 {
        std::fs::copy(study.path(&format!("made/{:03}.png", image / 4)), study.path(&format!("same/{image:03}.png"))).unwrap();
    }
    let same = report(&study.roentgen(&[&of("real.csv", "same.csv")[..], &files[..]].concat()));
    assert!(same.diversity.lpips.unwrap().intra_prompt.mean.unwrap().abs() < 1e-6);

    let with = |more: &[&'static str]| [&of("real.csv", "made.csv")[..], more].concat();
    study.refuses(&with(&files[..2]), &["--lpips-weights"]);
    study.refuses(&with(&files[2..]), &["--lpips <FILE>"]);
    let swapped = with(&["--lpips", "lin.pth", "--lpips-weights", "alexnet.pth"]);
    study.refuses(&swapped, &["lin.pth is no file of torchvision's AlexNet", "missing features.0.weight"]);
    study.refuses(
        &with(&["--lpips", "alexnet.pth", "--lpips-weights", "alexnet.pth"]),
        &["alexnet.pth is no file of lpips's weights"],
    );
    study.refuses(&with(&["--lpips", "nowhere.pth", "--lpips-weights", "lin.pth"]), &["nowhere.pth"]);
    // AlexNet sees nothing of images as small as these.
    std::fs::create_dir(study.path("small")).unwrap();
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(8, 24, 5)).unwrap();
    let mut table = "image,report,Mass\n".to_owned();
    for image in 0..8 {
        std::fs::write(study.path(&format!("small/{image}.png")), encode_png(&phantoms.image(image))).unwrap();
        writeln!(table, "small/{image}.png,Text.,1").unwrap();
    }
    std::fs::write(study.path("small.csv"), table).unwrap();
    let small = report(&study.roentgen(&[&of("real.csv", "small.csv")[..], &files[..]].concat()));
    let why = small.diversity.lpips.unwrap().intra_prompt.undefined.unwrap();
    assert_eq!(why, "LPIPS needs 31 pixels a side, the images have 24x24");
}
