//! How near one set of images is to another, in the features of a network: Fréchet distance (FID), kernel distance (KID), precision,
//! recall, density and coverage; and how varied one set is (Vendi score).
//!
//! All of it works in f64, but the kernel distance's scalar products, on rows of features of any width. What a few rows can't show is an
//! error or a note of the caller's, never a number.

mod error;
mod frechet;
mod kid;
mod moments;
mod prdc;
mod product;
mod vendi;

pub use error::FidelityError;
pub use frechet::frechet;
pub use kid::{Kid, KidConfig, WholeKid, kid, kid_of_subsets, whole_kid};
pub use moments::Moments;
pub use prdc::{Prdc, prdc};
pub use vendi::{Spectrum, vendi};
