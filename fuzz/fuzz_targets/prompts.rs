//! Tables of prompts of any content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roentgen_augment::formats::{OwnColumns, PromptTable};
use roentgen_fuzz::{Folder, said};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.with(|folder| folder.file("prompts.csv", bytes));
    match PromptTable::read(&path, &OwnColumns::default()) {
        Ok(table) => {
            let findings = table.vocabulary.len();
            match table.requests(2, u64::MAX) {
                Ok(requests) => assert!(requests.iter().all(|request| request.labels.len() == findings)),
                Err(error) => said(&error),
            }
        }
        Err(error) => said(&error),
    }
});
