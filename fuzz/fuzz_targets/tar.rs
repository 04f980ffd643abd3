//! Shards of any content: what is read of them is whole, and their images are read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_fuzz::{Folder, read_images};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

fuzz_target!(|bytes: &[u8]| FOLDER.with(|folder| read_images("webdataset", &folder.file("train-000.tar", bytes))));
