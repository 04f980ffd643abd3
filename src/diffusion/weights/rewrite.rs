//! The weights of a model by name, flat: read, and replaced by others.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;

use super::load::transpose;
use super::{KeyMap, Place};

/// A parameter of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its current name in files.
    pub key: String,
    /// Its shape in memory.
    pub shape: Vec<usize>,
    /// Its shape in files.
    pub file_shape: Vec<usize>,
    /// Whether it is the matrix of a linear layer: `[in, out]` in memory, `[out, in]` in files.
    pub transposed: bool,
}

impl Slot {
    fn at<const D: usize>(place: &Place, keys: &dyn KeyMap, param: &Param<Tensor<D>>) -> Self {
        let key = place.key(keys);
        let shape = param.lazy_shape().to_vec();
        let file_shape = place.file_shape(keys, &key, shape.clone());
        Self { key, shape, file_shape, transposed: place.is_linear_weight() }
    }

    /// One that files have as memory has it.
    pub(crate) fn plain(key: String, shape: Vec<usize>) -> Self {
        Self { key, file_shape: shape.clone(), shape, transposed: false }
    }

    /// A value of 32-bit floats in the layout of files, from memory's.
    pub(crate) fn to_file(&self, data: TensorData) -> TensorData {
        let data = match self.transposed {
            true => transpose(&data, [self.shape[0], self.shape[1]]),
            false => data,
        };
        let (bytes, _, dtype) = data.into_parts();
        TensorData::from_bytes(bytes, self.file_shape.clone(), dtype)
    }
}

/// `model` with every parameter replaced for which `value` gives another; it is asked with the current value's maker, because a
/// parameter without a value yet should not get one. Flat tensors are row-major in the layout of memory. What is given is taken as
/// it is, in its type, on its device and with its history: gradients flow back into it.
///
/// # Panics
/// If a value has another number of elements than its parameter.
pub fn rewrite<M: Module>(
    model: M,
    keys: &dyn KeyMap,
    value: impl FnMut(&Slot, &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>>,
) -> M {
    model.map(&mut Rewriter { place: Place::default(), keys, value })
}

struct Rewriter<'a, F> {
    place: Place,
    keys: &'a dyn KeyMap,
    value: F,
}

impl<F: FnMut(&Slot, &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>>> ModuleMapper for Rewriter<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = Slot::at(&self.place, self.keys, &param);
        match (self.value)(&slot, &|| flat(param.val())) {
            Some(value) => {
                let shape: [usize; D] = slot.shape.try_into().expect("a parameter's shape has its rank");
                Param::initialized(param.id, value.reshape(shape))
            }
            None => param,
        }
    }
}

/// `model` without the values of the parameters that are `wanted`, which are given to `taken`, flat, in the order of the model. Their
/// places stay empty until [`rewrite`] fills them; using one before is a panic.
pub fn extract<M: Module>(
    model: M,
    keys: &dyn KeyMap,
    wanted: impl Fn(&Slot) -> bool,
    taken: impl FnMut(Slot, Tensor<1>),
) -> M {
    model.map(&mut Extractor { place: Place::default(), keys, wanted, taken })
}

struct Extractor<'a, W, T> {
    place: Place,
    keys: &'a dyn KeyMap,
    wanted: W,
    taken: T,
}

impl<W: Fn(&Slot) -> bool, T: FnMut(Slot, Tensor<1>)> ModuleMapper for Extractor<'_, W, T> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = Slot::at(&self.place, self.keys, &param);
        if !(self.wanted)(&slot) {
            return param;
        }
        let (id, device, shape, key) = (param.id, param.lazy_device(), param.lazy_shape(), slot.key.clone());
        (self.taken)(slot, flat(param.into_value()));
        Param::uninitialized(id, move |_, _| panic!("the value of {key} was taken out"), device, false, shape)
    }
}

/// Shows every parameter of `model`, in its order, with its value's maker.
pub fn each<M: Module>(model: &M, keys: &dyn KeyMap, show: impl FnMut(Slot, &dyn Fn() -> Tensor<1>)) {
    model.visit(&mut Viewer { place: Place::default(), keys, show });
}

struct Viewer<'a, F> {
    place: Place,
    keys: &'a dyn KeyMap,
    show: F,
}

impl<F: FnMut(Slot, &dyn Fn() -> Tensor<1>)> ModuleVisitor for Viewer<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        (self.show)(Slot::at(&self.place, self.keys, param), &|| flat(param.val()));
    }
}

/// Digest of every weight's name, shape in memory and value.
pub fn digest<M: Module>(model: &M, keys: &dyn KeyMap) -> Fingerprint {
    let mut digests = Vec::new();
    each(model, keys, |slot, value| {
        let shape: Vec<u8> = slot.shape.iter().flat_map(|size| (*size as u64).to_le_bytes()).collect();
        digests.extend_from_slice(&Fingerprint::of(&[slot.key.as_bytes(), &shape, value().into_data().as_bytes()]).0);
    });
    Fingerprint::of(&[&digests])
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}
