//! Rows whose cells have names of their own, as JSON objects have them, as one table.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::sheet::Sheet;
use crate::AugmentError;

/// Columns in the order in which they are first met. They may be those of several files.
#[derive(Debug, Default)]
pub(super) struct Keys {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Keys {
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Whether there is a column of that name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }
}

/// Rows of a file: the number of each, and those of its cells that it has.
#[derive(Debug, Default)]
pub(super) struct Objects(Vec<(u64, Vec<(usize, String)>)>);

impl Objects {
    /// Begins a row.
    pub(super) fn begin(&mut self, number: u64) {
        self.0.push((number, Vec::new()));
    }

    /// Whether no row has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a cell to the last row; a second one of that name takes the place of the first.
    ///
    /// # Panics
    /// If no row has begun.
    pub(super) fn put(&mut self, keys: &mut Keys, name: &str, text: String) {
        self.put_in(keys, self.0.len() - 1, name, text);
    }

    /// As [`put`](Self::put) in the row at `index`.
    pub(super) fn put_in(&mut self, keys: &mut Keys, index: usize, name: &str, text: String) {
        let place = keys.place(name);
        let (_, cells) = &mut self.0[index];
        cells.retain(|(known, _)| *known != place);
        cells.push((place, text));
    }

    /// Adds the cells of an object to the last row.
    pub(super) fn put_all(&mut self, keys: &mut Keys, object: &Map<String, Value>) {
        for (name, value) in object {
            self.put(keys, name, text_of(value));
        }
    }

    /// The rows as a table with all columns of `keys`.
    pub(super) fn sheet(&self, keys: &Keys, path: &Path) -> Result<Sheet, AugmentError> {
        let cells = |cells: &[(usize, String)]| {
            let mut row = vec![String::new(); keys.names.len()];
            cells.iter().for_each(|(place, text)| row[*place].clone_from(text));
            row
        };
        let rows: Vec<_> = self.0.iter().map(|(number, row)| (*number, cells(row))).collect();
        Sheet::of(path, &keys.names, &rows)
    }
}

/// What a table's cell would hold. A list of names is one of findings.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        // Which says that nothing was found, where `null` says nothing.
        Value::Array(names) if names.is_empty() => "[]".to_owned(),
        Value::Array(names) if names.iter().all(Value::is_string) => names.iter().map(text_of).collect::<Vec<_>>().join("|"),
        other => other.to_string(),
    }
}
