//! How varied the images of one prompt are.

use rayon::prelude::*;

use super::error::DiversityError;
use super::ms_ssim::{Convention, Pyramid};

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
/// Pixels are row-major from 0 to 1, as of [`ms_ssim`](super::ms_ssim()). What every comparison needs of an image is computed once.
///
/// # Errors
/// [`DiversityError::NoPair`] for a single image; as [`ms_ssim`](super::ms_ssim()).
pub fn intra_prompt<T: Copy + Into<f64> + Sync>(
    images: &[&[T]],
    width: usize,
    height: usize,
) -> Result<IntraPrompt, DiversityError> {
    if images.len() < 2 {
        return Err(DiversityError::NoPair { images: images.len() });
    }
    let pyramid = |pixels: &&[T]| Pyramid::new(pixels, (width, height), Convention::PytorchMsssim);
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

#[cfg(test)]
mod tests {
    use super::{IntraPrompt, Prompts, intra_prompt};
    use crate::evaluation::diversity::{DiversityError, ms_ssim};

    #[test]
    fn pairs_are_those_of_ms_ssim_in_order() {
        let (width, height) = (163, 170);
        let picture =
            |phase: f64| (0..width * height).map(|at| (0.5 + 0.4 * (at as f64 * 0.37 + phase).sin()) as f32).collect();
        let pictures: Vec<Vec<f32>> = [0.0, 0.3, 0.9].map(picture).to_vec();
        let images: Vec<&[f32]> = pictures.iter().map(Vec::as_slice).collect();
        let found = intra_prompt(&images, width, height).unwrap();
        let pair = |a: usize, b: usize| ms_ssim(images[a], images[b], width, height).unwrap();
        assert_eq!(found.pairs, [pair(0, 1), pair(0, 2), pair(1, 2)]);
        assert_eq!(found.mean, found.pairs.iter().sum::<f64>() / 3.0);
        assert_eq!(intra_prompt(&images[..1], width, height).unwrap_err(), DiversityError::NoPair { images: 1 });
        assert!(intra_prompt(&[images[0], &images[1][1..]], width, height).unwrap_err().to_string().contains("one size"));
    }

    #[test]
    fn prompts_count_alike() {
        let prompt = |mean| IntraPrompt { pairs: vec![mean], mean };
        assert_eq!(Prompts::of(&[]), None);
        assert_eq!(Prompts::of(&[prompt(0.5)]), Some(Prompts { prompts: 1, mean: 0.5, std: None }));
        let three = Prompts::of(&[prompt(0.25), prompt(0.5), prompt(0.75)]);
        assert_eq!(three, Some(Prompts { prompts: 3, mean: 0.5, std: Some(0.25) }));
    }
}
