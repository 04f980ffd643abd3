//! Archives of any content: as a data set of their own, and as the images of a table.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_fuzz::{Folder, read_every_layout};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

/// A table for the layout that takes its images from an archive.
const TABLE: &str = "image,patient_id,Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax,\
Consolidation,Edema,Emphysema,Fibrosis,Pleural_Thickening,Hernia\na,1,0,0,0,0,0,0,0,0,0,0,0,0,0,1\nb,2,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n";

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let archive = folder.file("images.npz", bytes);
        read_every_layout(&archive, None);
        read_every_layout(&folder.file("labels.csv", TABLE.as_bytes()), Some(&archive));
    });
});
