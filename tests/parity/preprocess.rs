//! Topic `10_preprocess`: decoding, normalising, cropping and resampling.

use roentgen_augment::image::{
    DicomImage, DicomValues, Filter, GrayDepth, GrayImage, PixelRange, Pixels, RgbImage, Signed, Window, Xrv, shorter_side_to,
};

use super::{Array, Case, Outputs};

/// The outputs of a case, by name; `None` for a case that this topic doesn't know.
pub fn compute(case: &Case) -> Option<Outputs> {
    Some(match case.name.split('/').next()? {
        "file" => file(case),
        "dicom" => dicom(case),
        "xrv" => xrv(case),
        "sd" => stable_diffusion(case),
        "crop" => vec![("cropped".to_owned(), samples(&center_crop(&image(case), size(case))))],
        _ => return None,
    })
}

fn file(case: &Case) -> Outputs {
    let path = case.folder.join(case.params["file"].as_str().expect("a file in params"));
    let gray = GrayImage::open(&path).unwrap();
    let output = |name: &str| match name {
        "l" => samples(&gray),
        "rgb" => {
            let rgb = RgbImage::open(&path).unwrap();
            Array::new(&[rgb.height, rgb.width, 3], &rgb.samples)
        }
        "raw" => samples(&gray),
        "l_scaled" => samples(&gray.to_pixels::<Signed>().to_gray8()),
        "normalized" => values(&gray.to_pixels::<Xrv>(), false),
        other => panic!("{} has an unknown output {other}", case.name),
    };
    case.output_names().map(|name| (name.to_owned(), output(name))).collect()
}

fn dicom(case: &Case) -> Outputs {
    let path = case.folder.join(case.params["file"].as_str().expect("a file in params"));
    let bytes = std::fs::read(&path).unwrap();
    let image = DicomImage::decode(&bytes, &path).unwrap();
    let shape = [image.height(), image.width()];
    let output = |name: &str| match name {
        "pixels" => Array::new(&shape, &image.stored().map(f64::from).collect::<Vec<_>>()),
        "modality_lut" => Array::new(&shape, &image.modality().unwrap()),
        "voi_lut" => Array::new(&shape, &image.voi().unwrap()),
        "xrv" => values(&GrayImage::open(&path).unwrap().to_pixels::<Xrv>(), false),
        // torchxrayvision without its inversion of MONOCHROME1, which turns the range over.
        "xrv_raw_mono" => {
            let gray = DicomImage::decode(&bytes, &path).unwrap().gray(DicomValues::Stored).unwrap().to_pixels::<Xrv>();
            let sign = if image.is_inverted() { -1.0 } else { 1.0 };
            Array::new(&shape, &gray.values().iter().map(|value| sign * value).collect::<Vec<_>>())
        }
        other => panic!("{} has an unknown output {other}", case.name),
    };
    case.output_names().map(|name| (name.to_owned(), output(name))).collect()
}

fn xrv(case: &Case) -> Outputs {
    let normalized = image(case).to_pixels::<Xrv>();
    let cropped = normalized.crop(Window::center_square(normalized.width(), normalized.height()));
    let side = size(case);
    let outputs = [
        ("skimage", cropped.resize_skimage(side, side)),
        ("fix_resolution", cropped.resize_torch(side, side)),
        ("cropped", cropped),
        ("normalized", normalized),
    ];
    outputs.map(|(name, pixels)| (name.to_owned(), values(&pixels, true))).to_vec()
}

fn stable_diffusion(case: &Case) -> Outputs {
    let (image, side) = (image(case), size(case));
    let filter = match case.params["filter"].as_str() {
        Some("bilinear") => Filter::Bilinear,
        Some("bicubic") => Filter::Bicubic,
        Some("lanczos") => Filter::Lanczos,
        other => panic!("{} has an unknown filter {other:?}", case.name),
    };
    let (width, height) = shorter_side_to(image.width(), image.height(), side);
    let cropped = center_crop(&image.resize(width, height, filter), side);
    let unrounded = image.to_pixels::<Signed>().resize(width, height, filter);
    let tensor = unrounded.crop(Window::center_torchvision(width, height, side));
    vec![
        ("pixel_values".to_owned(), values(&cropped.to_pixels::<Signed>(), true)),
        ("cropped_u8".to_owned(), samples(&cropped)),
        ("tensor_resize".to_owned(), gray_levels(&tensor)),
    ]
}

/// The reference resizes float tensors of gray levels, 0 to 255.
fn gray_levels(pixels: &Pixels<Signed>) -> Array {
    let levels: Vec<f32> = pixels.values().iter().map(|&v| 255.0 * Signed::to_unit(v)).collect();
    Array::new(&[1, pixels.height(), pixels.width()], &levels)
}

fn center_crop(image: &GrayImage, side: usize) -> GrayImage {
    image.crop(Window::center_torchvision(image.width(), image.height(), side))
}

fn image(case: &Case) -> GrayImage {
    let array = case.input("image");
    let highest = case.params["maxval"].as_f64().unwrap_or(255.0);
    assert!(highest == 255.0, "images here have 8 bits, and the largest value is {highest}");
    GrayImage::from_u8(array.shape[1], array.shape[0], array.u8())
}

fn size(case: &Case) -> usize {
    case.params["size"].as_u64().expect("a size in params") as usize
}

fn samples(image: &GrayImage) -> Array {
    let shape = [image.height(), image.width()];
    match image.depth() {
        GrayDepth::U8(samples) => Array::new(&shape, samples),
        GrayDepth::U16(samples) => Array::new(&shape, samples),
    }
}

fn values<R: PixelRange>(pixels: &Pixels<R>, channel: bool) -> Array {
    let shape = [1, pixels.height(), pixels.width()];
    Array::new(if channel { &shape } else { &shape[1..] }, pixels.values())
}
