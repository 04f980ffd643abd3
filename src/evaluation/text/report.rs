//! Every figure of a set of generated reports, in one table.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::record::Label;
use roentgen_augment::text::Labeler;
use roentgen_classifier::metrics::{F1Table, Interval, Patients, Summary};
use serde::Serialize;

use super::TextError;
use super::bleu::{Bleu, BleuCounts, BleuTokens, NltkCounts};
use super::entities::EntityF1;
use super::findings::{FindingsF1, UncertainAs, findings_f1, five, label_reports};
use super::rouge::Rouge;

/// How reports are compared.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions<'a> {
    /// Reads findings from the texts.
    pub labeler: &'a Labeler,
    /// What uncertain findings count as.
    pub uncertain: UncertainAs,
    /// Entities of each pair, from files; see [`EntityF1::of_files`].
    pub entities: Option<&'a [EntityF1]>,
    /// Patient of each report, for the intervals; `None`: each report is another patient's.
    pub patients: Option<&'a Patients>,
    /// Number of resamples for the intervals; 0: no intervals.
    pub replicates: usize,
    /// Seed of the resamples.
    pub seed: u64,
}

impl TextOptions<'_> {
    /// The program's own rules, uncertain as present, 1000 resamples.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            labeler: Labeler::standard(),
            uncertain: UncertainAs::Present,
            entities: None,
            patients: None,
            replicates: 1000,
            seed: 0,
        }
    }
}

/// Generated reports beside the real ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportText {
    /// Pairs of reports.
    pub reports: usize,
    /// Hypotheses without a word. They count, as 0.
    pub blank_hypotheses: usize,
    /// References without a word. They count, as 0: nothing is like them.
    pub blank_references: usize,
    /// The headline figures.
    pub figures: Vec<TextFigure>,
    /// F1 by finding.
    pub findings: FindingsF1,
    /// sacrebleu's corpus BLEU with its parts, 13a tokens in lower case.
    pub bleu: Bleu,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextFigure {
    /// Its name, with the reading.
    pub name: &'static str,
    /// BLEU of sacrebleu from 0 to 100, all others from 0 to 1; higher is better.
    pub value: f64,
    /// 95 % interval over resamples of patients.
    pub interval: Option<Interval>,
}

/// Names of the figures, in order.
const NAMES: [&str; 14] = [
    "BLEU-4, sacrebleu 13a",
    "BLEU-4, sacrebleu 13a, lower case",
    "BLEU-4, nltk, lower case",
    "ROUGE-1 F1",
    "ROUGE-2 F1",
    "ROUGE-L F1",
    "ROUGE-Lsum F1",
    "findings F1, micro",
    "findings F1, macro",
    "five findings F1, micro",
    "five findings F1, macro",
    "entities F1, simple",
    "entities F1, partial",
    "entities F1, complete",
];

/// Compares generated reports (`hypotheses`) with the real ones of the same images (`references`), both in the same order.
///
/// Findings are those that the rule-based labeler reads from both texts: its mistakes are in both rows. For a ceiling, compare reports that
/// the same writer wrote for the real images.
///
/// # Errors
/// [`TextError`] for unequal numbers of texts, no text or only blank references, and texts of more than
/// [`MOST_TOKENS`](super::MOST_TOKENS) words.
pub fn report_text<S: AsRef<str> + Sync>(
    references: &[S],
    hypotheses: &[S],
    options: &TextOptions<'_>,
) -> Result<ReportText, TextError> {
    let reports = references.len();
    if hypotheses.len() != reports {
        return Err(TextError::Unequal { references: reports, hypotheses: hypotheses.len() });
    }
    for (what, found) in [
        ("entities", options.entities.map_or(reports, <[_]>::len)),
        ("patients", options.patients.map_or(reports, Patients::rows)),
    ] {
        if found != reports {
            return Err(TextError::Count { what, reports, found });
        }
    }
    let blank = |texts: &[S]| texts.iter().filter(|text| !text.as_ref().contains(char::is_alphanumeric)).count();
    let (blank_references, blank_hypotheses) = (blank(references), blank(hypotheses));
    if reports == 0 {
        return Err(TextError::Empty);
    }
    if blank_references == reports {
        return Err(TextError::Blank { references: reports });
    }

    let (theirs, ours) = (label_reports(options.labeler, references), label_reports(options.labeler, hypotheses));
    let vocabulary = options.labeler.vocabulary();
    let findings = findings_f1(&theirs, &ours, vocabulary, options.uncertain)?;
    let present = |labels: &[Label]| -> Vec<bool> { labels.iter().map(|label| options.uncertain.is_present(*label)).collect() };
    let pair = |(index, (reference, hypothesis)): (usize, (&S, &S))| {
        let (reference, hypothesis) = (reference.as_ref(), hypothesis.as_ref());
        let rouge = Rouge::new(reference, hypothesis).map_err(|error| match error {
            TextError::Long { which, tokens, .. } => TextError::Long { which, report: index, tokens },
            other => other,
        })?;
        Ok(Pair {
            cased: BleuCounts::new(reference, hypothesis, BleuTokens::Mteval13a, false),
            lower: BleuCounts::new(reference, hypothesis, BleuTokens::Mteval13a, true),
            nltk: NltkCounts::new(reference, hypothesis),
            rouge,
            truth: present(&theirs[index]),
            called: present(&ours[index]),
            entities: options.entities.map(|entities| entities[index]),
        })
    };
    let pairs: Vec<Pair> =
        references.par_iter().zip(hypotheses.par_iter()).enumerate().map(pair).collect::<Result<_, TextError>>()?;

    let five = five(vocabulary);
    let figures = |weights: &[u32]| headline(&pairs, weights, five.as_deref());
    let values = figures(&vec![1; reports]);
    let alone = Patients::new(&(0..reports).collect::<Vec<_>>());
    let patients = options.patients.unwrap_or(&alone);
    let replicates: Vec<_> = (0..options.replicates as u64)
        .into_par_iter()
        .map(|replicate| figures(&patients.weights(options.seed, replicate)))
        .collect();
    let interval =
        |at: usize| Summary::new(&replicates.iter().map(|values| values[at].unwrap_or(f64::NAN)).collect::<Vec<_>>()).interval;
    let figure = |(at, name): (usize, &'static str)| Some(TextFigure { name, value: values[at]?, interval: interval(at) });
    let mut bleu = BleuCounts::default();
    pairs.iter().for_each(|pair| bleu.add(&pair.lower, 1));
    Ok(ReportText {
        reports,
        blank_hypotheses,
        blank_references,
        figures: NAMES.into_iter().enumerate().filter_map(figure).collect(),
        findings,
        bleu: bleu.corpus(),
    })
}

/// What the figures of one pair are made from.
struct Pair {
    cased: BleuCounts,
    lower: BleuCounts,
    nltk: NltkCounts,
    rouge: Rouge,
    truth: Vec<bool>,
    called: Vec<bool>,
    entities: Option<EntityF1>,
}

/// The figures of [`NAMES`] of the resample in which pair `i` occurs `weights[i]` times; `None` for one that isn't asked for.
fn headline(pairs: &[Pair], weights: &[u32], five: Option<&[usize]>) -> [Option<f64>; NAMES.len()] {
    let (mut cased, mut lower, mut nltk) = (BleuCounts::default(), BleuCounts::default(), NltkCounts::default());
    let (mut rouge, mut entities, mut count) = ([0.0; 4], [0.0; 3], 0.0);
    let (mut truth, mut called) = (Vec::new(), Vec::new());
    for (pair, &weight) in pairs.iter().zip(weights).filter(|(_, weight)| **weight > 0) {
        cased.add(&pair.cased, weight);
        lower.add(&pair.lower, weight);
        nltk.add(&pair.nltk, weight);
        let times = f64::from(weight);
        count += times;
        let scores = [pair.rouge.one, pair.rouge.two, pair.rouge.longest, pair.rouge.longest_by_line];
        rouge.iter_mut().zip(scores).for_each(|(sum, score)| *sum += times * score.f1);
        let overlaps = pair.entities.map(|found| [found.simple, found.partial, found.complete]).unwrap_or_default();
        entities.iter_mut().zip(overlaps).for_each(|(sum, overlap)| *sum += times * overlap.f1);
        for _ in 0..weight {
            truth.extend_from_slice(&pair.truth);
            called.extend_from_slice(&pair.called);
        }
    }
    let findings = pairs.first().map_or(0, |pair| pair.truth.len());
    let columns = |cells: &[bool], columns: &[usize]| -> Vec<bool> {
        cells.chunks_exact(findings).flat_map(|row| columns.iter().map(|&column| row[column])).collect()
    };
    let all = F1Table::new(&truth, &called, findings).ok().flatten();
    let of_five =
        five.and_then(|five| F1Table::new(&columns(&truth, five), &columns(&called, five), five.len()).ok().flatten());
    let has_entities = pairs.iter().any(|pair| pair.entities.is_some());
    let [one, two, longest, by_line] = rouge.map(|sum| Some(sum / count));
    let [simple, partial, complete] = entities.map(|sum| has_entities.then_some(sum / count));
    [
        Some(cased.corpus().score),
        Some(lower.corpus().score),
        Some(nltk.corpus()),
        one,
        two,
        longest,
        by_line,
        all.as_ref().map(|table| table.micro.f1),
        all.as_ref().map(|table| table.macro_average.f1),
        of_five.as_ref().map(|table| table.micro.f1),
        of_five.map(|table| table.macro_average.f1),
        simple,
        partial,
        complete,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCES: [&str; 4] = [
        "Moderate left pleural effusion. No pneumothorax.",
        "Heart size is normal. Lungs are clear.",
        "Mild cardiomegaly with pulmonary edema.",
        "Right lower lobe consolidation may represent pneumonia.",
    ];

    fn figure(found: &ReportText, name: &str) -> f64 {
        found.figures.iter().find(|figure| figure.name == name).unwrap().value
    }

    #[test]
    fn a_report_against_itself_is_perfect_and_one_without_its_no_is_not() {
        let options = TextOptions { replicates: 50, ..TextOptions::standard() };
        let itself = report_text(&REFERENCES, &REFERENCES, &options).unwrap();
        assert_eq!((itself.reports, itself.figures.len()), (4, 11));
        for figure in itself.figures.iter().filter(|figure| !figure.name.ends_with("findings F1, macro")) {
            let best = if figure.name.contains("sacrebleu") { 100.0 } else { 1.0 };
            assert!((figure.value - best).abs() < 1e-9, "{figure:?}");
        }
        let mut wrong = REFERENCES;
        wrong[0] = "Moderate left pleural effusion. Pneumothorax.";
        let found = report_text(&REFERENCES, &wrong, &options).unwrap();
        assert!(figure(&found, "ROUGE-1 F1") > 0.95 && figure(&found, "findings F1, micro") < 0.95, "{:?}", found.figures);
        for figure in &found.figures {
            let interval = figure.interval.unwrap();
            assert!(interval.lower <= figure.value + 1e-9 && figure.value <= interval.upper + 1e-9, "{figure:?}");
        }
    }

    #[test]
    fn other_reports_are_worse_and_order_does_not_matter() {
        let options = TextOptions { replicates: 0, ..TextOptions::standard() };
        let mut shuffled = REFERENCES;
        shuffled.rotate_left(1);
        let (itself, apart) =
            (report_text(&REFERENCES, &REFERENCES, &options).unwrap(), report_text(&REFERENCES, &shuffled, &options).unwrap());
        for (one, other) in itself.figures.iter().zip(&apart.figures) {
            assert!(one.value > other.value && one.interval.is_none(), "{one:?} {other:?}");
        }
        let (mut references, mut hypotheses) = (REFERENCES, shuffled);
        references.reverse();
        hypotheses.reverse();
        let back = report_text(&references, &hypotheses, &options).unwrap();
        for (one, other) in apart.figures.iter().zip(&back.figures) {
            assert!((one.value - other.value).abs() < 1e-12);
        }
    }

    #[test]
    fn entities_are_three_more_rows() {
        let entities = [EntityF1::default(); 4];
        let options = TextOptions { entities: Some(&entities), replicates: 0, ..TextOptions::standard() };
        assert_eq!(report_text(&REFERENCES, &REFERENCES, &options).unwrap().figures.len(), 14);
        let short = TextOptions { entities: Some(&entities[..3]), ..options };
        let refused = report_text(&REFERENCES, &REFERENCES, &short).unwrap_err();
        assert!(matches!(refused, TextError::Count { what: "entities", reports: 4, found: 3 }), "{refused}");
    }

    #[test]
    fn bad_input_is_refused_and_blank_hypotheses_are_counted() {
        let options = TextOptions { replicates: 10, ..TextOptions::standard() };
        let none: [&str; 0] = [];
        assert!(matches!(report_text(&none, &none, &options), Err(TextError::Empty)));
        assert!(matches!(report_text(&["a"], &none, &options), Err(TextError::Unequal { references: 1, hypotheses: 0 })));
        assert!(matches!(report_text(&["", ". "], &["a", "b"], &options), Err(TextError::Blank { references: 2 })));
        let long = "word ".repeat(6000);
        let refused = report_text(&["a", "b"], &["a", &long], &options).unwrap_err();
        assert!(matches!(refused, TextError::Long { which: "hypothesis", report: 1, .. }), "{refused}");
        let patients = Patients::new(&[1, 2]);
        let of_others = TextOptions { patients: Some(&patients), ..options };
        assert!(matches!(report_text(&REFERENCES, &REFERENCES, &of_others), Err(TextError::Count { what: "patients", .. })));
        let found = report_text(&REFERENCES, &["", "", "", " "], &options).unwrap();
        assert_eq!((found.blank_hypotheses, found.blank_references), (4, 0));
        assert!(found.figures.iter().all(|figure| figure.value == 0.0), "{:?}", found.figures);
    }
}
