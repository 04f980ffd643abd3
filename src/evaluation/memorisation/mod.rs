//! Whether synthetic images are copies of training images, or of one another.
//!
//! Every synthetic image has a nearest training image; so has every real one. The question is whether synthetic images are nearer to the
//! training set than radiographs of people whom the generator never saw: [`compare`] measures both, in one [`Space`], and
//! flags the synthetic images that are nearer than all but a few of the held-out ones. The test of the whole set is that of Meehan et al.,
//! "A non-parametric test to detect data-copying in generative models" (AISTATS 2020): how often the synthetic one of a pair is nearer.
//!
//! [`BLIND`] says what no such distance can see; it goes wherever the numbers go.

mod comparison;
pub mod glyphs;
mod nearest;
mod report;
mod sets;
mod sheet;
mod space;
mod table;

pub use comparison::{Comparison, Image, MemorisationSettings, Outcome, Sets, compare};
pub use report::{Distances, MemorisationError, OwnSource, Pair, Repeated, Repeats, SpaceReport};
pub use sets::{compare_features, compare_pictures, sheet_pairs};
pub use sheet::{SheetPair, closest_grid, contact_sheet};
pub use space::{SIDE, Space, picture};
pub use table::write_pairs;

/// What a distance can't see.
pub const BLIND: &str = "A distance sees near copies alone. A copy that is mirrored, shifted, cropped or changed in parts, or one person's \
    anatomy in another pose, can be far away in pixels and in features; such distances miss many copies that people and networks \
    trained to recognise a person find (LCMem, arXiv 2512.14421; DeepSSIM, WACV 2026). Nothing flagged does not mean nothing memorised.";
