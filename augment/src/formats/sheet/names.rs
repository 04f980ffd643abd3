//! Lists of names, one per line.

use std::path::Path;

use super::lines::trim;
use super::source::Source;
use super::split::{Raw, Splitter, Stop};
use super::{TextFault, read_error};
use crate::AugmentError;
use crate::formats::TableError;

/// The lines of a list of names, each with its number from 1; blank ones are left out.
pub(in crate::formats) fn read_names(path: &Path) -> Result<Vec<(u64, String)>, AugmentError> {
    let failed = |source| read_error(path, source);
    let source = Source::new(path).map_err(failed)?;
    // A name has no delimiter that this could be.
    let (mut splitter, mut raw) = (Splitter::new(source.open(path).map_err(failed)?, b'\n'), Raw::default());
    let mut names = Vec::new();
    let fault = |row, fault| TableError::Text { path: path.to_owned(), row, column: "1".to_owned(), fault };
    loop {
        match splitter.read(&mut raw, None) {
            Ok(true) => {}
            Ok(false) => return Ok(names),
            Err(Stop::Io(source)) => return Err(failed(source)),
            Err(Stop::Fault { line, fault: found, .. }) => return Err(fault(line, found).into()),
        }
        let name = std::str::from_utf8(&raw.bytes).map_err(|_| fault(raw.line, TextFault::NotUtf8))?;
        if !trim(name).is_empty() {
            names.push((raw.line, trim(name).to_owned()));
        }
    }
}
