//! Sets of which nothing can be said: an error that says what is needed, or a stated "undefined".

use roentgen::evaluation::fidelity::{Moments, frechet, prdc, vendi, whole_kid};
use roentgen::evaluation::{Rows, RowsError};
use roentgen_augment::image::GrayImage;

use super::measures::memorised;
use super::world::{Set, world};

fn first(count: usize) -> Set {
    let faithful = &world().faithful;
    Set { images: faithful.images[..count].to_vec(), asked: faithful.asked[..count].to_vec() }
}

#[test]
fn one_image_has_neighbours_and_no_distribution() {
    let (world, one) = (world(), first(1));
    let seen = world.judge.look(&one.images, 1);
    let (real, made) =
        (Rows::new(&world.of_held_out.features, seen.width).unwrap(), Rows::new(&seen.features, seen.width).unwrap());
    for (name, error) in [
        ("moments", Moments::of(made).map(|_| 0.0).err()),
        ("kid", whole_kid(real, made).map(|_| 0.0).err()),
        ("prdc", prdc(real, made, 5).map(|_| 0.0).err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{name} of one image")).to_string();
        assert!(error.contains("needs at least") || error.contains("at least"), "{name}: {error}");
    }
    let found = memorised(world, &one, None);
    assert_eq!((found.pairs.len(), found.report.repeats), (1, None));
}

#[test]
fn identical_images_are_one_image_many_times() {
    let world = world();
    let image = &world.faithful.images[0];
    let same = Set { images: vec![image.clone(); 30], asked: world.faithful.asked[..30].to_vec() };
    let seen = world.judge.look(&same.images, 30);
    let (real, made) =
        (Rows::new(&world.of_held_out.features, seen.width).unwrap(), Rows::new(&seen.features, seen.width).unwrap());
    assert!((vendi(made).unwrap() - 1.0).abs() < 1e-6);
    assert!(frechet(&Moments::of(real).unwrap(), &Moments::of(made).unwrap()).unwrap() > 0.0);
    let repeats = memorised(world, &same, None).report.repeats.unwrap().synthetic;
    assert_eq!((repeats.images, repeats.repeated, repeats.distances.most), (30, 30, 0.0));
}

#[test]
fn blank_images_are_near_nothing() {
    let world = world();
    let mut blank = first(3);
    blank.images[1] = GrayImage::from_u8(64, 64, vec![9; 64 * 64]);
    let found = memorised(world, &blank, None);
    let pair = found.pairs.iter().find(|pair| pair.synthetic == 1).unwrap();
    assert!((pair.distance - 1.0).abs() < 1e-3 && pair.flagged == Some(false), "{pair:?}");
}

#[test]
fn features_that_are_no_numbers_are_refused_by_row() {
    let error = Rows::new(&[0.5f32, 1.0, 2.0, f32::NAN], 2).unwrap_err();
    assert!(matches!(error, RowsError::NotFinite { row: 1, column: 1, .. }));
}
