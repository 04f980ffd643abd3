//! Training: teacher forcing, cross-entropy, AdamW, ended by the loss on patients that it doesn't learn from.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::progress::Progress;
use roentgen_classifier::training::clip_grad_norm;

use super::model::{DecoderNet, numbers};
use super::vocabulary::{BEGIN, END, OTHER, PAD, WordVocabulary};
use super::{DecoderCard, DecoderError, DecoderSettings, Pairs, ReportDecoder, Scale};
use crate::evaluation::Rows;

/// Fewest pairs, and fewest patients: a tenth of them is held out.
pub(super) const FEWEST_REPORTS: usize = 50;
pub(super) const FEWEST_PATIENTS: usize = 20;
/// One patient in so many is held out.
const HELD_OUT: usize = 10;
/// Largest joint norm of the gradients of a step.
const CLIP: f64 = 1.0;

impl ReportDecoder {
    /// Trains a decoder. A function of its arguments alone on the CPU; on a GPU the last bits may differ.
    ///
    /// # Errors
    /// [`DecoderError`].
    pub fn train(
        pairs: Pairs<'_>,
        settings: DecoderSettings,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<Self, DecoderError> {
        let Pairs { features, reports, patients } = pairs;
        if features.len() != reports.len() || features.len() != patients.len() {
            let (images, reports, patients) = (features.len(), reports.len(), patients.len());
            return Err(DecoderError::Unequal { images, reports, patients });
        }
        let (held_out, mut learnt) = parts(patients, settings);
        if held_out.len() + learnt.len() < FEWEST_REPORTS || held_out.is_empty() {
            let patients = patients.iter().collect::<BTreeSet<_>>().len();
            return Err(DecoderError::TooFew { reports: reports.len(), patients });
        }
        let vocabulary = WordVocabulary::new(learnt.iter().map(|&pair| reports[pair].as_str()), settings.most_words);
        if vocabulary.len() == 0 {
            return Err(DecoderError::NoWords { reports: learnt.len() });
        }
        let words: Vec<Vec<usize>> = reports.iter().map(|report| vocabulary.numbers(report)).collect();
        let data = Data {
            scale: Scale::new(features, &learnt),
            loss: CrossEntropyLossConfig::new().with_pad_tokens(Some(vec![PAD])).init(device),
            features,
            words: &words,
            settings,
        };
        let plain = device.clone().inner();
        let training = plain.clone().autodiff();
        let net = DecoderNet::new(features.width(), vocabulary.size(), &settings, &plain);
        let (parameters, mut kept) = (net.num_params(), net.clone());
        let mut net = net.fork(&training).train().unfreeze();
        let mut optimizer = AdamWConfig::new().with_weight_decay(1e-2).init();
        let (mut epochs, mut best_epoch, mut best) = (0, 0, f64::INFINITY);
        let task = progress.begin("report decoder", (settings.epochs * learnt.len()) as u64, "reports");
        while epochs < settings.epochs && epochs - best_epoch < settings.patience {
            epochs += 1;
            let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
            random.set_stream(epochs as u64);
            learnt.shuffle(&mut random);
            for pairs in learnt.chunks(settings.batch) {
                let loss = data.loss(&net, pairs, &training);
                let mut gradients = GradientsParams::from_grads(loss.backward(), &net);
                clip_grad_norm(&net, &mut gradients, CLIP);
                net = optimizer.step(settings.learning_rate, net, gradients);
                task.advance(pairs.len() as u64);
            }
            let candidate = net.valid().fork(&plain);
            let loss = data.mean_loss(&candidate, &held_out, &plain);
            if !loss.is_finite() {
                return Err(DecoderError::Diverged { epoch: epochs, loss });
            }
            task.message(&format!("held-out loss {loss:.3}"));
            if loss < best {
                (best, best_epoch, kept) = (loss, epochs, candidate);
            }
        }
        task.set_total((epochs * learnt.len()) as u64);
        let held_out_words = || held_out.iter().flat_map(|&pair| &words[pair]);
        let unknown = held_out_words().filter(|word| **word == OTHER).count();
        let card = DecoderCard {
            trained_on: learnt.len(),
            held_out: held_out.len(),
            not_used: reports.len() - learnt.len() - held_out.len(),
            cut: words.iter().filter(|words| words.len() > settings.longest).count(),
            words: vocabulary.len(),
            known: 1.0 - unknown as f64 / held_out_words().count().max(1) as f64,
            parameters,
            epochs,
            best_epoch,
            held_out_loss: best,
        };
        Ok(Self { net: kept, vocabulary, scale: data.scale, settings, device: plain, card })
    }
}

/// Held-out pairs and those that are learnt, no patient in both: patients in an order that the seed draws, the first of them held out.
fn parts(patients: &[&str], settings: DecoderSettings) -> (Vec<usize>, Vec<usize>) {
    let place = |patient: &str| Fingerprint::of(&[b"roentgen decoder 1", &settings.seed.to_le_bytes(), patient.as_bytes()]).0;
    let mut order: Vec<([u8; 32], usize)> = patients.iter().map(|patient| place(patient)).zip(0..).collect();
    order.sort_unstable();
    order.truncate(settings.most_reports);
    let mut drawn: Vec<[u8; 32]> = order.iter().map(|(patient, _)| *patient).collect();
    drawn.dedup();
    if drawn.len() < FEWEST_PATIENTS {
        return (Vec::new(), order.into_iter().map(|(_, pair)| pair).collect());
    }
    let last = drawn[drawn.len() / HELD_OUT - 1];
    let (held_out, learnt): (Vec<_>, Vec<_>) = order.into_iter().partition(|(patient, _)| *patient <= last);
    [held_out, learnt].map(|part| part.into_iter().map(|(_, pair)| pair).collect()).into()
}

/// What batches are made from.
struct Data<'a> {
    scale: Scale,
    loss: CrossEntropyLoss,
    features: Rows<'a>,
    words: &'a [Vec<usize>],
    settings: DecoderSettings,
}

impl Data<'_> {
    /// Mean cross-entropy of the words of these pairs, in nats per word, the sign of the end being one.
    fn loss(&self, net: &DecoderNet, pairs: &[usize], device: &Device) -> Tensor<1> {
        let [given, wanted] = self.batch(pairs, device);
        let logits = net.forward(self.scale.tensor(self.features, pairs, device), given);
        let [images, places, size] = logits.dims();
        self.loss.forward(logits.reshape([images * places, size]), wanted.reshape([images * places]))
    }

    fn mean_loss(&self, net: &DecoderNet, pairs: &[usize], device: &Device) -> f64 {
        let (mut sum, mut words) = (0.0, 0);
        for pairs in pairs.chunks(self.settings.batch) {
            let count: usize = pairs.iter().map(|&pair| self.learnt(pair).len() + 1).sum();
            sum += count as f64 * self.loss(net, pairs, device).into_scalar::<f64>();
            words += count;
        }
        sum / words as f64
    }

    /// Words that are given, and the ones behind each that are wanted, `[B, T]` each.
    fn batch(&self, pairs: &[usize], device: &Device) -> [Tensor<2, Int>; 2] {
        let places = 1 + pairs.iter().map(|&pair| self.learnt(pair).len()).max().unwrap_or_default();
        let (mut given, mut wanted) = (vec![PAD; pairs.len() * places], vec![PAD; pairs.len() * places]);
        for ((given, wanted), &pair) in given.chunks_exact_mut(places).zip(wanted.chunks_exact_mut(places)).zip(pairs) {
            let words = self.learnt(pair);
            given[0] = BEGIN;
            given[1..=words.len()].copy_from_slice(words);
            wanted[..words.len()].copy_from_slice(words);
            wanted[words.len()] = END;
        }
        [given, wanted].map(|words| numbers(&words, pairs.len(), device))
    }

    fn learnt(&self, pair: usize) -> &[usize] {
        let words = &self.words[pair];
        &words[..words.len().min(self.settings.longest)]
    }
}
