//! The faults.

use roentgen::evaluation::images::{ImageSet, Wanted};
use roentgen_augment::image::{GrayDepth, GrayImage, RgbImage};
use roentgen_augment::progress::Silent;
use roentgen_augment::record::Sex;

use super::world::{Set, World, draw};

fn levels(image: &GrayImage) -> &[u8] {
    match image.depth() {
        GrayDepth::U8(levels) => levels,
        GrayDepth::U16(_) => panic!("phantoms have 8 bits"),
    }
}

/// The same set with other pixels.
fn repainted(set: &Set, paint: impl Fn(&GrayImage) -> Vec<u8>) -> Set {
    let images = set.images.iter().map(|image| GrayImage::from_u8(image.width(), image.height(), paint(image)));
    Set { images: images.collect(), asked: set.asked.clone() }
}

/// Each pixel the mean of five by five.
pub fn blurred(set: &Set) -> Set {
    repainted(set, |image| {
        let (width, height, levels) = (image.width() as i64, image.height() as i64, levels(image));
        let at = |x: i64, y: i64| u32::from(levels[(y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize]);
        let mean = |x: i64, y: i64| {
            (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dx, dy))).map(|(dx, dy)| at(x + dx, y + dy)).sum::<u32>() / 25
        };
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| mean(x, y) as u8).collect()
    })
}

/// Left and right exchanged.
pub fn mirrored(set: &Set) -> Set {
    repainted(set, |image| levels(image).chunks(image.width()).flat_map(|row| row.iter().rev()).copied().collect())
}

/// Brighter, and with less contrast.
pub fn greyer(set: &Set) -> Set {
    repainted(set, |image| levels(image).iter().map(|level| 50 + (0.75 * f32::from(*level)).round() as u8).collect())
}

/// Who asks for an enlarged heart gets an effusion, and the other way round.
pub fn swapped(set: &Set) -> Set {
    let mut swapped = set.clone();
    swapped.asked.iter_mut().for_each(|asked| asked.request.labels.swap(0, 1));
    swapped
}

/// Four images again and again, a few gray levels apart.
pub fn collapsed(set: &Set) -> Set {
    let image = |row: usize| {
        let original = &set.images[row % 4];
        let noise = |place: usize| ((row * 31 + place * 7) % 5) as u8;
        let painted = levels(original).iter().enumerate().map(|(place, level)| level.saturating_add(noise(place)));
        GrayImage::from_u8(original.width(), original.height(), painted.collect::<Vec<u8>>())
    };
    Set { images: (0..set.images.len()).map(image).collect(), asked: set.asked.clone() }
}

/// A third of the images are training images, three gray levels brighter.
pub fn copied(world: &World, set: &Set) -> Set {
    let brighter = repainted(&world.train, |image| levels(image).iter().map(|level| level.saturating_add(3)).collect());
    let mut copied = set.clone();
    for row in (0..set.images.len()).step_by(3) {
        copied.images[row] = brighter.images[row].clone();
        let id = copied.asked[row].id.clone();
        copied.asked[row] = super::world::Asked { id, ..brighter.asked[row].clone() };
    }
    copied
}

/// The same requests, of which those for men are drawn as women.
pub fn women(set: &Set) -> Set {
    let seed = set.asked[0].id.split('-').next().unwrap().parse().unwrap();
    let drawn = draw(seed, set.images.len(), |request| request.sex = Some(Sex::Female));
    assert_eq!(drawn.asked, set.asked);
    drawn
}

/// In colour, without one.
pub fn rgb(set: &Set) -> Vec<RgbImage> {
    painted(set, |level| [level; 3])
}

/// Red instead of blue, as bright as before.
pub fn cast(set: &Set) -> Vec<RgbImage> {
    painted(set, |level| {
        let room = level.min(255 - level).min(29);
        [level + (f32::from(room) * 0.114 / 0.299).round() as u8, level, level - room]
    })
}

fn painted(set: &Set, paint: impl Fn(u8) -> [u8; 3]) -> Vec<RgbImage> {
    let image = |image: &GrayImage| RgbImage {
        width: image.width(),
        height: image.height(),
        samples: levels(image).iter().flat_map(|level| paint(*level)).collect(),
    };
    set.images.iter().map(image).collect()
}

/// Mean spread of the channels, of the images as files in a folder.
pub fn colour(images: &[RgbImage]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    for (row, image) in images.iter().enumerate() {
        let path = folder.path().join(format!("{row:03}.png"));
        let (width, height) = (image.width as u32, image.height as u32);
        image::save_buffer(path, &image.samples, width, height, image::ExtendedColorType::Rgb8).unwrap();
    }
    let set = ImageSet::open(folder.path(), Wanted::Synthetic).unwrap();
    let looks = set.looks(&Silent).unwrap();
    looks.iter().map(|look| f64::from(look.spread)).sum::<f64>() / looks.len() as f64
}
