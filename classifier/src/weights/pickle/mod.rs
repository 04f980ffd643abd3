//! Pickles as data: a stack machine that builds plain values and calls nothing.
//!
//! What a pickle would call in Python is looked at only to find tensors in it ([`calls`]); a name that weights never need is refused
//! ([`names`]), although nothing would come of it here: in Python it would run, and users share files.
//!
//! Opcodes: CPython 3.14, `Lib/pickletools.py`. Only those that `pickle.dump` writes are read.

mod calls;
mod names;
mod read;
mod tensors;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::rc::Rc;

use burn::store::pytorch_reader::OpCode;

use self::read::Input;

pub(super) use tensors::{Kind, Storage, TensorRef, tensors};

/// Why a pickle is not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// Broken, cut short, too large, or no pickle.
    Damaged(io::Error),
    /// It names this, which weights never need.
    Unsafe(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error)
    }
}

pub(super) fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn damaged(message: &str) -> Fault {
    invalid(message).into()
}

/// Position among a pickle's values: values refer to each other by it, so that what a pickle shares is shared here.
type Id = usize;

/// A value, as far as weights are concerned.
#[derive(Clone, Debug)]
enum Value {
    /// None, floats, bytes: nothing that tensors are made of.
    Other,
    Truth(bool),
    Int(i64),
    Text(Rc<str>),
    /// `module.name`.
    Global(Rc<str>),
    /// A list, tuple or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An object of any class; it becomes a dict when entries are set, or a module's tables.
    Object,
    Storage(Rc<Storage>),
    Tensor(Rc<TensorRef>),
}

/// A pickle that was read.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
    /// Every storage by its key in the file.
    pub(super) storages: BTreeMap<String, Rc<Storage>>,
}

impl Pickle {
    /// The texts and numbers of a list, as texts.
    pub(super) fn keys(&self) -> Option<Vec<String>> {
        let Value::Sequence(items) = self.values.get(self.root)? else { return None };
        items.iter().map(|item| self.key(*item)).collect()
    }

    /// Whether this is a dict that says so of `key`.
    pub(super) fn says(&self, key: &str, truth: bool) -> bool {
        let Some(Value::Dict(entries)) = self.values.get(self.root) else { return false };
        let is_key = |id: Id| self.key(id).as_deref() == Some(key);
        entries
            .iter()
            .any(|(name, value)| is_key(*name) && matches!(self.values[*value], Value::Truth(found) if found == truth))
    }

    /// A dict's key as text.
    fn key(&self, id: Id) -> Option<String> {
        match self.values.get(id)? {
            Value::Text(text) | Value::Global(text) => Some(text.to_string()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// Most opcodes of a pickle: a checkpoint with its optimiser's state has a hundred thousand.
const MOST_OPCODES: usize = 10_000_000;

/// Reads one pickle; leaves `input` after its STOP.
pub(super) fn read(input: &mut impl BufRead) -> Result<Pickle, Fault> {
    let mut machine = Machine {
        input: Input::new(input),
        pickle: Pickle::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MOST_OPCODES {
        if machine.step()? {
            machine.pickle.root = machine.pop()?;
            return Ok(machine.pickle);
        }
    }
    Err(damaged("its pickle has more than ten million steps"))
}

struct Machine<'a, R> {
    input: Input<'a, R>,
    pickle: Pickle,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: BufRead> Machine<'_, R> {
    /// One opcode; whether it was the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let code = self.input.byte()?;
        let op = OpCode::try_from(code).map_err(|code| damaged(&format!("{code:#04x} is not a pickle opcode")))?;
        match op {
            OpCode::Stop => return Ok(true),
            OpCode::Proto => self.input.skip(1)?,
            OpCode::Frame => self.input.skip(8)?,
            OpCode::Mark => self.marks.push(self.stack.len()),
            OpCode::Pop => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => drop(self.marks.pop()),
                _ => drop(self.pop()?),
            },
            OpCode::PopMark => drop(self.until_mark()?),
            OpCode::Dup => {
                let top = self.top()?;
                self.stack.push(top);
            }
            OpCode::Put | OpCode::BinPut | OpCode::LongBinPut => {
                let slot = self.input.slot(op)?;
                let top = self.top()?;
                self.memo.insert(slot, top);
            }
            OpCode::Memoize => {
                let slot = u32::try_from(self.memo.len()).map_err(|_| damaged("its memo overflows"))?;
                let top = self.top()?;
                self.memo.insert(slot, top);
            }
            OpCode::Get | OpCode::BinGet | OpCode::LongBinGet => {
                let slot = self.input.slot(op)?;
                let id = *self.memo.get(&slot).ok_or_else(|| damaged("it looks for a value that it has not kept"))?;
                self.stack.push(id);
            }
            OpCode::Append | OpCode::Appends | OpCode::AddItems => {
                let items = if op == OpCode::Append { vec![self.pop()?] } else { self.until_mark()? };
                let list = self.top()?;
                // Lists of other classes hold no tensors of a network.
                if let Value::Sequence(list) = &mut self.pickle.values[list] {
                    list.extend(items);
                }
            }
            OpCode::SetItem | OpCode::SetItems => {
                let items = if op == OpCode::SetItem { self.take(2)? } else { self.until_mark()? };
                let dict = self.top()?;
                let entries = pairs(&items)?;
                match &mut self.pickle.values[dict] {
                    Value::Dict(dict) => dict.extend(entries),
                    object @ Value::Object => *object = Value::Dict(entries),
                    _ => return Err(damaged("it sets an entry of a value that has none")),
                }
            }
            OpCode::Build => {
                let state = self.pop()?;
                let object = self.top()?;
                self.build(object, state)?;
            }
            OpCode::ReadonlyBuffer => {}
            OpCode::Ext1 | OpCode::Ext2 | OpCode::Ext4 => return Err(damaged("it uses the extension registry")),
            OpCode::NextBuffer => return Err(damaged("its buffers are outside the file")),
            _ => {
                let value = self.value(op)?;
                self.pickle.values.push(value);
                self.stack.push(self.pickle.values.len() - 1);
            }
        }
        Ok(false)
    }

    /// The new value that an opcode pushes.
    fn value(&mut self, op: OpCode) -> Result<Value, Fault> {
        if let Some(value) = self.input.literal(op)? {
            return Ok(value);
        }
        Ok(match op {
            OpCode::EmptyTuple | OpCode::EmptyList | OpCode::EmptySet => Value::Sequence(Vec::new()),
            OpCode::Tuple | OpCode::List | OpCode::FrozenSet => Value::Sequence(self.until_mark()?),
            OpCode::Tuple1 => Value::Sequence(self.take(1)?),
            OpCode::Tuple2 => Value::Sequence(self.take(2)?),
            OpCode::Tuple3 => Value::Sequence(self.take(3)?),
            OpCode::EmptyDict => Value::Dict(Vec::new()),
            OpCode::Dict => {
                let items = self.until_mark()?;
                Value::Dict(pairs(&items)?)
            }
            OpCode::Global => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                names::global(&module, &name).map(Value::Global).map_err(Fault::Unsafe)?
            }
            OpCode::StackGlobal => {
                let [module, name] = [0, 1].map(|i| self.stack.get(self.stack.len().wrapping_sub(2 - i)).copied());
                let text = |id: Option<Id>| match id.map(|id| &self.pickle.values[id]) {
                    Some(Value::Text(text)) => Ok(Rc::clone(text)),
                    _ => Err(damaged("a name in it is not a text")),
                };
                let (module, name) = (text(module)?, text(name)?);
                self.take(2)?;
                names::global(&module, &name).map(Value::Global).map_err(Fault::Unsafe)?
            }
            OpCode::Reduce | OpCode::NewObj => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                self.call(called, arguments)?
            }
            OpCode::NewObjEx => {
                let (_keywords, arguments, called) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(called, arguments)?
            }
            OpCode::BinPersId => {
                let id = self.pop()?;
                self.persistent(id)?
            }
            other => return Err(damaged(&format!("it uses the opcode {other:?}"))),
        })
    }

    fn top(&self) -> Result<Id, Fault> {
        self.stack.last().copied().ok_or_else(|| damaged("it takes from an empty stack"))
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        match self.marks.last() {
            Some(mark) if *mark >= self.stack.len() => Err(damaged("it takes a mark for a value")),
            _ => self.stack.pop().ok_or_else(|| damaged("it takes from an empty stack")),
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<Id>, Fault> {
        let mut taken = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        taken.reverse();
        Ok(taken)
    }

    fn until_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| damaged("it has no mark where it looks for one"))?;
        match mark <= self.stack.len() {
            true => Ok(self.stack.split_off(mark)),
            false => Err(damaged("its mark lies above its stack")),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(damaged("a key in it has no value")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(pickle: &[u8]) -> String {
        match read(&mut &*pickle) {
            Err(Fault::Unsafe(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn detours_to_a_name_are_seen() {
        // Each in the opcodes of CPython's pickletools; the comments give the stack.
        for (pickle, name) in [
            (&b"\x80\x04\x8c\x05posix\x8c\x06system\x93."[..], "posix.system"),
            // Both strings through the memo.
            (b"\x80\x04\x8c\x05posix\x940\x8c\x06system\x940h\x00h\x01\x93.", "posix.system"),
            // A third string is pushed and popped again.
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x05torch0\x93.", "posix.system"),
            (b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval"),
            // A function of a package that may be named, and what a call returns.
            (b"\x80\x02cevil\nrun\n)R.", "evil.run"),
            (b"\x80\x02cevil\nNet\n)R)R.", "a value that is called"),
        ] {
            assert_eq!(refused(pickle), name);
        }
    }

    #[test]
    fn what_is_no_pickle_is_damaged() {
        for pickle in [
            &b""[..],
            b".",
            b"(.",
            b"\x80\x020.",
            b"N(0",
            b"](e0.",
            b"}Nu.",
            b"}(Nu.",
            b"h\x07.",
            b"\x82\x01.",
            b"NN\x93.",
            b"t.",
        ] {
            assert!(matches!(read(&mut &*pickle), Err(Fault::Damaged(_))), "{pickle:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&mut bytes.as_slice()).map(|pickle| tensors(&pickle).map(|found| found.len()));
        }

        #[test]
        fn no_program_panics(
            ops in proptest::collection::vec(
                proptest::sample::select(b"N(.0)]}tsuaelbRQ2\x81\x85\x86\x87\x8f\x90\x91\x92\x93\x94h\x00q\x01K\x02".to_vec()), 0..60),
        ) {
            let _ = read(&mut ops.as_slice()).map(|pickle| tensors(&pickle).map(|found| found.len()));
        }
    }
}
