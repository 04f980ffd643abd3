use super::*;
use crate::report::{Difference, mock};

fn page(report: &ComparisonReport) -> String {
    render_html(report, Some(&mock::grid()), None)
}

#[test]
fn pages_of_every_size_are_well_formed_and_without_nan() {
    for (arms, findings) in [(1, 1), (1, 14), (2, 1), (5, 14), (9, 18), (12, 30)] {
        let html = page(&mock::report(arms, findings));
        mock::assert_well_formed(&html);
        for word in ["NaN", "inf]", "-0.000", "\u{2212}0.000"] {
            assert!(!html.contains(word), "{word} with {arms} arms and {findings} findings");
        }
    }
}

#[test]
fn numbers_that_do_not_exist_are_never_printed_as_such() {
    let mut report = mock::typical();
    let nothing = Estimate { value: f64::NAN, low: f64::NAN, high: f64::INFINITY };
    report.arms[1].difference =
        Some(Difference { absolute: nothing, relative: nothing, p_bootstrap: f64::NAN, p_delong: None, p_holm: None });
    report.arms[1].macro_auroc = Some(nothing);
    report.arms[1].findings[0].auroc = Some(nothing);
    report.arms[1].findings[0].roc = vec![[f64::NAN, 0.0], [0.5, f64::NAN]];
    report.arms[2].macro_auroc = None;
    report.arms[2].difference = None;
    report.arms[1].runs[0].seconds = f64::NAN;
    report.arms[1].runs[0].test_macro_auroc = Some(f64::NAN);
    let html = page(&report);
    mock::assert_well_formed(&html);
    assert!(!html.contains("NaN") && !html.contains("inf,") && !html.contains("inf]"));
    assert!(html.contains("undefined (no finding has both classes in test)"));
}

#[test]
fn every_arm_and_finding_appears() {
    let report = mock::report(9, 18);
    let html = page(&report);
    for arm in &report.arms {
        assert!(html.contains(&format!("<th scope=\"row\">{}<span", arm.name)), "{}", arm.name);
        assert!(html.contains(&arm.description), "{}", arm.description);
    }
    for finding in report.finding_names() {
        assert!(html.contains(&format!("<th scope=\"row\">{finding}</th>")), "{finding}");
    }
    assert_eq!(html.matches("aria-label=\"ROC curves for").count(), 18);
}

#[test]
fn text_from_the_run_file_is_escaped() {
    let mut report = mock::typical();
    let evil = "<script>alert('x')</script> & \"quoted\"";
    report.title = evil.to_owned();
    report.baseline = evil.to_owned();
    report.arms[0].name = evil.to_owned();
    report.arms[1].description = evil.to_owned();
    report.data.name = evil.to_owned();
    report.data.findings[0].finding = evil.to_owned();
    for arm in &mut report.arms {
        arm.findings[0].finding = evil.to_owned();
    }
    report.warnings.push(evil.to_owned());
    let mut grid = mock::grid();
    grid.columns[0].title = evil.to_owned();
    grid.columns[0].images[0].caption = evil.to_owned();
    let html = render_html(&report, Some(&grid), None);
    mock::assert_well_formed(&html);
    assert!(!html.contains("<script"));
    assert!(html.contains("&lt;script&gt;alert"));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let html = page(&mock::typical());
    for reference in ["src=\"http", "url(", "@import", "<link", "<script", "<iframe"] {
        assert!(!html.contains(reference), "{reference}");
    }
    // Only links of the references name another host, and their text is the link.
    for after in html.split("http").skip(1) {
        assert!(after.starts_with("s://doi.org/") || after.starts_with("s://www.jstor.org/"), "{}", &after[..40]);
    }
}

#[test]
fn undefined_findings_are_said_and_never_one_half() {
    let mut report = mock::typical();
    let html = page(&report);
    let cells = html.split("<td class=\"undefined").skip(1);
    // Synthetic images have another sentence.
    let cells: Vec<&str> = cells.filter(|cell| !cell.contains(&format!(">{}</td>", super::adherence::TOO_FEW))).collect();
    // Once for all arms in the table by finding, once in the table of each of five arms, once beside the synthetic images.
    assert_eq!(cells.len(), 7);
    assert!(cells.iter().all(|cell| cell.split_once('>').unwrap().1.starts_with("undefined (no positives in test)</td>")));
    assert!(
        html.contains("1 finding without both classes in the test set is left out of the macro mean in every arm: Hernia.")
    );
    report.data.findings[13].positives[2] = 323;
    assert!(page(&report).contains("undefined (no negatives in test)"));
    report.data.findings[13].labelled[2] = 0;
    assert!(page(&report).contains("undefined (no labels in test)"));
}

#[test]
fn phantom_images_are_called_phantom() {
    let mut report = mock::typical();
    report.data.nature = "phantom".to_owned();
    report.warnings.clear();
    let html = page(&report);
    assert!(html.contains("Phantom data."));
    assert!(!html.contains("real test images") && !html.contains("real radiographs"));
}

#[test]
fn one_arm_alone_is_compared_with_nothing() {
    let html = page(&mock::report(1, 3));
    assert!(!html.contains("Difference in macro AUROC to") && !html.contains("could be shown:"));
}

#[test]
fn a_page_without_images_has_no_samples() {
    let report = mock::typical();
    assert!(!render_html(&report, None, None).contains("id=\"samples\""));
    assert!(!render_html(&report, Some(&SampleGrid::default()), None).contains("id=\"samples\""));
    assert!(page(&report).contains("id=\"samples\""));
}

#[test]
fn the_evaluation_stands_beside_the_arms() {
    let sections = maud::html! { section { h2 { "Fidelity by a network" } } };
    let html = render_html(&mock::typical(), None, Some(&sections));
    assert!(html.contains("id=\"evaluation\"") && html.contains("Fidelity by a network"));
    assert!(!page(&mock::typical()).contains("id=\"evaluation\""));
}

#[test]
fn headline_row_reads_as_agreed() {
    let html = page(&mock::typical());
    // From the invented report: 0.658 + 0.021, its interval, the difference 0.021 ± 0.017 and its share of 0.658.
    let row = "<td class=\"number\"><span class=\"value\">0.679</span> <span class=\"interval\">[0.655, 0.702]</span></td>\
               <td class=\"number\"><span class=\"value\">+0.021</span> <span class=\"interval\">[0.004, 0.038]</span></td>\
               <td class=\"number\"><span class=\"value\">+3.2 %</span> <span class=\"interval\">[0.6, 5.8]</span></td>";
    assert!(html.contains(row));
}
