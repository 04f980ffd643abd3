//! The closest pairs as pictures.

use roentgen_augment::image::{Filter, Geometry, GrayDepth, GrayImage, Preprocess, encode_png};

use super::glyphs::{self, ADVANCE, HEIGHT};
use super::report::Pair;
use crate::report::{GridColumn, GridImage, SampleGrid};

/// Side of an image on the sheet, in pixels.
const TILE: usize = 160;
/// Pixels between pairs, and between a picture and its caption.
const GAP: usize = 8;
/// Pairs side by side.
const PAIRS: usize = 3;
/// Height of the caption: two lines.
const CAPTION: usize = 2 * (HEIGHT + 3);
/// Gray of the paper and of the letters.
const PAPER: u8 = 24;
const INK: u8 = 230;

/// A synthetic image with its nearest training image.
#[derive(Clone, Debug)]
pub struct SheetPair {
    /// Its number on the sheet and in the table, from 1.
    pub rank: usize,
    /// What was measured.
    pub pair: Pair,
    /// The synthetic image.
    pub synthetic: GrayImage,
    /// The training image.
    pub nearest: GrayImage,
}

impl SheetPair {
    /// The distance, and what it means.
    fn verdicts(&self) -> Vec<&'static str> {
        let flagged = (self.pair.flagged == Some(true)).then_some("flagged");
        let own = (self.pair.own_source == Some(true)).then_some("its own source");
        flagged.into_iter().chain(own).collect()
    }

    fn lines(&self) -> [String; 2] {
        [format!("#{} distance {:.4}", self.rank, self.pair.distance), self.verdicts().join(" - ")]
    }
}

/// A gray PNG of the pairs, synthetic image on the left, its nearest training image on the right, with rank, distance and verdict below;
/// `None` without pairs. Images keep their aspect ratio. No name is drawn: the [table](super::write_pairs) has them by rank.
#[must_use]
pub fn contact_sheet(pairs: &[SheetPair]) -> Option<Vec<u8>> {
    let columns = pairs.len().min(PAIRS);
    let (cell_width, cell_height) = (2 * TILE + 1 + GAP, TILE + GAP + CAPTION + GAP);
    let (width, height) = (columns * cell_width + GAP, pairs.len().div_ceil(PAIRS) * cell_height + GAP);
    let mut samples = vec![PAPER; width * height];
    for (place, pair) in pairs.iter().enumerate() {
        let (left, top) = (GAP + place % PAIRS * cell_width, GAP + place / PAIRS * cell_height);
        for (image, left) in [(&pair.synthetic, left), (&pair.nearest, left + TILE + 1)] {
            let tile = tile(image);
            let GrayDepth::U8(tile) = tile.depth() else { continue };
            for (row, line) in tile.chunks(TILE).enumerate() {
                samples[(top + row) * width + left..][..TILE].copy_from_slice(line);
            }
        }
        for (line, text) in pair.lines().iter().enumerate() {
            let top = top + TILE + GAP + line * (HEIGHT + 3);
            glyphs::write(text, 2 * TILE / ADVANCE * ADVANCE, |column, row| samples[(top + row) * width + left + column] = INK);
        }
    }
    (!pairs.is_empty()).then(|| encode_png(&GrayImage::from_u8(width, height, samples)))
}

/// The pairs for the page, with their names.
#[must_use]
pub fn closest_grid(pairs: &[SheetPair]) -> SampleGrid {
    let images = |shown: fn(&SheetPair) -> &GrayImage, caption: fn(&SheetPair) -> String| {
        let image = |pair| GridImage { png: encode_png(&tile(shown(pair))), caption: caption(pair), prompt: None, gate: None };
        pairs.iter().map(image).collect()
    };
    let synthetic = images(|pair| &pair.synthetic, |pair| format!("{}. {}", pair.rank, pair.pair.image));
    let nearest = images(
        |pair| &pair.nearest,
        |pair| {
            let said: String = pair.verdicts().iter().map(|verdict| format!(", {verdict}")).collect();
            format!("{}: distance {:.4}{said}", pair.pair.nearest, pair.pair.distance)
        },
    );
    let column = |title: &str, images| GridColumn { title: title.to_owned(), images };
    SampleGrid { columns: vec![column("Synthetic", synthetic), column("Nearest training image", nearest)] }
}

fn tile(image: &GrayImage) -> GrayImage {
    Preprocess { geometry: Geometry::Pad, filter: Filter::Area, ..Preprocess::new(TILE) }.apply(image).to_gray8()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(rank: usize, level: u8) -> SheetPair {
        let pair = Pair {
            synthetic: 0,
            image: "s.png".into(),
            train: 1,
            nearest: "t.png".into(),
            distance: 0.0125,
            flagged: Some(true),
            own_source: Some(rank == 1),
            like: None,
        };
        let flat = |level| GrayImage::from_u8(4, 2, [level; 8]);
        SheetPair { rank, pair, synthetic: flat(level), nearest: flat(255 - level) }
    }

    #[test]
    fn the_sheet_shows_every_pair_side_by_side() {
        assert!(contact_sheet(&[]).is_none());
        let pairs: Vec<SheetPair> = (1..=4).map(|rank| pair(rank, 40 * rank as u8)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        std::fs::write(&path, contact_sheet(&pairs).unwrap()).unwrap();
        let sheet = GrayImage::open(&path).unwrap();
        let (width, height) = (PAIRS * (2 * TILE + 1 + GAP) + GAP, 2 * (TILE + 2 * GAP + CAPTION) + GAP);
        assert_eq!((sheet.width(), sheet.height()), (width, height));
        let GrayDepth::U8(samples) = sheet.depth() else { panic!("eight bits") };
        let at = |column: usize, row: usize| samples[row * width + column];
        let middle = GAP + TILE / 2;
        // The second pair; its nearest image; the fourth pair, below the first; nothing beside it.
        let second = middle + 2 * TILE + 1 + GAP;
        assert_eq!((at(second, middle), at(second + TILE + 1, middle)), (80, 175));
        let below = middle + TILE + 2 * GAP + CAPTION;
        assert_eq!((at(middle, below), at(second, below)), (160, PAPER));
        // A wide image keeps its shape: black above it.
        assert_eq!(at(middle, GAP), 0);
        let letters = samples.iter().filter(|&&sample| sample == INK).count();
        assert!(letters > 500, "{letters}");
    }

    #[test]
    fn the_page_names_what_the_sheet_numbers() {
        let grid = closest_grid(&[pair(1, 9), pair(2, 9)]);
        assert_eq!(grid.columns[0].images[1].caption, "2. s.png");
        assert_eq!(grid.columns[1].images[0].caption, "t.png: distance 0.0125, flagged, its own source");
        assert_eq!(grid.columns[1].images[1].caption, "t.png: distance 0.0125, flagged");
    }
}
