//! Adapters with their values, and merging them into a pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;
use roentgen_classifier::SettingError;

use super::names::{Tool, plain};
use super::{Factors, check_alpha, shapes};
use crate::adapters::{AdapterError, LoraPart};
use crate::diffusion::Part;
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::weights::{KeyMap, Slot, each, rewrite};

/// Adapters as in files: `lora_A` `[rank, inputs]` and `lora_B` `[outputs, rank]` for each module, in 32-bit floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lora {
    /// By part and module. A text encoder's module has its name in transformers 5, without `text_model.`; one of kohya's files has `_` for
    /// every dot.
    pub(super) adapters: BTreeMap<(Part, String), Adapter>,
    /// What made the file; `None` if there is none.
    pub(super) tool: Option<Tool>,
    /// The base that the header names.
    pub(super) base: Option<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adapter {
    pub(super) a: TensorData,
    pub(super) b: TensorData,
    /// As stated in the file; `None` stands for the rank, unless the reader sets it.
    pub(super) alpha: Option<f64>,
}

impl Adapter {
    pub(super) fn rank(&self) -> usize {
        self.a.shape()[0]
    }

    pub(super) fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(self.rank() as f64)
    }

    /// At least as large as every value of `alpha / rank * B A`.
    fn bound(&self) -> f64 {
        let largest = |data: &TensorData| data.iter::<f32>().fold(0.0, |most: f64, value| most.max(f64::from(value.abs())));
        largest(&self.a) * largest(&self.b) * self.alpha()
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

    /// Parts with an adapter.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.adapters.keys().map(|(part, _)| *part).collect();
        parts.dedup();
        parts
    }

    /// The tool whose names its file has, and the base that the header names.
    pub(in crate::adapters) fn origin(&self) -> (&'static str, Option<String>) {
        (self.tool.map_or("no file", Tool::title), self.base.clone())
    }

    /// Its modules, ranks and factors by part.
    pub(in crate::adapters) fn facts(&self) -> Vec<LoraPart> {
        let of_part = |part: Part| {
            let adapters = || self.adapters.iter().filter(move |((other, _), _)| *other == part).map(|(_, adapter)| adapter);
            let ranks = adapters().map(Adapter::rank);
            let factors = adapters().map(|adapter| adapter.alpha() / adapter.rank() as f64);
            LoraPart {
                part: part.name(),
                modules: adapters().count(),
                ranks: [ranks.clone().min().unwrap_or(0), ranks.max().unwrap_or(0)],
                factors: [factors.clone().fold(f64::INFINITY, f64::min), factors.fold(0.0, f64::max)],
            }
        };
        self.parts().into_iter().map(of_part).collect()
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
    /// Files that diffusers wrote before it kept metadata hold the factors alone, so the alpha has to be known from their
    /// training. Without this call it is the rank, as diffusers assumes.
    ///
    /// # Errors
    /// [`SettingError`] unless it is a number above 0.
    pub fn with_alpha(mut self, alpha: f64) -> Result<Self, SettingError> {
        check_alpha(alpha)?;
        for adapter in self.adapters.values_mut() {
            adapter.alpha.get_or_insert(alpha);
        }
        Ok(self)
    }

    /// The adapter of a weight by its name in files, as files of diffusers or kohya's scripts name its module.
    fn get(&self, part: Part, key: &str) -> Option<&Adapter> {
        names_of(key)?.into_iter().find_map(|module| self.adapters.get(&(part, module)))
    }

    /// The factors for a weight, with rank and, if it is stated, alpha.
    pub(crate) fn factors(&self, part: Part, key: &str) -> Option<([TensorData; 2], usize, Option<f64>)> {
        self.get(part, key).map(|adapter| ([adapter.a.clone(), adapter.b.clone()], adapter.rank(), adapter.alpha))
    }

    /// `pipeline` with the adapters added to its weights, `scale` times; `path` is for messages. Sums are computed in 32 bits and rounded
    /// to the type that the pipeline computes in.
    ///
    /// # Errors
    /// [`AdapterError::Unusable`] if a module is not in the pipeline or of another shape there, or if a weight would be too large.
    pub fn merge(&self, mut pipeline: StableDiffusion, scale: f64, path: &Path) -> Result<StableDiffusion, AdapterError> {
        let (mut slots, keys) = (Vec::new(), pipeline.checkpoint.unet.keys());
        each(&pipeline.unet.model, &keys, |slot, _| slots.push((Part::Unet, slot)));
        let text_keys = pipeline.checkpoint.text_encoder.keys();
        each(&pipeline.text_encoder.model, text_keys, |slot, _| slots.push((Part::TextEncoder, slot)));
        self.check(&slots, scale, path)?;

        pipeline.unet.model = self.add_to(Part::Unet, pipeline.unet.model, &keys, scale);
        pipeline.text_encoder.model = self.add_to(Part::TextEncoder, pipeline.text_encoder.model, text_keys, scale);
        let changed = |component: &str| self.adapters.keys().any(|(part, _)| part.name() == component);
        Ok(pipeline.retrained(changed))
    }

    /// Whether every adapter has a module of its shape, and adds finite numbers to it.
    fn check(&self, slots: &[(Part, Slot)], scale: f64, path: &Path) -> Result<(), AdapterError> {
        let mut missing: BTreeSet<&(Part, String)> = self.adapters.keys().collect();
        for (part, slot) in slots {
            self.check_one(*part, slot, path)?;
            for module in names_of(&slot.key).into_iter().flatten() {
                missing.remove(&(*part, module));
            }
        }
        if let Some((part, module)) = missing.first() {
            return Err(AdapterError::unusable(
                path,
                format!(
                    "{} of its {} modules are not in the pipeline, the first {part}.{module}: {}",
                    missing.len(),
                    self.adapters.len(),
                    self.another_model()
                ),
            ));
        }
        let too_large = |adapter: &Adapter| adapter.bound() * scale.abs() > f64::from(f32::MAX);
        match self.adapters.iter().find(|(_, adapter)| too_large(adapter)) {
            Some(((part, module), _)) => Err(AdapterError::unusable(
                path,
                format!(
                    "its change of {part}.{module} at a scale of {scale} is beyond 32-bit floats: give it a smaller scale, FILE:SCALE"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Whether the adapter of a weight, if it has one, is of its shape.
    pub(crate) fn check_one(&self, part: Part, slot: &Slot, path: &Path) -> Result<(), AdapterError> {
        let Some(adapter) = self.get(part, &slot.key) else { return Ok(()) };
        let [a, b] = [&adapter.a, &adapter.b].map(|factor| factor.shape().to_vec());
        if slot.file_shape.len() > 1 {
            let [expected_a, expected_b] = shapes(slot, adapter.rank());
            if same_matrix(&a, &expected_a) && same_matrix(&b, &expected_b) {
                return Ok(());
            }
        }
        let message = format!(
            "the adapter of {part}.{} has factors {a:?} and {b:?}, the weight is {:?}: {}",
            slot.key,
            slot.file_shape,
            self.another_model()
        );
        Err(AdapterError::unusable(path, message))
    }

    /// That it is for another model, and which one, as far as its header or the width of its text states says so.
    fn another_model(&self) -> String {
        let of_text = |module: &str| ["attn2.to_k", "attn2_to_k"].iter().any(|end| module.ends_with(end));
        let width = self
            .adapters
            .iter()
            .find(|((_, module), _)| of_text(module))
            .and_then(|(_, adapter)| adapter.a.shape().get(1).copied());
        let of_width = match width {
            Some(768) => Some("Stable Diffusion 1, by the width of its text states"),
            Some(1024) => Some("Stable Diffusion 2, by the width of its text states"),
            Some(2048) => Some("Stable Diffusion XL, by the width of its text states; this program runs 1 and 2"),
            _ => None,
        };
        let base = self.base.as_ref().map(|base| format!("{base}, says its header"));
        let base = base.or_else(|| of_width.map(str::to_owned));
        let which = base.map(|base| format!(" ({base})")).unwrap_or_default();
        format!("it was trained on another model{which}: give --pipeline its own base, or use a LoRA of this pipeline's")
    }

    /// Number of a part's modules with an adapter.
    pub(crate) fn of(&self, part: Part) -> usize {
        self.adapters.keys().filter(|(other, _)| *other == part).count()
    }

    /// Takes a factor in by its name: `MODULE.lora_A.weight` or `MODULE.lora_B.weight`.
    pub(crate) fn insert(&mut self, part: Part, key: &str, data: TensorData, alpha: f64) {
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
            Some((weight.cast(FloatDType::F32) + factors.delta(slot)).cast(FloatDType::from(dtype)))
        })
    }
}

/// The names that a file may have for the module of a weight: with dots, and with kohya's underscores. `None` for a weight that has no adapter.
fn names_of(key: &str) -> Option<[String; 2]> {
    let module = plain(key.strip_suffix(".weight")?);
    Some([module.to_owned(), module.replace('.', "_")])
}
