//! Writes a contact sheet of phantom images: `cargo run --release --example phantom_sheet -- sheet.png [reference|shifted] [size] [seed]`.

use std::error::Error;
use std::time::Instant;

use roentgen_augment::image::GrayDepth;
use roentgen_augment::phantom::{Pathology, PhantomFinding, PhantomPatient, PhantomPhysics, PhantomStudy, Prevalence};
use roentgen_augment::record::View;

const COLUMNS: usize = 6;
const IMAGES: usize = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give the name of the PNG to write")?;
    let physics = match arguments.next().as_deref() {
        None | Some("reference") => PhantomPhysics::reference(),
        Some("shifted") => PhantomPhysics::shifted(),
        Some(other) => return Err(format!("`{other}` is not a preset of the physics; use `reference` or `shifted`").into()),
    };
    let size: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;

    let mut sheet = vec![0; IMAGES * size * size];
    let start = Instant::now();
    let mut legend = Vec::new();
    for place in 0..IMAGES {
        let study = study(place, seed);
        let image = study.render(size, &physics);
        let GrayDepth::U8(samples) = image.depth() else { return Err("images are 8 bits".into()) };
        for (row, line) in samples.chunks(size).enumerate() {
            let (left, top) = (place % COLUMNS * size, place / COLUMNS * size);
            let from = (top + row) * COLUMNS * size + left;
            sheet[from..from + size].copy_from_slice(line);
        }
        legend.push(study.template_text());
    }
    let took = start.elapsed();
    let (width, height) = ((COLUMNS * size) as u32, (IMAGES / COLUMNS * size) as u32);
    image::save_buffer(&path, &sheet, width, height, image::ExtendedColorType::L8)?;
    for (place, text) in legend.iter().enumerate() {
        println!("row {} column {}: {text}", place / COLUMNS + 1, place % COLUMNS + 1);
    }
    println!("{:.2} ms per image of {size} pixels", took.as_secs_f64() * 1000.0 / IMAGES as f64);
    Ok(())
}

/// Six without findings and two of each pathology, interleaved.
fn study(place: usize, seed: u64) -> PhantomStudy {
    let seed = seed * 1000 + place as u64;
    let patient = PhantomPatient::sample(seed);
    let Some(pathology) = place.checked_sub(COLUMNS).map(|i| Pathology::ALL[i % Pathology::ALL.len()]) else {
        return PhantomStudy::of_patient(&patient, seed, &Prevalence::healthy());
    };
    PhantomStudy::of_findings(
        patient,
        vec![PhantomFinding::sample(pathology, seed)],
        if place % 5 == 4 { View::Ap } else { View::Pa },
        seed,
    )
}
