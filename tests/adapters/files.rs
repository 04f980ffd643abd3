//! Adapter files of every tool, made here.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A tensor of 32-bit floats.
#[derive(Clone, Debug)]
pub struct Floats {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Floats {
    /// Small numbers without a pattern, by their seed.
    pub fn drawn(shape: &[usize], seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        Self { shape: shape.to_vec(), values: (0..shape.iter().product()).map(|_| next()).collect() }
    }

    pub fn number(value: f32) -> Self {
        Self { shape: Vec::new(), values: vec![value] }
    }

    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }
}

/// Named tensors.
pub type Tensors = BTreeMap<String, Floats>;

/// Writes them as safetensors with these notes in the header.
pub fn write_safetensors(path: &Path, tensors: &Tensors, notes: &[(&str, &str)]) {
    let bytes: Vec<Vec<u8>> = tensors.values().map(Floats::bytes).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, floats), bytes)| (name, TensorView::new(Dtype::F32, floats.shape.clone(), bytes).unwrap()));
    let notes: HashMap<String, String> = notes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    std::fs::write(path, safetensors::serialize(views, Some(notes)).unwrap()).unwrap();
}

/// Writes a dictionary of tensors as `torch.save` does since 1.6; with a token's name in AUTOMATIC1111's layout.
pub fn write_pickle(path: &Path, tensors: &Tensors, name: Option<&str>) {
    let mut pickle = Pickle(vec![0x80, 2]);
    pickle.0.extend_from_slice(b"}("); // EMPTY_DICT, MARK
    if let Some(name) = name {
        pickle.string("name");
        pickle.string(name);
        pickle.string("string_to_param");
        pickle.0.extend_from_slice(b"}(");
    }
    for (i, (key, floats)) in tensors.iter().enumerate() {
        pickle.string(key);
        pickle.tensor(i, &floats.shape);
    }
    if name.is_some() {
        pickle.0.push(b'u');
    }
    pickle.0.extend_from_slice(b"u."); // SETITEMS, STOP
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut file = |name: String, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    file("data.pkl".to_owned(), &pickle.0);
    file("byteorder".to_owned(), b"little");
    for (i, floats) in tensors.values().enumerate() {
        file(format!("data/{i}"), &floats.bytes());
    }
    file("version".to_owned(), b"3\n");
    zip.finish().unwrap();
}

/// Opcodes of pickle protocol 2.
struct Pickle(Vec<u8>);

impl Pickle {
    fn string(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, number: usize) {
        self.0.push(b'J');
        self.0.extend_from_slice(&(number as i32).to_le_bytes());
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.0.push(b'(');
        numbers.iter().for_each(|number| self.int(*number));
        self.0.push(b't');
    }

    fn tensor(&mut self, storage: usize, shape: &[usize]) {
        self.0.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.string("storage");
        self.0.extend_from_slice(b"ctorch\nFloatStorage\n");
        self.string(&storage.to_string());
        self.string("cpu");
        self.int(shape.iter().product());
        self.0.extend_from_slice(b"tQ");
        self.int(0);
        self.tuple(shape);
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        self.tuple(&strides);
        self.0.extend_from_slice(b"\x89ccollections\nOrderedDict\n)RtR");
    }
}

/// The factors of a module of the tiny pipeline.
pub struct Module {
    pub is_text: bool,
    /// In diffusers and transformers 4.
    pub name: &'static str,
    pub a: Floats,
    pub b: Floats,
}

const ATTENTION: &str = "mid_block.attentions.0.transformer_blocks.0.attn1";

/// Two attention projections, one of them under `to_out.0`, and one of the text encoder; all of rank 4.
pub fn modules() -> Vec<Module> {
    let names = [
        (false, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"),
        (false, "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"),
        (true, "text_model.encoder.layers.1.self_attn.q_proj"),
    ];
    let module = |(seed, (is_text, name)): (usize, (bool, &'static str))| Module {
        is_text,
        name,
        a: Floats::drawn(&[4, 32], 2 * seed as u64 + 1),
        b: Floats::drawn(&[32, 4], 2 * seed as u64 + 2),
    };
    names.into_iter().enumerate().map(module).collect()
}

/// `modules` under the names that `name` gives to a module, the first of a pair for its A.
fn named(modules: &[Module], name: impl Fn(&Module) -> [String; 2]) -> Tensors {
    let both = |module: &Module| {
        let [a, b] = name(module);
        [(a, module.a.clone()), (b, module.b.clone())]
    };
    modules.iter().flat_map(both).collect()
}

/// The names of kohya's scripts, with an alpha for every module unless it is none; `te` is `te` or `te1`.
pub fn kohya(modules: &[Module], te: &str, alpha: Option<f32>) -> Tensors {
    let stem = |module: &Module| format!("lora_{}_{}", if module.is_text { te } else { "unet" }, module.name.replace('.', "_"));
    let mut tensors = named(modules, |module| ["down", "up"].map(|end| format!("{}.lora_{end}.weight", stem(module))));
    if let Some(alpha) = alpha {
        tensors.extend(modules.iter().map(|module| (format!("{}.alpha", stem(module)), Floats::number(alpha))));
    }
    tensors
}

/// The names of diffusers with these ends.
pub fn diffusers(modules: &[Module], ends: [&str; 2]) -> Tensors {
    let part = |module: &Module| if module.is_text { "text_encoder" } else { "unet" };
    named(modules, |module| ends.map(|end| format!("{}.{}.{end}", part(module), module.name)))
}

/// The names of diffusers in early 2023, with or without `unet.`; text encoders only with their prefix.
pub fn processors(modules: &[Module], unet: &str) -> Tensors {
    named(modules, |module| {
        ["down", "up"].map(|end| match module.is_text {
            true => format!("text_encoder.{}.to_q_lora.{end}.weight", module.name.trim_end_matches(".q_proj")),
            false => {
                let projection = module.name.trim_start_matches(ATTENTION).trim_start_matches('.').trim_end_matches(".0");
                format!("{unet}{ATTENTION}.processor.{projection}_lora.{end}.weight")
            }
        })
    })
}

/// The names of peft.
pub fn peft(modules: &[Module]) -> Tensors {
    named(modules, |module| ["A", "B"].map(|end| format!("base_model.model.{}.lora_{end}.weight", module.name)))
}
