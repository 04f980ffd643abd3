//! Label tables of any content, in every layout.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_fuzz::{Folder, read_every_layout};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| read_every_layout(&folder.file("labels.csv", bytes), None));
});
