//! What the paths of images say of them.

use crate::formats::cells::SPLIT;
use crate::record::Split;

/// The split that the first folder of a path is called by.
pub(in crate::formats) fn split_of(path: &str) -> Option<Split> {
    path.split_once(['/', '\\']).and_then(|(folder, _)| SPLIT.1(folder))
}

/// The folder of a path that names a patient in published sets: CheXpert's `patient00001`, MIMIC-CXR's `p10000032`.
pub(super) fn patient_folder(path: &str) -> Option<&str> {
    let digits = |part: &str, prefix: &str| {
        part.strip_prefix(prefix).filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())).map(str::len)
    };
    let is_patient = |part: &&str| digits(part, "patient").is_some() || digits(part, "p") == Some(8);
    let (folders, _) = path.rsplit_once(['/', '\\'])?;
    let mut found = folders.split(['/', '\\']).filter(is_patient);
    found.next().filter(|_| found.next().is_none())
}
