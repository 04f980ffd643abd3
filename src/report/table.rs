//! Tables for the terminal and for Markdown.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

use super::lookup::{NO_MACRO, PHANTOM_CAVEAT, TEST};
use super::{ArmReport, ComparisonReport, FairnessArm, FairnessAttribute, FairnessGap, FairnessReport, format};

/// The headline for the terminal: one row per arm, then one sentence per arm and the report's warnings.
///
/// As wide as the terminal; as wide as needed if the output is not a terminal.
#[must_use]
pub fn terminal_table(report: &ComparisonReport) -> String {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let groups =
        report.fairness.iter().map(|fairness| format!("\n{}", groups(table.clone(), fairness, report.protocol.confidence)));
    let groups: String = groups.collect();
    lay_out(table, report) + &groups
}

/// The headline for `docs/results.md`: one row per arm, then one sentence per arm.
#[must_use]
pub fn markdown_table(report: &ComparisonReport) -> String {
    let head = headline_head(report);
    let rows = report.arms.iter().map(|arm| headline_row(report, arm).to_vec());
    let sentences =
        report.compared_arms().map(|arm| format!("- **{}**: {}.\n", escape(&arm.name), escape(&report.sentence(arm))));
    let sentences: String = sentences.collect();
    [markdown(&head, &[false, true, true, true, true, true, true], rows), sentences].join(if report.arms.len() > 1 {
        "\n"
    } else {
        ""
    })
}

/// AUROC by finding for `docs/results.md`: one row per finding, one column per arm, the macro mean last.
#[must_use]
pub fn markdown_findings(report: &ComparisonReport) -> String {
    let level = format::confidence(report.protocol.confidence);
    let arms = report.arms.iter().map(|arm| format!("{} AUROC [{level} CI]", arm.name));
    let head: Vec<String> = ["Finding".to_owned(), "Positives in test".to_owned()].into_iter().chain(arms).collect();
    let rows = report.finding_names().into_iter().map(|finding| {
        let positives = report.labels(finding).map_or_else(String::new, |labels| format::count(labels.positives[TEST]));
        let auroc = |arm: &ArmReport| match arm.finding(finding).and_then(|finding| finding.auroc) {
            Some(auroc) => format::auroc_estimate(&auroc),
            None => report.undefined_because(finding),
        };
        [finding.to_owned(), positives].into_iter().chain(report.arms.iter().map(auroc)).collect()
    });
    let summary = ["Macro mean".to_owned(), String::new()].into_iter().chain(report.arms.iter().map(macro_auroc)).collect();
    let right: Vec<bool> = (0..head.len()).map(|column| column > 0).collect();
    markdown(&head, &right, rows.chain([summary]))
}

/// Terminal columns that fit the headline on one line per row, for arm names of usual length.
const WIDE: u16 = 120;

/// Index of the relative difference in a row of the headline.
const RELATIVE: usize = 5;

fn lay_out(mut table: Table, report: &ComparisonReport) -> String {
    let is_narrow = table.width().is_some_and(|width| width < WIDE);
    // In a narrow terminal, intervals go below their number and the relative difference is only on the page.
    let fitted = |row: [String; 7], is_broken: bool| {
        let kept = row.into_iter().enumerate().filter(move |(place, _)| !(is_narrow && *place == RELATIVE));
        kept.map(move |(_, cell)| if is_broken { cell.replace(" [", "\n[").replace(" / ", "\n/ ") } else { cell })
    };
    rule(&mut table);
    table.set_header(fitted(headline_head(report), true));
    for arm in &report.arms {
        table.add_row(fitted(headline_row(report, arm), is_narrow));
    }
    align(&mut table);
    let sentences = report.compared_arms().map(|arm| format!("{}: {}\n", arm.name, report.sentence(arm)));
    let phantom = report.on_phantom().then_some(PHANTOM_CAVEAT);
    let warnings =
        phantom.into_iter().chain(report.warnings.iter().map(String::as_str)).map(|warning| format!("warning: {warning}\n"));
    let adherence = report.adherence.iter().map(|adherence| format!("{}\n", report.adherence_sentence(adherence)));
    let lines: String = sentences.chain(adherence).chain(warnings).collect();
    format!("{}\n{lines}", table.trim_fmt())
}

/// Rules above, below and under the head, as in a printed table; rows need none.
fn rule(table: &mut Table) {
    table.load_preset(presets::NOTHING);
    let rules = [TableComponent::TopBorder, TableComponent::HeaderLines, TableComponent::BottomBorder];
    let crossings = [TableComponent::TopBorderIntersections, TableComponent::BottomBorderIntersections];
    for rule in rules.into_iter().chain(crossings) {
        table.set_style(rule, '─');
    }
}

/// Numbers to the right.
fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The widest gaps between groups of patients: one row per attribute.
pub(crate) fn groups(mut table: Table, fairness: &FairnessReport, confidence: f64) -> String {
    let level = format::confidence(confidence);
    rule(&mut table);
    let head = ["Widest gap by".to_owned(), format!("AUROC [{level} CI]"), "Worst served".to_owned()];
    let missed = [format!("Under-diagnosis [{level} CI]"), "Worst served".to_owned()];
    table.set_header(head.into_iter().chain(missed.into_iter().filter(|_| fairness.operating_point.is_some())));
    for attribute in &fairness.attributes {
        let [auroc, of_auroc] = widest(attribute, |arm| arm.auroc_gap.as_ref());
        let [missed, of_missed] = widest(attribute, |arm| arm.underdiagnosis_gap.as_ref());
        let missed = [missed, of_missed].into_iter().filter(|_| fairness.operating_point.is_some());
        table.add_row([attribute.name.clone(), auroc, of_auroc].into_iter().chain(missed));
    }
    align(&mut table);
    table.trim_fmt() + "\n"
}

/// The widest gap of an attribute over all arms, and whose it is.
fn widest(attribute: &FairnessAttribute, gap: impl Fn(&FairnessArm) -> Option<&FairnessGap>) -> [String; 2] {
    let gaps = attribute.arms.iter().filter_map(|arm| Some((arm, gap(arm)?)));
    match gaps.reduce(|widest, other| if other.1.size.value > widest.1.size.value { other } else { widest }) {
        Some((arm, gap)) => [format::auroc_estimate(&gap.size), format!("{}: {}", arm.arm, gap.worst)],
        None => [format::UNDEFINED.to_owned(), String::new()],
    }
}

fn headline_head(report: &ComparisonReport) -> [String; 7] {
    let level = format::confidence(report.protocol.confidence);
    [
        "Arm".to_owned(),
        "Real / epoch".to_owned(),
        "Synthetic / epoch".to_owned(),
        format!("Macro AUROC [{level} CI]"),
        format!("Minus {} [{level} CI]", report.baseline),
        format!("Relative [{level} CI]"),
        "p".to_owned(),
    ]
}

fn headline_row(report: &ComparisonReport, arm: &ArmReport) -> [String; 7] {
    let [absolute, relative, p] = match &arm.difference {
        Some(difference) => [
            format::difference_estimate(&difference.absolute),
            format::relative_estimate(&difference.relative),
            format::p_value(difference.p_bootstrap),
        ],
        None if report.is_baseline(arm) => ["baseline", "", ""].map(str::to_owned),
        None => [format::UNDEFINED, "", ""].map(str::to_owned),
    };
    let [real, synthetic] = [arm.real_per_epoch, arm.synthetic_per_epoch].map(format::count);
    [arm.name.clone(), real, synthetic, macro_auroc(arm), absolute, relative, p]
}

fn macro_auroc(arm: &ArmReport) -> String {
    arm.macro_auroc.map_or_else(|| NO_MACRO.to_owned(), |auroc| format::auroc_estimate(&auroc))
}

/// A GitHub-flavoured Markdown table; `right` says which columns are aligned to the right.
fn markdown(head: &[String], right: &[bool], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| escape(cell)).collect::<Vec<_>>().join(" | "));
    let rule: Vec<&str> = right.iter().map(|right| if *right { "--:" } else { ":--" }).collect();
    let body: String = rows.map(|row| line(&row)).collect();
    format!("{}|{}|\n{body}", line(head), rule.join("|"))
}

/// Text that Markdown shows as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    /// The table as written to a pipe, wherever `cargo test` runs.
    fn piped(report: &ComparisonReport) -> String {
        lay_out(Table::new(), report)
    }

    #[test]
    fn every_arm_has_a_row_and_a_sentence() {
        let report = mock::typical();
        let text = piped(&report);
        for (place, arm) in report.arms.iter().enumerate() {
            assert!(text.contains(&format!("\n {} ", arm.name)), "{text}");
            assert_eq!(text.contains(&format!("\n{}: ", arm.name)), place > 0, "{text}");
        }
        // From the invented report: 0.658 + 0.021, ± 0.024 and 0.023, and the difference 0.021 ± 0.017.
        assert!(text.contains("0.679 [0.655, 0.702]"), "{text}");
        assert!(text.contains("real+synth-1: better than real-only: +0.021 [0.004, 0.038]"), "{text}");
        assert!(text.contains("real+synth-3: no difference from real-only could be shown: +0.006 [-0.011, 0.023]"), "{text}");
        assert!(text.contains("warning: Hernia has no positives"), "{text}");
    }

    #[test]
    fn rows_are_aligned() {
        let text = piped(&mock::typical());
        let widths: Vec<usize> = text.lines().take(8).map(|line| line.chars().count()).collect();
        let rules: Vec<usize> = text.lines().filter(|line| line.starts_with('─')).map(|line| line.chars().count()).collect();
        assert!(rules.len() >= 2 && rules.iter().all(|width| *width == rules[0]), "{text}");
        assert!(widths.iter().all(|width| *width <= rules[0]), "{text}");
    }

    #[test]
    fn narrow_terminals_are_respected() {
        let mut table = Table::new();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(80);
        let text = lay_out(table, &mock::typical());
        let longest = text.lines().take_while(|line| !line.contains(": ")).map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= 80), "{text}");
    }

    #[test]
    fn markdown_has_as_many_cells_in_every_row() {
        let mut report = mock::typical();
        report.arms[1].name = "a|b <i>".to_owned();
        for table in [markdown_table(&report), markdown_findings(&report)] {
            let cells = |line: &str| line.replace("\\|", "").matches('|').count();
            let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
            assert!(rows.iter().all(|row| cells(row) == cells(rows[0])), "{table}");
            assert!(table.contains("a\\|b &lt;i>"), "{table}");
        }
    }

    #[test]
    fn undefined_is_said() {
        let text = markdown_findings(&mock::typical());
        assert!(text.contains("| Hernia | 0 | undefined (no positives in test) |"), "{text}");
    }

    #[test]
    fn the_widest_gap_of_every_attribute_is_shown() {
        let mut report = mock::typical();
        let fairness = report.fairness.as_mut().unwrap();
        // The third arm has the widest gap of the AUROC; nobody has one by view.
        let widest = fairness.attributes[0].arms[2].auroc_gap.as_mut().unwrap();
        (widest.size.value, widest.size.low, widest.worst) = (0.062, -0.013, "male".to_owned());
        let mut view = fairness.attributes[0].clone();
        view.name = "view".to_owned();
        view.arms.iter_mut().for_each(|arm| (arm.auroc_gap, arm.underdiagnosis_gap) = (None, None));
        fairness.attributes.push(view);
        let shown = |report: &ComparisonReport| groups(Table::new(), report.fairness.as_ref().unwrap(), 0.95);
        let text = shown(&report);
        assert!(text.contains("0.062 [-0.013, 0.083]") && text.contains("real+synth-3: male"), "{text}");
        assert!(text.contains("0.041 [0.006, 0.083]") && text.contains("real-only: female"), "{text}");
        assert!(text.lines().any(|line| line.contains("view") && line.matches(format::UNDEFINED).count() == 2), "{text}");
        // Without thresholds there is no rate to be far apart in.
        report.fairness.as_mut().unwrap().operating_point = None;
        assert!(!shown(&report).contains("Under-diagnosis"));
        assert!(terminal_table(&report).contains("Widest gap by"));
    }

    #[test]
    fn one_arm_needs_no_baseline() {
        let report = mock::report(1, 1);
        assert!(piped(&report).contains("baseline"));
        assert_eq!(markdown_table(&report).lines().count(), 3);
    }
}
