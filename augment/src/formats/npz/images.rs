//! Images of arrays: all in memory where they are small, else read one by one from where they lie.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use npyz::Order;

use super::{CHUNK, MAX_BYTES, MAX_IMAGES, Npz, Open, bad_array, last_index_fastest, read_error};
use crate::AugmentError;
use crate::image::{GrayImage, ImageArray, ImageSource};

/// Most bytes of all images that are kept in memory. ChestMNIST has 440 MB at 64 pixels and 5.6 GB at 224.
const IN_MEMORY: u64 = 512 << 20;
const EXPECTED: &str = "uint8 images [N, H, W] (NumPy: `images.astype(\"uint8\")`)";

/// The images of arrays of one size, one array after the other.
pub(in crate::formats) struct Images {
    /// Images of each array.
    pub(in crate::formats) counts: Vec<usize>,
    pub(in crate::formats) width: usize,
    pub(in crate::formats) height: usize,
    pub(in crate::formats) source: Arc<dyn ImageSource>,
    /// What reading them costs, if it is more than memory.
    pub(in crate::formats) note: Option<String>,
}

impl Npz {
    /// The `uint8` images `[N, H, W]` of these arrays. Large ones stay in the archive, if it has them as they are; if it has them packed, which
    /// can't be read by position, they are unpacked once into a temporary file that goes with the source.
    pub(in crate::formats) fn images(&mut self, names: &[&str]) -> Result<Images, AugmentError> {
        self.images_within(names, IN_MEMORY)
    }

    fn images_within(&mut self, names: &[&str], in_memory: u64) -> Result<Images, AugmentError> {
        let path = self.path.clone();
        let sizes = names.iter().filter_map(|name| self.archive.by_name(&format!("{name}.npy")).ok().map(|entry| entry.size()));
        let in_memory = sizes.fold(0, u64::saturating_add) <= in_memory;
        let (mut counts, mut size, mut samples, mut parts) = (Vec::new(), None, Vec::new(), Vec::new());
        let mut unpacked = Unpacked { folder: path.parent().unwrap_or(Path::new("")).to_owned(), file: None, bytes: 0 };
        for name in names {
            let mut open =
                self.open_array(name, EXPECTED, MAX_BYTES, |kind| (kind.letter == 'u' && kind.size == 1).then_some(()))?;
            let (count, height, width) = sides(&open.shape).ok_or_else(|| {
                let expected = "1 to 10 million uint8 images [N, H, W], none of them empty";
                bad_array(&path, name, format!("of shape {:?}", open.shape), expected)
            })?;
            let size = *size.get_or_insert((width, height));
            if (width, height) != size {
                let expected = format!("images of {}x{} as in {}", size.0, size.1, names[0]);
                return Err(bad_array(&path, name, format!("of shape {:?}", open.shape), &expected));
            }
            counts.push(count);
            let failed = |error: io::Error| read_error(&path, name, EXPECTED, &error);
            if in_memory || open.order == Order::Fortran {
                let values = whole(&mut open, &path, name)?;
                match in_memory {
                    true => samples.extend_from_slice(&values),
                    false => parts.push((unpacked.add(&mut &values[..]).map_err(failed)?, count)),
                }
            } else if let Some(start) = open.stored {
                parts.push((Place::Archive(start), count));
            } else {
                parts.push((unpacked.add(&mut open.reader).map_err(failed)?, count));
            }
        }
        let (width, height) = size.unwrap_or((1, 1));
        let name = match names {
            [name] => format!("{}:{name}", path.display()),
            _ => path.display().to_string(),
        };
        if in_memory {
            let source = Arc::new(ImageArray::new(&name, width, height, samples));
            return Ok(Images { counts, width, height, source, note: None });
        }
        let note = unpacked.file.is_some().then(|| {
            let folder = unpacked.folder.display();
            format!(
                "{}: its images are packed and can't be read by position; {} MB of them are unpacked into a temporary file in {folder} each time \
                 the data are opened (an archive written by `numpy.savez` needs none)",
                path.display(),
                unpacked.bytes >> 20
            )
        });
        let file = File::open(&path).map_err(|source| AugmentError::Io { action: "read", path: path.clone(), source })?;
        let source =
            Positioned { name, path, width, height, parts, archive: Mutex::new(file), unpacked: unpacked.file.map(Mutex::new) };
        Ok(Images { counts, width, height, source: Arc::new(source), note })
    }
}

/// Number, height and width of the images of an array of that shape. One without images may claim sides whose product overflows.
fn sides(shape: &[usize]) -> Option<(usize, usize, usize)> {
    let sound = |side: usize| side > 0 && u32::try_from(side).is_ok();
    match *shape {
        [count, height, width] if count > 0 && count <= MAX_IMAGES && sound(height) && sound(width) => {
            Some((count, height, width))
        }
        _ => None,
    }
}

/// All images of an array, the last index running fastest.
fn whole<D, R: Read>(open: &mut Open<D, R>, path: &Path, name: &str) -> Result<Vec<u8>, AugmentError> {
    let failed = |error: io::Error| read_error(path, name, EXPECTED, &error);
    let mut values = Vec::new();
    let too_large = |_| bad_array(path, name, format!("{}, too large for the memory", open.found), EXPECTED);
    values.try_reserve_exact(open.count).map_err(too_large)?;
    while values.len() < open.count {
        let begun = values.len();
        values.resize(open.count.min(begun + CHUNK), 0);
        open.reader.read_exact(&mut values[begun..]).map_err(failed)?;
    }
    // At the end the archive's checksum is compared.
    open.reader.read(&mut [0]).map_err(failed)?;
    Ok(if open.order == Order::Fortran { last_index_fastest(&values, &open.shape) } else { values })
}

/// Where the first image of an array begins.
#[derive(Clone, Copy, Debug)]
enum Place {
    Archive(u64),
    Unpacked(u64),
}

/// A temporary file that nobody else can open, made when it is needed.
struct Unpacked {
    /// Where it is put: beside the archive there is room for such things, and a folder for temporary files may be in memory.
    folder: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Unpacked {
    /// Adds what is read, to its end.
    fn add(&mut self, reader: &mut dyn Read) -> io::Result<Place> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let beside = if self.folder == Path::new("") { Path::new(".") } else { &self.folder };
                let file = match tempfile::tempfile_in(beside) {
                    Ok(file) => file,
                    Err(_) => {
                        self.folder = std::env::temp_dir();
                        tempfile::tempfile()?
                    }
                };
                none.insert(file)
            }
        };
        let place = Place::Unpacked(self.bytes);
        let mut writer = io::BufWriter::with_capacity(1 << 20, file);
        self.bytes += io::copy(reader, &mut writer)?;
        writer.flush()?;
        Ok(place)
    }
}

/// Images that are read one by one.
struct Positioned {
    name: String,
    path: PathBuf,
    width: usize,
    height: usize,
    /// Where each array is, and how many images it has.
    parts: Vec<(Place, usize)>,
    archive: Mutex<File>,
    unpacked: Option<Mutex<File>>,
}

impl ImageSource for Positioned {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let size = self.width * self.height;
        let mut before = 0;
        let part = self.parts.iter().find(|(_, count)| {
            let is_here = index < before + count;
            before += if is_here { 0 } else { *count };
            is_here
        });
        let (place, _) = part.expect("the index is below the number of images");
        let (file, start) = match place {
            Place::Archive(start) => (&self.archive, *start),
            Place::Unpacked(start) => (self.unpacked.as_ref().expect("an unpacked array has its file"), *start),
        };
        let mut samples = vec![0; size];
        let mut read = || -> io::Result<()> {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start + (index - before) as u64 * size as u64))?;
            file.read_exact(&mut samples)
        };
        read().map_err(|source| AugmentError::Io { action: "read an image of", path: self.path.clone(), source })?;
        Ok(GrayImage::from_u8(self.width, self.height, samples))
    }

    fn describe(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of two arrays of 3 and 2 images of 2x2 pixels, packed as `savez_compressed` does or as they are.
    fn archive(path: &Path, packed: bool) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, count, first) in [("a", 3u8, 0u8), ("b", 2, 100)] {
            let options = zip::write::SimpleFileOptions::default();
            let options = if packed { options } else { options.compression_method(zip::CompressionMethod::Stored) };
            archive.start_file(format!("{name}.npy"), options).unwrap();
            let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 2, 2), }}\n");
            let head = [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
            archive.write_all(&head).unwrap();
            archive.write_all(&(0..count * 4).map(|at| first + at).collect::<Vec<_>>()).unwrap();
        }
        archive.finish().unwrap();
    }

    #[test]
    fn images_are_the_same_from_memory_the_archive_and_a_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        for packed in [false, true] {
            archive(&path, packed);
            for in_memory in [u64::MAX, 0] {
                let images = Npz::open(&path).unwrap().images_within(&["a", "b"], in_memory).unwrap();
                assert_eq!((images.counts, images.width, images.height), (vec![3, 2], 2, 2));
                for (index, first) in [(0, 0u8), (2, 8), (3, 100), (4, 104), (1, 4)] {
                    let expected = GrayImage::from_u8(2, 2, (first..first + 4).collect::<Vec<_>>());
                    assert_eq!(images.source.load(index).unwrap(), expected, "{packed} {in_memory} {index}");
                }
                let is_unpacked = packed && in_memory == 0;
                assert_eq!(
                    images.note.as_deref().is_some_and(|note| note.contains("unpacked into a temporary file in")),
                    is_unpacked
                );
            }
            // Nothing is left beside the archive.
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn damage_in_a_packed_array_is_found_when_it_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        archive(&path, true);
        let mut bytes = std::fs::read(&path).unwrap();
        // The checksum in the central directory, which readers take.
        let at = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap() + 16;
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        let error = Npz::open(&path).unwrap().images_within(&["a"], 0).err().unwrap().to_string();
        assert!(error.contains("array `a` is damaged"), "{error}");
    }
}
