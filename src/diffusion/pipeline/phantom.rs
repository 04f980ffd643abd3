//! The pipeline that comes with the program: a small one, trained on images of the chest phantom alone.

use std::io::Write;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;

use crate::diffusion::DiffusionError;

/// A file of the pipeline's folder: its path there, its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! shipped {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../../assets/demo/pipeline/", $path)).as_slice())
    };
}

/// The index is written last, so that a folder with one is complete.
const FILES: [File; 10] = [
    shipped!("scheduler/scheduler_config.json"),
    shipped!("text_encoder/config.json"),
    shipped!("text_encoder/model.safetensors"),
    shipped!("tokenizer/tokenizer_config.json"),
    shipped!("tokenizer/vocab.txt"),
    shipped!("unet/config.json"),
    shipped!("unet/diffusion_pytorch_model.safetensors"),
    shipped!("vae/config.json"),
    shipped!("vae/diffusion_pytorch_model.safetensors"),
    shipped!("model_index.json"),
];

/// Writes the shipped pipeline as a folder in diffusers' layout: a text-conditioned latent diffusion model for gray images of
/// 64 pixels, as half-precision weights.
///
/// It was trained by this program on images of the chest phantom and on template text, by the run files in `assets/demo/train`.
/// It has seen no radiograph of a person, and none of the phantoms that the demo trains or judges a classifier on.
///
/// # Errors
/// [`DiffusionError::Io`].
pub fn write_phantom_pipeline(folder: &Path) -> Result<(), DiffusionError> {
    FILES.iter().try_for_each(|(name, bytes)| {
        let path = folder.join(name);
        write_atomic(&path, |out| out.write_all(bytes)).map_err(|source| DiffusionError::Io { action: "write", path, source })
    })
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use burn::tensor::Device;
    use roentgen_augment::digest::Fingerprint;
    use roentgen_augment::image::GrayDepth;

    use super::super::{Checkpoint, ImageRequest, OpenOptions, Picture, Settings, StableDiffusion, Start};
    use super::*;
    use crate::diffusion::samplers::SamplerKind;

    /// Images of a kind.
    const IMAGES: u64 = 8;

    /// With this many pairs of equal noise, 7 or 8 are right by chance once in 28 tries.
    const RIGHT: usize = 7;

    fn pipeline() -> (tempfile::TempDir, StableDiffusion, Settings) {
        let folder = tempfile::tempdir().unwrap();
        write_phantom_pipeline(folder.path()).unwrap();
        let checkpoint = Checkpoint::read(folder.path()).unwrap();
        let mut settings = checkpoint.settings();
        settings.scheduler = settings.scheduler.with_kind(SamplerKind::DpmSolver).unwrap();
        (settings.steps, settings.guidance_scale) = (8, 2.0);
        let pipeline = checkpoint.load(&OpenOptions::new(&Device::flex()), |_| ()).unwrap();
        (folder, pipeline, settings)
    }

    /// Images of `prompt`, image `i` from the noise of seed `i`.
    fn images(pipeline: &StableDiffusion, settings: &Settings, prompt: &str) -> Vec<Vec<u8>> {
        let request = |seed| ImageRequest { prompt: prompt.to_owned(), negative_prompt: String::new(), seed };
        let requests: Vec<_> = (0..IMAGES).map(request).collect();
        let made = pipeline.generate(&requests, settings, &Start::Noise, &mut |_| ControlFlow::Continue(())).unwrap();
        let samples = |picture: Picture| match picture.image.depth() {
            GrayDepth::U8(samples) => samples.to_vec(),
            GrayDepth::U16(_) => panic!("8 bits were requested"),
        };
        made.into_iter().map(samples).collect()
    }

    /// Mean gray level of a box of an image of 64 pixels: columns, rows.
    fn mean(image: &[u8], columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> f64 {
        let count = (columns.len() * rows.len()) as f64;
        rows.map(|row| columns.clone().map(|column| f64::from(image[row * 64 + column])).sum::<f64>()).sum::<f64>() / count
    }

    #[test]
    fn the_shipped_weights_are_those_that_were_judged() {
        // Of all files, names included: weights are exchanged on purpose, with this digest, or not at all.
        let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/pipeline.digest");
        let parts: Vec<&[u8]> = FILES.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]).collect();
        assert_eq!(Fingerprint::of(&parts).to_string(), std::fs::read_to_string(pinned).unwrap().trim());
    }

    /// An effusion whitens the base of its lung; the patient's left is on the right of the image.
    #[test]
    fn images_follow_side_and_finding() {
        let (_folder, pipeline, settings) = pipeline();
        let lean = |image: &Vec<u8>| mean(image, 36..60, 30..56) - mean(image, 4..28, 30..56);
        let [left, right] =
            ["left", "right"].map(|side| images(&pipeline, &settings, &format!("Large {side} pleural effusion.")));
        let right_way = left.iter().zip(&right).filter(|(left, right)| lean(left) > lean(right)).count();
        assert!(right_way >= RIGHT, "{right_way} of {IMAGES} pairs have the effusion on the requested side");

        let heart = |image: &Vec<u8>| mean(image, 16..48, 32..48);
        let [large, normal] = ["Severe cardiomegaly.", "No acute cardiopulmonary abnormality."]
            .map(|prompt| images(&pipeline, &settings, prompt));
        let larger = large.iter().zip(&normal).filter(|(large, normal)| heart(large) > heart(normal)).count();
        assert!(larger >= RIGHT, "{larger} of {IMAGES} pairs have the larger heart where it was requested");
    }
}
