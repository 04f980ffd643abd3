//! The faults as the documentation shows them: images of each, and how far each moves every measure.
//!
//! `ROENTGEN_PICTURES=DIR` writes `faults.png` and `faults.svg`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use image::ExtendedColorType::Rgb8;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use roentgen::evaluation::memorisation::glyphs::{self, ADVANCE, HEIGHT};
use roentgen_augment::image::{GrayDepth, GrayImage, RgbImage};
use roentgen_augment::record::Sex;

use super::measures::measures;
use super::plant::{blurred, cast, collapsed, copied, greyer, mirrored, swapped, women};
use super::world::{Asked, Set, World, world};

/// Images of a row, and pixels per side of each.
const TILES: usize = 6;
const TILE: usize = 64;
/// Pixels between images.
const GAP: usize = 6;
/// Columns of the text on the left.
const TEXT: usize = 22 * ADVANCE;
/// Rows of a line of text.
const LINE: usize = HEIGHT + 4;
const ROW: usize = TILE + LINE + 2 * GAP;
const PAPER: u8 = 24;
const INK: u8 = 230;
/// Largest picture that the documentation takes, in bytes.
const MOST: usize = 150 << 10;

/// Where pictures are to be written, if anywhere.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("ROENTGEN_PICTURES").map(PathBuf::from)
}

/// A row of the sheet: its name, what is wrong with it, and images with what is below each.
struct Row {
    lines: [&'static str; 3],
    tiles: Vec<(RgbImage, String)>,
}

#[test]
fn the_sheet_shows_every_fault() {
    let rows = rows(world());
    assert!(rows.iter().all(|row| row.tiles.len() == TILES), "a row is short");
    // Every fault but the one of labels is one of pixels.
    let pixels = rows.iter().map(|row| row.tiles.iter().map(|(image, _)| &image.samples).collect::<Vec<_>>());
    let pixels: Vec<_> = pixels.collect();
    let is_other: Vec<bool> = pixels.iter().map(|row| *row != pixels[0]).collect();
    assert_eq!(is_other, [false, true, false, true, true, true, true, true, true]);
    let captions = |row: usize| rows[row].tiles.iter().map(|(_, caption)| caption.as_str()).collect::<Vec<_>>();
    assert_ne!(captions(2), captions(0));
    let sheet = sheet(&rows);
    assert!(sheet.len() < MOST, "{} bytes", sheet.len());
    if let Some(folder) = folder() {
        std::fs::write(folder.join("faults.png"), sheet).unwrap();
    }
}

#[test]
#[ignore = "draws docs/faults.svg: ROENTGEN_PICTURES=docs cargo test --release --test tests faults -- --include-ignored"]
fn the_chart_is_drawn() {
    draw_chart(world(), &folder().expect("ROENTGEN_PICTURES names a folder"));
}

fn rows(world: &World) -> Vec<Row> {
    let faithful = &world.faithful;
    let shown = shown(faithful);
    let of = |lines, set: &Set, caption: &dyn Fn(&Asked) -> String| {
        let tile = |row: &usize| (rgb(&set.images[*row]), caption(&set.asked[*row]));
        Row { lines, tiles: shown.iter().map(tile).collect() }
    };
    let none = |_: &Asked| String::new();
    let asked_sex = |asked: &Asked| format!("for {}", if asked.request.sex == Some(Sex::Female) { "woman" } else { "man" });
    let asked_side = |asked: &Asked| asked.side.map_or_else(String::new, |side| format!("for {side}"));
    let (again, copies, coloured) = (collapsed(faithful), copied(world, faithful), cast(faithful));
    let repeated = (0..TILES).map(|row| (rgb(&again.images[row]), format!("image {}", row % 4 + 1)));
    let copy = |place: usize| match (place / 2 * 3, place % 2) {
        (row, 0) => (rgb(&copies.images[row]), "copy".to_owned()),
        (row, _) => (rgb(&world.train.images[row]), "training".to_owned()),
    };
    vec![
        of(["faithful", "what a good", "generator makes"], faithful, &asked_finding),
        of(["blur", "mean of 5 by 5 pixels", ""], &blurred(faithful), &none),
        of(["swapped labels", "heart for effusion", "and back"], &swapped(faithful), &asked_finding),
        Row { lines: ["mode collapse", "four images", "again and again"], tiles: repeated.collect() },
        Row { lines: ["copies", "of training images", "a little brighter"], tiles: (0..TILES).map(copy).collect() },
        Row {
            lines: ["colour cast", "red instead of blue", "as bright as before"],
            tiles: shown.iter().map(|row| (coloured[*row].clone(), String::new())).collect(),
        },
        of(["women only", "men are drawn", "as women"], &women(faithful), &asked_sex),
        of(["swapped sides", "left and right", "exchanged"], &mirrored(faithful), &asked_side),
        of(["shifted gray levels", "brighter and with", "less contrast"], &greyer(faithful), &none),
    ]
}

/// Images of one finding each, both sides and both sexes among them.
fn shown(set: &Set) -> [usize; TILES] {
    let alone =
        |finding: usize| move |asked: &Asked| asked.labels().iter().sum::<f64>() == 1.0 && asked.labels()[finding] == 1.0;
    let find = |wanted: &dyn Fn(&Asked) -> bool| set.asked.iter().position(wanted).unwrap();
    let sided = |side: &'static str| move |asked: &Asked| alone(1)(asked) && asked.side().as_deref() == Some(side);
    let healthy = |sex| move |asked: &Asked| asked.labels().iter().sum::<f64>() == 0.0 && asked.request.sex == Some(sex);
    [
        find(&alone(0)),
        find(&sided("left")),
        find(&sided("right")),
        find(&alone(2)),
        find(&healthy(Sex::Female)),
        find(&healthy(Sex::Male)),
    ]
}

fn asked_finding(asked: &Asked) -> String {
    let names = ["big heart", "effusion", "edema"];
    let first = asked.labels().iter().position(|label| *label == 1.0);
    first.map_or("nothing", |finding| names[finding]).to_owned()
}

fn rgb(image: &GrayImage) -> RgbImage {
    let GrayDepth::U8(levels) = image.depth() else { panic!("phantoms have 8 bits") };
    RgbImage { width: image.width(), height: image.height(), samples: levels.iter().flat_map(|level| [*level; 3]).collect() }
}

/// The rows below each other as a PNG. Gray levels lose their lowest two bits, which are noise that would be most of the file.
fn sheet(rows: &[Row]) -> Vec<u8> {
    let (width, height) = (GAP + TEXT + TILES * (TILE + GAP), GAP + rows.len() * ROW);
    let mut samples = vec![PAPER; width * height * 3];
    let mut dot = |column: usize, row: usize, colour: [u8; 3]| {
        samples[(row * width + column) * 3..][..3].copy_from_slice(&colour);
    };
    for (place, row) in rows.iter().enumerate() {
        let top = GAP + place * ROW;
        for (line, text) in row.lines.iter().enumerate() {
            glyphs::write(text, TEXT, |x, y| dot(GAP + x, top + GAP + line * 2 * LINE + y, [INK; 3]));
        }
        for (at, (image, caption)) in row.tiles.iter().enumerate() {
            let left = GAP + TEXT + at * (TILE + GAP);
            for (pixel, colour) in image.samples.as_chunks::<3>().0.iter().enumerate() {
                dot(left + pixel % TILE, top + pixel / TILE, colour.map(|level| level & !3));
            }
            glyphs::write(caption, TILE, |x, y| dot(left + x, top + TILE + 4 + y, [INK; 3]));
        }
    }
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter);
    encoder.write_image(&samples, width as u32, height as u32, Rgb8).unwrap();
    png
}

/// Pixels of a cell of the chart, and of the texts beside.
const CELL: [usize; 2] = [46, 44];
const LEFT: usize = 130;
const TOP: usize = 112;
/// Widths of the faithful range that fill half a cell.
const FULL: f64 = 63.0;

/// One row per fault below that of the set they are planted in, one column per measure. A bar is as long as the measure is outside the range of faithful sets, in widths of that range, on a
/// logarithmic scale.
fn draw_chart(world: &World, folder: &Path) {
    let faithful = &world.faithful;
    let gray = Set { images: cast(faithful).iter().map(RgbImage::to_gray).collect(), ..faithful.clone() };
    let sets = [
        ("faithful", faithful.clone()),
        ("blur", blurred(faithful)),
        ("swapped labels", swapped(faithful)),
        ("mode collapse", collapsed(faithful)),
        ("copies", copied(world, faithful)),
        ("colour cast, in gray", gray),
        ("women only", women(faithful)),
        ("swapped sides", mirrored(faithful)),
        ("shifted gray levels", greyer(faithful)),
    ];
    let found = sets.map(|(name, set)| (name, measures(world, &set)));
    let names: Vec<&str> = found[0].1.keys().copied().collect();
    let (width, height) = (LEFT + names.len() * CELL[0] + 10, TOP + found.len() * CELL[1] + 10);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (column, name) in names.iter().enumerate() {
        let x = LEFT + column * CELL[0] + CELL[0] / 2 + 4;
        writeln!(svg, "<text transform=\"translate({x} {}) rotate(-60)\">{name}</text>", TOP - 8).unwrap();
    }
    for (row, (fault, measures)) in found.iter().enumerate() {
        let middle = TOP + row * CELL[1] + CELL[1] / 2;
        writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{fault}</text>", LEFT - 8, middle + 4).unwrap();
        writeln!(svg, "<path d=\"M{LEFT} {middle}h{}\" stroke=\"#999\"/>", names.len() * CELL[0]).unwrap();
        for (column, (name, value)) in measures.iter().enumerate() {
            let outside = outside(world, name, *value);
            let length = (outside.abs() + 1.0).ln() / (FULL + 1.0).ln();
            let length = length.min(1.0) * (CELL[1] / 2 - 3) as f64;
            let top = if outside > 0.0 { middle as f64 - length } else { middle as f64 };
            // What counts as a move, see the tests.
            let ink = match outside {
                outside if outside > 1.0 => "#b2182b",
                outside if outside < -1.0 => "#2166ac",
                _ => "#bbb",
            };
            let x = LEFT + column * CELL[0] + 8;
            writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{top:.1}\" width=\"{}\" height=\"{length:.1}\" fill=\"{ink}\"><title>{}</title></rect>",
                CELL[0] - 16,
                super::line(world, name, *value),
            )
            .unwrap();
        }
    }
    svg.push_str("</svg>\n");
    std::fs::write(folder.join("faults.svg"), svg).unwrap();
}

/// How far a value is above (or, negative, below) the range of faithful sets, in widths of that range; 0 inside.
fn outside(world: &World, name: &str, value: f64) -> f64 {
    let (low, high) = world.range(name);
    let beyond = (value - high).max(0.0) - (low - value).max(0.0);
    if beyond == 0.0 { 0.0 } else { beyond / (high - low) }
}
