//! A separate burn classifier, trained on real and synthetic images through burn's own data loader. Phantoms stand in for
//! real images, and their renderer for a generator: `cargo run --release -p roentgen-augment --example own_classifier`.

use std::error::Error;
use std::sync::Arc;

use burn::data::dataloader::DataLoaderBuilder;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::prelude::Module;
use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Device, Tensor};
use roentgen_augment::batch::{CxrBatch, CxrBatcher};
use roentgen_augment::dataset::{CxrDataset, SplitPlan, Splits};
use roentgen_augment::mix::{MixedDataset, Mixture};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, PhantomPhysics, PhantomSynthesizer};
use roentgen_augment::record::Vocabulary;
use roentgen_augment::supply::SyntheticDataset;

const SIZE: usize = 48;
const BATCH: usize = 16;

/// A plain convolutional net.
#[derive(Module, Debug)]
struct OwnNet {
    convolutions: Vec<Conv2d>,
    classifier: Linear,
}

impl OwnNet {
    fn new(findings: usize, device: &Device) -> Self {
        let layer = |channels| Conv2dConfig::new(channels, [3, 3]).with_stride([2, 2]).init(device);
        let convolutions = [[1, 8], [8, 16], [16, 32]].map(layer).into();
        Self { convolutions, classifier: LinearConfig::new(32, findings).init(device) }
    }

    /// Images `[B, 1, H, W]` to logits `[B, F]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.convolutions.iter().fold(images, |x, convolution| relu(convolution.forward(x)));
        self.classifier.forward(features.flatten::<3>(2, 3).mean_dim(2).squeeze_dim::<2>(2))
    }
}

/// 64 phantoms in training and one synthetic image for each.
fn mixed() -> Result<MixedDataset, Box<dyn Error>> {
    let data = CxrDataset::from_phantom(PhantomDataset::new(PhantomDatasetConfig::new(96, SIZE, 7))?)?;
    let train = Splits::new(&data, &SplitPlan::default())?.train().subset(64, 7)?;
    let generator = PhantomSynthesizer::new(Vocabulary::clone(data.vocabulary()), PhantomPhysics::shifted(), SIZE)?;
    let synthetic = SyntheticDataset::for_training(&train, generator).build()?;
    Ok(MixedDataset::new(train, Some(synthetic), Mixture::add(1.0), 7)?)
}

/// Mean loss of each epoch.
fn train() -> Result<Vec<f32>, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(7);
    let mixed = mixed()?;
    let vocabulary = mixed.real().data().vocabulary();
    let mut net = OwnNet::new(vocabulary.len(), &device);
    let mut optimizer = AdamConfig::new().init();
    let mut losses = Vec::new();
    for epoch in 0..4 {
        // The epoch has its own order, so the loader does not shuffle.
        let loader = DataLoaderBuilder::new(CxrBatcher::new(Arc::clone(vocabulary)))
            .batch_size(BATCH)
            .num_workers(1)
            .set_device(device.clone())
            .build(mixed.epoch(epoch));
        let mut sum = 0.0;
        for batch in loader.iter() {
            // An uncertain or missing label has no target: its mask is 0.
            let CxrBatch { images, targets, mask, .. } = batch?;
            let logits = net.forward(images);
            let likelihood = log_sigmoid(logits.clone()) * targets.clone() + log_sigmoid(-logits) * (-targets + 1.0);
            let loss = -(likelihood * mask.clone()).sum() / mask.sum();
            sum += loss.clone().into_scalar::<f32>();
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = optimizer.step(3e-3, net, gradients);
        }
        losses.push(sum / mixed.counts(epoch).len().div_ceil(BATCH) as f32);
        println!("epoch {epoch}: loss {:.4}", losses[epoch]);
    }
    Ok(losses)
}

fn main() -> Result<(), Box<dyn Error>> {
    train().map(|_| ())
}

#[test]
fn the_loss_falls() {
    let losses = train().unwrap();
    assert!(losses[3] < 0.8 * losses[0], "{losses:?}");
}
