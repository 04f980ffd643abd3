//! Look-alike trees of published sets.

use std::fs;
use std::path::PathBuf;

use crate::dataset::CxrDataset;
use crate::formats::guess;
use crate::formats::registry::{DataSource, Format, Place};

/// A folder with files of a published set.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.path().to_owned() } else { self.0.path().join(name) }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the text packed with gzip.
    pub(super) fn pack(&self, name: &str, text: &str) {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        self.write(name, "");
        fs::write(self.path(name), packed.finish().unwrap()).unwrap();
    }

    /// An image of one pixel, or an empty file where its name is none of an image that can be made here.
    pub(super) fn image(&self, name: &str) {
        self.write(name, "");
        if name.ends_with(".png") || name.ends_with(".jpg") {
            image::save_buffer(self.path(name), &[7], 1, 1, image::ExtendedColorType::L8).unwrap();
        }
    }

    /// Where the layout of that name would look.
    pub(super) fn source(&self, place: &str) -> DataSource {
        DataSource { labels: Some(self.path(place)), ..DataSource::default() }
    }

    pub(super) fn read(&self, format: &str, place: &str) -> Result<CxrDataset, String> {
        let source = match Format::named(format).unwrap().place {
            Place::Images => DataSource { images: Some(self.path(place)), ..DataSource::default() },
            _ => self.source(place),
        };
        self.read_with(format, source)
    }

    pub(super) fn read_with(&self, format: &str, source: DataSource) -> Result<CxrDataset, String> {
        Format::named(format)
            .unwrap()
            .read(&source)
            .map_err(|error| error.to_string().replace(&format!("{}/", self.0.path().display()), ""))
    }

    /// The layout that a place is taken for.
    pub(super) fn guess(&self, place: &str) -> &'static str {
        guess(&self.path(place)).unwrap().format.name
    }
}

/// What is said of the table `name` with each of `(from, to)` replaced once.
pub(super) fn messages(tree: &Tree, format: &str, name: &str, faults: &[(&str, &str, &str)]) {
    let sound = fs::read_to_string(tree.path(name)).unwrap();
    for (from, to, said) in faults {
        assert!(sound.contains(from), "{from}");
        tree.write(name, &sound.replacen(from, to, 1));
        let error = tree.read(format, name).unwrap_err();
        assert!(error.contains(said), "{error}\n  lacks: {said}");
    }
    tree.write(name, &sound);
}
