//! Planted faults on phantoms, where truth is known: every measure moves the way it must, and only where it must.
//!
//! `world` draws phantoms and trains the one classifier that is judge and feature network; `measures` measures a set with it; the tables
//! here say what each fault does to which measure. A measure moves if it leaves the range of four faithful sets of the same size by more
//! than that range's width, and stays if it keeps within one and a half widths. `pictures` draws both for the documentation.

mod bad;
mod harmless;
mod measures;
mod pictures;
mod plant;
mod world;

use measures::{Measures, measures};
use plant::{blurred, collapsed, copied, greyer, mirrored, swapped, women};
use world::{Set, World, world};

/// What a fault does to a measure.
#[derive(Clone, Copy, Debug)]
enum Move {
    Up,
    Down,
    Same,
}

use Move::{Down, Same, Up};

fn check(fault: &str, set: &Set, table: &[(&str, Move)]) {
    let world = world();
    let found = measures(world, set);
    let report: Vec<String> = found.iter().map(|(name, value)| line(world, name, *value)).collect();
    println!("{fault}:\n{}", report.join("\n"));
    let wrong: Vec<String> = table
        .iter()
        .filter(|(name, expected)| !moves(world, name, found[name], *expected))
        .map(|(name, expected)| format!("expected {expected:?} of {}", line(world, name, found[name])))
        .collect();
    assert!(wrong.is_empty(), "{fault}: {}", wrong.join("; "));
}

fn line(world: &World, name: &str, value: f64) -> String {
    let (low, high) = world.range(name);
    format!("{name}: {value:.4} (faithful {low:.4} to {high:.4})")
}

fn moves(world: &World, name: &str, value: f64, expected: Move) -> bool {
    let (low, high) = world.range(name);
    let width = high - low;
    match expected {
        Up => value > high + width,
        Down => value < low - width,
        Same => (low - 1.5 * width..=high + 1.5 * width).contains(&value),
    }
}

#[test]
fn the_judge_knows_its_trade() {
    for name in ["auroc", "sex", "side"] {
        let (low, _) = world().range(name);
        assert!(low > 0.8, "{name}: {low}");
    }
}

#[test]
fn blur_is_seen_by_what_compares_sets() {
    check(
        "blur",
        &blurred(&world().faithful),
        &[("fid", Up), ("kid", Up), ("precision", Down), ("ssim", Up), ("repeats", Same)],
    );
}

#[test]
fn swapped_labels_are_seen_by_what_knows_labels() {
    let blind = [("fid", Same), ("kid", Same), ("precision", Same), ("recall", Same), ("vendi", Same), ("copies", Same)];
    let seen = [("auroc", Down), ("retrieval", Down), ("kid of effusion", Up), ("sex", Same)];
    check("swapped labels", &swapped(&world().faithful), &[&blind[..], &seen[..]].concat());
}

#[test]
fn a_collapse_is_seen_by_what_knows_variety() {
    let seen =
        [("fid", Up), ("recall", Down), ("coverage", Down), ("vendi", Down), ("ssim", Up), ("repeats", Up), ("auroc", Down)];
    // What is made again and again is no copy of a training image, and lies among the real ones.
    check("mode collapse", &collapsed(&world().faithful), &[&seen[..], &[("copies", Same)]].concat());
}

#[test]
fn copies_are_seen_by_what_knows_the_training_set() {
    let seen = [("copies", Up), ("copies in features", Up), ("nearer", Up)];
    let blind = [("fid", Same), ("kid", Same), ("precision", Same), ("recall", Same), ("auroc", Same), ("repeats", Same)];
    check("copies", &copied(world(), &world().faithful), &[&seen[..], &blind[..]].concat());
}

#[test]
fn a_colour_cast_is_seen_by_what_looks_at_colours() {
    let faithful = &world().faithful;
    let cast = plant::cast(faithful);
    let (plain, coloured) = (plant::colour(&plant::rgb(faithful)), plant::colour(&cast));
    assert!(plain == 0.0 && coloured > 20.0, "{plain} {coloured}");
    // A network that takes gray images is blind to it.
    let gray = Set { images: cast.iter().map(|image| image.to_gray()).collect(), ..faithful.clone() };
    check("colour cast", &gray, &[("fid", Same), ("kid", Same), ("auroc", Same), ("copies", Same)]);
}

#[test]
fn a_missing_sex_is_seen_by_its_judge_and_by_what_compares_sets() {
    check(
        "women only",
        &women(&world().faithful),
        &[("sex", Down), ("fid", Up), ("kid", Up), ("copies", Same), ("repeats", Same)],
    );
}

#[test]
fn swapped_sides_are_seen_by_what_knows_sides() {
    check(
        "swapped sides",
        &mirrored(&world().faithful),
        &[("side", Down), ("fid", Up), ("kid", Up), ("ssim", Same), ("copies", Same)],
    );
}

#[test]
fn shifted_gray_levels_are_seen_by_networks_and_not_by_correlations() {
    let table = [("fid", Up), ("kid", Up), ("copies", Same), ("nearer", Same), ("repeats", Same)];
    check("gray levels", &greyer(&world().faithful), &table);
}

/// Values of the measures as the tests name them.
fn value(found: &Measures, name: &str) -> f64 {
    found[name]
}
