//! Topic `17_quality`: report text.

use roentgen::evaluation::text::{Bleu, BleuCounts, BleuTokens, NltkCounts, Rouge, RougeScore};

use super::{Array, Case, Outputs};

/// The outputs of a case, by name; `None` for a case that this file doesn't know.
pub fn compute(case: &Case) -> Option<Outputs> {
    Some(match case.name.as_str() {
        "text/bleu" => bleu(case),
        "text/rouge" => rouge(case),
        _ => return None,
    })
}

fn texts<'a>(case: &'a Case, name: &str) -> Vec<&'a str> {
    let texts = case.params[name].as_array().expect("a list of texts in params");
    texts.iter().map(|text| text.as_str().expect("a text")).collect()
}

fn pairs(case: &Case) -> Vec<(&str, &str)> {
    texts(case, "references").into_iter().zip(texts(case, "hypotheses")).collect()
}

fn corpus(pairs: &[(&str, &str)], tokens: BleuTokens, lowercase: bool) -> Bleu {
    let mut counts = BleuCounts::default();
    pairs.iter().for_each(|(reference, hypothesis)| counts.add(&BleuCounts::new(reference, hypothesis, tokens, lowercase), 1));
    counts.corpus()
}

fn bleu(case: &Case) -> Outputs {
    let pairs = pairs(case);
    let plain = corpus(&pairs, BleuTokens::Mteval13a, false);
    let sentences = pairs
        .iter()
        .map(|(reference, hypothesis)| BleuCounts::new(reference, hypothesis, BleuTokens::Mteval13a, false).sentence().score);
    let mut nltk = NltkCounts::default();
    pairs.iter().for_each(|(reference, hypothesis)| nltk.add(&NltkCounts::new(reference, hypothesis), 1));
    let unmatched = texts(case, "unmatched");
    let counts = plain.counts.matched.iter().chain(&plain.counts.total).map(|count| *count as f64).collect();
    vec![
        named("13a", Array::scalar(plain.score)),
        named("13a_lowercase", Array::scalar(corpus(&pairs, BleuTokens::Mteval13a, true).score)),
        named("none_lowercase", Array::scalar(corpus(&pairs, BleuTokens::None, true).score)),
        named("precisions", vector(plain.precisions.to_vec())),
        named("counts", Array { shape: vec![2, 4], values: counts }),
        named("brevity_penalty", Array::scalar(plain.brevity_penalty)),
        named("lengths", vector(vec![plain.counts.hypothesis as f64, plain.counts.reference as f64])),
        named("sentences", vector(sentences.collect())),
        named("nltk", Array::scalar(nltk.corpus())),
        named("unmatched", Array::scalar(corpus(&[(unmatched[1], unmatched[0])], BleuTokens::Mteval13a, false).score)),
    ]
}

fn rouge(case: &Case) -> Outputs {
    let scores: Vec<Rouge> =
        pairs(case).into_iter().map(|(reference, hypothesis)| Rouge::new(reference, hypothesis).unwrap()).collect();
    let table = |of: fn(&Rouge) -> RougeScore| {
        let values = scores.iter().map(of).flat_map(|score| [score.precision, score.recall, score.f1]).collect();
        Array { shape: vec![scores.len(), 3], values }
    };
    let mean = scores.iter().map(|score| score.longest.f1).sum::<f64>() / scores.len() as f64;
    vec![
        named("rouge1", table(|score| score.one)),
        named("rouge2", table(|score| score.two)),
        named("rougeL", table(|score| score.longest)),
        named("rougeLsum", table(|score| score.longest_by_line)),
        named("mean", Array::scalar(mean)),
    ]
}

fn vector(values: Vec<f64>) -> Array {
    Array { shape: vec![values.len()], values }
}

fn named(name: &str, array: Array) -> (String, Array) {
    (name.to_owned(), array)
}
