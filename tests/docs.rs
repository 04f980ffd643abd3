//! What the pages name exists: files behind relative links, headings behind anchors, and every path and item of the map.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use roentgen::config::RunConfig;
use roentgen_augment::formats::FORMATS;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Markdown pages of the repository's own folders.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "docs/results", "benches", "augment", "classifier", "assets/demo", "tests/interop", "fuzz"] {
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

/// The code spans of a line.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// A code span with a slash in it is a path from the top of the repository. Names beside the path of a file occur in that file.
#[test]
fn the_map_names_what_exists() {
    let map = fs::read_to_string(top().join("docs/architecture.md")).unwrap();
    let (mut paths, mut items, mut wrong) = (0, 0, Vec::new());
    for line in prose(&map) {
        let (files, names): (Vec<_>, Vec<_>) = spans(line).into_iter().partition(|span| span.contains('/'));
        paths += files.len();
        wrong.extend(files.iter().filter(|path| !top().join(path).exists()).map(|path| format!("no such path: {path}")));
        let file = files.last().map(|path| top().join(path)).filter(|path| path.is_file());
        if let Some(text) = file.and_then(|path| fs::read_to_string(path).ok()) {
            items += names.len();
            let is_missing = |name: &&&str| !text.contains(name.rsplit("::").next().unwrap_or(name));
            wrong
                .extend(names.iter().filter(is_missing).map(|name| format!("{} does not name {name}", files[files.len() - 1])));
        }
    }
    assert!(wrong.is_empty(), "docs/architecture.md:\n{}", wrong.join("\n"));
    assert!(paths > 30 && items >= 10, "only {paths} paths and {items} items were found: does the test still read the map?");
}

#[test]
fn every_layout_is_in_the_documentation_and_in_the_help() {
    let page = fs::read_to_string(top().join("docs/run-file.md")).unwrap();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_roentgen")).args(["data", "--help"]).output().unwrap();
    // Lines are wrapped to the terminal.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&String::from_utf8(help.stdout).unwrap());
    let keys = page.lines().find(|line| line.starts_with("| `format` |")).unwrap();
    for format in FORMATS {
        let line = format!("| `{}` | {} |", format.name, format.reads);
        assert!(page.lines().any(|found| found == line), "docs/run-file.md has no line\n{line}");
        assert!(keys.contains(&format!("`{}`", format.name)), "{keys}");
        let line = words(&format!("{} {}", format.name, format.reads.replace('`', "")));
        assert!(help.contains(&line), "`roentgen data --help` has no line\n{line}\n{help}");
    }
    let table = page.split_once("### Formats").unwrap().1.split_once("\n\nThe columns").unwrap().0;
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), FORMATS.len() + 1, "{table}");
}

#[test]
fn run_files_on_the_pages_are_run_files() {
    let mut seen = 0;
    for page in ["docs/own-data.md", "docs/run-file.md"] {
        let text = fs::read_to_string(top().join(page)).unwrap();
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
        for block in blocks.filter(|block| block.contains("[data]")) {
            let config = RunConfig::parse(block, Path::new(page), Path::new(""));
            let checked = config.and_then(|config| config.validate_tables());
            assert!(checked.is_ok(), "{page}: {}\n{block}", checked.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 7, "only {seen} run files were found: does the test still read the pages?");
}
