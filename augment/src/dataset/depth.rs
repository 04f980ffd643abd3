//! Whether the 16-bit images of a data set use the range that they are read with.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::dataset::CxrDataset;
use crate::image::{BitDepth, GrayDepth, needed, white_of};

/// Most images whose headers are looked at.
const HEADERS: usize = 64;

/// Most pixels that are decoded: half a second of work.
const PIXELS: usize = 100 << 20;

/// An image this many bits below white is dark beyond doubt: at most an eighth of it.
const DARK: u8 = 3;

/// The levels of one image.
struct Levels {
    image: String,
    least: u16,
    most: u16,
    /// What its file says that white is.
    white: u16,
}

impl CxrDataset {
    /// Adds a note if 16-bit images, of which a sample is decoded, do not reach the white that [`Preprocess::bit_depth`] gives them, as
    /// radiographs of 12 bits in files of 16 don't. Nothing is said where `bit_depth` asks for the whole range by name, or for each image's.
    ///
    /// [`Preprocess::bit_depth`]: crate::image::Preprocess::bit_depth
    #[must_use]
    pub fn with_depth_note(self) -> Self {
        let data = match self.says_how_shown() {
            Some(note) => self.with_note(note),
            None => self,
        };
        data.with_note_on_white()
    }

    /// What is doubtful where DICOM files say how their values are shown, and the run file doesn't say whether that is wanted.
    fn says_how_shown(&self) -> Option<String> {
        let mut looked = self.evenly().filter(|_| self.preprocess.dicom.is_none());
        let first = looked.find(|row| self.source.says_how_shown(self.rows[*row].image))?;
        Some(format!(
            "DICOM files such as {} say how their values are shown (a window, a table, a slope), and the stored values are read, as \
             torchxrayvision does; write dicom = \"window\" under [preprocess] for what a viewer shows, or dicom = \"stored\" if this is meant",
            self.describe(first)
        ))
    }

    fn with_note_on_white(self) -> Self {
        let stated = match self.preprocess.bit_depth {
            None => 16,
            Some(BitDepth::Bits(bits @ ..16)) => bits,
            Some(_) => return self,
        };
        let seen = self.sample_of_levels();
        let whites: BTreeSet<u16> = seen.iter().map(|levels| levels.white).collect();
        let of_white = |white: &u16| {
            let seen: Vec<_> = seen.iter().filter(|levels| levels.white == *white).collect();
            note(&seen, stated.min(needed(*white)))
        };
        let notes: Vec<String> = whites.iter().filter_map(of_white).collect();
        notes.into_iter().fold(self, Self::with_note)
    }

    /// Rows from all over the data set.
    fn evenly(&self) -> impl Iterator<Item = usize> {
        let rows = self.rows.len();
        (0..HEADERS.min(rows)).map(move |index| index * rows / HEADERS.min(rows))
    }

    fn sample_of_levels(&self) -> Vec<Levels> {
        let deep: Vec<_> =
            self.evenly().filter_map(|row| Some((row, self.source.deep_pixels(self.rows[row].image)?))).collect();
        let all: usize = deep.iter().map(|(_, pixels)| *pixels).sum();
        let step = all.div_ceil(PIXELS).max(1);
        let chosen: Vec<usize> = deep.iter().step_by(step).map(|(row, _)| *row).collect();
        let levels = |&row: &usize| {
            // What can't be read is said where it is read.
            let image = self.source.load_for(self.rows[row].image, &self.preprocess).ok()?;
            let GrayDepth::U16(samples) = image.depth() else { return None };
            let (least, most) = samples.iter().fold((u16::MAX, 0), |(least, most), &v| (least.min(v), most.max(v)));
            Some(Levels { image: self.describe(row), least, most, white: image.white() })
        };
        chosen.par_iter().filter_map(levels).collect()
    }
}

fn note(seen: &[&Levels], stated: u8) -> Option<String> {
    let (least, most) = (seen.iter().map(|levels| levels.least).min()?, seen.iter().map(|levels| levels.most).max()?);
    let (white, used) = (white_of(stated), needed(most));
    let looked = match seen.len() {
        1 => "1 was looked at".to_owned(),
        count => format!("{count} were looked at"),
    };
    if used < stated {
        return Some(format!(
            "the 16-bit images use {least} to {most} of {white} ({looked}), as images of {used} bits do, and come out dark; write \
             bit_depth = {used} under [preprocess], or bit_depth = {} if {white} is their white",
            if stated == 16 { "\"full\"".to_owned() } else { stated.to_string() }
        ));
    }
    let dark: Vec<_> = seen.iter().filter(|levels| needed(levels.most) + DARK <= stated).collect();
    let (first, brightest) = (dark.first()?, seen.iter().max_by_key(|levels| levels.most)?);
    // One dark image of many is a dark image.
    if dark.len() * 10 < seen.len() {
        return None;
    }
    Some(format!(
        "the 16-bit images have different ranges ({looked}): {} of them at most {} (such as {}), others up to {} (such as {}); no one white \
         is right for all: write bit_depth = \"per-image-range\" under [preprocess], or bring the files to one range",
        dark.len(),
        dark.iter().map(|levels| levels.most).max().unwrap_or(0),
        first.image,
        brightest.most,
        brightest.image
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataset::tests::record;
    use crate::image::{GrayImage, ImageFiles, Preprocess, encode_png};
    use crate::record::Vocabulary;

    /// A data set of one image per largest value: 16 bits, or 8 where it is 0.
    fn data(whites: &[u16], bit_depth: Option<BitDepth>) -> (tempfile::TempDir, CxrDataset) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(index, &white): (usize, &u16)| {
            let image = match white {
                0 => GrayImage::from_u8(2, 1, vec![0u8, 255]),
                white => GrayImage::from_u16(2, 1, vec![1u16, white]),
            };
            let path = folder.path().join(format!("{index}.png"));
            std::fs::write(&path, encode_png(&image)).unwrap();
            path
        };
        let files: Vec<_> = whites.iter().enumerate().map(write).collect();
        let records = (0..whites.len()).map(|index| record(&format!("{index}"), "", None)).collect();
        let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"]).unwrap());
        let data = CxrDataset::from_records("test", vocabulary, records, Arc::new(ImageFiles::new(files))).unwrap();
        let data = data.with_preprocess(Preprocess { bit_depth, ..Preprocess::new(2) });
        (folder, data)
    }

    fn notes(whites: &[u16], bit_depth: Option<BitDepth>) -> Vec<String> {
        let (folder, data) = data(whites, bit_depth);
        let path = format!("{}/", folder.path().display());
        data.with_depth_note().notes().iter().map(|note| note.replace(&path, "")).collect()
    }

    #[test]
    fn twelve_bits_in_sixteen_are_said_with_the_remedy() {
        let expected = "the 16-bit images use 1 to 4095 of 65535 (3 were looked at), as images of 12 bits do, and come out dark; write \
                        bit_depth = 12 under [preprocess], or bit_depth = \"full\" if 65535 is their white";
        assert_eq!(notes(&[4095, 3000, 0, 4000], None), [expected]);
        for silent in [BitDepth::Bits(12), BitDepth::Full, BitDepth::Bits(16), BitDepth::PerImageRange] {
            assert_eq!(notes(&[4095, 3000, 0, 4000], Some(silent)), Vec::<String>::new());
        }
        assert!(
            notes(&[900, 1023], Some(BitDepth::Bits(12)))[0]
                .contains("use 1 to 1023 of 4095 (2 were looked at), as images of 10 bits")
        );
    }

    #[test]
    fn full_ranges_are_not_mentioned() {
        for whites in [&[65535, 40000, 33000][..], &[0, 0], &[0, 65000], &[60000, 20000, 61000]] {
            assert_eq!(notes(whites, None), Vec::<String>::new(), "{whites:?}");
        }
    }

    #[test]
    fn two_ranges_in_one_set_have_no_white() {
        let said = notes(&[65535, 4095, 60000, 4000], None);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("2 of them at most 4095 (such as 1.png), others up to 65535 (such as 0.png)"), "{said:?}");
        // One dark radiograph of twenty is a dark radiograph.
        let mut whites = vec![60000; 20];
        whites[7] = 4000;
        assert_eq!(notes(&whites, None), Vec::<String>::new());
    }

    #[test]
    fn a_value_above_white_is_that_image_s_error() {
        let (_folder, data) = data(&[4095, 5000], Some(BitDepth::Bits(12)));
        assert!(data.sample(0).is_ok() && data.decode(0).is_ok());
        for error in [data.sample(1).unwrap_err(), data.decode(1).unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("1.png has a value of 5000, above 4095"), "{text}");
        }
    }
}
