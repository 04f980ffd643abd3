//! Images and latents in parts, so that an autoencoder needs less memory.

use burn::tensor::{DType, FloatDType, Int, Tensor};

use crate::diffusion::DiffusionError;

/// How much an autoencoder computes at once; the default is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    /// One image after the other: the same values, and the memory of one image.
    pub one_by_one: bool,
    /// Larger images in overlapping tiles: other values, because what is computed over the whole image (norms and attention) is
    /// computed over a tile.
    pub tile: Option<Tile>,
}

/// A square tile. Neighbours overlap by a quarter, where they are blended linearly.
///
/// Reference: diffusers 0.42.1, `AutoencoderKL.enable_tiling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Side in latents; a multiple of [`Tile::QUARTERS`].
    latents: usize,
}

impl Tile {
    /// The tile's side as a multiple of the overlap.
    const QUARTERS: usize = 4;

    /// A tile of `pixels` by `pixels` for an autoencoder with this factor.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] if the overlap would not be a whole number of latents.
    pub fn new(pixels: usize, factor: usize) -> Result<Self, DiffusionError> {
        let unit = Self::QUARTERS * factor;
        match pixels > 0 && pixels.is_multiple_of(unit) {
            true => Ok(Self { latents: pixels / factor }),
            false => Err(DiffusionError::Setting {
                key: "tile",
                value: pixels.to_string(),
                expected: format!("a multiple of {unit} pixels"),
            }),
        }
    }

    /// The smallest tile of at least `pixels` by `pixels`.
    pub(in crate::diffusion) fn at_least(pixels: usize, factor: usize) -> Self {
        Self { latents: pixels.div_ceil(factor).max(1).next_multiple_of(Self::QUARTERS) }
    }

    /// Side in pixels, for an autoencoder with this factor.
    pub(in crate::diffusion) fn pixels(self, factor: usize) -> usize {
        self.latents * factor
    }

    /// Where images are cut that are encoded.
    pub(in crate::diffusion) fn encoding(self, factor: usize) -> Grid {
        Grid { tile: self.pixels(factor), blend: self.latents / Self::QUARTERS, least: factor }
    }

    /// Where latents are cut that are decoded.
    pub(in crate::diffusion) fn decoding(self, factor: usize) -> Grid {
        Grid { tile: self.latents, blend: self.latents * factor / Self::QUARTERS, least: 1 }
    }
}

/// Where a network's input is cut and its outputs are joined.
#[derive(Clone, Copy, Debug)]
pub(in crate::diffusion) struct Grid {
    /// Side of a tile of the input.
    tile: usize,
    /// Width of the overlap in the output.
    blend: usize,
    /// Smallest side of an input with an output.
    least: usize,
}

impl Grid {
    /// Where tiles begin along a side.
    fn starts(self, side: usize) -> impl Iterator<Item = usize> {
        let step = self.tile - self.tile / Tile::QUARTERS;
        (0..side).step_by(step).filter(move |start| side - start >= self.least)
    }
}

/// `network(input)` of a network that computes in `dtype`, with input and output in their own type: tiles are blended in it.
pub(in crate::diffusion) fn computed_in(
    dtype: DType,
    network: impl Fn(Tensor<4>) -> Tensor<4>,
) -> impl Fn(Tensor<4>) -> Tensor<4> {
    move |input| {
        let outside = FloatDType::from(input.dtype());
        network(input.cast(FloatDType::from(dtype))).cast(outside)
    }
}

/// `network(input)`, one image at a time or in tiles or both.
pub(in crate::diffusion) fn by_slices(
    input: Tensor<4>,
    one_by_one: bool,
    grid: Option<Grid>,
    network: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let whole = |input: Tensor<4>| match grid {
        Some(grid) => in_tiles(input, grid, &network),
        None => network(input),
    };
    match one_by_one && input.dims()[0] > 1 {
        true => Tensor::cat(input.split(1, 0).into_iter().map(whole).collect(), 0),
        false => whole(input),
    }
}

/// `network(input)` in overlapping tiles. A tile is blended with its upper and left neighbours as they are after their own
/// blending; then it gives way to its lower and right neighbours where these begin.
fn in_tiles(input: Tensor<4>, grid: Grid, network: &impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = input.dims();
    if height <= grid.tile && width <= grid.tile {
        return network(input);
    }
    let limit = (Tile::QUARTERS - 1) * grid.blend;
    let mut rows = Vec::new();
    let mut above: Vec<Tensor<4>> = Vec::new();
    for top in grid.starts(height) {
        let mut row: Vec<Tensor<4>> = Vec::new();
        for left in grid.starts(width) {
            let mut tile = network(part(&input, [top, left], grid.tile));
            if let Some(upper) = above.get(row.len()) {
                tile = blend(upper, tile, 2, grid.blend);
            }
            if let Some(previous) = row.last() {
                tile = blend(previous, tile, 3, grid.blend);
            }
            row.push(tile);
        }
        let kept = row.iter().map(|tile| part(tile, [0, 0], limit));
        rows.push(Tensor::cat(kept.collect(), 3));
        above = row;
    }
    Tensor::cat(rows, 2)
}

/// The square of `side` positions from `start`, or as much of it as there is.
fn part(x: &Tensor<4>, start: [usize; 2], side: usize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let [top, left] = start;
    x.clone().narrow(2, top, side.min(height - top)).narrow(3, left, side.min(width - left))
}

/// `next` with its first `extent` positions along `axis` going over linearly from the last ones of `previous`.
fn blend(previous: &Tensor<4>, next: Tensor<4>, axis: usize, extent: usize) -> Tensor<4> {
    let (before, after) = (previous.dims()[axis], next.dims()[axis]);
    let extent = extent.min(before).min(after);
    let mut shape = [1; 4];
    shape[axis] = extent;
    let ramp = Tensor::<1, Int>::arange(0..extent as i64, &next.device()).float().cast(next.dtype());
    let ramp = ramp.reshape(shape) / extent as f64;
    let from = previous.clone().narrow(axis, before - extent, extent);
    let to = next.clone().narrow(axis, 0, extent);
    let blended = from * (ramp.clone() * -1.0 + 1.0) + to * ramp;
    match after > extent {
        true => Tensor::cat(vec![blended, next.narrow(axis, extent, after - extent)], axis),
        false => blended,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use burn::tensor::module::avg_pool2d;
    use burn::tensor::ops::AvgPoolOptions;
    use burn::tensor::{Device, TensorData, Tolerance};
    use proptest::prelude::*;

    use super::super::testing::draw;
    use super::*;

    fn assert_close(a: Tensor<4>, b: Tensor<4>) {
        assert_eq!(a.dims(), b.dims());
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Tiles lie where they belong: a network that sees one latent at a time gives the same in tiles.
        #[test]
        fn tiles_of_a_local_network_equal_the_whole(
            quarters in 1usize..4,
            log_factor in 0u32..3,
            height in 1usize..40,
            width in 1usize..40,
            odd in 0usize..4,
        ) {
            let factor = 2usize.pow(log_factor);
            let tile = Tile::new(quarters * 4 * factor, factor).unwrap();
            let enlarge = |x: Tensor<4>| x.clone().repeat_dim(2, 1).reshape([x.dims()[0], 2, x.dims()[2], 1, x.dims()[3], 1])
                .expand([x.dims()[0], 2, x.dims()[2], factor, x.dims()[3], factor])
                .reshape([x.dims()[0], 2, x.dims()[2] * factor, x.dims()[3] * factor]);
            let latents = draw("latents", [2, 2, height, width], 1.0);
            assert_close(by_slices(latents.clone(), true, Some(tile.decoding(factor)), enlarge), enlarge(latents));

            let shrink = |x| avg_pool2d(x, AvgPoolOptions::new([factor, factor]).with_stride([factor, factor]));
            let image = draw("image", [2, 1, height * factor + odd % factor, width * factor + odd / 2 % factor], 1.0);
            assert_close(by_slices(image.clone(), false, Some(tile.encoding(factor)), shrink), shrink(image));
        }
    }

    #[test]
    fn a_tile_as_large_as_the_input_is_the_whole() {
        let calls = Cell::new(0);
        let network = |x: Tensor<4>| {
            calls.set(calls.get() + 1);
            x
        };
        let x = draw("x", [3, 1, 16, 12], 1.0);
        let grid = Tile::new(16, 1).unwrap().decoding(1);
        by_slices(x.clone(), false, Some(grid), network);
        assert_eq!(calls.take(), 1);
        by_slices(x.clone(), true, Some(grid), network);
        assert_eq!(calls.take(), 3);
        by_slices(x.narrow(2, 0, 13), false, Some(Tile::new(12, 1).unwrap().decoding(1)), network);
        // As in diffusers, the side that fits is cut as well.
        assert_eq!(calls.take(), 4);
    }

    #[test]
    fn neighbours_go_over_linearly() {
        let row =
            |values: &[f32]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 1, values.len()]), &Device::flex());
        let values = |x: Tensor<4>| x.into_data().try_to_vec::<f32>().unwrap();
        let (previous, next) = (row(&[9.0, 2.0, 2.0, 2.0, 2.0]), row(&[6.0; 6]));
        assert_eq!(values(blend(&previous, next.clone(), 3, 4)), [2.0, 3.0, 4.0, 5.0, 6.0, 6.0]);
        // No wider than either of them.
        assert_eq!(values(blend(&row(&[2.0, 2.0]), next, 3, 4)), [2.0, 4.0, 6.0, 6.0, 6.0, 6.0]);
        assert_eq!(values(blend(&previous, row(&[6.0]), 3, 4)), [2.0]);
    }

    #[test]
    fn tiles_are_whole_overlaps() {
        for pixels in [0, 8, 500, 513] {
            let message = Tile::new(pixels, 8).unwrap_err().to_string();
            assert_eq!(message, format!("tile is {pixels}, expected a multiple of 32 pixels"));
        }
        for (pixels, side) in [(0, 32), (1, 32), (32, 32), (33, 64), (500, 512), (512, 512)] {
            assert_eq!(Tile::at_least(pixels, 8), Tile::new(side, 8).unwrap(), "{pixels}");
        }
    }
}
