//! The tensors of a pickle: their names, and where their values are.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::DType;

use super::{Fault, Id, Pickle, Value, damaged};

/// Type of the values of a storage or tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::weights) enum Kind {
    Floats(DType),
    /// Of a storage whose tensors say their type.
    Bytes,
    /// Integers and the like, with the bytes of one if they are known.
    Other(String, Option<usize>),
}

impl Kind {
    /// By the class of a storage, `torch.FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Self {
        let name = class.rsplit('.').next().unwrap_or_default();
        match name.strip_suffix("Storage").unwrap_or(name) {
            "Float" => Self::Floats(DType::F32),
            "Double" => Self::Floats(DType::F64),
            "Half" => Self::Floats(DType::F16),
            "BFloat16" => Self::Floats(DType::BF16),
            "Untyped" => Self::Bytes,
            other => Self::Other(other.to_owned(), bytes_of(other)),
        }
    }

    /// By the name of a type, `torch.float32`.
    pub(super) fn of_dtype(name: &str) -> Self {
        match name.rsplit('.').next().unwrap_or_default() {
            "float32" | "float" => Self::Floats(DType::F32),
            "float64" | "double" => Self::Floats(DType::F64),
            "float16" | "half" => Self::Floats(DType::F16),
            "bfloat16" => Self::Floats(DType::BF16),
            other => Self::Other(other.to_owned(), None),
        }
    }

    /// Bytes of a value.
    pub(in crate::weights) fn size(&self) -> Option<usize> {
        match self {
            Self::Floats(dtype) => Some(dtype.size()),
            Self::Bytes => Some(1),
            Self::Other(_, size) => *size,
        }
    }
}

fn bytes_of(storage: &str) -> Option<usize> {
    match storage {
        "Bool" | "Byte" | "Char" | "QInt8" | "QUInt8" => Some(1),
        "Short" => Some(2),
        "Int" | "QInt32" => Some(4),
        "Long" | "ComplexFloat" => Some(8),
        "ComplexDouble" => Some(16),
        _ => None,
    }
}

/// Values that lie together in the file; tensors are views of them.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::weights) struct Storage {
    pub(in crate::weights) kind: Kind,
    /// Its name in the file.
    pub(in crate::weights) key: String,
    /// Of the whole storage.
    pub(in crate::weights) elements: usize,
    /// First element of the part that is meant; not 0 in files of the first years alone.
    pub(super) start: usize,
}

/// A tensor of a file, unread. Every element lies within its storage.
#[derive(Debug)]
pub(in crate::weights) struct TensorRef {
    pub(in crate::weights) storage: Rc<Storage>,
    pub(in crate::weights) kind: Kind,
    /// First element.
    pub(in crate::weights) offset: usize,
    pub(in crate::weights) shape: Vec<usize>,
    pub(in crate::weights) strides: Vec<usize>,
}

impl TensorRef {
    pub(super) fn new(
        storage: Rc<Storage>,
        kind: Kind,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, Fault> {
        let tensor = Self { storage, kind, offset, shape, strides };
        match tensor.end() {
            Some(end) if end <= tensor.storage.elements => Ok(tensor),
            _ => Err(damaged(&format!("a tensor of shape {:?} does not lie in its storage", tensor.shape))),
        }
    }

    /// From the first element to after the last that is read, in elements of the storage; `None` if no number says it.
    pub(in crate::weights) fn extent(&self) -> Option<usize> {
        let empty = self.shape.contains(&0);
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(0usize, |last, (size, stride)| last.checked_add(size.saturating_sub(1).checked_mul(*stride)?))?;
        if empty { Some(0) } else { last.checked_add(1) }
    }

    /// The end within the storage, in the storage's elements: bytes where it is one of bytes.
    fn end(&self) -> Option<usize> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        let unit = if self.storage.kind == Kind::Bytes { self.kind.size().unwrap_or(1) } else { 1 };
        self.offset.checked_add(self.extent()?)?.checked_mul(unit)
    }
}

/// Deepest nesting of containers, of which a checkpoint has a handful.
const DEEPEST: usize = 64;

/// Most values that are looked at for tensors: sharing makes more of them than a pickle has.
const MOST_VALUES: usize = 10_000_000;

/// The tensors of a pickle by their dotted path; lists count from 0.
pub(in crate::weights) fn tensors(pickle: &Pickle) -> Result<BTreeMap<String, Rc<TensorRef>>, Fault> {
    if !matches!(pickle.values.get(pickle.root), Some(Value::Dict(_) | Value::Sequence(_))) {
        return Err(damaged("it holds no dictionary of tensors"));
    }
    let mut found = BTreeMap::new();
    let mut open: Vec<(String, Id, usize)> = vec![(String::new(), pickle.root, 0)];
    let mut looked_at = 0;
    while let Some((path, id, depth)) = open.pop() {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let entries: Vec<(String, Id)> = match &pickle.values[id] {
            Value::Tensor(tensor) => {
                found.insert(path, Rc::clone(tensor));
                continue;
            }
            Value::Dict(entries) => {
                looked_at += entries.len();
                let holds = entries.iter().filter(|(_, value)| pickle.may_hold_tensors(*value));
                holds.filter_map(|(key, value)| Some((below(&pickle.key(*key)?), *value))).collect()
            }
            Value::Sequence(items) => {
                looked_at += items.len();
                let holds = items.iter().enumerate().filter(|(_, value)| pickle.may_hold_tensors(**value));
                holds.map(|(i, value)| (below(&i.to_string()), *value)).collect()
            }
            _ => continue,
        };
        if depth == DEEPEST || looked_at > MOST_VALUES || open.len() > MOST_VALUES {
            return Err(damaged("its containers are nested or shared beyond what a checkpoint needs"));
        }
        // The first entry is looked at first, so that the last of two of one name counts, as in Python.
        open.extend(entries.into_iter().rev().map(|(path, id)| (path, id, depth + 1)));
    }
    Ok(found)
}

impl Pickle {
    fn may_hold_tensors(&self, id: Id) -> bool {
        matches!(self.values[id], Value::Dict(_) | Value::Sequence(_) | Value::Tensor(_))
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    /// `{"a": rebuild(storage "0" of 6 floats, offset, shape, strides)}` in protocol 2, of numbers below 128.
    fn pickle(offset: u8, shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
        let mut bytes = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n(".to_vec();
        bytes.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ");
        bytes.extend([b'K', offset, b'K', shape[0], b'K', shape[1], 0x86, b'K', strides[0], b'K', strides[1], 0x86]);
        bytes.extend(b"\x89)tRs.");
        bytes
    }

    fn found(bytes: &[u8]) -> Result<BTreeMap<String, Rc<TensorRef>>, Fault> {
        tensors(&read(&mut &*bytes)?)
    }

    #[test]
    fn a_tensor_is_a_view_of_its_storage() {
        let tensors = found(&pickle(1, [2, 2], [1, 2])).unwrap();
        let tensor = &tensors["a"];
        assert_eq!((tensor.offset, &tensor.shape[..], &tensor.strides[..]), (1, &[2, 2][..], &[1, 2][..]));
        assert_eq!((tensor.extent(), &tensor.kind, tensor.storage.key.as_str()), (Some(4), &Kind::Floats(DType::F32), "0"));
    }

    #[test]
    fn a_tensor_beyond_its_storage_is_refused() {
        assert!(found(&pickle(0, [2, 3], [3, 1])).is_ok());
        for (offset, shape, strides) in [(1, [2, 3], [3, 1]), (0, [2, 3], [4, 1]), (7, [0, 3], [3, 1])] {
            assert!(matches!(found(&pickle(offset, shape, strides)), Err(Fault::Damaged(_))), "{offset} {shape:?} {strides:?}");
        }
    }

    #[test]
    fn a_dictionary_that_holds_itself_is_refused() {
        assert!(matches!(found(b"\x80\x02}q\0X\x01\0\0\0ah\0s."), Err(Fault::Damaged(_))));
        // Each of 40 lists holds the one before it twice.
        let mut doubled = b"\x80\x02](}e".to_vec();
        for _ in 0..40 {
            doubled.extend(b"q\x000](h\0h\0e");
        }
        doubled.push(b'.');
        assert!(matches!(found(&doubled), Err(Fault::Damaged(_))));
    }

    #[test]
    fn keys_of_every_kind_are_paths() {
        // {ModelCheckpoint: {"best": t}, 3: [t]}: the class is not installed, and need not be.
        let tensor = pickle(0, [2, 3], [3, 1]);
        let tensor = &tensor[9..tensor.len() - 2];
        let mut bytes = b"\x80\x02}(cpytorch_lightning.callbacks\nModelCheckpoint\n}X\x04\0\0\0best".to_vec();
        bytes.extend(tensor);
        bytes.extend(b"sK\x03](");
        bytes.extend(tensor);
        bytes.extend(b"eu.");
        let names: Vec<String> = found(&bytes).unwrap().into_keys().collect();
        assert_eq!(names, ["3.0", "pytorch_lightning.callbacks.ModelCheckpoint.best"]);
    }
}
