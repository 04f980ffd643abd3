//! The paths of CheXpert's images, whose first folder is that of the release.

use std::path::Path;

use crate::record::PatientId;

/// How paths of the tables are found below the folder of the images.
pub(super) enum Paths {
    /// `CheXpert-v1.0-small/train/…` as written: the folder of the release is there.
    Whole,
    /// `train/…`: the folder of the images is that of the release, whatever it is called.
    WithoutRelease,
    /// `patient00001/study1/view1_frontal.jpg`: the full release is downloaded in parts with folders of their own.
    OfPatient,
}

impl Paths {
    pub(super) fn under(images: &Path) -> Self {
        let holds_splits = |folder: &Path| ["train", "valid"].iter().any(|split| folder.join(split).is_dir());
        match () {
            () if ["CheXpert-v1.0-small", "CheXpert-v1.0"].iter().any(|release| holds_splits(&images.join(release))) => {
                Self::Whole
            }
            () if holds_splits(images) => Self::WithoutRelease,
            () => Self::OfPatient,
        }
    }

    /// The name by which the image at `path` is looked for.
    pub(super) fn name<'a>(&self, path: &'a str) -> &'a str {
        match self {
            Self::Whole => path,
            Self::WithoutRelease => without_release(path),
            Self::OfPatient => path.find("patient").map_or(path, |at| &path[at..]),
        }
    }
}

/// `train/patient00001/study1/view1_frontal.jpg`, by which the tables of CheXpert and of CheXpert Plus can be joined.
pub(super) fn without_release(path: &str) -> &str {
    match path.split_once('/') {
        Some((release, rest)) if release.starts_with("CheXpert-v1.0") => rest,
        _ => path,
    }
}

/// The patient that a folder of the path is called by.
pub(super) fn patient(path: &str) -> Option<PatientId> {
    let digits = |part: &&str| {
        part.strip_prefix("patient").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    path.split('/').find(digits).map(PatientId::new)
}
