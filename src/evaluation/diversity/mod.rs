//! How alike images are as pictures: SSIM and MS-SSIM, of pairs and among the images of one prompt.

mod error;
mod filter;
mod intra_prompt;
mod ms_ssim;
mod picture;
mod ssim;

pub use error::DiversityError;
pub use intra_prompt::{IntraPrompt, Prompts, intra_prompt};
pub use ms_ssim::{Convention, ms_ssim, ms_ssim_with};
pub use ssim::{Window, ssim, ssim_with};
