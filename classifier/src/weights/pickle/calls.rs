//! What the calls of a pickle stand for: containers and tensors are made of their arguments, everything else is an object without
//! content.

use std::io::BufRead;
use std::rc::Rc;

use super::tensors::{Kind, Storage, TensorRef};
use super::{Fault, Id, Machine, Value, damaged, names, pairs};

/// The tables of a `torch.nn.Module`.
const TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

impl<R: BufRead> Machine<'_, R> {
    /// The value of `called(*arguments)`.
    pub(super) fn call(&self, called: Id, arguments: Id) -> Result<Value, Fault> {
        let values = &self.pickle.values;
        let Value::Global(global) = &values[called] else { return Err(Fault::Unsafe("a value that is called".to_owned())) };
        if !names::may_be_called(global) {
            return Err(Fault::Unsafe(global.to_string()));
        }
        let Value::Sequence(arguments) = &values[arguments] else { return Ok(Value::Object) };
        let items = || match arguments.first().map(|first| &values[*first]) {
            Some(Value::Sequence(items)) => items.clone(),
            _ => Vec::new(),
        };
        Ok(match global.strip_prefix("__builtin__.").or_else(|| global.strip_prefix("builtins.")).unwrap_or(global) {
            "set" | "frozenset" | "list" | "tuple" => Value::Sequence(items()),
            "collections.OrderedDict" | "collections.defaultdict" | "dict" => {
                let mut entries = Vec::new();
                for item in items() {
                    match &values[item] {
                        Value::Sequence(pair) if pair.len() == 2 => entries.extend(pairs(pair)?),
                        _ => return Err(damaged("an entry of a dictionary in it is not a pair")),
                    }
                }
                Value::Dict(entries)
            }
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => self.tensor(arguments, None)?,
            "torch._utils._rebuild_tensor_v3" => self.tensor(arguments, arguments.get(6).copied())?,
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                arguments.first().map_or(Value::Object, |data| values[*data].clone())
            }
            // Of a subclass: function, class, arguments, state.
            "torch._tensor._rebuild_from_type_v2" => match arguments[..] {
                // A second level would be a subclass's subclass, and its depth that of this stack.
                [function, _, inner, ..] if !matches!(&values[function], Value::Global(name) if name == global) => {
                    self.call(function, inner)?
                }
                _ => Value::Object,
            },
            _ => Value::Object,
        })
    }

    /// A tensor of storage, offset, shape and strides; of the type `dtype` where the storage is of bytes.
    fn tensor(&self, arguments: &[Id], dtype: Option<Id>) -> Result<Value, Fault> {
        let values = &self.pickle.values;
        let [storage, offset, shape, strides, ..] = arguments else { return Err(damaged("a tensor in it has no shape")) };
        let Value::Storage(storage) = &values[*storage] else { return Err(damaged("a tensor in it has no storage")) };
        let kind = match (dtype.map(|dtype| &values[dtype]), &storage.kind) {
            (Some(Value::Global(name)), _) => Kind::of_dtype(name),
            (_, Kind::Bytes) => return Err(damaged("a tensor in it has no type")),
            (_, kind) => kind.clone(),
        };
        let sizes = |id: Id| match &values[id] {
            Value::Sequence(items) => items.iter().map(|item| self.size(*item)).collect(),
            _ => Err(damaged("the shape of a tensor in it is no list of numbers")),
        };
        let (shape, strides) = (sizes(*shape)?, sizes(*strides)?);
        let offset = storage.start.checked_add(self.size(*offset)?).ok_or_else(|| damaged("a tensor in it begins nowhere"))?;
        TensorRef::new(Rc::clone(storage), kind, offset, shape, strides).map(Rc::new).map(Value::Tensor)
    }

    fn size(&self, id: Id) -> Result<usize, Fault> {
        match self.pickle.values[id] {
            Value::Int(number) => usize::try_from(number).map_err(|_| damaged("a size in it is negative")),
            _ => Err(damaged("a size in it is not a number")),
        }
    }

    /// What stands for a persistent id: `("storage", class, key, device, elements, view)`, or `("module", class, source file, source)`,
    /// which PyTorch wrote before 1.6.
    pub(super) fn persistent(&mut self, id: Id) -> Result<Value, Fault> {
        let values = &self.pickle.values;
        // Of the tar of PyTorch before 0.1.10 it is a number, and the tensors are elsewhere.
        let Value::Sequence(parts) = &values[id] else { return Ok(Value::Object) };
        let text = |id: &Id| match &values[*id] {
            Value::Text(text) | Value::Global(text) => Some(text.to_string()),
            _ => None,
        };
        match (parts.first().and_then(text).as_deref(), &parts[..]) {
            (Some("module"), [_, class, ..]) => Ok(values[*class].clone()),
            (Some("storage"), [_, class, key, _, elements, view @ ..]) => {
                let class = text(class).ok_or_else(|| damaged("a storage in it has no type"))?;
                let key = self.pickle.key(*key).ok_or_else(|| damaged("a storage in it has no key"))?;
                let start = match view.first().map(|view| &values[*view]) {
                    Some(Value::Sequence(view)) => match view[..] {
                        [_, offset, _] => self.size(offset)?,
                        _ => return Err(damaged("a view of a storage in it has no place")),
                    },
                    _ => 0,
                };
                let kind = Kind::of_storage(&class);
                let storage = Rc::new(Storage { kind, key: key.clone(), elements: self.size(*elements)?, start });
                self.pickle.storages.insert(key, Rc::clone(&storage));
                Ok(Value::Storage(storage))
            }
            _ => Err(damaged("it refers to something outside that is no storage")),
        }
    }

    /// Gives an object its state: of a module's, the three tables count, without what is no part of its weights.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), Fault> {
        let pickle = &self.pickle;
        let (Value::Object, Value::Dict(attributes)) = (&pickle.values[object], &pickle.values[state]) else { return Ok(()) };
        let attribute = |name: &str| {
            let found = attributes.iter().rev().find(|(key, _)| pickle.key(*key).as_deref() == Some(name));
            found.map(|(_, value)| &pickle.values[*value])
        };
        let passing: Vec<String> = match attribute("_non_persistent_buffers_set") {
            Some(Value::Sequence(names)) => names.iter().filter_map(|name| pickle.key(*name)).collect(),
            _ => Vec::new(),
        };
        let mut tables = Vec::new();
        for table in TABLES {
            let Some(Value::Dict(entries)) = attribute(table) else { return Ok(()) };
            let kept = |key: &Id| table != "_buffers" || pickle.key(*key).is_none_or(|name| !passing.contains(&name));
            tables.extend(entries.iter().filter(|(key, _)| kept(key)));
        }
        self.pickle.values[object] = Value::Dict(tables);
        Ok(())
    }
}
