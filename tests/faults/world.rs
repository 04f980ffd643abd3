//! Phantoms, and the classifier that judges them.

use std::sync::OnceLock;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use roentgen_augment::image::{GrayImage, Signed};
use roentgen_augment::phantom::{Pathology, PhantomPhysics, PhantomSynthesizer, Side};
use roentgen_augment::record::{Label, Sex, Vocabulary};
use roentgen_augment::request::SampleRequest;
use roentgen_augment::text::PromptKind;
use roentgen_classifier::loss::{KnownLabels, MaskedBce};
use roentgen_classifier::networks::{DenseNetConfig, Network, seeded};
use roentgen_classifier::training::TrainConfig;

use super::measures::{Measures, measures};

/// Pixels per side.
const SIZE: usize = 64;
/// Images of a synthetic set.
pub const MADE: usize = 120;
const BATCH: usize = 32;
const STEPS: usize = 240;

/// What the judge has outputs for: findings, and values of columns.
pub const OUTPUTS: [&str; 5] = ["Cardiomegaly", "Effusion", "Edema", "Sex=F", "Side=left"];
pub const FINDINGS: usize = 3;

/// Images with what was asked of each.
#[derive(Clone, Debug)]
pub struct Set {
    pub images: Vec<GrayImage>,
    pub asked: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub id: String,
    pub request: SampleRequest,
    /// Of the effusion, if there is one.
    pub side: Option<Side>,
}

impl Asked {
    /// 1 or 0 for each finding.
    pub fn labels(&self) -> [f64; FINDINGS] {
        std::array::from_fn(|finding| f64::from(u8::from(self.request.labels[finding] == Label::Positive)))
    }

    pub fn sex(&self) -> Option<String> {
        self.request.sex.map(|sex| if sex == Sex::Female { "F" } else { "M" }.to_owned())
    }

    pub fn side(&self) -> Option<String> {
        self.side.map(|side| side.to_string())
    }

    /// What the judge learns: NaN where there is no effusion to have a side.
    fn targets(&self) -> [f32; OUTPUTS.len()] {
        let [first, second, third] = self.labels().map(|label| label as f32);
        let is = |yes: bool| f32::from(u8::from(yes));
        let side = self.side.map_or(f32::NAN, |side| is(side == Side::Left));
        [first, second, third, is(self.request.sex == Some(Sex::Female)), side]
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary::parse(&OUTPUTS[..FINDINGS]).unwrap()
}

/// Images of bodies that no other seed has, each finding in two of five; `alter` changes what is drawn, not what is asked.
pub fn draw(seed: u64, count: usize, alter: impl Fn(&mut SampleRequest) + Sync) -> Set {
    let phantom = PhantomSynthesizer::new(vocabulary(), PhantomPhysics::reference(), SIZE).unwrap();
    let one = |index: usize| {
        let number = seed * 1_000_003 + index as u64;
        let digits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let label = |finding: u32| if (digits / 5_u64.pow(finding)) % 5 < 2 { Label::Positive } else { Label::Negative };
        let request = SampleRequest {
            prompt: String::new(),
            prompt_kind: PromptKind::Free,
            labels: (0..FINDINGS as u32).map(label).collect(),
            seed: number,
            replica: 0,
            source: None,
            age: None,
            sex: Some(if digits >> 30 & 1 == 0 { Sex::Female } else { Sex::Male }),
            view: None,
        };
        let study = phantom.study(&request).unwrap();
        let effusion = study.findings.iter().find(|found| found.pathology == Pathology::Effusion);
        let side = effusion.and_then(|found| found.side);
        let mut drawn = request.clone();
        alter(&mut drawn);
        let image = phantom.study(&drawn).unwrap().render(SIZE, &PhantomPhysics::reference());
        (image, Asked { id: format!("{seed}-{index}"), request, side })
    };
    let (images, asked) = (0..count).into_par_iter().map(one).unzip();
    Set { images, asked }
}

/// A classifier on the host.
pub struct Judge {
    net: Network,
    device: Device,
}

/// What a classifier makes of images.
pub struct Seen {
    pub width: usize,
    pub features: Vec<f32>,
    /// Probabilities, one row per image.
    pub scores: Vec<f64>,
}

impl Judge {
    /// Trains on that set.
    fn trained(set: &Set) -> Self {
        let device = Device::flex();
        let config = DenseNetConfig {
            growth_rate: 8,
            block_config: vec![2, 2, 2, 2],
            num_init_features: 16,
            bn_size: 4,
            in_channels: 1,
            num_classes: OUTPUTS.len(),
        };
        let mut net = seeded(config.init(&device), 1).fork(&device).train().unfreeze();
        let learning = device.clone().autodiff();
        let mut optimizer = TrainConfig::default().optimizer();
        for step in 0..STEPS {
            let rows: Vec<usize> = (0..BATCH).map(|place| (step * BATCH + place) * 17 % set.images.len()).collect();
            let targets: Vec<f32> = rows.iter().flat_map(|row| set.asked[*row].targets()).collect();
            let mask: Vec<f32> = targets.iter().map(|target| f32::from(u8::from(!target.is_nan()))).collect();
            let known = KnownLabels::count([&mask[..]], OUTPUTS.len());
            let targets: Vec<f32> = targets.into_iter().map(|target| if target.is_nan() { 0.0 } else { target }).collect();
            let table = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [BATCH, OUTPUTS.len()]), &learning);
            let logits = net.forward(stack(rows.iter().map(|row| &set.images[*row]), &learning));
            let loss = MaskedBce::default().forward(logits, table(targets), table(mask), &known);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            let rate = 4e-3 * (1.0 - step as f64 / STEPS as f64) + 1e-4;
            net = optimizer.step(rate, net, gradients);
        }
        Self { net: net.valid().fork(&device), device }
    }

    pub fn look(&self, images: &[GrayImage], batch: usize) -> Seen {
        let mut seen = Seen { width: 0, features: Vec::new(), scores: Vec::new() };
        for part in images.chunks(batch) {
            let features = self.net.features(stack(part.iter(), &self.device));
            seen.width = features.dims()[1];
            seen.scores.extend(sigmoid(self.net.head(features.clone())).into_data().iter::<f64>());
            seen.features.extend(features.into_data().iter::<f32>());
        }
        seen
    }
}

fn stack<'a>(images: impl Iterator<Item = &'a GrayImage>, device: &Device) -> Tensor<4> {
    let pixels: Vec<_> = images.map(|image| image.to_pixels::<Signed>()).collect();
    let values: Vec<f32> = pixels.iter().flat_map(|pixels| pixels.values()).copied().collect();
    Tensor::from_data(TensorData::new(values, [pixels.len(), 1, SIZE, SIZE]), device)
}

/// Everything that sets are compared with, made once.
pub struct World {
    pub train: Set,
    pub held_out: Set,
    pub judge: Judge,
    pub of_train: Seen,
    pub of_held_out: Seen,
    /// A set as a good generator would make it.
    pub faithful: Set,
    ranges: OnceLock<Vec<Measures>>,
}

impl World {
    /// Least and largest value of a measure over four faithful sets.
    pub fn range(&self, name: &str) -> (f64, f64) {
        let sets = || (10..14).map(|seed| measures(self, &draw(seed, MADE, |_| ()))).collect();
        let values = self.ranges.get_or_init(sets).iter().map(|found| super::value(found, name));
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }
}

pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (train, held_out) = (draw(1, 400, |_| ()), draw(2, 200, |_| ()));
        let judge = Judge::trained(&train);
        let (of_train, of_held_out) = (judge.look(&train.images, BATCH), judge.look(&held_out.images, BATCH));
        World { train, held_out, judge, of_train, of_held_out, faithful: draw(14, MADE, |_| ()), ranges: OnceLock::new() }
    })
}
