//! Textual inversion.

use std::path::Path;

use roentgen::adapters::embedding::Embedding;

use super::files::{Floats, Tensors, write_pickle, write_safetensors};
use super::{Place, difference, explains, open, tiny};

fn one(name: &str, shape: &[usize]) -> Tensors {
    Tensors::from([(name.to_owned(), Floats::drawn(shape, 5))])
}

#[test]
fn a_token_stands_for_its_vectors_from_every_kind_of_file() {
    let place = Place::new();
    write_safetensors(&place.path("learned_embeds.safetensors"), &one("<x>", &[3, 32]), &[]);
    write_pickle(&place.path("learned_embeds.bin"), &one("<x>", &[3, 32]), None);
    write_pickle(&place.path("a1111.pt"), &one("*", &[3, 32]), Some("<x>"));
    write_safetensors(&place.path("a1111.safetensors"), &one("emb_params", &[3, 32]), &[]);
    let ids = |path: &Path, token: Option<&str>| {
        let before = open().tokenizer().vocabulary_size() as u32;
        let pipeline = Embedding::read(path, token).unwrap().add(open()).unwrap();
        let ids = pipeline.encode(&["in <x> style", "in <x> <x>_1 <x>_2 style"], 0).unwrap().input_ids;
        assert_eq!(ids[0], ids[1]);
        let at = ids[0].iter().position(|id| *id == before).unwrap();
        assert_eq!(ids[0][at..at + 3], [before, before + 1, before + 2]);
        (ids, pipeline.fingerprint())
    };
    let expected = ids(&place.path("learned_embeds.safetensors"), None);
    for (file, token) in [("learned_embeds.bin", None), ("a1111.pt", None), ("a1111.safetensors", Some("<x>"))] {
        assert_eq!(ids(&place.path(file), token), expected, "{file}");
    }
    assert_ne!(expected.1, open().fingerprint());
}

#[test]
fn images_of_the_short_and_the_written_out_prompt_are_equal() {
    let place = Place::new();
    write_safetensors(&place.path("x.safetensors"), &one("<x>", &[3, 32]), &[]);
    let image = |out: &str, prompt: &str, embedding: &[&str]| {
        place.makes(tiny(), out, &[&["--prompt", prompt, "--guidance", "2"], embedding].concat())
    };
    let embedding = ["--embedding", "x.safetensors"];
    let (short, origin, said) = image("short", "film in <x> style", &embedding);
    assert!(!said.contains("vectors"), "{said}");
    assert_eq!(difference(&short, &image("long", "film in <x> <x>_1 <x>_2 style", &embedding).0), 0);
    assert!(difference(&short, &image("plain", "film in <x> style", &[]).0) > 0);
    let card = &origin.card.adapters[0];
    assert_eq!((card.name.as_str(), card.token.as_deref(), card.scale), ("x.safetensors", Some("<x>"), None));
    // Another name, and the file's own is ordinary text then.
    let (renamed, ..) = image("renamed", "film in <y> style", &["--embedding", "<y>=x.safetensors"]);
    assert_eq!(difference(&short, &renamed), 0);
    // In capitals one vector of three is used, as in diffusers, and it is said.
    for (out, prompt, embedding, remedy) in [
        ("capitals", "film in <X> style", "x.safetensors", "write it as <x>"),
        ("name", "film in <Effusion> style", "<Effusion>=x.safetensors", "<effusion>=FILE"),
    ] {
        let (.., said) = image(out, prompt, &["--embedding", embedding]);
        assert!(said.contains("1 prompt uses only the first of the 3 vectors") && said.contains(remedy), "{said}");
    }
}

#[test]
fn embeddings_that_do_not_fit_are_refused() {
    let place = Place::new();
    let write = |name: &str, shape: &[usize]| write_safetensors(&place.path("x.safetensors"), &one(name, shape), &[]);
    let refuses = |embedding: &str, said: &[&str]| place.refuses(&["--embedding", embedding], said);
    for (width, of) in [(768, "Stable Diffusion 1"), (1024, "Stable Diffusion 2"), (48, "48 wide")] {
        write("<x>", &[2, width]);
        refuses("x.safetensors", &["x.safetensors", of, "has 32", "this pipeline's base"]);
    }
    write("<x>", &[76, 32]);
    refuses("x.safetensors", &["76 vectors", "75 tokens"]);
    write("emb_params", &[32]);
    refuses("x.safetensors", &["does not name its token", "TOKEN=FILE"]);
    refuses("<|endoftext|>=x.safetensors", &["`<|endoftext|>` already"]);
    write("<x>", &[2, 3, 32]);
    refuses("x.safetensors", &["x.safetensors"]);
    write("unet.conv_in.lora_A.weight", &[4, 32]);
    refuses("x.safetensors", &["x.safetensors"]);
    let both = [("unet.conv_in.lora_A.weight", &[4, 36][..]), ("unet.conv_in.lora_B.weight", &[16, 4])];
    let tensors: Tensors = both.iter().map(|(name, shape)| ((*name).to_owned(), Floats::drawn(shape, 1))).collect();
    write_safetensors(&place.path("x.safetensors"), &tensors, &[]);
    refuses("x.safetensors", &["it is a LoRA", "give it to --lora"]);
    let two = ["clip_g", "clip_l"].map(|name| (name.to_owned(), Floats::drawn(&[2, 32], 1)));
    write_safetensors(&place.path("x.safetensors"), &two.into(), &[]);
    refuses("x.safetensors", &["Stable Diffusion XL"]);
    // A pickle that would run something.
    std::fs::write(place.path("evil.bin"), b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.").unwrap();
    refuses("evil.bin", &["evil.bin", "`os.system`"]);
    explains(&place.roentgen(&["inspect", "evil.bin"]), &["inspect"], &["os.system"]);
    // Twice the same token.
    write("<x>", &[2, 32]);
    place.refuses(&["--embedding", "x.safetensors", "--embedding", "x.safetensors"], &["`<x>` already", "TOKEN=FILE"]);
}

#[test]
fn inspect_says_what_an_embedding_is() {
    let place = Place::new();
    write_pickle(&place.path("a1111.pt"), &one("*", &[2, 32]), Some("cxrstyle"));
    let output = place.roentgen(&["inspect", "a1111.pt"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("textual inversion, token cxrstyle, 2 x 32"), "{text}");
}
