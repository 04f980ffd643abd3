//! The weights under training, flat and by name, and the pipeline's networks that use them.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use roentgen_kernels::cast;

use super::lora;
use super::{FinetuneError, Strategy, TraineeSettings, Tuning};
use crate::adapters::lora::Factors;
use crate::diffusion::Part;
use crate::diffusion::autoencoder::Autoencoder;
use crate::diffusion::pipeline::{Checkpoint, OpenOptions, StableDiffusion};
use crate::diffusion::text::{TextEncoderModel, TextProjection, TextProjectionKeys};
use crate::diffusion::unet::UNet;
use crate::diffusion::weights::{KeyMap, Slot, each, extract, rewrite};

/// A weight under training, or a factor of an adapter.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Part, module and parameter, as files name them: `unet.conv_in.weight`.
    pub(super) name: String,
    pub(super) part: Part,
    /// Its place in the part.
    pub(super) slot: Slot,
    /// F32, flat, a leaf of the autodiff graph.
    pub(super) value: Tensor<1>,
}

/// All weights under training, in the order of the networks.
#[derive(Debug)]
pub(super) struct Leaves {
    pub(super) list: Vec<Leaf>,
    positions: HashMap<String, usize>,
    tape: Tape,
}

/// Makes tensors part of the autodiff graph.
///
/// Tensors of different checkpointing strategies can't be combined, and a tensor that is brought into the graph has the default
/// one: it is set here for all.
#[derive(Clone, Debug)]
pub(super) struct Tape {
    device: Device,
}

impl Tape {
    /// On a device without autodiff.
    pub(super) fn new(device: &Device, gradient_checkpointing: bool) -> Self {
        let device = device.clone().autodiff();
        Self { device: if gradient_checkpointing { device.gradient_checkpointing() } else { device } }
    }

    /// The compute device, without autodiff.
    pub(super) fn plain_device(&self) -> Device {
        self.device.clone().without_autodiff()
    }

    /// A tensor that has no gradient.
    pub(super) fn constant<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let strategy = self.device.gradient_checkpointing_strategy().expect("the tape's device has autodiff");
        tensor.autodiff().with_gradient_checkpointing_strategy(strategy)
    }

    /// A tensor that has a gradient.
    pub(super) fn leaf(&self, tensor: Tensor<1>) -> Tensor<1> {
        self.constant(tensor).require_grad()
    }
}

impl Leaves {
    pub(super) fn new(tape: Tape) -> Self {
        Self { list: Vec::new(), positions: HashMap::new(), tape }
    }

    /// Adds a weight with a value on the compute device.
    pub(super) fn push(&mut self, part: Part, slot: Slot, value: Tensor<1>) {
        let name = format!("{part}.{}", slot.key);
        self.positions.insert(name.clone(), self.list.len());
        self.list.push(Leaf { name, part, slot, value: self.tape.leaf(value) });
    }

    pub(super) fn position(&self, part: Part, key: &str) -> Option<usize> {
        self.positions.get(&format!("{part}.{key}")).copied()
    }

    /// Gives a weight another value, on the compute device.
    pub(super) fn set(&mut self, position: usize, value: Tensor<1>) {
        self.list[position].value = self.tape.leaf(value);
    }

    /// Takes a weight's value off the graph to be changed; [`set`](Self::set) must follow.
    pub(super) fn take(&mut self, position: usize) -> Tensor<1> {
        let empty = Tensor::empty([0], &self.tape.plain_device());
        std::mem::replace(&mut self.list[position].value, empty).inner()
    }

    /// Values off the graph.
    pub(super) fn values(&self) -> impl Iterator<Item = Tensor<1>> {
        self.list.iter().map(|leaf| leaf.value.clone().inner())
    }

    pub(super) fn tape(&self) -> &Tape {
        &self.tape
    }
}

/// A pipeline whose weights that train in full are [`Leaves`], and not in it.
#[derive(Debug)]
pub(super) struct Networks {
    base: StableDiffusion,
    strategy: Strategy,
}

/// The values of the weights under training.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// Their own, on the autodiff graph.
    Tracked,
    /// These, in the order of the leaves, off the graph.
    Plain(&'a [Tensor<1>]),
}

/// Loads a checkpoint and takes the weights that train out of it.
pub(super) fn load(
    checkpoint: Checkpoint,
    settings: &TraineeSettings,
    device: &Device,
) -> Result<(Networks, Leaves), FinetuneError> {
    let strategy = settings.strategy.clone();
    let options = OpenOptions { device: device.clone(), dtype: settings.dtype, offload: false };
    // What trains is kept in F32 and rounded at each use; so is the autoencoder, whose latents are made once.
    let wide = |component: &str| component == "vae" || strategy.tuning_of(component) == Tuning::Full;
    let mut base = StableDiffusion::load(checkpoint, &options, wide, |_| ())?;

    let mut leaves = Leaves::new(Tape::new(device, settings.gradient_checkpointing));
    let keys = base.checkpoint.unet.keys();
    base.unet.model = adopt(Part::Unet, base.unet.model, &keys, settings, &mut leaves)?;
    let keys = base.checkpoint.text_encoder.keys();
    base.text_encoder.model = adopt(Part::TextEncoder, base.text_encoder.model, keys, settings, &mut leaves)?;
    if let Some(mut projection) = base.projection.take() {
        projection.model = adopt(Part::TextProjection, projection.model, &TextProjectionKeys, settings, &mut leaves)?;
        base.projection = Some(projection);
    }
    let keys = base.vae.model.keys();
    base.vae.model = adopt(Part::Vae, base.vae.model, keys, settings, &mut leaves)?;
    Ok((Networks { base, strategy }, leaves))
}

/// `model` without the weights that train, which become leaves; or whole, and adapters become leaves.
fn adopt<M: Module>(
    part: Part,
    model: M,
    keys: &dyn KeyMap,
    settings: &TraineeSettings,
    leaves: &mut Leaves,
) -> Result<M, FinetuneError> {
    match settings.strategy.tuning_of(part.name()) {
        Tuning::Frozen => Ok(model),
        Tuning::Full => {
            let wanted = |slot: &Slot| settings.strategy.trains(part, &slot.key);
            Ok(extract(model, keys, wanted, |slot, value| leaves.push(part, slot, value)))
        }
        Tuning::Lora(adapters) => {
            let mut slots = Vec::new();
            each(&model, keys, |slot, _| slots.push(slot));
            lora::add(part, &slots, &adapters, settings.seed, leaves)?;
            Ok(model)
        }
    }
}

impl Networks {
    pub(super) fn base(&self) -> &StableDiffusion {
        &self.base
    }

    pub(super) fn unet(&self, leaves: &Leaves, values: Values<'_>) -> UNet {
        self.bind(&self.base).unet(leaves, values)
    }

    pub(super) fn text_encoder(&self, leaves: &Leaves, values: Values<'_>) -> TextEncoderModel {
        self.bind(&self.base).text_encoder(leaves, values)
    }

    pub(super) fn projection(&self, leaves: &Leaves, values: Values<'_>) -> Option<TextProjection> {
        self.bind(&self.base).projection(leaves, values)
    }

    pub(super) fn vae(&self, leaves: &Leaves, values: Values<'_>) -> Autoencoder {
        self.bind(&self.base).vae(leaves, values)
    }

    fn bind<'a>(&'a self, base: &'a StableDiffusion) -> Bind<'a> {
        Bind { base, strategy: &self.strategy }
    }

    /// The pipeline with `values`, adapters merged; as precise as the weights under training where `precise`, for which the frozen
    /// ones are read once more, else in the compute type.
    pub(super) fn pipeline(
        &self,
        leaves: &Leaves,
        values: &[Tensor<1>],
        precise: bool,
    ) -> Result<StableDiffusion, FinetuneError> {
        let mut base = match precise && self.base.dtype != FloatDType::F32 {
            true => self.base.checkpoint.clone().load(&OpenOptions::new(&self.base.device), |_| ())?,
            false => self.base.clone(),
        };
        let bind = self.bind(&base);
        let values = Values::Plain(values);
        let (unet, text_encoder) = (bind.unet(leaves, values), bind.text_encoder(leaves, values));
        let (projection, vae) = (bind.projection(leaves, values), bind.vae(leaves, values));
        base.unet.model = unet;
        base.text_encoder.model = text_encoder;
        base.vae.model = vae;
        if let (Some(part), Some(model)) = (&mut base.projection, projection) {
            part.model = model;
        }
        Ok(base.retrained(|component| self.strategy.tuning_of(component) != Tuning::Frozen))
    }
}

/// Puts the weights under training into a pipeline's networks.
struct Bind<'a> {
    base: &'a StableDiffusion,
    strategy: &'a Strategy,
}

impl Bind<'_> {
    fn unet(&self, leaves: &Leaves, values: Values<'_>) -> UNet {
        let base = self.base;
        self.part(Part::Unet, &base.unet.model, &base.checkpoint.unet.keys(), leaves, values)
    }

    fn text_encoder(&self, leaves: &Leaves, values: Values<'_>) -> TextEncoderModel {
        let base = self.base;
        self.part(Part::TextEncoder, &base.text_encoder.model, base.checkpoint.text_encoder.keys(), leaves, values)
    }

    fn projection(&self, leaves: &Leaves, values: Values<'_>) -> Option<TextProjection> {
        let projection = self.base.projection.as_ref()?;
        Some(self.part(Part::TextProjection, &projection.model, &TextProjectionKeys, leaves, values))
    }

    fn vae(&self, leaves: &Leaves, values: Values<'_>) -> Autoencoder {
        let vae = &self.base.vae.model;
        self.part(Part::Vae, vae, vae.keys(), leaves, values)
    }

    fn part<M: Module>(&self, part: Part, model: &M, keys: &dyn KeyMap, leaves: &Leaves, values: Values<'_>) -> M {
        let dtype = if part == Part::Vae { FloatDType::F32 } else { self.base.dtype };
        let value = |position: usize| match values {
            Values::Tracked => leaves.list[position].value.clone(),
            Values::Plain(values) => values[position].clone(),
        };
        let frozen = |current: &dyn Fn() -> Tensor<1>| match values {
            Values::Tracked => leaves.tape().constant(current()),
            Values::Plain(_) => current(),
        };
        let settings = match self.strategy.tuning_of(part.name()) {
            Tuning::Lora(settings) => Some(settings),
            Tuning::Full | Tuning::Frozen => None,
        };
        rewrite(model.clone(), keys, |slot, current| {
            if let Some(position) = leaves.position(part, &slot.key) {
                return Some(cast(value(position), dtype));
            }
            let adapter = settings.as_ref().and_then(|settings| Some((settings, lora::positions(part, &slot.key, leaves)?)));
            match (adapter, values) {
                (Some((settings, [a, b])), _) => {
                    let factors = Factors { a: value(a), b: value(b), rank: settings.rank, scale: settings.scale() };
                    Some(cast(frozen(current), dtype) + cast(factors.delta(slot), dtype))
                }
                (None, Values::Tracked) => Some(frozen(current)),
                (None, Values::Plain(_)) => None,
            }
        })
    }
}
