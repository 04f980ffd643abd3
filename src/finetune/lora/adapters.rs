//! Adapters with their values, apart from any training.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;

use super::settings::check_alpha;
use super::{Factors, shapes};
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::weights::{KeyMap, Slot, each, rewrite};
use crate::finetune::{FinetuneError, Part};

/// Adapters as files hold them: `lora_A` `[rank, inputs]` and `lora_B` `[outputs, rank]` for each module, in 32-bit floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lora {
    /// By part and module. A text encoder's module has its name in transformers 5, without `text_model.`.
    pub(super) adapters: BTreeMap<(Part, String), Adapter>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adapter {
    pub(super) a: TensorData,
    pub(super) b: TensorData,
    /// What the file states; `None` stands for the rank, unless a reader knows better.
    pub(super) alpha: Option<f64>,
}

/// CLIP's modules as files up to transformers 4 name them.
pub(super) const TEXT_MODEL: &str = "text_model.";

/// A module's name in transformers 5.
pub(super) fn plain(module: &str) -> &str {
    module.strip_prefix(TEXT_MODEL).unwrap_or(module)
}

impl Adapter {
    pub(super) fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    pub(super) fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(self.rank() as f64)
    }
}

/// Whether two shapes are the same but for ones at the end: a 1x1 convolution is also kept as a matrix.
fn same_matrix(found: &[usize], expected: &[usize]) -> bool {
    let ones = |shape: &[usize]| shape.iter().rev().take_while(|size| **size == 1).count();
    found[..found.len() - ones(found)] == expected[..expected.len() - ones(expected)]
}

impl Lora {
    /// Number of modules with an adapter.
    #[must_use]
    pub fn modules(&self) -> usize {
        self.adapters.len()
    }

    /// Digest of every name and value.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = |((part, module), adapter): (&(Part, String), &Adapter)| {
            let Adapter { a, b, .. } = adapter;
            let name = format!("{part}.{module}");
            Fingerprint::of(&[name.as_bytes(), a.as_bytes(), b.as_bytes(), &adapter.alpha().to_le_bytes()]).0
        };
        let digests: Vec<u8> = self.adapters.iter().flat_map(digest).collect();
        Fingerprint::of(&[&digests])
    }

    /// With this alpha for every adapter whose file states none.
    ///
    /// Files that diffusers wrote before it kept metadata hold the factors alone, and whoever trained them knows the alpha. Without
    /// this call it is the rank, as diffusers assumes.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] unless it is a number above 0.
    pub fn with_alpha(mut self, alpha: f64) -> Result<Self, FinetuneError> {
        check_alpha(alpha)?;
        for adapter in self.adapters.values_mut() {
            adapter.alpha.get_or_insert(alpha);
        }
        Ok(self)
    }

    pub(super) fn get(&self, part: Part, key: &str) -> Option<&Adapter> {
        let module = key.strip_suffix(".weight")?;
        self.adapters.get(&(part, plain(module).to_owned()))
    }

    /// `pipeline` with the adapters added to its weights, `scale` times; `path` is for messages.
    ///
    /// # Errors
    /// [`FinetuneError::Lora`] if a module is not in the pipeline or of another shape there.
    pub fn merge(&self, mut pipeline: StableDiffusion, scale: f64, path: &Path) -> Result<StableDiffusion, FinetuneError> {
        let (mut slots, keys) = (Vec::new(), pipeline.checkpoint.unet.keys());
        each(&pipeline.unet.model, &keys, |slot, _| slots.push((Part::Unet, slot)));
        let text_keys = pipeline.checkpoint.text_encoder.keys();
        each(&pipeline.text_encoder.model, text_keys, |slot, _| slots.push((Part::TextEncoder, slot)));
        self.check(&slots, path)?;

        pipeline.unet.model = self.add_to(Part::Unet, pipeline.unet.model, &keys, scale);
        pipeline.text_encoder.model = self.add_to(Part::TextEncoder, pipeline.text_encoder.model, text_keys, scale);
        let changed = |component: &str| self.adapters.keys().any(|(part, _)| part.name() == component);
        Ok(pipeline.retrained(changed))
    }

    /// Whether every adapter has a module of its shape.
    fn check(&self, slots: &[(Part, Slot)], path: &Path) -> Result<(), FinetuneError> {
        let mut missing: BTreeSet<&(Part, String)> = self.adapters.keys().collect();
        for (part, slot) in slots {
            self.check_one(*part, slot, path)?;
            if let Some(module) = slot.key.strip_suffix(".weight") {
                missing.remove(&(*part, plain(module).to_owned()));
            }
        }
        let Some((part, module)) = missing.first() else { return Ok(()) };
        let message = format!(
            "{} of its {} modules are not in the pipeline, the first {part}.{module}: it was trained on another model",
            missing.len(),
            self.adapters.len()
        );
        Err(FinetuneError::Lora { path: path.to_owned(), message })
    }

    /// Whether the adapter of a weight, if it has one, is of its shape.
    pub(super) fn check_one(&self, part: Part, slot: &Slot, path: &Path) -> Result<(), FinetuneError> {
        let Some(adapter) = self.get(part, &slot.key) else { return Ok(()) };
        let [a, b] = [&adapter.a, &adapter.b].map(|factor| factor.shape().to_vec());
        if slot.file_shape.len() > 1 {
            let [expected_a, expected_b] = shapes(slot, adapter.rank());
            if same_matrix(&a, &expected_a) && same_matrix(&b, &expected_b) {
                return Ok(());
            }
        }
        let message = format!(
            "the adapter of {part}.{} has factors {a:?} and {b:?}, the weight is {:?}: it was trained on another model",
            slot.key, slot.file_shape
        );
        Err(FinetuneError::Lora { path: path.to_owned(), message })
    }

    /// Number of a part's modules with an adapter.
    pub(super) fn of(&self, part: Part) -> usize {
        self.adapters.keys().filter(|(other, _)| *other == part).count()
    }

    /// Takes a factor in by its name: `MODULE.lora_A.weight` or `MODULE.lora_B.weight`.
    pub(super) fn insert(&mut self, part: Part, key: &str, data: TensorData, alpha: f64) {
        let (module, is_a) = match key.strip_suffix(".lora_A.weight") {
            Some(module) => (module, true),
            None => (key.strip_suffix(".lora_B.weight").unwrap_or(key), false),
        };
        let empty = || TensorData::zeros::<f32, _>([0, 0]);
        let adapter = self.adapters.entry((part, plain(module).to_owned())).or_insert_with(|| Adapter {
            a: empty(),
            b: empty(),
            alpha: Some(alpha),
        });
        *(if is_a { &mut adapter.a } else { &mut adapter.b }) = data;
    }

    fn add_to<M: Module>(&self, part: Part, model: M, keys: &dyn KeyMap, scale: f64) -> M {
        rewrite(model, keys, |slot, current| {
            let adapter = self.get(part, &slot.key)?;
            let weight = current();
            let (dtype, device) = (weight.dtype(), weight.device());
            let flat = |data: &TensorData| {
                let count = data.num_elements();
                Tensor::from_data(TensorData::new(data.iter::<f32>().collect::<Vec<_>>(), [count]), (&device, DType::F32))
            };
            let rank = adapter.rank();
            let factors =
                Factors { a: flat(&adapter.a), b: flat(&adapter.b), rank, scale: scale * adapter.alpha() / rank as f64 };
            Some(weight + factors.delta(slot).cast(FloatDType::from(dtype)))
        })
    }
}
