//! Stochastic depth (Huang et al., arXiv 1603.09382): in training a residual branch is left out for some of the images.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Where the draws of one forward pass come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StochasticDepth {
    /// Probability that the last block's branch is left out, in `[0, 1)`; it grows evenly from 0 at the first block.
    pub rate: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the forward pass, unlike that of any other of the run.
    pub pass: u64,
}

impl StochasticDepth {
    /// Whether each of `images` keeps the branch of each of `blocks`, row-major: a pure function of its arguments.
    pub(super) fn keep(&self, blocks: usize, images: usize) -> Vec<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.pass);
        (0..blocks)
            .flat_map(|block| {
                let rate = block_rate(self.rate, block, blocks);
                (0..images).map(|_| rng.random::<f64>() >= rate).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// Probability that the branch of one of `blocks` is left out (torchvision 0.29, `ConvNeXt.__init__`).
fn block_rate(rate: f64, block: usize, blocks: usize) -> f64 {
    rate * block as f64 / (blocks.max(2) - 1) as f64
}

/// What each block's branch is multiplied with for each image: 0 where it is left out, else the inverse of the probability to keep it, so
/// that its mean stays.
///
/// # Shapes
/// - keep: `[blocks, B]`, row-major
/// - output: `[blocks, B]`
pub fn branch_factors(keep: &[bool], images: usize, rate: f64, device: &Device) -> Tensor<2> {
    let blocks = keep.len() / images.max(1);
    let factors: Vec<f32> = keep
        .iter()
        .enumerate()
        .map(|(i, keep)| if *keep { (1.0 / (1.0 - block_rate(rate, i / images, blocks))) as f32 } else { 0.0 })
        .collect();
    Tensor::from_data(TensorData::new(factors, [blocks, images]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_left_out_as_often_as_their_block_says() {
        let depth = StochasticDepth { rate: 0.5, seed: 3, pass: 8 };
        let keep = depth.keep(3, 10_000);
        let kept: Vec<usize> = keep.chunks(10_000).map(|block| block.iter().filter(|keep| **keep).count()).collect();
        assert_eq!(kept[0], 10_000);
        // Six standard deviations of a binomial.
        assert!(kept[1].abs_diff(7_500) < 260 && kept[2].abs_diff(5_000) < 300, "{kept:?}");
        assert_eq!(keep, depth.keep(3, 10_000));
        assert_ne!(keep, StochasticDepth { pass: 9, ..depth }.keep(3, 10_000));
        assert!(StochasticDepth { rate: 0.0, ..depth }.keep(3, 100).iter().all(|keep| *keep));
    }

    #[test]
    fn the_mean_of_a_branch_stays() {
        let depth = StochasticDepth { rate: 0.4, seed: 1, pass: 0 };
        let factors = branch_factors(&depth.keep(2, 20_000), 20_000, depth.rate, &Device::flex());
        let means: Vec<f32> = factors.mean_dim(1).into_data().iter::<f32>().collect();
        assert!(means[0] == 1.0 && (means[1] - 1.0).abs() < 0.03, "{means:?}");
    }
}
