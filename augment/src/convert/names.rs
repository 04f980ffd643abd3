//! What an image is called where it is written.

use std::collections::HashSet;

use crate::dataset::{CxrDataset, Row};

/// The name of every image without its folder, in order: that of the source with `.png` for its extension, made safe. Names that differ
/// only in what was lost, or in case, keep the number of their row.
pub(super) fn of(data: &CxrDataset) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |row: &Row| {
        let (stem, line) = (safe(&row.record.id), row.line);
        let other = |attempt| match attempt {
            0 => format!("{stem}.png"),
            1 => format!("{stem}-{line}.png"),
            more => format!("{stem}-{line}-{more}.png"),
        };
        // File systems without case would take two names for one.
        (0..).map(other).find(|name| taken.insert(name.to_lowercase())).expect("some number is free")
    };
    data.rows().iter().map(name).collect()
}

/// A relative path of harmless parts, without extension.
fn safe(id: &str) -> String {
    let harmless = |letter: char| if letter.is_alphanumeric() || "-_ +=,@#".contains(letter) { letter } else { '_' };
    let parts = id.split(['/', '\\']).filter(|part| !matches!(*part, "" | "." | "~"));
    let mut parts: Vec<String> = parts.map(|part| if part == ".." { "up".to_owned() } else { part.to_owned() }).collect();
    if let Some(last) = parts.last_mut() {
        let known = [".png", ".jpg", ".jpeg", ".bmp", ".dcm", ".dicom"];
        let end = known.iter().find_map(|end| {
            let at = last.len().checked_sub(end.len())?;
            (at > 0 && last.is_char_boundary(at) && last[at..].eq_ignore_ascii_case(end)).then_some(at)
        });
        last.truncate(end.unwrap_or(last.len()));
    }
    // No part begins with a dot, ends in one, or is too long for a file system.
    let part = |part: &String| {
        let part: String = part.chars().map(harmless).take(120).collect();
        part.trim().to_owned()
    };
    let parts: Vec<String> = parts.iter().map(part).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "image".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_source_where_that_is_safe() {
        for (id, name) in [
            ("00000001_000.png", "00000001_000"),
            ("p10/p10000032/s50414267/02aa804e.jpg", "p10/p10000032/s50414267/02aa804e"),
            ("../../etc/passwd", "up/up/etc/passwd"),
            ("/data/x.PNG", "data/x"),
            ("C:\\a\\b.dcm", "C_/a/b"),
            ("1.2.840.113619", "1_2_840_113619"),
            ("..", "up"),
            ("", "image"),
            (".png", "_png"),
            ("a.png/b.jpg", "a_png/b"),
        ] {
            assert_eq!(safe(id), name, "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_elsewhere(id in any::<String>()) {
            let name = safe(&id);
            prop_assert!(!name.is_empty());
            for part in name.split('/') {
                prop_assert!(!part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']), "{name}");
            }
        }
    }
}
