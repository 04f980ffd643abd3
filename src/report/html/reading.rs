//! The meaning of the numbers, and how to quote them.

use maud::{Markup, html};

use crate::report::lookup::TEST;
use crate::report::verdict::Verdict;
use crate::report::{ComparisonReport, format};

/// References of the definitions.
const REFERENCES: [(&str, &str); 4] = [
    (
        "Rutter CM. Bootstrap estimation of diagnostic accuracy with patient-clustered data. Academic Radiology 2000;7(6):413–419.",
        "https://doi.org/10.1016/S1076-6332(00)80381-5",
    ),
    (
        "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver operating characteristic \
         curves: a nonparametric approach. Biometrics 1988;44(3):837–845.",
        "https://doi.org/10.2307/2531595",
    ),
    (
        "Sun X, Xu W. Fast implementation of DeLong’s algorithm for comparing the areas under correlated receiver operating \
         characteristic curves. IEEE Signal Processing Letters 2014;21(11):1389–1393.",
        "https://doi.org/10.1109/LSP.2014.2337313",
    ),
    (
        "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 1979;6(2):65–70.",
        "https://www.jstor.org/stable/4615733",
    ),
];

pub(super) fn how_to_read(report: &ComparisonReport) -> Markup {
    let level = format::confidence(report.protocol.confidence);
    let replicates = format::count(report.protocol.replicates);
    html! {
        section #reading {
            h2 { "How to read this" }
            dl {
                dt { "Real and synthetic per epoch" }
                dd {
                    "The number of images of each kind in one pass over the arm’s mixture, in its first epoch (a schedule may change it later). A ratio of "
                    i { "k" } " in mode " i { "add" } " keeps every real image and adds " i { "k" } " synthetic ones for each; a fraction in mode "
                    i { "replace" } " keeps the size of the epoch and fills that share of it with synthetic images. All arms train for the same number "
                    "of steps, so a longer epoch isn’t more training: it shows each real image less often."
                }
                dt { "AUROC" }
                dd {
                    "The chance that a random positive image scores above a random negative one, ties counting half. An arm’s AUROC is the mean of its "
                    "runs’ AUROCs: what one training run is expected to reach, not what an ensemble of them would. The macro mean weighs all findings "
                    "alike; images without a label for a finding don’t count for it."
                }
                dt { "Undefined" }
                dd { "Without both a positive and a negative test image there is no AUROC. It is then undefined, never 0.5, and left out of the means." }
                dt { (level) " interval" }
                dd {
                    "The middle " (level) " of " (replicates) " bootstrap resamples that draw test patients with replacement, each with all of their images "
                    "[1]. It covers the choice of test patients. It holds the trained networks fixed: the table of runs shows the spread between seeds."
                }
                dt { "Difference" }
                dd {
                    "The arm’s AUROC minus the baseline’s, on the same resamples of patients (paired); relative: divided by the baseline’s AUROC. An interval "
                    "that contains 0 means that no difference could be shown with these patients. It doesn’t mean that there is none: consider its width."
                }
                dt { "p (bootstrap)" }
                dd {
                    "Two-sided: twice the share of resamples on the far side of 0, including the observed sample. For the macro mean it isn’t corrected "
                    "for the number of arms: with many arms, expect a small p now and then."
                }
                dt { "p (Holm)" }
                dd { "The bootstrap p-values of one arm’s findings after Holm’s step-down correction [4]. Use this one to state which finding changed." }
                dt { "p (DeLong)" }
                dd {
                    "The paired test of DeLong and others [2, 3] on scores averaged over seeds. It treats images as independent although a patient may have "
                    "several, and judges the averaged scores; it is a second opinion, without correction for the number of findings."
                }
                dt { "Average precision, calibration error" }
                dd {
                    "Area under the precision-recall curve, whose chance level is the share of positives; and the mean distance between predicted "
                    "probability and observed share over 15 bins (0 is best)."
                }
            }
        }
    }
}

pub(super) fn how_to_cite(report: &ComparisonReport) -> Markup {
    html! {
        section #citing {
            h2 { "How to quote it" }
            p {
                "Quote a difference with its interval, the number of test patients and of seeds, and what the baseline is; quote null results as readily as "
                "others. AUROCs of other test sets, image sizes or label sets can’t be compared with these."
            }
            @if let Some(example) = example(report) { blockquote { (format::typographic_prose(&example)) } }
            h3 { "References" }
            ol.references { @for (work, link) in REFERENCES { li { (work) " " a href=(link) { (link.trim_start_matches("https://")) } } } }
        }
    }
}

/// A sentence for a paper about the first arm that has a difference.
fn example(report: &ComparisonReport) -> Option<String> {
    let (arm, difference) = report.compared_arms().find_map(|arm| Some((arm, arm.difference?)))?;
    let auroc = arm.macro_auroc?;
    let baseline = report.baseline_arm()?.macro_auroc?;
    let protocol = &report.protocol;
    let level = format::confidence(protocol.confidence);
    let nature = if report.on_phantom() { "phantom images" } else { "images" };
    let ending = match Verdict::of(&difference) {
        Verdict::NotShown => ", so no difference could be shown",
        Verdict::Better | Verdict::Worse => "",
    };
    Some(format!(
        "On {} test {nature} of {} ({}), {} reached a macro AUROC of {} ({level} CI {}; mean of {}) and {} one of {} ({level} CI {}): \
         a difference of {} ({level} CI {}; {}, paired bootstrap of {} resamples by patient; roentgen {}){ending}.",
        format::count(report.data.images[TEST]),
        format::counted(report.data.patients[TEST], "patient"),
        report.data.name,
        arm.name,
        format::auroc(auroc.value),
        format::auroc_range(&auroc),
        format::counted(protocol.seeds.len(), "seed"),
        report.baseline,
        format::auroc(baseline.value),
        format::auroc_range(&baseline),
        format::difference(difference.absolute.value),
        format::auroc_range(&difference.absolute),
        format::p_in_words(difference.p_bootstrap),
        format::count(protocol.replicates),
        report.version,
    ))
}
