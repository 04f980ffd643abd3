//! Images in a column of Parquet files, each read by its page.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::ByteArrayType;
use parquet::errors::ParquetError;
use parquet::file::serialized_reader::SerializedPageReader;

use super::file::{ParquetFile, bad, guarded};
use crate::AugmentError;
use crate::formats::MissingImages;
use crate::formats::table::Images;
use crate::image::{GrayImage, ImageSource, Preprocess, deep_pixels_of, says_how_shown_of};

/// The images of the rows of all files.
pub(super) struct Embedded {
    root: PathBuf,
    files: Vec<ParquetFile>,
    places: HashMap<PathBuf, u32>,
}

impl Embedded {
    pub(super) fn new(root: &Path, files: Vec<ParquetFile>) -> Self {
        let places = files.iter().enumerate().map(|(at, file)| (file.path.clone(), at as u32)).collect();
        Self { root: root.to_owned(), files, places }
    }
}

impl Images for Embedded {
    /// File and row, both from 0.
    type Place = (u32, u32);

    fn root(&self) -> &Path {
        &self.root
    }

    fn locate(&mut self, _: &str, (path, row): (&Path, u64), _: MissingImages) -> Result<Option<(u32, u32)>, AugmentError> {
        Ok(Some((self.places[path], row as u32 - 1)))
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn source(self, places: Vec<(u32, u32)>) -> Arc<dyn ImageSource> {
        Arc::new(ParquetImages { files: self.files, places })
    }
}

/// Images by file and row.
struct ParquetImages {
    files: Vec<ParquetFile>,
    places: Vec<(u32, u32)>,
}

impl ParquetImages {
    /// The bytes of an image. Pages before it are stepped over; its own is in memory while it is read, and nothing else of the file.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, AugmentError> {
        let (file, row) = self.places[index];
        let file = &self.files[file as usize];
        let what = format!("the image of row {}", row + 1);
        let column = file.bytes.ok_or_else(|| bad(&file.path, format!("{what} is not in the file"), "its bytes"))?;
        let read = || -> Result<Option<Vec<u8>>, ParquetError> {
            let mut left = row as usize;
            for group in file.metadata.row_groups() {
                let rows = usize::try_from(group.num_rows())?;
                if left >= rows {
                    left -= rows;
                    continue;
                }
                let opened = Arc::new(File::open(&file.path)?);
                let pages = SerializedPageReader::new(opened, group.column(column), rows, None)?;
                let descriptor = file.metadata.file_metadata().schema_descr().column(column);
                let mut reader = ColumnReaderImpl::<ByteArrayType>::new(descriptor, Box::new(pages));
                let skipped = reader.skip_records(left)?;
                let (mut defined, mut values) = (Vec::new(), Vec::new());
                let (records, ..) = reader.read_records(1, Some(&mut defined), None, &mut values)?;
                if skipped != left || records != 1 {
                    return Err(ParquetError::General("fewer values than rows".to_owned()));
                }
                return Ok(values.pop().map(|value| value.data().to_vec()));
            }
            Ok(None)
        };
        let found = guarded(&file.path, &what, read)?;
        found.ok_or_else(|| bad(&file.path, format!("{what} is empty"), "the bytes of an image file, or no such row"))
    }
}

impl ImageSource for ParquetImages {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        GrayImage::decode(&self.bytes(index)?, Path::new(&self.describe(index)))
    }

    fn load_for(&self, index: usize, preprocess: &Preprocess) -> Result<GrayImage, AugmentError> {
        GrayImage::decode_for(&self.bytes(index)?, Path::new(&self.describe(index)), preprocess)
    }

    fn describe(&self, index: usize) -> String {
        let (file, row) = self.places[index];
        format!("{}, row {}", self.files[file as usize].path.display(), row + 1)
    }

    fn deep_pixels(&self, index: usize) -> Option<usize> {
        deep_pixels_of(&self.bytes(index).ok()?)
    }

    fn says_how_shown(&self, index: usize) -> bool {
        self.bytes(index).is_ok_and(|bytes| says_how_shown_of(&bytes))
    }
}
