//! What the pages say is there: files and headings behind links, readers in tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use roentgen_augment::formats::{FORMATS, Format};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown pages of the repository's own folders.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/results", "benches", "augment", "classifier", "assets/demo", "tests/interop"] {
        let entries = fs::read_dir(top().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    pages.sort();
    pages
}

/// The lines of a page outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let after = |line| str::split(line, "](").skip(1);
    prose(text).flat_map(after).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    prose(&fs::read_to_string(page).unwrap()).filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    let (mut seen, mut broken) = (0, Vec::new());
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let is_there = target.exists() && (heading.is_empty() || anchors(&target).contains(heading));
            if !is_there {
                broken.push(format!("{}: {link}", page.strip_prefix(top()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(seen > 50, "only {seen} links were found: does the test still read the pages?");
}

/// The rows of the table below a heading of a page: the cells of its first two columns.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    let below = page.split_once(&format!("\n{heading}\n")).expect("the page has the heading").1;
    let table = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &'a str| line.trim_matches('|').split_once(" | ").map(|(name, text)| (name.trim(), text.trim()));
    table.skip(2).filter_map(cells).collect()
}

#[test]
fn help_and_docs_list_the_readers_that_there_are() {
    let page = fs::read_to_string(top().join("docs/run-file.md")).unwrap();
    let listed: Vec<_> = FORMATS.iter().map(|format| (format!("`{}`", format.name), format.reads)).collect();
    let expected: Vec<_> = listed.iter().map(|(name, reads)| (name.as_str(), *reads)).collect();
    assert_eq!(rows(&page, "### Formats"), expected);

    let help = Command::new(env!("CARGO_BIN_EXE_roentgen")).args(["data", "--help"]).output().unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&String::from_utf8(help.stdout).unwrap());
    for Format { name, reads, .. } in FORMATS {
        let line = words(&format!("{name} {}", reads.replace('`', "")));
        assert!(help.contains(&line), "`{line}` is not in:\n{help}");
    }
}
