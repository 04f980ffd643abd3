//! Readers, which turn the files on a user's disk into a [`CxrDataset`](crate::dataset::CxrDataset). [`FORMATS`] lists the layouts that a
//! run file can name.
//!
//! | reader | reads |
//! |---|---|
//! | [`NihFiles`] | NIH ChestX-ray14 as published: `Data_Entry_2017*.csv` and its images |
//! | [`NihSubset`] | a one-hot `labels.csv` in the columns of the 14 findings, with an image folder or an `.npz` |
//! | [`MedMnist`] | ChestMNIST, PneumoniaMNIST and other `.npz` of their form |
//! | [`ClassFolders`] | a folder per class, torchvision's `ImageFolder` |
//! | `webdataset`, `parquet` | tar shards; Parquet files with embedded images |
//! | [`PromptTable`] | prompts to generate from, with the labels their images will carry |
//! | [`ReportTable`] | any table with a column of reports, to be labelled |
//! | the others of [`FORMATS`] | MIMIC-CXR-JPG, CheXpert, PadChest, OpenI and other published sets, by [`Format::read`] |
//! | [`Table`] | the project's own CSV, one row per image; written by [`write_table`] |

mod cells;
mod class_folders;
mod folder;
mod guess;
mod imagefolder;
mod left_out;
mod list;
mod npz;
mod objects;
mod parquet;
mod phantom;
mod prompts;
mod published;
mod registry;
mod reports;
mod sheet;
mod table;
mod webdataset;

use serde::{Deserialize, Serialize};

pub use class_folders::ClassFolders;
pub use folder::FolderError;
pub use guess::{Guess, guess, guess_for};
pub use list::FORMATS;
pub use npz::Matrix;
pub use phantom::PhantomGroups;
pub use prompts::{OwnColumns, PromptTable};
pub use published::{MedMnist, NihFiles, NihLists, NihSubset};
pub use registry::{DataSource, Format, Place, Readers};
pub use reports::{LabelCount, ReadLabels, Reading, ReportTable};
pub use sheet::{Delimiter, TextFault};
pub use table::{Table, TableError, TableRow, table_bytes, write_table};

/// What becomes of a row whose image file isn't there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingImages {
    /// Reading the table fails and names the row.
    #[default]
    Refuse,
    /// The row is skipped, for partial downloads.
    Skip,
    /// The row stays and fails when its image is read, for checks that list every fault. Rows with other faults are left out, and are in
    /// [`CxrDataset::faults`](crate::dataset::CxrDataset::faults).
    Keep,
}
