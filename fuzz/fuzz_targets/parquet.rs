//! Parquet files of any content: what is read of them is whole, and their images are read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_fuzz::{Folder, allow_caught_panics, read_images};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

fuzz_target!(init: allow_caught_panics(), |bytes: &[u8]| FOLDER.with(|folder| read_images("parquet", &folder.file("train.parquet", bytes))));
