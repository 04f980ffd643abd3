//! Why the file of a row's image is not known.

use std::path::{Path, PathBuf};

/// What is wrong with a folder of images, or with the name that a row gives one of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A row whose image isn't there.
    #[error(
        "{}, row {row}: image `{image}` is not under {}{hint}; fetch it, drop its row, or write `missing = \"skip\"` in [data] to leave out such rows",
        path.display(),
        folder.display()
    )]
    MissingImage {
        /// The table.
        path: PathBuf,
        /// Line in the file, counted from 1 with the header.
        row: u64,
        /// The image as the row names it.
        image: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// Empty, or where a file of that name lies.
        hint: String,
    },
    /// A row whose image's name fits several files.
    #[error(
        "{}, row {row}: image `{image}` is both {} and {}; name the folder of the radiographs with `images`, or write the whole path in the table",
        path.display(),
        first.display(),
        second.display()
    )]
    AmbiguousImage {
        /// The table.
        path: PathBuf,
        /// Line in the file, counted from 1 with the header.
        row: u64,
        /// The image as the row names it.
        image: String,
        /// A file of that name.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
    /// Names without a folder, of which one is in the folder of the images and an earlier one only below it.
    #[error(
        "{}, row {row}: image `{image}` is {}, while `{earlier}` of an earlier row is {}: one of the two folders may hold no radiographs; write whole paths in the table",
        path.display(),
        file.display(),
        deeper.display()
    )]
    ScatteredImages {
        /// The table.
        path: Box<Path>,
        /// Line in the file, counted from 1 with the header.
        row: u64,
        /// The image as the row names it.
        image: Box<str>,
        /// Its file.
        file: Box<Path>,
        /// An image of an earlier row.
        earlier: Box<str>,
        /// The file of that one.
        deeper: Box<Path>,
    },
    /// A folder of images that isn't one.
    #[error("no such folder: {}; `{key}` is the folder of the images", path.display())]
    NoFolder {
        /// What was to be a folder.
        path: PathBuf,
        /// What names it, such as `data.images` in a run file.
        key: String,
    },
    /// A link that makes a tree endless.
    #[error("{} links to a folder that it is in; remove the link", path.display())]
    FolderLoop {
        /// The link.
        path: PathBuf,
    },
}
