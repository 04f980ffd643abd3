//! `evaluation.html`: one page that works without network and scripts.

use maud::{Markup, html};

use super::report::{CopiesReport, EvaluationReport, FidelityRow, JudgeReport, Measured, NetworkFidelity, SetReport};
use super::table::{decimals, measured_text, texts};
use super::{Evaluation, lpips, reports, retrieval};
use crate::evaluation::correctness::SetCorrectness;
use crate::evaluation::memorisation::{BLIND, closest_grid};
use crate::report::format::{auroc_estimate, count, fixed, typographic};
use crate::report::html::fairness::by_group;
use crate::report::{Estimate, page};

/// The page of an evaluation: everything in one file, nothing loaded from elsewhere.
#[must_use]
pub fn page(evaluation: &Evaluation) -> String {
    let report = &evaluation.report;
    let title = format!("{} against {}", report.synthetic.name, report.real.name);
    let body = html! {
        header {
            h1 { "Evaluation of synthetic images" }
            p.lede {
                (count(report.synthetic.images)) " synthetic images of " code { (report.synthetic.name) } " against "
                (count(report.real.images)) " real images of " code { (report.real.name) } "."
                @if let Some(benchmark) = &report.benchmark { " By the conventions of " (benchmark) "." }
            }
        }
        main {
            @if !report.warnings.is_empty() {
                section.warnings role="note" aria-label="Warnings" {
                    h2 { "Before you quote a number" }
                    ul { @for warning in &report.warnings { li { (warning) } } }
                }
            }
            (sections(evaluation))
        }
        footer {
            "Made by roentgen " (report.version) ". The same numbers, unrounded, are in " code { "evaluation.json" }
            " beside this page."
        }
    };
    page::page(&format!("Evaluation: {title}"), &report.version, &body)
}

/// What a page says of the images, without its head and its warnings: for a page of more than that.
#[must_use]
pub fn sections(evaluation: &Evaluation) -> Markup {
    let report = &evaluation.report;
    let grid = closest_grid(&evaluation.closest);
    html! {
        @for network in &report.fidelity { (fidelity(network)) }
        (diversity(report))
        @for network in &report.retrieval { (retrieval::section(network)) }
        @for judge in &report.correctness { (correctness(judge)) }
        @if !report.memorisation.is_empty() {
            section {
                h2 { "Copies of training images" }
                (copies(&report.memorisation))
                @if !grid.is_empty() {
                    figure {
                        (grid.render())
                        figcaption { "The pairs that are closest in pixels: a synthetic image and its nearest training image." }
                    }
                }
                p.note { (BLIND) }
            }
        }
        @for reports in &report.reports { (reports::section(reports)) }
        (sets(report))
        (reading(report))
    }
}

fn fidelity(network: &NetworkFidelity) -> Markup {
    html! {
        section {
            h2 { "Fidelity by " (network.network) }
            p.note {
                (count(network.width)) " features per image. Images: " (network.preparation) ". Weights: " code { (network.weights) } "."
            }
            div.scroll {
                table {
                    caption {
                        "All images. “At half”: a real half against as many synthetic images; “floor”: that half against the other real half, "
                        "of other patients. Mean and standard deviation over the splits."
                    }
                    thead { tr { th { "Figure" } th.number { "All images [95 % CI]" } th.number { "At half" } th.number { "Floor" } } }
                    tbody {
                        @for ((name, figure), decimals) in network.overall.figures().into_iter().zip(decimals()) {
                            @if let Some(figure) = figure {
                                @let [value, at_half, floor] = texts(figure, decimals);
                                tr {
                                    th scope="row" { (name) }
                                    @for text in [value, at_half, floor] { td.number { (typographic(&text)) } }
                                }
                            }
                        }
                        @for reason in &network.overall.undefined { tr { td.undefined colspan="4" { (reason) } } }
                    }
                }
            }
            @if !network.findings.is_empty() { (by_finding(network)) }
        }
    }
}

fn by_finding(network: &NetworkFidelity) -> Markup {
    html! {
        div.scroll {
            table.dense {
                caption { "Images of each finding: the figure of all of them, above its floor." }
                thead {
                    tr {
                        th { "Finding" }
                        th.number { "Real" }
                        th.number { "Synthetic" }
                        @for (name, _) in network.overall.figures() { th.number { (name) } }
                    }
                }
                tbody { @for row in &network.findings { (finding(row)) } }
            }
        }
    }
}

fn finding(row: &FidelityRow) -> Markup {
    html! {
        tr {
            th scope="row" { (row.finding.as_deref().unwrap_or_default()) }
            td.number { (count(row.real)) }
            td.number { (count(row.synthetic)) }
            @if row.fid.is_none() && !row.undefined.is_empty() {
                td.undefined colspan="7" { (row.undefined.join("; ")) }
            } @else {
                @for ((_, figure), decimals) in row.figures().into_iter().zip(decimals()) {
                    td.number {
                        @if let Some(figure) = figure {
                            span.value { (typographic(&fixed(figure.value, decimals))) }
                            @if let Some(floor) = figure.floor {
                                span.interval { "floor " (typographic(&fixed(floor.mean, decimals))) }
                            }
                        } @else { span.none { "–" } }
                    }
                }
            }
        }
    }
}

fn diversity(report: &EvaluationReport) -> Markup {
    let row = |name: &str, means: &str, measured: &Measured| {
        html! { tr { th scope="row" { (name) span.description { (means) } } td.number { (typographic(&measured_text(measured))) } } }
    };
    let diversity = &report.diversity;
    html! {
        section {
            h2 { "Diversity" }
            div.scroll {
                table {
                    caption { "MS-SSIM on gray images: 1 for equal pictures, lower where they differ." }
                    thead { tr { th { "Pictures" } th.number { "Mean ± standard deviation" } } }
                    tbody {
                        (row("Synthetic, of one prompt", "4 images of a prompt, 6 pairs. Lower is more varied.", &diversity.intra_prompt))
                        (row("Real, of one label set", "4 images of different patients: how varied radiographs are.", &diversity.real_labels))
                        (row("Synthetic and its source", "Not a measure of variety: how alike they are.", &diversity.paired))
                    }
                }
            }
            @if let Some(report) = &diversity.lpips { (lpips::table(report)) }
        }
    }
}

fn auroc(estimate: Option<&Estimate>) -> Markup {
    html! {
        td.number { @match estimate { Some(estimate) => (typographic(&auroc_estimate(estimate))), None => span.none { "–" } } }
    }
}

fn correctness(judge: &JudgeReport) -> Markup {
    let of = |set: Option<&SetCorrectness>| auroc(set.and_then(|set| set.auroc.as_ref()));
    html! {
        section {
            h2 { "What the images show" }
            p.note {
                "Scores of " code { (judge.weights) } " against the labels that images were asked for; images: " (judge.preparation) "."
            }
            @if let Some(reason) = &judge.undefined { p.undefined { (reason) } }
            @if let Some(found) = &judge.correctness {
                div.scroll {
                    table {
                        caption { "AUROC [95 % CI, by patient]. No classifier reaches 1 on real images either: read the two columns together." }
                        thead { tr { th { "Finding" } th.number { "Asked for" } th.number { "Synthetic" } th.number { "Real" } } }
                        tbody {
                            @for finding in &found.findings {
                                tr {
                                    th scope="row" { (finding.finding) }
                                    td.number { (count(finding.synthetic.positives)) }
                                    (of(Some(&finding.synthetic)))
                                    (of(finding.real.as_ref()))
                                }
                            }
                        }
                        tfoot {
                            @for (name, synthetic, real) in [
                                ("Macro mean", found.synthetic.macro_auroc, found.real.and_then(|real| real.macro_auroc)),
                                ("Micro", found.synthetic.micro_auroc, found.real.and_then(|real| real.micro_auroc)),
                                ("Weighted", found.synthetic.weighted_auroc, found.real.and_then(|real| real.weighted_auroc)),
                            ] {
                                tr { th scope="row" { (name) } td {} (auroc(synthetic.as_ref())) (auroc(real.as_ref())) }
                            }
                        }
                    }
                }
                @if !found.untrained.is_empty() {
                    p.note { "Outputs that were never trained are left out: " (found.untrained.join(", ")) "." }
                }
            }
            @for column in &judge.agreements {
                p {
                    (column.asked) ": as asked in "
                    @match &column.agreement { Some(share) => (typographic(&auroc_estimate(share))), None => "none" }
                    " of " (count(column.cases)) " images."
                }
            }
            @for found in &judge.groups { (by_group(found, "Images", 0.95)) }
        }
    }
}

fn copies(spaces: &[CopiesReport]) -> Markup {
    let share = |number: Option<usize>, of: usize| {
        number.map_or_else(|| "–".to_owned(), |number| format!("{} of {}", count(number), count(of)))
    };
    html! {
        div.scroll {
            table {
                caption {
                    "Distance to the nearest training image, of synthetic images and of real ones whose patients the generator never saw. “Nearer”: "
                    "probability that a synthetic image is the nearer one, 0.5 where the two are alike, towards 1 for copies."
                }
                thead {
                    tr {
                        th { "By" }
                        th.number { "Flagged" }
                        th.number { "By chance" }
                        th.number { "Median, synthetic" }
                        th.number { "Median, held out" }
                        th.number { "Nearer" }
                    }
                }
                tbody {
                    @for CopiesReport { by, found, .. } in spaces {
                        tr {
                            th scope="row" { (by) }
                            td.number { (share(found.flagged, found.synthetic)) }
                            td.number { (share(found.held_out_flagged, found.held_out)) }
                            td.number { (fixed(found.synthetic_distances.median, 3)) }
                            td.number { @match found.held_out_distances { Some(distances) => (fixed(distances.median, 3)), None => "–" } }
                            td.number { @match found.nearer { Some(nearer) => (fixed(nearer, 3)), None => "–" } }
                        }
                    }
                }
            }
        }
    }
}

fn sets(report: &EvaluationReport) -> Markup {
    let row = |name: &str, text: fn(&SetReport) -> String| {
        html! { tr { th scope="row" { (name) } @for set in [&report.real, &report.synthetic] { td { (text(set)) } } } }
    };
    let sizes = |set: &SetReport| {
        let shown = set.sizes.iter().take(3).map(|size| format!("{}x{} ({})", size.width, size.height, count(size.images)));
        let more = if set.size_count > 3 { format!(", and {} others", count(set.size_count - 3)) } else { String::new() };
        format!("{}{more}", shown.collect::<Vec<_>>().join(", "))
    };
    html! {
        section {
            h2 { "The images" }
            div.scroll {
                table {
                    thead { tr { th { "" } th { "Real" } th { "Synthetic" } } }
                    tbody {
                        (row("From", |set| set.name.clone()))
                        (row("Images", |set| count(set.images)))
                        (row("Different pictures", |set| count(set.distinct)))
                        (row("With a patient, or a source that has one", |set| count(set.with_patient)))
                        (row("Sizes", sizes))
                        (row("Colour", |set| format!("{} not gray, mean spread {} of 255", count(set.coloured), fixed(set.channel_spread, 2))))
                    }
                }
            }
        }
    }
}

fn reading(report: &EvaluationReport) -> Markup {
    let splits = count(report.settings.splits);
    html! {
        section {
            h2 { "How to read this" }
            ul.sentences {
                li {
                    "FID and KID are distances between two clouds of features: lower is nearer. FID is above 0 for two samples of the same people, "
                    "and the more so the fewer the images. So compare the column “at half” with the floor, which has as many images on each side, "
                    "and never two FIDs of different numbers of images, networks or preparations."
                }
                li {
                    "Precision and density say how many synthetic images lie among real ones, recall and coverage how much of the real ones they reach, "
                    "with " (report.settings.neighbours) " neighbours. The Vendi score counts how many wholly different images the synthetic set is worth."
                }
                li {
                    "The interval is the value and 1.96 standard deviations of the figure over " (splits) " half samples, drawn by patient without "
                    "repeats (half-sample replication): repeats, as in a bootstrap, would move these figures themselves."
                }
                li {
                    "No distance says whether an image shows what it was asked for, whether it is anatomically right, or whether it is a copy of a "
                    "training image: give a judge and the training set for the first and the last."
                }
            }
        }
    }
}
