//! Topics `09_metrics` and `17_quality`: the figures of image sets.

use std::path::Path;

use roentgen::evaluation::Rows;
use roentgen::evaluation::diversity::{Convention, Prompts, Window, intra_prompt, ms_ssim, ms_ssim_with, ssim, ssim_with};
use roentgen::evaluation::fidelity::{Moments, Spectrum, frechet, kid_of_subsets, prdc, vendi, whole_kid};
use roentgen::evaluation::retrieval::{Precision, Recall, cosines, precision_at, precision_of, recall_of};
use roentgen_augment::image::{GrayDepth, GrayImage};

use super::{Array, Case, Outputs};

/// The outputs of a case, by name; `None` for a case that this module doesn't know.
pub fn compute(case: &Case) -> Option<Outputs> {
    Some(match case.name.split('/').collect::<Vec<_>>()[..] {
        ["fid", _] => fid(case),
        ["kid", ..] => kid(case),
        ["prdc", _] => balls(case),
        ["vendi", "kernel"] => vendi_of_kernel(case),
        ["vendi", _] => vendi_of_features(case),
        ["ssim"] => similarity(case),
        ["ms_ssim_diversity"] => diversity(case),
        ["ms_ssim", "intra_prompt"] => prompts(case),
        ["ms_ssim", "gray"] => gray(case),
        ["retrieval"] => pairs(case),
        ["retrieval", "ties"] => ties(case),
        ["retrieval", _] => classes(case),
        _ => return None,
    })
}

/// Which inputs the two sets of a case are: trees name them differently.
fn sets(case: &Case) -> [&Array; 2] {
    ["features_1", "real", "features_2", "synthetic", "fake"]
        .into_iter()
        .filter_map(|name| case.optional_input(name))
        .collect::<Vec<_>>()
        .try_into()
        .expect("two sets of features")
}

fn rows(array: &Array) -> Rows<'_, f64> {
    Rows::new(&array.values, array.shape[1]).unwrap()
}

fn fid(case: &Case) -> Outputs {
    let [a, b] = sets(case).map(|set| Moments::of(rows(set)).unwrap());
    let distance = Array::scalar(frechet(&a, &b).unwrap());
    let width = a.width();
    named([
        ("mean_1", vector(a.mean().to_vec())),
        ("cov_1", matrix(width, a.covariance())),
        ("fid", distance.clone()),
        // What other libraries print for it: the same but for their rounding.
        ("fid_sqrtm", distance.clone()),
        ("fid_torchmetrics", distance),
    ])
}

fn kid(case: &Case) -> Outputs {
    let [a, b] = sets(case);
    let drawn = |names: [&str; 2]| names.into_iter().find_map(|name| case.optional_input(name)).expect("drawn subsets");
    let [first, second] = [["subsets_1", "subsets_real"], ["subsets_2", "subsets_synthetic"]].map(drawn);
    let subset = |array: &Array, i: usize| {
        let size = array.shape[1];
        array.values[i * size..][..size].iter().map(|&row| row as usize).collect::<Vec<_>>()
    };
    let subsets: Vec<_> = (0..first.shape[0]).map(|i| (subset(first, i), subset(second, i))).collect();
    let kid = kid_of_subsets(rows(a), rows(b), &subsets).unwrap();
    named([
        ("kid_all", Array::scalar(whole_kid(rows(a), rows(b)).unwrap().value)),
        ("kid_subsets", vector(kid.values)),
        ("mean", Array::scalar(kid.mean)),
        ("std", Array::scalar(kid.std)),
    ])
}

fn balls(case: &Case) -> Outputs {
    let [real, fake] = sets(case);
    let k = case.params["nearest_k"].as_u64().expect("nearest_k in params") as usize;
    let figures = prdc(rows(real), rows(fake), k).unwrap();
    named([
        ("precision", Array::scalar(figures.precision)),
        ("recall", Array::scalar(figures.recall)),
        ("density", Array::scalar(figures.density)),
        ("coverage", Array::scalar(figures.coverage)),
    ])
}

fn vendi_of_features(case: &Case) -> Outputs {
    let features = rows(case.input("features"));
    let spectrum = Spectrum::of(features).unwrap();
    let score = Array::scalar(vendi(features).unwrap());
    named([
        ("vendi", score.clone()),
        // Of whichever of both matrices is the smaller.
        ("vendi_dual", score),
        ("order_2", Array::scalar(spectrum.score(2.0))),
        ("order_inf", Array::scalar(spectrum.score(f64::INFINITY))),
        ("order_0.5", Array::scalar(spectrum.score(0.5))),
    ])
}

fn vendi_of_kernel(case: &Case) -> Outputs {
    let (kernel, weights) = (rows(case.input("kernel")), &case.input("weights").values);
    let plain = Spectrum::of_similarities(kernel, None).unwrap();
    let weighted = Spectrum::of_similarities(kernel, Some(weights)).unwrap();
    named([
        ("vendi", Array::scalar(plain.score(1.0))),
        ("vendi_weighted", Array::scalar(weighted.score(1.0))),
        ("order_2", Array::scalar(plain.score(2.0))),
    ])
}

/// Images of the last two dims, from 0 to 1.
fn images(array: &Array) -> (Vec<Vec<f64>>, usize, usize) {
    let [height, width] = array.shape[array.shape.len() - 2..] else { unreachable!("two dims") };
    let images = array.values.chunks(height * width).map(|image| image.iter().map(|value| value / 255.0).collect());
    (images.collect(), width, height)
}

fn similarity(case: &Case) -> Outputs {
    let (images, width, height) = images(case.input("images"));
    let pairs: Vec<(usize, usize)> = serde_json::from_value(case.params["pairs"].clone()).expect("pairs in params");
    let each =
        |measure: &dyn Fn(&[f64], &[f64]) -> f64| vector(pairs.iter().map(|&(a, b)| measure(&images[a], &images[b])).collect());
    let gaussian = each(&|a, b| ssim(a, b, width, height).unwrap());
    named([
        ("ssim", gaussian.clone()),
        ("skimage_gaussian_ssim", gaussian),
        ("torchmetrics_ssim", each(&|a, b| ssim_with(Window::Mirrored, a, b, width, height).unwrap())),
        ("skimage_ssim", each(&|a, b| ssim_with(Window::Uniform, a, b, width, height).unwrap())),
        ("ms_ssim", each(&|a, b| ms_ssim(a, b, width, height).unwrap())),
        ("torchmetrics_ms_ssim", each(&|a, b| ms_ssim_with(Convention::Torchmetrics, a, b, width, height).unwrap())),
    ])
}

fn diversity(case: &Case) -> Outputs {
    let (images, width, height) = images(case.input("images"));
    let images: Vec<&[f64]> = images.iter().take(4).map(Vec::as_slice).collect();
    let prompt = intra_prompt(&images, width, height).unwrap();
    named([("pairs", vector(prompt.pairs)), ("mean", Array::scalar(prompt.mean))])
}

fn prompts(case: &Case) -> Outputs {
    let array = case.input("images_u8");
    let (images, width, height) = images(array);
    let prompts: Vec<_> = images
        .chunks(array.shape[1])
        .map(|images| intra_prompt(&images.iter().map(Vec::as_slice).collect::<Vec<_>>(), width, height).unwrap())
        .collect();
    let over = Prompts::of(&prompts).expect("a prompt");
    named([
        ("pairs", matrix(prompts[0].pairs.len(), prompts.iter().flat_map(|prompt| prompt.pairs.clone()).collect())),
        ("per_prompt", vector(prompts.iter().map(|prompt| prompt.mean).collect())),
        ("mean", Array::scalar(over.mean)),
        ("std", Array::scalar(over.std.expect("two prompts"))),
    ])
}

/// A colour image as it comes from a file.
fn gray(case: &Case) -> Outputs {
    let rgb = case.input("rgb");
    let [height, width, 3] = rgb.shape[..] else { panic!("{:?} is no colour image", rgb.shape) };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&rgb.u8()).unwrap();
    let image = GrayImage::decode(&file, Path::new("rgb.png")).unwrap();
    let GrayDepth::U8(samples) = image.depth() else { panic!("8 bits became 16") };
    named([("gray", Array::new(&[height, width], samples))])
}

fn labels(array: &Array) -> Vec<usize> {
    array.values.iter().map(|&label| label as usize).collect()
}

fn ks(case: &Case) -> Vec<usize> {
    serde_json::from_value(case.params["k"].clone()).expect("a list k in params")
}

/// Image i belongs to text i.
fn pairs(case: &Case) -> Outputs {
    let similarity = case.input("similarity");
    let count = similarity.shape[0];
    let transposed: Vec<f64> = (0..count * count).map(|at| similarity.values[at % count * count + at / count]).collect();
    let own: Vec<usize> = (0..count).collect();
    let groups = labels(case.input("groups"));
    let ks = ks(case);
    let recall = |similarities: &[f64], labels: &[usize]| -> Recall {
        recall_of(Rows::new(similarities, count).unwrap(), labels, labels, &ks).unwrap()
    };
    let images = recall(&similarity.values, &own);
    let cosines = cosines(rows(case.input("image_features")), rows(case.input("text_features"))).unwrap();
    named([
        ("cosine", matrix(count, cosines)),
        ("text_to_image", vector(recall(&transposed, &own).at)),
        ("image_to_text_groups", vector(recall(&similarity.values, &groups).at)),
        ("image_to_text", vector(images.at)),
        ("median_rank", Array::scalar(images.median_rank)),
        ("mrr", Array::scalar(images.mean_reciprocal_rank)),
    ])
}

fn classes(case: &Case) -> Outputs {
    let (candidates, candidate_labels) = (rows(case.input("candidates")), labels(case.input("candidate_labels")));
    let of = |queries: &str, query_labels: &str| {
        let (queries, query_labels) = (rows(case.input(queries)), labels(case.input(query_labels)));
        precision_at(queries, &query_labels, candidates, &candidate_labels, &ks(case)).unwrap()
    };
    let images = precision(of("image_queries", "image_labels"), "image_");
    let texts = precision(of("text_queries", "text_labels"), "text_");
    [images, texts].concat()
}

fn ties(case: &Case) -> Outputs {
    let (queries, candidates) = (labels(case.input("image_labels")), labels(case.input("candidate_labels")));
    precision(precision_of(rows(case.input("similarity")), &queries, &candidates, &ks(case)).unwrap(), "")
}

fn precision(precision: Precision, prefix: &str) -> Outputs {
    let across = precision.macro_average.len();
    let per_class = precision.per_class.into_iter().flat_map(|(_, row)| row).collect();
    let outputs = [
        ("per_query", matrix(across, precision.per_query.concat())),
        ("per_class", matrix(across, per_class)),
        ("macro", vector(precision.macro_average)),
        ("micro", vector(precision.micro_average)),
    ];
    outputs.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)).collect()
}

fn named<const N: usize>(outputs: [(&str, Array); N]) -> Outputs {
    outputs.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

fn vector(values: Vec<f64>) -> Array {
    Array { shape: vec![values.len()], values }
}

fn matrix(width: usize, values: Vec<f64>) -> Array {
    Array { shape: vec![values.len() / width, width], values }
}
