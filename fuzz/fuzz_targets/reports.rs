//! A report of OpenI as XML of any content, and an archive of any content.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use roentgen_augment::formats::{DataSource, Format, MissingImages};
use roentgen_fuzz::{Folder, said, whole};

thread_local! {
    static FOLDER: Folder = Folder::new();
}

fuzz_target!(|bytes: &[u8]| {
    let openi = Format::named("openi").expect("a layout");
    for name in ["ecgen-radiology/1.xml", "NLMCXR_reports.tgz"] {
        let path = FOLDER.with(|folder| folder.file(name, bytes));
        let folder = path.parent().map(ToOwned::to_owned);
        let labels = if name.ends_with(".xml") { folder } else { Some(path.clone()) };
        let source = DataSource { labels, missing: MissingImages::Keep, ..DataSource::default() };
        match openi.read(&source) {
            Ok(data) => whole(&data),
            Err(error) => said(&error),
        }
        fs::remove_file(path).expect("it was written");
    }
});
