//! How varied images are as pictures, beside how varied real ones of one label set are: MS-SSIM.

use roentgen_augment::AugmentError;
use roentgen_augment::image::{Filter, GrayImage, PixelRange, Pixels};
use roentgen_augment::progress::Progress;

use super::compared::{Compared, PictureGroups};
use super::report::{DiversityReport, Measured};
use crate::evaluation::diversity::{IntraPrompt, Prompts, intra_prompt};
use crate::evaluation::images::ImageSet;

/// Smaller sides than this have too few pixels for MS-SSIM's five scales (pytorch-msssim 1.0).
const LEAST_SIDE: usize = 161;

/// Values from black to white as 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Unit;

impl PixelRange for Unit {
    const LOW: f32 = 0.0;
    const HIGH: f32 = 1.0;
}

/// Measures the groups.
///
/// # Errors
/// If an image can't be read.
pub(super) fn measure(compared: &Compared<'_>, progress: &dyn Progress) -> Result<DiversityReport, AugmentError> {
    let size = compared.size;
    let task = progress.begin("MS-SSIM", compared.len() as u64, "groups");
    let compare = |of: &PictureGroups<'_>| -> Result<Measured, AugmentError> {
        if let Some(none) = of.none() {
            return Ok(none);
        }
        if size.0.min(size.1) < LEAST_SIDE {
            task.advance(of.groups.len() as u64);
            let (width, height) = size;
            return Ok(Measured::undefined(format!(
                "MS-SSIM needs {LEAST_SIDE} pixels a side, the images have {width}x{height}"
            )));
        }
        let mut found: Vec<IntraPrompt> = Vec::with_capacity(of.groups.len());
        for group in &of.groups {
            let pictures = group.iter().map(|(set, image)| picture(set, *image, size)).collect::<Result<Vec<_>, _>>()?;
            let rows: Vec<&[f32]> = pictures.iter().map(Pixels::values).collect();
            match intra_prompt(&rows, size.0, size.1) {
                Ok(alike) => found.push(alike),
                Err(error) => return Ok(Measured::undefined(error.to_string())),
            }
            task.advance(1);
        }
        let over = Prompts::of(&found);
        Ok(Measured {
            groups: found.len(),
            mean: over.map(|over| over.mean),
            deviation: over.and_then(|over| over.std),
            size: Some([size.0, size.1]),
            undefined: None,
        })
    };
    Ok(DiversityReport {
        intra_prompt: compare(&compared.prompts)?,
        real_labels: compare(&compared.label_sets)?,
        paired: compare(&compared.pairs)?,
        lpips: None,
    })
}

/// Gray values from 0 to 1, of this size.
fn picture(set: &ImageSet, image: usize, (width, height): (usize, usize)) -> Result<Pixels<Unit>, AugmentError> {
    let gray: GrayImage = set.rgb(image)?.to_gray();
    let same = (gray.width(), gray.height()) == (width, height);
    Ok(if same { gray } else { gray.resize(width, height, Filter::Bicubic) }.to_pixels())
}
