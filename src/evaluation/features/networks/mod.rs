//! Networks that were made for other images or other tasks, from the files that people have.
//!
//! | file | what it holds |
//! |---|---|
//! | `rad_dino`, `clip` | folders of Hugging Face's: DINOv2, CLIP's image tower |
//! | `clip_text` | CLIP's text tower, whose embeddings lie in the space of the image tower's features |
//! | `folder`, `processor` | what both have: which model a folder is of, and how it takes images |
//! | `inception`, `lpips` | single files: pytorch-fid's Inception-v3; torchvision's AlexNet and the distance made of it |
//! | `file` | what both have: the tensors of a file |

mod clip;
mod clip_text;
mod file;
mod folder;
mod inception;
mod lpips;
mod processor;
mod rad_dino;

pub use clip::{Clip, ClipImageConfig, ClipImageKeys, ClipImageModel};
pub use clip_text::ClipTexts;
pub use folder::check_image_network;
pub use inception::{Inception, InceptionKeys, InceptionV3};
pub use lpips::{AlexNet, AlexNetKeys, ChannelWeightKeys, ChannelWeights, Looks, Lpips, LpipsDistance};
pub use processor::{ImageProcessor, Preparation};
pub use rad_dino::{RadDino, VitKeys, load_vit, read_vit_config};
