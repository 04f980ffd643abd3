//! The network: a gated recurrent unit that begins with what it makes of an image, and sees that at every word.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::DecoderSettings;
use super::vocabulary::{BEGIN, END, FIRST_WRITTEN};

/// "Show and Tell" (Vinyals et al. 2015, arXiv 1411.4555) with a GRU (Cho et al. 2014) and frozen features.
#[derive(Module, Debug)]
pub(super) struct DecoderNet {
    image: Linear,
    state: Linear,
    words: Embedding,
    gru: Gru,
    output: Linear,
}

impl DecoderNet {
    /// First weights, drawn on the host: they are those of the seed on every device.
    pub(super) fn new(features: usize, vocabulary: usize, settings: &DecoderSettings, device: &Device) -> Self {
        let DecoderSettings { word_width, state_width, seed, .. } = *settings;
        let net = Self {
            image: LinearConfig::new(features, word_width).init(device),
            state: LinearConfig::new(word_width, state_width).init(device),
            words: EmbeddingConfig::new(vocabulary, word_width).init(device),
            gru: GruConfig::new(2 * word_width, state_width, true).init(device),
            output: LinearConfig::new(state_width, vocabulary).init(device),
        };
        net.map(&mut Draw { random: ChaCha8Rng::seed_from_u64(seed), path: Vec::new() })
    }

    /// Logits of the word behind each one.
    ///
    /// # Shapes
    /// `features` `[B, F]`, `words` `[B, T]`, logits `[B, T, V]`.
    pub(super) fn forward(&self, features: Tensor<2>, words: Tensor<2, Int>) -> Tensor<3> {
        let (image, state) = self.look(features);
        self.output.forward(self.states(image, words, state))
    }

    /// The most probable word at each place, without signs, at most `longest` of them, for images `[B, F]`.
    pub(super) fn write(&self, features: Tensor<2>, longest: usize) -> Vec<Vec<usize>> {
        let (device, [images, _]) = (features.device(), features.dims());
        let (image, mut state) = self.look(features);
        let mut reports = vec![Vec::new(); images];
        let (mut last, mut ended) = (vec![BEGIN; images], vec![false; images]);
        for _ in 0..longest {
            let [_, width] = state.dims();
            state = self.states(image.clone(), numbers(&last, images, &device), state).reshape([images, width]);
            let logits = self.output.forward(state.clone()).slice(s![.., FIRST_WRITTEN..]);
            last = logits.argmax(1).into_data().iter::<i64>().map(|word| word as usize + FIRST_WRITTEN).collect();
            for ((report, ended), &word) in reports.iter_mut().zip(&mut ended).zip(&last) {
                *ended |= word == END;
                if !*ended {
                    report.push(word);
                }
            }
            if ended.iter().all(|ended| *ended) {
                break;
            }
        }
        reports
    }

    /// What is made of the images `[B, E]`, and the first state `[B, H]`.
    fn look(&self, features: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let image = self.image.forward(features).tanh();
        (image.clone(), self.state.forward(image).tanh())
    }

    /// States `[B, T, H]` behind the words `[B, T]`.
    fn states(&self, image: Tensor<2>, words: Tensor<2, Int>, state: Tensor<2>) -> Tensor<3> {
        let words = self.words.forward(words); // [B, T, E]
        let image = image.unsqueeze_dim::<3>(1).expand(words.dims());
        self.gru.forward(Tensor::cat(vec![words, image], 2), Some(state))
    }
}

/// Numbers of words as a tensor of `rows` rows.
pub(super) fn numbers(words: &[usize], rows: usize, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = words.iter().map(|word| *word as i64).collect();
    let columns = values.len() / rows.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Matrices uniform within `1 / sqrt(inputs)`, a word's vector within `1 / sqrt(E)`; all else is 0.
struct Draw {
    random: ChaCha8Rng,
    path: Vec<String>,
}

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let are_words = self.path.first().is_some_and(|name| name == "words");
        param.map(|tensor| {
            let shape = tensor.dims();
            if D < 2 {
                return tensor.zeros_like();
            }
            let bound = 1.0 / (shape[usize::from(are_words)] as f32).sqrt();
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.random.random_range(-bound..=bound)).collect();
            Tensor::from_data(TensorData::new(values, shape), &tensor.device())
        })
    }
}
