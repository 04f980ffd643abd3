//! The one integration binary: burn is linked once.
//!
//! | module | what it holds |
//! |---|---|
//! | `adapters` | LoRA files of every tool, textual inversion and `merge`, on a tiny pipeline, and everything of the kind that is refused |
//! | `archives` | tar shards and Parquet files: a whole study of each, guessed without a run file, and in little memory |
//! | `bounds` | any number in a run file is used or refused by name |
//! | `checkpoints` | checkpoints as people have them: variants, shards, training scripts' folders, single files, and every broken one |
//! | `cli` | the program as a user types it: results, resume after a kill, and every bad input with its message |
//! | `conversion` | `data convert` and `data vocab`: kills, what is left out, and several data sets in one run file |
//! | `data` | `data`: what it passes can be trained on, what it guesses can be pasted, what it doubts is said |
//! | `devices` | everything that computes, on a software Vulkan device |
//! | `dicom` | DICOM files in a study: results, values, and that what identifies a patient is written nowhere |
//! | `demo` | `demo --quick`: fine-tuning, generating, comparing, and repeating it |
//! | `evaluate` | `evaluate` on phantoms: figures and floors, kills, and every bad input with its message |
//! | `docs` | links of the pages, and paths and names of the map, lead somewhere |
//! | `fairness` | `compare` by groups of patients: a planted gap is found, and nothing else is |
//! | `faults` | planted faults on phantoms, and what every measure of images makes of them |
//! | `finetune` | `finetune` on a tiny pipeline: kills, interruptions and full disks, and every bad input with its message |
//! | `generate` | `generate`, `inspect` and `dev` on a tiny pipeline, and every broken checkpoint |
//! | `hub` | models by their names on the hub: in the cache, from a hub on this machine, and every way in which that fails |
//! | `layouts` | a whole small study from every layout as it is downloaded |
//! | `memory` | peaks that do not grow with the number of images |
//! | `pages` | reports in headless Chromium: quiet, self-contained, narrow enough, printable |
//! | `pixels` | image files found by name, in their depth, and refused by name |
//! | `pool` | synthetic rows of a table, and images made elsewhere |
//! | `precision` | classifiers in brain floats: results, records, and starts that would mix them with 32-bit floats |
//! | `probe` | text encoders before and after, on made-up reports: figures, scores, embeddings, and everything that is no result |
//! | `progress` | lines that long commands write where there is no terminal, and how long they say a study takes |
//! | `reports` | `data label`: labels read from reports, explained, and everything of the kind that is refused |
//! | `retrieval` | `evaluate` by queries: images and texts that ask for images, and every bad input with its message |
//! | `reading` | `evaluate` with reports: of a decoder on a classifier's features, of files, of template text, and every bad file with its message |
//! | `run_folder` | what a folder of every command compares, locks, and leaves behind |
//! | `shards` | `generate` in parts that are merged into one set |
//! | `supply` | synthetic images on their way into training: supplies, gate, shards, several processes, the example run files |
//! | `tables` | tables and folders of other kinds than the project's own |
//! | `label_tables` | label tables in the forms that other programs write them |
//! | `parity` | every case of a parity tree, computed by the product's public code |

mod adapters;
mod archives;
mod bounds;
mod checkpoints;
mod cli;
mod conversion;
mod data;
mod demo;
mod devices;
mod dicom;
mod docs;
mod evaluate;
mod fairness;
mod faults;
mod finetune;
mod generate;
mod hub;
mod label_tables;
mod layouts;
#[cfg(target_os = "linux")]
mod memory;
mod pages;
mod parity;
mod pixels;
mod pool;
mod precision;
mod probe;
mod progress;
mod reading;
mod reports;
mod retrieval;
mod run_folder;
mod shards;
mod supply;
mod tables;
