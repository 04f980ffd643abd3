//! How varied images are to AlexNet: LPIPS among the images that MS-SSIM compares.

use burn::tensor::Tensor;
use maud::{Markup, html};
use roentgen_augment::AugmentError;
use roentgen_augment::image::{Filter, GrayDepth, GrayImage, RgbImage};
use roentgen_augment::progress::Progress;
use serde::{Deserialize, Serialize};

use super::compared::{Compared, PictureGroups};
use super::report::{Measured, Spread};
use super::table::measured_text;
use crate::config::LpipsConfig;
use crate::evaluation::features::networks::Lpips;
use crate::evaluation::images::ImageSet;
use crate::report::format::typographic;

/// LPIPS, higher where images differ more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LpipsReport {
    /// The file of AlexNet.
    pub network: String,
    /// The file of its channels' weights.
    pub weights: String,
    /// Digest of both: distances are comparable only where it is equal.
    pub fingerprint: String,
    /// Among synthetic images of one prompt.
    pub intra_prompt: Measured,
    /// Among as many real images of different patients with the same labels, at the synthetic images' size.
    pub real_labels: Measured,
    /// Between a synthetic image and the real one that it was requested from. Not a measure of variety: lower is more alike.
    pub paired: Measured,
}

/// Measures the groups.
///
/// # Errors
/// If an image can't be read.
pub(super) fn measure(
    lpips: &Lpips,
    files: &LpipsConfig,
    compared: &Compared<'_>,
    progress: &dyn Progress,
) -> Result<LpipsReport, AugmentError> {
    let size = compared.size;
    let task = progress.begin("LPIPS", compared.len() as u64, "groups");
    let compare = |of: &PictureGroups<'_>| -> Result<Measured, AugmentError> {
        if let Some(none) = of.none() {
            return Ok(none);
        }
        let least = Lpips::smallest_side();
        if size.0.min(size.1) < least {
            task.advance(of.groups.len() as u64);
            let (width, height) = size;
            return Ok(Measured::undefined(format!("LPIPS needs {least} pixels a side, the images have {width}x{height}")));
        }
        let mut means = Vec::with_capacity(of.groups.len());
        for group in &of.groups {
            means.push(mean_distance(lpips, group, size)?);
            task.advance(1);
        }
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        if !mean.is_finite() {
            return Ok(Measured::undefined("a distance is beyond 32-bit floats: the weights are no trained network's"));
        }
        let deviation = Spread::of(&means).map(|spread| spread.deviation);
        Ok(Measured { groups: means.len(), mean: Some(mean), deviation, size: Some([size.0, size.1]), undefined: None })
    };
    Ok(LpipsReport {
        network: files.network.display().to_string(),
        weights: files.weights.display().to_string(),
        fingerprint: lpips.fingerprint().to_string(),
        intra_prompt: compare(&compared.prompts)?,
        real_labels: compare(&compared.label_sets)?,
        paired: compare(&compared.pairs)?,
    })
}

/// Mean of the distances of all pairs of a group.
fn mean_distance(lpips: &Lpips, group: &[(&ImageSet, usize)], size: (usize, usize)) -> Result<f64, AugmentError> {
    let images = group.iter().map(|(set, image)| Ok(scaled(set.rgb(*image)?, size)));
    let images = images.collect::<Result<Vec<RgbImage>, AugmentError>>()?;
    let looks = lpips.look(lpips.batch(&images));
    let looks: Vec<_> = (0..images.len()).map(|image| looks.image(image)).collect();
    let pairs = (0..looks.len()).flat_map(|a| (a + 1..looks.len()).map(move |b| (a, b)));
    // Read at once, so that an accelerator waits once for a group.
    let distances = Tensor::cat(pairs.map(|(a, b)| lpips.distance(&looks[a], &looks[b]).distance).collect(), 0);
    let distances: Vec<f32> = distances.into_data().iter::<f32>().collect();
    Ok(distances.iter().map(|distance| f64::from(*distance)).sum::<f64>() / distances.len() as f64)
}

/// The image at this size, each channel by Pillow's bicubic in 8 bits.
fn scaled(image: RgbImage, (width, height): (usize, usize)) -> RgbImage {
    if (image.width, image.height) == (width, height) {
        return image;
    }
    let channels = [0, 1, 2].map(|channel| {
        let samples: Vec<u8> = image.samples.iter().skip(channel).step_by(3).copied().collect();
        GrayImage::from_u8(image.width, image.height, samples).resize(width, height, Filter::Bicubic)
    });
    let levels = channels.each_ref().map(|channel| match channel.depth() {
        GrayDepth::U8(levels) => levels,
        GrayDepth::U16(_) => unreachable!("8 bits stay 8 bits"),
    });
    let samples = (0..width * height).flat_map(|pixel| levels.map(|channel| channel[pixel])).collect();
    RgbImage { width, height, samples }
}

/// Its figures by their names, for tables.
pub(super) fn rows(report: &LpipsReport) -> [(&'static str, &'static str, &Measured); 3] {
    [
        ("LPIPS among images of one prompt", "4 images of a prompt, 6 pairs. Higher is more varied.", &report.intra_prompt),
        (
            "LPIPS among real images of one label set",
            "4 images of different patients: how varied radiographs are.",
            &report.real_labels,
        ),
        ("LPIPS of synthetic images and their sources", "Not a measure of variety: lower is more alike.", &report.paired),
    ]
}

/// A line for each figure.
pub(super) fn text(report: &LpipsReport) -> String {
    rows(report).map(|(name, _, measured)| format!("{name}: {}\n", measured_text(measured))).concat()
}

/// A table for the page.
pub(super) fn table(report: &LpipsReport) -> Markup {
    html! {
        div.scroll {
            table {
                caption {
                    "LPIPS, a distance by AlexNet: 0 for equal pictures, higher where they differ. It learnt from photographs and people's "
                    "judgement of them: read it beside the real images, never alone."
                }
                thead { tr { th { "Pictures" } th.number { "Mean ± standard deviation" } } }
                tbody {
                    @for (name, means, measured) in rows(report) {
                        tr {
                            th scope="row" { (name) span.description { (means) } }
                            td.number { (typographic(&measured_text(measured))) }
                        }
                    }
                }
            }
        }
    }
}
