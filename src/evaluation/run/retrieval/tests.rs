use burn::tensor::Device;
use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};

use super::*;
use crate::evaluation::images::Wanted;
use crate::evaluation::query::Embeddings;

/// Two parts of one set of phantoms that share no patient.
fn parts(images: usize) -> [Part; 2] {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(images, 32, 1)).unwrap();
    let all = ImageSet::of(CxrDataset::from_phantom(phantoms).unwrap(), Wanted::Real(None)).unwrap();
    let people: Vec<&str> = (0..all.len()).map(|image| all.patient(image)).collect();
    let is_first = |image: &usize| people.iter().position(|other| other == &people[*image]).unwrap() < all.len() / 2;
    let (first, second): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(is_first);
    [first, second].map(|images| with_features(all.select(&images)))
}

/// The labels themselves as features.
fn with_features(set: ImageSet) -> Part {
    let findings = set.vocabulary().findings().to_vec();
    let value = |image: usize, place: usize| {
        let shown = set.label(image, findings[place]) == Label::Positive;
        f32::from(u8::from(shown)) + 0.01 * (1 + (image * 7 + place * 3) % 5) as f32
    };
    let values = (0..set.len()).flat_map(|image| (0..findings.len()).map(move |place| (image, place)));
    let values = values.map(|(image, place)| value(image, place)).collect();
    let features = Features {
        network: "labels".to_owned(),
        preparation: "none".to_owned(),
        fingerprint: Fingerprint::of(&[b"labels"]),
        width: findings.len(),
        values,
    };
    Part { set, features }
}

fn settings() -> QuerySettings {
    QuerySettings { ks: vec![1, 5, 1000], bootstrap: Bootstrap { replicates: 20, seed: 3 } }
}

/// A text for each of these findings, which points along its feature.
fn texts(part: &Part, findings: &[&[Finding]]) -> Texts {
    let known = part.set.vocabulary();
    let value = |asked: &[Finding], place: usize| f32::from(u8::from(asked.contains(&known.findings()[place])));
    let values = findings.iter().flat_map(|asked| (0..known.len()).map(move |place| value(asked, place) + 1e-3)).collect();
    Texts {
        network: 0,
        embeddings: Embeddings::new(known.len(), values).unwrap(),
        findings: findings.iter().map(|asked| asked.to_vec()).collect(),
        source: "a test".to_owned(),
        cut: 0,
        notes: Vec::new(),
    }
}

/// The two findings of most images that show one of the two alone.
fn frequent(part: &Part) -> [Finding; 2] {
    let mut counts: Vec<(usize, Finding)> = part
        .set
        .vocabulary()
        .findings()
        .iter()
        .map(|finding| ((0..part.set.len()).filter(|image| part.shows(*image, *finding)).count(), *finding))
        .collect();
    counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    [counts[0].1, counts[1].1]
}

fn macro_at(report: &QueryReport, place: usize) -> Option<f64> {
    report.macro_precision[place].map(|mean| mean.value)
}

#[test]
fn images_find_their_like_and_what_can_t_be_asked_is_undefined() {
    let [real, made] = parts(300);
    let sides = [&real, &made].map(|part| Side { set: &part.set, features: &part.features });
    let choice: NetworkChoice = "xrv:w.pt".parse().unwrap();
    let report = by(&choice, sides, None, &EvaluationConfig::default());
    let images = report.images.as_ref().unwrap();
    let (found, chance) = (macro_at(&images.synthetic, 0).unwrap(), images.synthetic.chance.unwrap());
    assert!(found > 3.0 * chance, "{found} {chance}");
    assert_eq!(images.synthetic.candidates, images.real.candidates);
    // No synthetic image is of a real one's patient.
    assert!(!images.notes.iter().any(|note| note.contains("among the candidates")), "{:?}", images.notes);
    let why = report.chexpert.undefined.as_ref().unwrap();
    assert!(why.starts_with("the real images have no labels of "), "{why}");
    assert!(report.texts.is_none() && report.undefined.is_none() && report.drawn.is_none());
    let said = text(&report);
    assert!(said.contains("Retrieval by labels, synthetic images among real: precision at 5 0."), "{said}");
    let page = section(&report).into_string();
    assert!(page.contains("CheXpert 8x200 can't be followed") && page.contains("Exactly the same labels"), "{page}");

    let few = parts(60).map(|part| Part { set: part.set.select(&[0]), features: part.features.select(&[0]) });
    let sides = few.each_ref().map(|part| Side { set: &part.set, features: &part.features });
    let one = by(&choice, sides, None, &EvaluationConfig::default()).images.unwrap();
    assert_eq!(one.synthetic.macro_precision, [None; 4]);
    assert!(one.notes[0].contains("fewer than two patients"), "{:?}", one.notes);
}

#[test]
fn a_rank_beyond_the_gallery_is_undefined_everywhere() {
    let [real, made] = parts(120);
    let found = between(&real, &made, &settings()).unwrap();
    assert!(found.synthetic.macro_precision[2].is_none() && found.synthetic.macro_precision[1].is_some());
    assert!(found.synthetic.categories.iter().all(|one| one.precision[2].is_none()));
    assert!(found.synthetic_label_sets.recall[2].is_none() && found.synthetic_label_sets.recall[1].is_some());
    assert!(found.synthetic.notes.iter().any(|note| note.starts_with("Precision at 1000 is undefined")));
    let report = NetworkRetrieval {
        network: "labels".to_owned(),
        weights: "w".to_owned(),
        drawn: None,
        images: Some(found),
        undefined: None,
        chexpert: ProtocolRetrieval::default(),
        texts: None,
    };
    let mut csv = Vec::new();
    csv_of(&[report], &mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    let beyond: Vec<&str> = csv.lines().filter(|line| line.contains(",1000,")).collect();
    assert!(!beyond.is_empty() && beyond.iter().all(|line| line.contains(",1000,,,,")), "{beyond:?}");
}

#[test]
fn unlabelled_images_ask_for_nothing() {
    let [real, made] = parts(60);
    let blank = PhantomDataset::new(PhantomDatasetConfig::new(5, 32, 1)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for image in 0..5 {
        let png = roentgen_augment::image::encode_png(&blank.image(image));
        std::fs::write(folder.path().join(format!("{image}.png")), png).unwrap();
    }
    let set = ImageSet::open(folder.path(), Wanted::Synthetic).unwrap();
    let features = made.features.select(&[0, 1, 2, 3, 4]);
    let blank = Part { set, features };
    assert_eq!(between(&real, &blank, &settings()).unwrap_err(), "no synthetic image has a label");
    assert_eq!(between(&blank, &made, &settings()).unwrap_err(), "no real image has a label");
    let asked = texts(&real, &[&frequent(&real)]);
    let found = of_texts(&asked, [&real, &blank], &settings());
    assert_eq!(found.synthetic.undefined.as_deref(), Some("no synthetic image has a label"));
    assert!(found.real.found.is_some());
}

#[test]
fn a_protocol_draws_queries_of_other_patients() {
    let [real, made] = parts(400);
    let categories = frequent(&real);
    let protocol = Protocol { categories: categories.to_vec(), queries: 3, candidates: 8, seed: 5 };
    let [a, b] = categories;
    let asked = texts(&real, &[&[a], &[b], &[a, b], &[a], &[b], &[a], &[b]]);
    let found = by_protocol(&protocol, [&real, &made], Some(&asked), &settings());
    assert_eq!(first_texts(&asked, &protocol).unwrap(), [(0, 0), (3, 0), (5, 0), (1, 1), (4, 1), (6, 1)]);
    assert_eq!(found.undefined, None);
    for (who, retrieved) in [("real", &found.real), ("synthetic", &found.synthetic), ("texts", &found.texts)] {
        let report = retrieved.as_ref().unwrap().found.as_ref().unwrap_or_else(|| panic!("{who}: {retrieved:?}"));
        assert_eq!((report.queries, report.candidates, report.chance), (6, 16, Some(0.5)), "{who}");
        assert!(macro_at(report, 0).unwrap() > 0.75 && macro_at(report, 2).is_none(), "{who}: {report:?}");
    }
    // Synthetic images that were made from candidates ask for nothing.
    let label = |image, finding| real.set.label(image, finding);
    let drawn = protocol.draw(real.set.len(), label, |image| real.set.patient(image)).unwrap();
    let copied: Vec<usize> = drawn.candidates.iter().map(|(image, _)| *image).collect();
    let copies = Part { set: real.set.select(&copied), features: real.features.select(&copied) };
    let own = by_protocol(&protocol, [&real, &copies], None, &settings()).synthetic.unwrap().undefined.unwrap();
    assert!(own.contains("has 0 images"), "{own}");
    let greedy = Protocol { candidates: 10_000, ..protocol.clone() };
    let why = by_protocol(&greedy, [&real, &made], None, &settings()).undefined.unwrap();
    assert!(why.contains("10003 are needed"), "{why}");
    let few = by_protocol(&protocol, [&real, &made], Some(&texts(&real, &[&[a], &[b]])), &settings());
    assert!(few.texts.unwrap().undefined.unwrap().contains("1 texts ask for"));
}

#[test]
fn texts_find_images_and_a_class_without_images_is_undefined() {
    let [real, made] = parts(200);
    let [a, b] = frequent(&real);
    let nowhere = Finding::parse("Support Devices").unwrap();
    let found = of_texts(&texts(&real, &[&[a], &[b], &[a, b], &[], &[nowhere]]), [&real, &made], &settings());
    assert_eq!(found.texts, 4);
    for retrieved in [&found.real, &found.synthetic] {
        let report = retrieved.found.as_ref().unwrap();
        // The text of two findings asks twice.
        assert_eq!(report.categories.iter().map(|one| one.queries).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(macro_at(report, 0).unwrap() > 0.9, "{report:?}");
        assert_eq!(report.categories[2].undefined.as_deref(), Some("no candidate has it"));
    }
}

#[test]
fn texts_that_don_t_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("texts.csv");
    std::fs::write(&table, "prompt,Mass\na mass,0\n").unwrap();
    let config = EvaluationConfig {
        networks: vec!["xrv:w.pt".parse().unwrap()],
        texts: Some(crate::config::TextsConfig { table, embeddings: Some("nowhere.npy".into()), network: None }),
        ..EvaluationConfig::default()
    };
    let error = open(&config, &[], &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("texts.csv: no text asks for a finding"), "{error}");
}
