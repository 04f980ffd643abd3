//! The pages that people open, in headless Chromium. `ROENTGEN_CHROMIUM` names another browser than `chromium` on the path.

use std::path::Path;
use std::process::Command;

use crate::cli::{RUN, Study};

/// Why the tests here are ignored unless asked for.
const WITHOUT: &str = "no Chromium: install it, or name it in ROENTGEN_CHROMIUM";

fn browser() -> Command {
    let program = std::env::var_os("ROENTGEN_CHROMIUM").unwrap_or_else(|| "chromium".into());
    let mut command = Command::new(program);
    // Containers run as root and have little shared memory. No name but those of files is found.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.args(["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--virtual-time-budget=5000"]);
    command
}

/// What a browser makes of a page.
struct Shown {
    /// The document after it was laid out.
    dom: String,
    /// What was written to the console.
    console: Vec<String>,
    /// Addresses that were asked for and are no files.
    requests: Vec<String>,
}

fn show(address: &str, scratch: &Path) -> Shown {
    let log = scratch.join("net.json");
    let mut command = browser();
    command.arg(format!("--user-data-dir={}", scratch.join("profile").display()));
    command.arg(format!("--log-net-log={}", log.display())).args(["--window-size=1200,900", "--dump-dom", address]);
    let output = command.output().expect(WITHOUT);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr);
    let log = std::fs::read_to_string(&log).expect("Chromium writes its log of requests");
    Shown {
        dom: String::from_utf8(output.stdout).expect("a page is UTF-8"),
        console: said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
        requests: requests(&log),
    }
}

/// The addresses in a log of requests that a page could have asked for; Chromium's own services are its own.
fn requests(log: &str) -> Vec<String> {
    let own = ["google.com", "googleapis.com", "gvt1.com", "gstatic.com", "chrome"];
    let urls = log.split("\"url\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut urls: Vec<String> =
        urls.filter(|url| url.starts_with("http") && !own.iter().any(|own| url.contains(own))).map(str::to_owned).collect();
    urls.dedup();
    urls
}

/// How far a page that is `width` pixels wide reaches to the right, in a light or dark scheme.
fn reach(page: &Path, width: usize, scratch: &Path, dark: bool) -> usize {
    let html = std::fs::read_to_string(page).unwrap();
    let source = html.replace('&', "&amp;").replace('"', "&quot;");
    // A window can't be that narrow; a frame can.
    let harness = format!(
        r#"<!DOCTYPE html><iframe id="page" width="{width}" height="844" srcdoc="{source}"></iframe><pre id="reach"></pre><script>
document.getElementById("page").addEventListener("load", event => {{
  const root = event.target.contentDocument.documentElement;
  document.getElementById("reach").textContent = root.scrollWidth + " of " + root.clientWidth;
}});</script>"#
    );
    let file = scratch.join("harness.html");
    std::fs::write(&file, harness).unwrap();
    let mut command = browser();
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(format!("--user-data-dir={}", scratch.join("narrow").display()));
    let output = command.args(["--dump-dom", &format!("file://{}", file.display())]).output().expect(WITHOUT);
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = dom.split("<pre id=\"reach\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    let (reach, within) = said.split_once(" of ").unwrap_or_else(|| panic!("the page was not laid out: {said:?}"));
    assert!(within.parse::<usize>().unwrap() <= width);
    reach.parse().unwrap()
}

/// What every page of this program must be: quiet, self-contained, as narrow as a phone, and printable.
fn is_well_made(page: &Path, contains: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let address = format!("file://{}", page.display());
    let shown = show(&address, scratch.path());
    assert!(shown.console.is_empty(), "{}: {:?}", page.display(), shown.console);
    assert!(shown.requests.is_empty(), "{}: asks for {:?}", page.display(), shown.requests);
    for part in contains {
        assert!(shown.dom.contains(part), "{} lacks {part}", page.display());
    }
    for dark in [false, true] {
        let reach = reach(page, 390, scratch.path(), dark);
        assert!(reach <= 390, "{} is {reach} pixels wide on a screen of 390", page.display());
    }
    let pdf = scratch.path().join("page.pdf");
    let mut print = browser();
    print.arg(format!("--user-data-dir={}", scratch.path().join("print").display()));
    let printed = print.arg(format!("--print-to-pdf={}", pdf.display())).arg(&address).output().expect(WITHOUT);
    assert!(printed.status.success() && std::fs::metadata(&pdf).is_ok_and(|pdf| pdf.len() > 1_000), "{}", page.display());
}

/// A page with every fault is seen to have them: what follows could not fail otherwise.
#[test]
#[ignore = "needs Chromium: cargo test --release --test tests pages -- --ignored"]
fn faults_of_a_page_are_seen() {
    let scratch = tempfile::tempdir().unwrap();
    let page = scratch.path().join("bad.html");
    let bad = r#"<!DOCTYPE html><body style="margin:0"><div style="width:500px">wide</div><img src="http://example.org/pixel.png">
<script>console.error("a fault")</script></body>"#;
    std::fs::write(&page, bad).unwrap();
    let shown = show(&format!("file://{}", page.display()), scratch.path());
    assert!(shown.console.iter().any(|line| line.contains("a fault")), "{:?}", shown.console);
    assert!(shown.requests.iter().any(|url| url.contains("example.org/pixel.png")), "{:?}", shown.requests);
    assert_eq!(reach(&page, 390, scratch.path(), false), 500);
}

#[test]
#[ignore = "needs Chromium: cargo test --release --test tests pages -- --ignored"]
fn the_report_of_a_comparison_is_well_made() {
    let study = Study::new();
    let run = RUN.replace("synthetic_per_real = 0.5", "synthetic_per_real = 1.0");
    study.write_run(&format!("{run}\n[evaluation]\nleast_images = 12\n"));
    let done = study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let parts = ["<table", "<svg", "<img", "id=\"findings\"", "id=\"roc\"", "id=\"calibration\"", "id=\"evaluation\"", "FID"];
    is_well_made(&study.path("out/report.html"), &parts);
    is_well_made(&study.path("out/evaluation.html"), &["<table", "<img", "FID"]);
}
