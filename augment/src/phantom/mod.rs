//! An analytic chest phantom: images of bodies that never lived, with the ground truth of everything in them.
//!
//! A [`PhantomPatient`] is a body, a [`PhantomFinding`] something wrong with it, a [`PhantomStudy`] one image of it.
//! Anatomy and findings are closed forms (ellipsoids, domes, tubes along curves); an image is the Beer-Lambert law over their path
//! lengths, blurred, with scatter and photon noise. [`PhantomPhysics`] says how faithfully.
//!
//! Phantom images are not radiographs of people: nothing learnt from them says anything about patients. They exist so that
//! examples, tests and controls run anywhere, with known truth.
//!
//! ```
//! use roentgen_augment::phantom::{PhantomPhysics, PhantomStudy, Prevalence};
//!
//! let study = PhantomStudy::sample(7, &Prevalence::enriched());
//! let image = study.render(64, &PhantomPhysics::reference());
//! assert_eq!((image.width(), image.height()), (64, 64));
//! println!("{}", study.template_text());
//! ```

mod anatomy;
mod dataset;
mod finding;
mod lesion;
mod mediastinum;
mod noise;
mod pathology;
mod patient;
mod render;
mod skeleton;
mod study;
mod synthesizer;
mod tube;
mod vessels;

pub use dataset::{PhantomDataset, PhantomDatasetConfig};
pub use finding::{Grade, PhantomFinding};
pub use pathology::{Pathology, Prevalence, Side, Zone};
pub use patient::PhantomPatient;
pub use render::{Mask, PhantomPhysics};
pub use study::{PhantomStudy, Pose};
pub use synthesizer::PhantomSynthesizer;
