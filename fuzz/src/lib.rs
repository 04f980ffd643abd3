//! What the fuzz targets share: a folder to read from, and what must hold of whatever is read.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, DataSummary, SplitPlan, Splits};
use roentgen_augment::formats::{DataSource, FORMATS, Format, MissingImages};
use roentgen_augment::image::{Geometry, GrayImage, Preprocess};
use tempfile::TempDir;

/// Images that the seeds of `tables` name; a few bytes each, as readers look for files and open none.
const IMAGES: [&str; 4] = ["a.png", "b.png", "c.jpg", "part/d.png"];

/// Lets panics pass that are caught: those of a decoder or of the Parquet crate, which become errors of the file. libFuzzer's hook would end the
/// run at them; those that nobody catches still end it.
pub fn allow_caught_panics() {
    panic::set_hook(Box::new(|_| ()));
}

/// A folder with a file of any content among a few images.
pub struct Folder(TempDir);

impl Folder {
    /// A new folder with the images.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        for image in IMAGES {
            let path = folder.path().join(image);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("the folder is writable");
            fs::write(path, "").expect("the folder is writable");
        }
        Self(folder)
    }

    /// Writes `bytes` to `name` in the folder.
    #[must_use]
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("the folder is writable");
        fs::write(&path, bytes).expect("the folder is writable");
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads `labels` in every layout, and checks that what is read is whole.
///
/// # Panics
/// If it is not.
pub fn read_every_layout(labels: &Path, images: Option<&Path>) {
    for format in FORMATS.iter().filter(|format| format.name != "phantom") {
        for missing in [MissingImages::Refuse, MissingImages::Skip] {
            let source = DataSource {
                labels: Some(labels.to_owned()),
                images: images.map(Path::to_owned),
                missing,
                ..DataSource::default()
            };
            match format.read(&source) {
                Ok(data) => whole(&data),
                Err(error) => said(&error),
            }
        }
    }
}

/// Reads `images` in the layout of that name, and every image of it.
///
/// # Panics
/// If what is read is not whole.
pub fn read_images(format: &str, images: &Path) {
    let format = Format::named(format).expect("the layout is known");
    for missing in [MissingImages::Refuse, MissingImages::Keep] {
        match format.read(&DataSource { images: Some(images.to_owned()), missing, ..DataSource::default() }) {
            Ok(data) => {
                whole(&data);
                for index in 0..data.rows().len().min(16) {
                    if let Err(error) = data.decode(index) {
                        said(&error);
                    }
                }
            }
            Err(error) => said(&error),
        }
    }
}

/// Every row has its labels and its image, counts add up, and splits hold what they promise.
///
/// # Panics
/// If they do not.
pub fn whole(data: &CxrDataset) {
    let summary = DataSummary::of(data);
    assert_eq!(summary.images, data.rows().len());
    for (index, row) in data.rows().iter().enumerate() {
        assert_eq!(row.record.labels.len(), data.vocabulary().len());
        assert!(!data.describe(index).is_empty());
        assert!(row.record.age.is_none_or(f32::is_finite));
    }
    for plan in [SplitPlan::column(), SplitPlan::default()] {
        if let Ok(splits) = Splits::new(data, &plan) {
            for held_out in [splits.valid(), splits.test()] {
                assert!(held_out.data().rows().iter().all(|row| !row.record.origin.is_synthetic()));
            }
        }
    }
}

/// Decodes an image, and makes pictures of it.
///
/// # Panics
/// If a pixel of a picture is outside its range.
pub fn decode(bytes: &[u8]) {
    match GrayImage::decode(bytes, Path::new("fuzzed")) {
        Ok(image) => {
            for geometry in [Geometry::CenterCrop, Geometry::Pad, Geometry::Squash] {
                let picture = Preprocess { geometry, ..Preprocess::new(32) }.apply(&image);
                assert_eq!((picture.width(), picture.height()), (32, 32));
                assert!(picture.values().iter().all(|sample| (-1.0..=1.0).contains(sample)));
            }
        }
        Err(error) => said(&error),
    }
}

/// An error has words, and none of them is a debugging text.
///
/// # Panics
/// If it has not.
pub fn said(error: &AugmentError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains("Some("), "{text}");
}
