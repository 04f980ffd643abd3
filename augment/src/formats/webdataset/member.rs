//! Names of a shard's members.

use crate::image::EXTENSIONS;

/// What a member is of its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Image,
    Json,
    /// The report.
    Text,
    /// Names of findings, or a number.
    Class,
    /// Something that is not read, such as a mask.
    Other,
}

/// A member's name in its parts, as WebDataset divides it (`base_plus_ext`): the stem ends at the first point behind the folders.
pub(super) fn divided(name: &str) -> Option<(&str, String)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let point = base + name[base..].find('.')?;
    (point > base).then(|| (&name[..point], name[point + 1..].to_lowercase()))
}

/// What a member with that extension is.
pub(super) fn part(extension: &str) -> Part {
    match extension {
        "json" => Part::Json,
        "txt" => Part::Text,
        "cls" => Part::Class,
        other if EXTENSIONS.contains(&other) => Part::Image,
        _ => Part::Other,
    }
}

/// Whether a name may be that of a file below a folder. Others, which lead elsewhere, are in no archive that is meant well.
pub(super) fn is_sound(name: &str) -> bool {
    let leads_out = name.starts_with('/') || name.split('/').any(|part| part == "..");
    !leads_out && !name.is_empty() && !name.contains(['\\', '\0', '\n', '\r', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_end_at_the_first_point_behind_the_folders() {
        // webdataset 0.2.100, `tariterators.base_plus_ext`.
        assert_eq!(divided("a.b/c.seg.PNG"), Some(("a.b/c", "seg.png".to_owned())));
        assert_eq!(divided("c.jpg"), Some(("c", "jpg".to_owned())));
        assert_eq!([divided("c"), divided("a/.hidden")], [None, None]);
        assert_eq!(["png", "dcm", "json", "seg.png"].map(part), [Part::Image, Part::Image, Part::Json, Part::Other]);
        assert!(is_sound("a/b.png") && !is_sound("/a.png") && !is_sound("a/../../b.png") && !is_sound(""));
    }
}
