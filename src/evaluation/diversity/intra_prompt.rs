//! How varied the images of one prompt are.

use rayon::prelude::*;

use super::error::DiversityError;
use super::ms_ssim::{OddSide, Pyramid};

/// MS-SSIM among the images of one prompt. Lower is more varied.
#[derive(Clone, Debug, PartialEq)]
pub struct IntraPrompt {
    /// Of each pair: (0, 1), (0, 2), .., (1, 2), ..
    pub pairs: Vec<f64>,
    /// Mean over the pairs.
    pub mean: f64,
}

/// The same over prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompts {
    /// Prompts.
    pub prompts: usize,
    /// Mean of the prompts' means.
    pub mean: f64,
    /// Standard deviation of the prompts' means over n - 1; none for a single prompt.
    pub std: Option<f64>,
}

/// MS-SSIM of all pairs of the images of one prompt, as RoentGen's authors measure diversity: four gray images for each prompt, six pairs.
///
/// Pixels are row-major from 0 to 1, as of [`ms_ssim`](super::ms_ssim). What every comparison needs of an image is computed once.
///
/// # Errors
/// [`DiversityError::NoPair`] for a single image; as [`ms_ssim`](super::ms_ssim).
pub fn intra_prompt<T: Copy + Into<f64> + Sync>(
    images: &[&[T]],
    width: usize,
    height: usize,
) -> Result<IntraPrompt, DiversityError> {
    if images.len() < 2 {
        return Err(DiversityError::NoPair { images: images.len() });
    }
    let pyramid = |pixels: &&[T]| Pyramid::new(pixels, (width, height), OddSide::Pad);
    let pyramids = images.par_iter().map(pyramid).collect::<Result<Vec<_>, _>>()?;
    let pairs: Vec<(usize, usize)> = (0..images.len()).flat_map(|a| (a + 1..images.len()).map(move |b| (a, b))).collect();
    let pairs: Vec<f64> = pairs.into_par_iter().map(|(a, b)| pyramids[a].likeness(&pyramids[b])).collect();
    let mean = pairs.iter().sum::<f64>() / pairs.len() as f64;
    Ok(IntraPrompt { pairs, mean })
}

impl Prompts {
    /// Of the prompts' means; `None` without a prompt.
    #[must_use]
    pub fn of(prompts: &[IntraPrompt]) -> Option<Self> {
        let count = prompts.len() as f64;
        let mean = prompts.iter().map(|prompt| prompt.mean).sum::<f64>() / count;
        let squares: f64 = prompts.iter().map(|prompt| (prompt.mean - mean).powi(2)).sum();
        let std = (prompts.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!prompts.is_empty()).then_some(Self { prompts: prompts.len(), mean, std })
    }
}
