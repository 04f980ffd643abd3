//! Dividing the columns of a 1x1 convolution, the pixels of all images.

use std::ops::Range;

/// Elements of the normalised tile that a thread multiplies by: half of a second-level cache of 512 KiB.
const ELEMENTS: usize = 1 << 16;
/// Fewest columns for which a matrix product is worth it.
const COLUMNS: [usize; 2] = [16, 512];

/// Some pixels: all of several images, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) images: Range<usize>,
    pub(super) pixels: Range<usize>,
}

impl Tile {
    /// All tiles of `batch` images of `plane` pixels, for `rows` channels; the cut depends on nothing else.
    pub(super) fn all(batch: usize, plane: usize, rows: usize) -> Vec<Self> {
        // At least two tiles, where that leaves enough columns.
        let columns = (ELEMENTS / rows).min(batch * plane / 2).clamp(COLUMNS[0], COLUMNS[1]);
        if plane <= columns {
            let images = columns / plane;
            let starts = (0..batch).step_by(images);
            return starts.map(|i| Self { images: i..(i + images).min(batch), pixels: 0..plane }).collect();
        }
        // Equal parts, in whole vector registers.
        let width = plane.div_ceil(plane.div_ceil(columns)).next_multiple_of(16);
        let of_image = |image| {
            let starts = (0..plane).step_by(width);
            starts.map(move |start| Self { images: image..image + 1, pixels: start..(start + width).min(plane) })
        };
        (0..batch).flat_map(of_image).collect()
    }

    /// Columns.
    pub(super) fn columns(&self) -> usize {
        self.images.len() * self.pixels.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_pixel_is_in_one_tile(batch in 1usize..9, plane in 1usize..5000, rows in 1usize..2000) {
            let tiles = Tile::all(batch, plane, rows);
            let mut seen = vec![0; batch * plane];
            for tile in &tiles {
                prop_assert!(tile.images.len() == 1 || tile.pixels == (0..plane));
                for image in tile.images.clone() {
                    seen[image * plane..][tile.pixels.clone()].iter_mut().for_each(|count| *count += 1);
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
