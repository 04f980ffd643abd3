//! How a network of Hugging Face's takes an image: its folder's `preprocessor_config.json`.
//!
//! Reference: transformers 5.23.0, `BitImageProcessorPil` and `CLIPImageProcessorPil`, which were `BitImageProcessor` and
//! `CLIPImageProcessor` up to version 4. The newer ones resample by torchvision instead of Pillow: 8-bit levels differ by one at most.

use std::fmt;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::image::{Filter, GrayDepth, GrayImage, MAX_SIDE, RgbImage, Window, shorter_side_to};
use serde_json::{Value, json};

use super::super::ResizePath;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Resizes an image, cuts out its middle, and normalises it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageProcessor {
    size: Size,
    filter: Filter,
    /// Height and width.
    crop: Option<[usize; 2]>,
    factor: f64,
    mean: [f32; 3],
    deviation: [f32; 3],
}

/// What the first step makes of an image's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// The shorter side becomes this one, and the aspect stays.
    Shorter(usize),
    /// Height and width, whatever the aspect.
    Exact([usize; 2]),
}

impl ImageProcessor {
    /// Reads `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`DiffusionError::Io`], [`DiffusionError::NotJson`]; [`DiffusionError::Option`] and [`DiffusionError::UnknownOption`] for a processor
    /// that does something else.
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        Self::take(Options::read(path)?)
    }

    /// Reads a text; `path` is for messages.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), but for the file's own.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        Self::take(Options::parse(text, path)?)
    }

    fn take(mut options: Options) -> Result<Self, DiffusionError> {
        let kind = match options.take::<String>("image_processor_type")? {
            Some(kind) => Some(kind),
            None => options.take::<String>("feature_extractor_type")?,
        };
        let squares = is_square(&options, kind.as_deref())?;
        let filter = filter(&mut options, if squares { 2 } else { 3 })?;
        options.neutral("do_resize", &[json!(true)])?;
        options.neutral("do_rescale", &[json!(true)])?;
        options.neutral("do_pad", &[json!(false)])?;
        let size = size(&mut options, squares)?;
        let crop = match options.take_or("do_center_crop", !squares)? {
            true => Some(crop(&mut options, size)?),
            false => {
                options.without_influence(&["crop_size"]);
                None
            }
        };
        if let (Size::Shorter(_), None) = (size, crop) {
            return Err(options.refuse("do_center_crop", "false", "true: images of one batch have one size"));
        }
        let factor = options.factor("rescale_factor", 1.0 / 255.0)?;
        let [mean, deviation] = match options.take_or("do_normalize", true)? {
            true => [numbers(&mut options, "image_mean")?, numbers(&mut options, "image_std")?],
            false => [[0.0; 3], [1.0; 3]],
        };
        if deviation.contains(&0.0) {
            return Err(options.refuse("image_std", &format!("{deviation:?}"), "numbers that are not zero"));
        }
        options.without_influence(&[
            "data_format",
            "default_to_square",
            "device",
            "disable_grouping",
            "do_convert_rgb",
            "image_mean",
            "image_std",
            "input_data_format",
            "processor_class",
            "return_tensors",
        ]);
        options.finish()?;
        Ok(Self { size, filter, crop, factor, mean, deviation })
    }

    /// Height and width of what it makes of any image.
    #[must_use]
    pub fn output(&self) -> [usize; 2] {
        match (self.crop, self.size) {
            (Some(crop), _) => crop,
            (None, Size::Exact(size)) => size,
            (None, Size::Shorter(side)) => [side; 2],
        }
    }

    /// The image resized and cut, in 8 bits.
    #[must_use]
    pub fn levels(&self, image: &RgbImage) -> RgbImage {
        let channels = each_channel(image, |channel| {
            let (width, height) = match self.size {
                Size::Shorter(side) => shorter_side_to(channel.width(), channel.height(), side),
                Size::Exact([height, width]) => (width, height),
            };
            // Pillow gives back an image that has the size already.
            let resized = match (channel.width(), channel.height()) == (width, height) {
                true => channel,
                false => channel.resize(width, height, self.filter),
            };
            let Some([rows, columns]) = self.crop else { return resized };
            // An odd remainder: one more row or column is lost at the bottom and right.
            resized.crop(Window { left: (width - columns) / 2, top: (height - rows) / 2, width: columns, height: rows })
        });
        let (height, width) = (self.output()[0], self.output()[1]);
        let samples = (0..width * height).flat_map(|at| channels.each_ref().map(|channel| channel[at])).collect();
        RgbImage { width, height, samples }
    }

    /// The image as a network takes it: `3 * height * width` numbers, channel by channel.
    #[must_use]
    pub fn values(&self, image: &RgbImage) -> Vec<f32> {
        let levels = self.levels(image);
        let channel = |at: usize| levels.samples.iter().skip(at).step_by(3).map(|&level| f32::from(level));
        (0..3).flat_map(|at| channel(at).map(move |level| self.normalised(at, level))).collect()
    }

    /// A level of 0 to 255 in the range of the network.
    fn normalised(&self, channel: usize, level: f32) -> f32 {
        ((f64::from(level) * self.factor) as f32 - self.mean[channel]) / self.deviation[channel]
    }
}

impl fmt::Display for ImageProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = format!("{:?}", self.filter).to_lowercase();
        match self.size {
            Size::Shorter(side) => write!(f, "shorter side to {side}, {filter} in 8 bits")?,
            Size::Exact([height, width]) => write!(f, "to {width}x{height}, {filter} in 8 bits")?,
        }
        self.crop.map_or(Ok(()), |[height, width]| write!(f, ", the middle {width}x{height}"))
    }
}

/// How images reach a network: by its own processor, or by a named way to its size and then normalised as the processor does.
#[derive(Clone, Debug)]
pub struct Preparation {
    /// The folder's.
    pub processor: ImageProcessor,
    /// Instead of the processor's own resizing.
    pub path: Option<ResizePath>,
}

impl Preparation {
    /// A batch, `[B, 3, H, W]`.
    #[must_use]
    pub fn batch(&self, images: &[RgbImage], device: &Device) -> Tensor<4> {
        let values: Vec<Vec<f32>> = images.par_iter().map(|image| self.values(image)).collect();
        let [height, width] = self.processor.output();
        Tensor::from_data(TensorData::new(values.concat(), [images.len(), 3, height, width]), device)
    }

    fn values(&self, image: &RgbImage) -> Vec<f32> {
        let Some(path) = self.path else { return self.processor.values(image) };
        let [side, _] = self.processor.output();
        let planes = path.apply(image, side);
        let channels = planes.values.chunks_exact(side * side).enumerate();
        channels.flat_map(|(at, levels)| levels.iter().map(move |&level| self.processor.normalised(at, level))).collect()
    }
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path {
            Some(path) => f.write_str(&path.describe(self.processor.output()[0]))?,
            None => self.processor.fmt(f)?,
        }
        let ImageProcessor { mean, deviation, .. } = self.processor;
        write!(f, "; (x/255 - {mean:?}) / {deviation:?}")
    }
}

/// What `made` makes of each channel, as samples; once, where all three are the same.
fn each_channel(image: &RgbImage, made: impl Fn(GrayImage) -> GrayImage) -> [Vec<u8>; 3] {
    let channel = |at: usize| {
        let samples: Vec<u8> = image.samples.iter().skip(at).step_by(3).copied().collect();
        match made(GrayImage::from_u8(image.width, image.height, samples)).depth() {
            GrayDepth::U8(samples) => samples.to_vec(),
            GrayDepth::U16(samples) => samples.iter().map(|sample| (sample >> 8) as u8).collect(),
        }
    };
    let is_gray = image.samples.as_chunks::<3>().0.iter().all(|[red, green, blue]| red == green && red == blue);
    let red = channel(0);
    if is_gray { [red.clone(), red.clone(), red] } else { [red, channel(1), channel(2)] }
}

/// Whether a size of one number is both sides (ViT's processor) and not the shorter one.
fn is_square(options: &Options, kind: Option<&str>) -> Result<bool, DiffusionError> {
    let Some(kind) = kind else { return Ok(false) };
    let name = kind.trim_end_matches("Fast").trim_end_matches("Pil");
    match name {
        "BitImageProcessor" | "CLIPImageProcessor" | "CLIPFeatureExtractor" => Ok(false),
        "ViTImageProcessor" | "ViTFeatureExtractor" => Ok(true),
        _ => Err(options.refuse("image_processor_type", kind, "BitImageProcessor, CLIPImageProcessor or ViTImageProcessor")),
    }
}

/// `resample`, by Pillow's numbers.
fn filter(options: &mut Options, default: u8) -> Result<Filter, DiffusionError> {
    match options.take_or("resample", default)? {
        1 => Ok(Filter::Lanczos),
        2 => Ok(Filter::Bilinear),
        3 => Ok(Filter::Bicubic),
        other => Err(options.refuse("resample", &other.to_string(), "1 (Lanczos), 2 (bilinear) or 3 (bicubic)")),
    }
}

const USUAL: usize = 224;

fn size(options: &mut Options, squares: bool) -> Result<Size, DiffusionError> {
    let value = options.take_or("size", json!(USUAL))?;
    let both = |value: &Value| Some([side(&value["height"])?, side(&value["width"])?]);
    let size = match &value {
        Value::Number(_) if squares => side(&value).map(|side| Size::Exact([side; 2])),
        Value::Number(_) => side(&value).map(Size::Shorter),
        Value::Object(keys) if keys.len() == 1 => side(&value["shortest_edge"]).map(Size::Shorter),
        Value::Object(keys) if keys.len() == 2 => both(&value).map(Size::Exact),
        _ => None,
    };
    let expected = format!("shortest_edge, or height and width, of 1 to {MAX_SIDE} pixels");
    size.ok_or_else(|| options.refuse("size", &value.to_string(), &expected))
}

/// Height and width of the middle, no larger than what it is cut from.
fn crop(options: &mut Options, size: Size) -> Result<[usize; 2], DiffusionError> {
    let value = options.take_or("crop_size", json!(USUAL))?;
    let sides = match &value {
        Value::Number(_) => side(&value).map(|side| [side; 2]),
        _ => side(&value["height"]).and_then(|height| Some([height, side(&value["width"])?])),
    };
    let most = match size {
        Size::Shorter(side) => [side; 2],
        Size::Exact(sides) => sides,
    };
    let fits = sides.filter(|crop| crop[0] <= most[0] && crop[1] <= most[1]);
    let expected = format!("height and width of at most {} and {} pixels, the image's size then", most[0], most[1]);
    fits.ok_or_else(|| options.refuse("crop_size", &value.to_string(), &expected))
}

fn side(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok().filter(|side| (1..=MAX_SIDE).contains(side))
}

/// One finite number per channel.
fn numbers(options: &mut Options, key: &str) -> Result<[f32; 3], DiffusionError> {
    let numbers: Vec<f32> = options.require(key)?;
    match <[f32; 3]>::try_from(numbers.as_slice()) {
        Ok(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(numbers),
        _ => Err(options.refuse(key, &format!("{numbers:?}"), "three numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAD_DINO: &str = r#"{"crop_size": {"height": 56, "width": 56}, "do_center_crop": true, "do_convert_rgb": true,
        "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5307, 0.5307, 0.5307],
        "image_processor_type": "BitImageProcessor", "image_std": [0.2583, 0.2583, 0.2583], "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 56}}"#;

    fn processor(text: &str) -> Result<ImageProcessor, DiffusionError> {
        ImageProcessor::parse(text, Path::new("preprocessor_config.json"))
    }

    fn changed(key: &str, value: &Value) -> Result<ImageProcessor, DiffusionError> {
        let mut config: Value = serde_json::from_str(RAD_DINO).unwrap();
        config[key] = value.clone();
        processor(&config.to_string())
    }

    #[test]
    fn the_middle_is_cut_and_an_odd_remainder_is_lost_below() {
        let level = |x: usize, y: usize| [(x * 4) as u8, (y * 4) as u8, 7];
        let samples = (0..59).flat_map(|y| (0..56).flat_map(move |x| level(x, y))).collect();
        let levels = processor(RAD_DINO).unwrap().levels(&RgbImage { width: 56, height: 59, samples });
        assert_eq!((levels.width, levels.height, &levels.samples[..3]), (56, 56, &[0, 4, 7][..]));
    }

    #[test]
    fn values_are_normalised_channel_by_channel() {
        let image = RgbImage { width: 56, height: 56, samples: [51, 102, 255].repeat(56 * 56) };
        let means = changed("image_mean", &json!([0.1, 0.4, 0.5])).unwrap();
        let values = means.values(&image);
        let expected = [0.1f32, 0.0, 0.5].map(|x| x / 0.2583);
        for (values, expected) in values.chunks_exact(56 * 56).zip(expected) {
            assert!(values.iter().all(|value| (value - expected).abs() < 1e-6), "{} {expected}", values[0]);
        }
    }

    #[test]
    fn sizes_of_every_age_are_read() {
        let usual = processor(RAD_DINO).unwrap();
        assert_eq!(changed("size", &json!(56)).unwrap(), usual);
        assert_eq!(changed("crop_size", &json!(56)).unwrap(), usual);
        assert_eq!(changed("image_processor_type", &json!("BitImageProcessorFast")).unwrap(), usual);
        let exact = changed("size", &json!({"height": 60, "width": 70})).unwrap();
        assert_eq!((exact.size, exact.output()), (Size::Exact([60, 70]), [56, 56]));
        let clip =
            r#"{"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}"#;
        assert_eq!(processor(clip).unwrap().output(), [224, 224]);
    }

    #[test]
    fn what_it_would_not_do_is_refused_by_name() {
        for (key, value) in [
            ("size", json!({"longest_edge": 56})),
            ("size", json!(0)),
            ("crop_size", json!(57)),
            ("resample", json!(0)),
            ("do_resize", json!(false)),
            ("do_center_crop", json!(false)),
            ("image_mean", json!([0.5])),
            ("image_std", json!([0.1, 0.0, 0.1])),
            ("image_processor_type", json!("SamImageProcessor")),
            ("do_flip", json!(true)),
        ] {
            let message = changed(key, &value).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}`")), "{message}");
        }
    }
}
