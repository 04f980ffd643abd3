//! Synthetic images that exist already: rows of a study's own table, and images made elsewhere.

use std::process::Output;

use roentgen::report::ComparisonReport;
use roentgen_augment::image::encode_png;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};

use crate::cli::{PHANTOMS, RUN, Study, succeeds};
use crate::finetune::Bench;

/// Rows that are synthetic, each with an image of its own: copies of radiographs, so that training on them would change a network.
fn add_synthetic_rows(study: &Study, rows: usize) {
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let mut lines = table.lines();
    let mut text = format!("{},origin,seed,prompt,model\n", lines.next().unwrap());
    let real: Vec<&str> = lines.collect();
    real.iter().for_each(|line| text.push_str(&format!("{line},real,,,\n")));
    std::fs::create_dir_all(study.path("made")).unwrap();
    for (i, line) in real.iter().cycle().take(rows).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        std::fs::copy(study.path(cells[0]), study.path(&format!("made/{i}.png"))).unwrap();
        text.push_str(&format!("made/{i}.png,,{},synthetic,{i},An image.,painter\n", cells[2..].join(",")));
    }
    std::fs::write(study.path("table.csv"), text).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn report(study: &Study, out: &str) -> ComparisonReport {
    serde_json::from_slice(&std::fs::read(study.path(out).join("report.json")).unwrap()).unwrap()
}

#[test]
fn synthetic_rows_of_a_table_are_no_radiographs() {
    let study = Study::new();
    study.write_run(&RUN.replace("seeds = [1, 2]", "seeds = [1]").replace("[data]\n", "[data]\ntrain_images = 20\n"));
    let compare = |out| study.roentgen(&["compare", "run.toml", "--out", out, "--device", "cpu"]);
    succeeds(&compare("without"));
    add_synthetic_rows(&study, 25);
    let output = compare("with");
    succeeds(&output);
    let note = "25 synthetic rows of ./table.csv are left out";
    assert!(said(&output).contains(&format!("note: {note}")), "{}", said(&output));

    // Every count is that of the radiographs, and so is every weight, of the loss and of the networks.
    let (without, with) = (report(&study, "without"), report(&study, "with"));
    assert_eq!(with.data.images, without.data.images);
    assert_eq!(with.data.images[0], 20);
    let counts = |report: &ComparisonReport| {
        report.arms.iter().map(|arm| (arm.real_per_epoch, arm.synthetic_per_epoch)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&with), [(20, 0), (20, 10)]);
    assert_eq!(counts(&with), counts(&without));
    assert!(with.warnings.iter().any(|warning| warning.contains(note)), "{:?}", with.warnings);
    for arm in ["real", "mixed"] {
        let scores = |out: &str| std::fs::read(study.path(&format!("{out}/arms/{arm}/predictions.csv"))).unwrap();
        assert!(scores("with") == scores("without"), "arm {arm} trained on something else");
    }

    let summary = succeeds(&study.roentgen(&["data", "summary", "run.toml"]));
    assert!(summary.contains("synthetic 25"), "{summary}");
    let predict = |split| {
        let weights = "without/arms/real/seed-1/model.safetensors";
        let args = ["predict", "run.toml", "--weights", weights, "--out", "scores.csv", "--device", "cpu", "--split", split];
        study.roentgen(&args)
    };
    let all = predict("all");
    assert!(succeeds(&all).contains(&format!("{PHANTOMS} images")) && said(&all).contains("--split synthetic"), "{all:?}");
    assert!(succeeds(&predict("synthetic")).contains("25 images"));
}

#[test]
fn a_generator_learns_from_synthetic_rows_if_it_is_told_to() {
    let bench = Bench::new();
    let table = std::fs::read_to_string(bench.path("table.csv")).unwrap();
    let mut lines = table.lines();
    let header = lines.next().unwrap();
    let mut text = format!("{header},origin,seed,prompt,model\n");
    lines.clone().for_each(|line| text.push_str(&format!("{line},,,,\n")));
    for (i, patient) in ["p0", ""].into_iter().enumerate() {
        let blanks = ",".repeat(header.split(',').count() - 3);
        std::fs::copy(bench.path("phantoms/0.png"), bench.path(&format!("made{i}.png"))).unwrap();
        text.push_str(&format!("made{i}.png,{patient},train{blanks},synthetic,{i},A painted mass {i}.,painter\n"));
    }
    bench.write("table.csv", &text);
    bench.edit("run.toml", "steps = 8\nwarmup_steps = 2", "steps = 2\nwarmup_steps = 1");
    let pairs = |out: &str| std::fs::read_to_string(bench.path(out).join("data.csv")).unwrap();
    let without = bench.finishes("without", &[]);
    assert!(said(&without).contains("2 synthetic rows of ./table.csv are left out"), "{}", said(&without));
    assert!(!pairs("without").contains("painted"));
    let with = bench.finishes("with", &["--set", "include_synthetic=true"]);
    assert!(!said(&with).contains("left out"), "{}", said(&with));
    assert!(pairs("with").contains("A painted mass 0.") && pairs("with").contains("A painted mass 1."));
    assert_eq!(pairs("with").lines().count(), pairs("without").lines().count() + 2);
    // The last patient of the table is in the test split.
    bench.edit("table.csv", "made0.png,p0,", "made0.png,p21,");
    bench.refuses("held-out", &["--set", "include_synthetic=true"], &["made0.png", "p21", "held out", "leave it out"]);
}

/// The run file with one seed and with that pool.
fn run_on(images: &str) -> String {
    let generator = format!("kind = \"images\"\nimages = {{ {images} }}");
    RUN.replace("seeds = [1, 2]", "seeds = [1]").replace("kind = \"shifted-phantom\"", &generator)
}

const COMPARE: [&str; 7] = ["compare", "run.toml", "--out", "out", "--device", "cpu", "--json"];

fn compared(study: &Study) -> serde_json::Value {
    serde_json::from_str(&succeeds(&study.roentgen(&COMPARE))).unwrap()
}

fn edit(study: &Study, name: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(study.path(name)).unwrap();
    assert!(text.contains(from), "{name} has no {from}");
    std::fs::write(study.path(name), text.replacen(from, to, 1)).unwrap();
}

/// A table of another tool in `made/set.csv`: no origin, other findings, images of other phantoms. `patient` is that of each row.
fn other_set(study: &Study, images: usize, patient: impl Fn(usize) -> String) {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(images, 32, 99)).unwrap();
    let mass = phantoms.vocabulary().findings().iter().position(|finding| finding.name() == "Mass").unwrap();
    std::fs::create_dir_all(study.path("made")).unwrap();
    let mut table = "image,patient_id,Mass,Hernia\n".to_owned();
    for (i, record) in phantoms.records().iter().enumerate() {
        std::fs::write(study.path(&format!("made/{i}.png")), encode_png(&phantoms.image(i))).unwrap();
        table.push_str(&format!("{i}.png,{},{},0\n", patient(i), record.labels[mass].cell()));
    }
    std::fs::write(study.path("made/set.csv"), table).unwrap();
}

#[test]
fn a_set_of_generate_enters_a_study_with_one_line() {
    let study = Study::new();
    let prompts: String = (0..12).map(|i| format!("Image {i}.,{}\n", i % 2)).collect();
    std::fs::write(study.path("prompts.csv"), format!("prompt,Effusion\n{prompts}")).unwrap();
    succeeds(&study.roentgen(&["dev", "random-pipeline", "--out", "tiny"]));
    let generate = ["generate", "--pipeline", "tiny", "--prompts", "prompts.csv", "--steps", "1", "--count", "2"];
    succeeds(&study.roentgen(&[&generate[..], &["--out", "painted", "--device", "cpu"]].concat()));
    let run = run_on("from = \"painted\"");
    study.write_run(&run);
    // 22 training radiographs ask for 11 images, and there are 24.
    let first = compared(&study);
    let arm = |report: &serde_json::Value, key: &str| {
        report["arms"].as_array().unwrap().iter().map(|arm| arm[key].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let real = first["data"]["images"][0].as_u64().unwrap();
    assert_eq!(arm(&first, "real_per_epoch"), [real, real]);
    assert_eq!(arm(&first, "synthetic_per_epoch")[0], 0);
    assert!(arm(&first, "synthetic_per_epoch")[1] > 0);
    let warnings = first["warnings"].to_string();
    for part in ["Synthetic images were made elsewhere", "24 of 24 images", "name no patient", "no labels of Atelectasis"] {
        assert!(warnings.contains(part), "no `{part}` in {warnings}");
    }
    assert!(first["adherence"]["images"].as_u64().unwrap() > 0);
    let page = std::fs::read_to_string(study.path("out/report.html")).unwrap();
    assert!(page.contains("Synthetic: images made elsewhere"));
    assert!(!study.path("out/cache").exists(), "nothing is made, and nothing is kept");
    let filled = study.roentgen(&["fill", "run.toml", "--out", "out", "--device", "cpu"]);
    assert!(succeeds(&filled).contains("nothing to make"));

    // The same images elsewhere are the same study; other images are another.
    std::fs::rename(study.path("painted"), study.path("moved")).unwrap();
    study.write_run(&run.replace("painted", "moved"));
    let mut again = compared(&study);
    assert!(again["warnings"].to_string().contains("moved/manifest.csv"));
    again["warnings"] = first["warnings"].clone();
    assert_eq!(again, first);
    std::fs::copy(study.path("moved/000003.png"), study.path("moved/000004.png")).unwrap();
    let said = ["out holds another run", "1 image with other content: synthetic image 000004.png"];
    study.refuses(&COMPARE, &said);
}

#[test]
fn synthetic_rows_of_the_table_are_a_pool_if_a_generator_says_so() {
    let study = Study::new();
    other_set(&study, 9, |_| String::new());
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let blanks = ",".repeat(table.lines().next().unwrap().split(',').count() - 1);
    let mut text = String::new();
    for (at, line) in table.lines().enumerate() {
        text.push_str(&format!("{line}{}\n", if at == 0 { ",origin,seed,prompt,model,source_id" } else { ",,,,," }));
    }
    (0..9).for_each(|i| text.push_str(&format!("made/{i}.png{blanks},synthetic,{i},A mass.,painter,\n")));
    std::fs::write(study.path("table.csv"), &text).unwrap();

    study.write_run(&run_on("from = \"data\"").replace("synthetic_per_real = 0.5", "synthetic_per_real = 1.0"));
    // The remedy of the error works.
    study.refuses(&COMPARE, &["arms.mixed.pool is", "at most 9, the images of", "table.csv", "`pool = 9`"]);
    assert!(!study.path("out").exists(), "it is refused before anything is written");
    edit(&study, "run.toml", "name = \"mixed\"", "name = \"mixed\"\npool = 9");
    let report = compared(&study);
    let real = &report["data"]["images"][0];
    assert_eq!((&report["arms"][1]["synthetic_per_epoch"], &report["arms"][1]["real_per_epoch"]), (real, real));
    assert!(!report["warnings"].to_string().contains("left out"), "{}", report["warnings"]);
    assert_eq!(report["data"]["images"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>(), PHANTOMS as u64);

    // A radiograph of the test set as the source of one of them, named in the way of another tool.
    let predictions = std::fs::read_to_string(study.path("out/arms/real/predictions.csv")).unwrap();
    let held_out = predictions.lines().nth(1).unwrap().split(',').find(|cell| cell.contains(".png")).unwrap().to_owned();
    let stem = held_out.trim_start_matches("phantoms/").trim_end_matches(".png");
    edit(&study, "table.csv", "painter,\n", &format!("painter,{stem}.jpg\n"));
    let elsewhere = ["compare", "run.toml", "--out", "other", "--device", "cpu", "--json"];
    study.refuses(&elsewhere, &["1 of 9 images of", "such as `made/0.png`", "held_out = \"drop\""]);
    edit(&study, "run.toml", "from = \"data\"", "from = \"data\", held_out = \"drop\"");
    study.refuses(&elsewhere, &["arms.mixed.pool is 9", "`pool = 8`"]);
    edit(&study, "run.toml", "pool = 9", "pool = 8");
    let dropped = succeeds(&study.roentgen(&elsewhere));
    assert!(dropped.contains("1 of 9 images of") && dropped.contains("are not in the pool"), "{dropped}");
}

#[test]
fn a_table_of_another_tool_is_a_pool_with_plan_and_gate() {
    let study = Study::new();
    other_set(&study, 30, |i| format!("stranger {i}"));
    // One that no gate passes.
    std::fs::write(study.path("made/3.png"), encode_png(&roentgen_augment::image::GrayImage::from_u8(32, 32, vec![9; 1024])))
        .unwrap();
    let table =
        "from = { format = \"table\", labels = \"made/set.csv\" }, model = \"RoentGen v2\", trained_on = \"MIMIC-CXR.\"";
    let run = run_on(table).replace("[bootstrap]", "plan = { counts = { Mass = 3, \"No Finding\" = 8 } }\n\n[bootstrap]");
    study.write_run(&run);
    let report = compared(&study);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("Their generator was trained on MIMIC-CXR.") && !warnings.contains("name no patient"),
        "{warnings}"
    );
    let judged: Vec<String> =
        std::fs::read_to_string(study.path("out/adherence.csv")).unwrap().lines().skip(1).map(str::to_owned).collect();
    assert_eq!(judged.len(), 11);
    // All of them, through a gate.
    let gated = run_on(table).replace("synthetic_per_real = 0.5", "synthetic_per_real = 1.0");
    study.write_run(&format!("{gated}gate = true\npool = 30\n\n[gate]\njudges = [\"sanity\"]\n"));
    std::fs::remove_dir_all(study.path("out")).unwrap();
    let first = compared(&study);
    let gate = &first["arms"][1]["gate"];
    assert_eq!((&gate["requests"], &gate["rejected"], &gate["judged"]), (&30.into(), &1.into(), &30.into()), "{gate}");
    let rows = std::fs::read_to_string(study.path("out/arms/mixed/gate.csv")).unwrap();
    let rejected: Vec<&str> = rows.lines().filter(|line| line.contains("blank")).collect();
    assert!(rejected.len() == 1 && rejected[0].ends_with(",3.png"), "{rows}");
    assert_eq!(compared(&study), first);
}

#[test]
fn a_copy_of_a_test_radiograph_never_trains() {
    let study = Study::new();
    other_set(&study, 12, |i| format!("stranger {i}"));
    study.write_run(&run_on("from = \"made/set.csv\""));
    compared(&study);
    let predictions = std::fs::read_to_string(study.path("out/arms/real/predictions.csv")).unwrap();
    let held_out = predictions.lines().nth(1).unwrap().split(',').find(|cell| cell.contains(".png")).unwrap().to_owned();
    std::fs::copy(study.path(&held_out), study.path("made/5.png")).unwrap();
    let other = ["train", "run.toml", "--arm", "mixed", "--out", "other", "--device", "cpu"];
    study.refuses(&other, &["`5.png`", &held_out, "byte for byte", "(test)"]);
    // The study's own table as a pool is nothing but copies.
    study.write_run(&run_on("from = \"table.csv\""));
    study.refuses(&other, &["descend from patients who are held out"]);
    study.write_run(&run_on("from = \"table.csv\", held_out = \"drop\""));
    let output = study.roentgen(&other);
    assert!(said(&output).contains("byte for byte files of training radiographs"), "{}", said(&output));
}

#[test]
fn folders_of_other_tools_are_pools() {
    let study = Study::new();
    other_set(&study, 14, |_| String::new());
    let copy = |from: usize, to: &str| {
        let to = study.path(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(study.path(&format!("made/{from}.png")), to).unwrap();
    };
    (0..14).for_each(|i| copy(i, &format!("classes/{}/{i}.png", ["Mass", "NORMAL"][i % 2])));
    study.write_run(&run_on("from = \"classes\""));
    let report = compared(&study);
    assert_eq!(report["adherence"]["arm"], "mixed");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("name no patient and no source") && warnings.contains("no labels of Atelectasis"), "{warnings}");

    // An imagefolder that names the radiograph each image was made from.
    (0..14).for_each(|i| copy(i, &format!("hub/{i}.png")));
    let predictions = std::fs::read_to_string(study.path("out/arms/real/predictions.csv")).unwrap();
    let held_out = predictions.lines().nth(1).unwrap().split(',').find(|cell| cell.contains(".png")).unwrap().to_owned();
    let metadata = |source: &str| {
        let rows: String = (0..14).map(|i| format!("{i}.png,{},{}\n", i % 2, if i == 8 { source } else { "" })).collect();
        std::fs::write(study.path("hub/metadata.csv"), format!("file_name,Mass,source_id\n{rows}")).unwrap();
    };
    metadata(&held_out);
    study.write_run(&run_on("from = \"hub\""));
    let other = ["compare", "run.toml", "--out", "other", "--device", "cpu", "--json"];
    study.refuses(&other, &["1 of 14 images", "`8.png`", "held out"]);
    metadata("");
    succeeds(&study.roentgen(&other));
}

#[test]
fn a_list_of_findings_says_what_is_absent_in_a_pool_too() {
    let study = Study::new();
    other_set(&study, 14, |i| format!("stranger {i}"));
    let rows: String = (0..14).map(|i| format!("{i}.png,stranger {i},{},7\n", ["Mass", "No Finding"][i % 2])).collect();
    std::fs::write(study.path("made/set.csv"), format!("image,patient_id,labels,scheduler\n{rows}")).unwrap();
    // The folder holds one table; a column that it has beside the known ones is named.
    study.write_run(&run_on("from = \"made\""));
    let warnings = compared(&study)["warnings"].to_string();
    for said in ["of column `labels` names Atelectasis", "all images are negative for it", "are ignored: `scheduler`"] {
        assert!(warnings.contains(said), "{said}: {warnings}");
    }
    assert!(!warnings.contains("no labels of"), "{warnings}");
    let gone = "from = { format = \"table\", labels = \"made/set.csv\", images = \"gone\", extra_columns = [\"scheduler\"] }";
    study.write_run(&run_on(gone));
    study.refuses(&COMPARE, &["no such folder", "gone", "`generator.images.from.images`"]);
}

#[test]
fn what_a_pool_lacks_is_said_by_data_check() {
    let study = Study::new();
    other_set(&study, 3, |_| String::new());
    let check = || {
        let output = study.roentgen(&["data", "check", "run.toml"]);
        (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output)))
    };
    study.write_run(&run_on("from = \"made/set.csv\""));
    let (code, text) = check();
    assert!(code == Some(1) && text.contains("arms.mixed.pool is") && text.contains("`pool = 3`"), "{text}");
    study.write_run(&format!("{}pool = 3\n", run_on("from = \"made/set.csv\"")));
    let (code, text) = check();
    assert!(code == Some(0) && text.contains("name no patient and no source"), "{text}");
    std::fs::write(study.path("made/1.png"), "no image").unwrap();
    let (code, text) = check();
    assert!(code == Some(1) && text.contains("made/1.png"), "{text}");
}

#[test]
fn settings_of_a_pool_are_checked() {
    let study = Study::new();
    other_set(&study, 3, |_| String::new());
    let check = ["data", "summary", "run.toml"];
    let refuses = |images: &str, said: &[&str]| {
        study.write_run(&run_on(images));
        study.refuses(&check, said);
    };
    refuses("from = \"made\", hold_out = \"drop\"", &["hold_out"]);
    refuses("from = { format = \"table\" }", &["generator.images.from.labels is absent"]);
    for (keys, said) in [
        ("size = 64", "generator.size is set"),
        ("supply = \"cached\"", "generator.supply is set"),
        ("plan = { prompts = \"p.csv\" }", "generator.plan.prompts is set"),
    ] {
        study.write_run(&run_on("from = \"made\"").replace("[bootstrap]", &format!("{keys}\n\n[bootstrap]")));
        study.refuses(&check, &[said]);
    }
    study.write_run(&RUN.replace("kind = \"shifted-phantom\"", "kind = \"images\""));
    study.refuses(&check, &["images = { from = \"PATH\" }"]);
    study.write_run(&RUN.replace("kind = \"shifted-phantom\"", "kind = \"phantom\"\nimages = { from = \"made\" }"));
    study.refuses(&check, &["generator.images is set"]);
    // What only the files tell.
    let compare = |images: &str, said: &[&str]| {
        study.write_run(&run_on(images));
        study.refuses(&COMPARE, said);
    };
    compare("from = \"nowhere\"", &["nowhere", "the path of a table or of a folder"]);
    std::fs::write(study.path("made/real.csv"), "image,Mass,origin\n0.png,1,real\n1.png,0,real\n").unwrap();
    compare("from = \"made/real.csv\"", &["made/real.csv", "every row of this one has origin = real"]);
    compare("from = \"data\"", &["no row of the study's own has origin = synthetic"]);
}

#[test]
fn every_command_says_that_prompts_are_cut() {
    let study = Study::new();
    let long = "mild edema ".repeat(60);
    std::fs::write(study.path("p.csv"), format!("prompt,Effusion\n{long}no effusion,0\n{long}large effusion,1\n")).unwrap();
    succeeds(&study.roentgen(&["dev", "random-pipeline", "--out", "tiny"]));
    let generator = "kind = \"diffusion\"\nplan = { prompts = \"p.csv\" }\ncache = \"samples\"\n\n\
                     [generator.diffusion]\npipeline = \"tiny\"\nsteps = 1\ndevice = \"cpu\"";
    study.write_run(&RUN.replace("seeds = [1, 2]", "seeds = [1]").replace("kind = \"shifted-phantom\"", generator));
    let cut = "longer than the text encoder reads and were cut";
    let colour = "the model produced colour";
    for (args, is_report) in [
        (&["generate", "--pipeline", "tiny", "--prompts", "p.csv", "--steps", "1", "--out", "g"][..], false),
        (&["fill", "run.toml", "--out", "out"], false),
        (&["train", "run.toml", "--arm", "mixed", "--out", "one"], false),
        (&["compare", "run.toml", "--out", "out"], true),
    ] {
        let output = study.roentgen(&[args, &["--device", "cpu", "--json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&succeeds(&output)).unwrap();
        let notes = json[if is_report { "warnings" } else { "notes" }].to_string();
        assert!(notes.contains(cut) && notes.contains(colour), "{args:?}: {notes}");
        if args[0] != "generate" {
            assert!(said(&output).contains("note: ") && said(&output).contains(cut), "{args:?}: {}", said(&output));
        }
    }
    let page = std::fs::read_to_string(study.path("out/report.html")).unwrap();
    assert!(page.contains(cut) && page.contains(colour));
}

#[test]
fn the_example_of_images_made_elsewhere_runs_at_tiny_size() {
    let study = Study::new();
    other_set(&study, 40, |_| String::new());
    std::fs::rename(study.path("made/set.csv"), study.path("made/manifest.csv")).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/made-elsewhere.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let edits = [
        ("format = \"nih-subset\"", "format = \"phantom\"\nphantom = { train = 24, valid = 24, test = 24 }"),
        ("labels = \"../data/nih_cxr14/labels.csv\"\n", ""),
        ("images = \"../data/nih_cxr14/nih64.npz\"\n", ""),
        ("from = \"../runs/set\"", "from = \"made\""),
        ("[1, 2, 3, 4, 5]", "[1]"),
        ("size = 64", "size = 32"),
        ("steps = 2000\nbatch_size = 32\neval_every = 100", "steps = 2\nbatch_size = 4\neval_every = 2\nwarmup_steps = 1"),
    ];
    let text = edits.into_iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from}");
        text.replacen(from, to, 1)
    });
    study.write_run(&text);
    let report = compared(&study);
    let counts: Vec<_> = report["arms"].as_array().unwrap().iter().map(|arm| arm["synthetic_per_epoch"].clone()).collect();
    assert_eq!(counts, [0, 24, 24, 0]);
    assert!(report["arms"][2]["gate"]["requests"] == 24, "{}", report["arms"][2]["gate"]);
}
