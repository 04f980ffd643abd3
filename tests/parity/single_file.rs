//! 16_single_file: checkpoints in one file, made a folder of as `roentgen convert` does; folders whose weights are variants or shards; and
//! names that are looked up in the cache of the hub.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, Int, Tensor, TensorData};
use roentgen::diffusion::Trace;
use roentgen::diffusion::autoencoder::{Autoencoder, AutoencoderConfig};
use roentgen::diffusion::pipeline::{ImageRequest, OpenOptions, PipelineSource, Settings, StableDiffusion, Start};
use roentgen::diffusion::samplers::SamplerKind;
use roentgen::diffusion::single_file::{Conversion, ModelConfigs, SingleFile, UNetWeights};
use roentgen::diffusion::text::{TextEncoder, TextEncoderConfig, TextInput};
use roentgen::diffusion::unet::UNetConfig;
use roentgen::diffusion::weights::{Stem, WeightsFolder, load};
use roentgen::hub::{Cache, Hub, Want};
use roentgen_augment::progress::Silent;
use safetensors::SafeTensors;
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs};

/// Folders of the case's networks.
struct Model {
    folder: PathBuf,
    variant: Option<String>,
    /// The folder is the autoencoder's.
    is_vae: bool,
    /// Of a file that was converted, or of a cache.
    _made: Option<tempfile::TempDir>,
}

impl Model {
    fn of(case: &Case) -> Option<Self> {
        let text = |key: &str| case.params[key].as_str().map(str::to_owned);
        if let Some(cache) = text("cache_dir") {
            let made = with_links(&case.folder.join(cache));
            let name = format!("{}@{}", text("repository")?, text("revision")?).parse().unwrap();
            let hub = Hub::new(Cache::new(made.path())).offline();
            let folder = hub.find(&name, Want::Pipeline, &Silent).unwrap().folder;
            return Some(Self { folder, variant: None, is_vae: false, _made: Some(made) });
        }
        if let Some(folder) = text("folder") {
            let (folder, made) = match folder.split_once("/models--") {
                Some((cache, rest)) => {
                    let made = with_links(&case.folder.join(cache));
                    (made.path().join(format!("models--{rest}")), Some(made))
                }
                None => (case.folder.join(folder), None),
            };
            return Some(Self { folder, variant: text("variant"), is_vae: false, _made: made });
        }
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("model");
        let unet = if case.params["ema"] == true { UNetWeights::Average } else { UNetWeights::Plain };
        let configs = ModelConfigs::Folder(case.folder.join(text("config")?));
        let conversion = Conversion { configs, prediction: None, unet };
        let file = SingleFile::open(&case.folder.join(text("file")?)).unwrap();
        let converted = conversion.write(&file, &folder, |_| ()).unwrap();
        Some(Self { folder, variant: None, is_vae: !converted.is_pipeline, _made: Some(out) })
    }

    fn part(&self, name: &str) -> WeightsFolder {
        let folder = if self.is_vae { self.folder.clone() } else { self.folder.join(name) };
        WeightsFolder { folder, variant: self.variant.clone() }
    }
}

/// A copy of a cache. Its links may be kept as texts of where they lead to, for storage without links.
fn with_links(cache: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut open = vec![cache.to_owned()];
    while let Some(folder) = open.pop() {
        let to = copy.path().join(folder.strip_prefix(cache).unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().unwrap();
            let text = || std::fs::read_to_string(&path).ok().filter(|text| text.starts_with("../") && !text.contains('\n'));
            let target = if kind.is_symlink() { std::fs::read_link(&path).ok() } else { text().map(PathBuf::from) };
            match target {
                _ if kind.is_dir() => open.push(path),
                Some(target) => link(&target, &to),
                None => drop(std::fs::copy(&path, &to).unwrap()),
            }
        }
    }
    copy
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) {
    std::os::unix::fs::symlink(target, path).unwrap();
}

#[cfg(windows)]
fn link(target: &Path, path: &Path) {
    std::os::windows::fs::symlink_file(target, path).unwrap();
}

pub fn compute(case: &Case) -> Option<Outputs> {
    let model = Model::of(case)?;
    let mut outputs = Vec::new();
    if case.params["prompt"].is_string() {
        return Some(image(case, &model));
    }
    for part in ["unet", "vae", "text_encoder"] {
        if let Some(names) = case.params["tensor_names"][part].as_array() {
            outputs.push((format!("tensors/{part}"), figures(&model.part(part).folder, names)));
        }
    }
    if case.optional_input("sample").is_some() {
        outputs.push(("unet_sample".to_owned(), unet(case, model.part("unet"))));
    }
    if case.optional_input("input_ids").is_some() {
        outputs.push(("text_last_hidden_state".to_owned(), text(case, model.part("text_encoder"))));
    }
    if case.optional_input("latents").is_some() {
        outputs.extend(vae(case, model.part("vae")));
    }
    Some(outputs)
}

/// Four figures of each tensor: sum, sum of absolute values, first and last element.
fn figures(folder: &Path, names: &[Value]) -> Array {
    let file = ["diffusion_pytorch_model.safetensors", "model.safetensors"].map(|name| folder.join(name));
    let bytes = std::fs::read(file.iter().find(|file| file.is_file()).unwrap()).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let figures = |name: &Value| {
        let name = name.as_str().unwrap();
        // transformers 5 names them without the prefix, and reads them with it.
        let view = file.tensor(name).or_else(|_| file.tensor(&format!("text_model.{name}"))).unwrap();
        let values = Array::read(&view).unwrap().values;
        [values.iter().sum(), values.iter().map(|value| value.abs()).sum(), values[0], values[values.len() - 1]]
    };
    let values: Vec<f64> = names.iter().flat_map(figures).collect();
    Array::new(&[names.len(), 4], &values)
}

fn unet(case: &Case, place: WeightsFolder) -> Array {
    let device = chosen_device();
    let config = UNetConfig::read(&place.folder.join("config.json")).unwrap();
    let unet = load(config.init(&device), place, Stem::Diffusers, &config.keys(), FloatDType::F32).unwrap().model;
    let timesteps = case.input("timestep").f32();
    array(unet.forward_traced(
        tensor(case.input("sample")),
        Tensor::from_floats(&timesteps[..], &device),
        tensor(case.input("encoder_hidden_states")),
        None,
        &mut Trace::off(),
    ))
}

fn text(case: &Case, place: WeightsFolder) -> Array {
    let device = chosen_device();
    let config = TextEncoderConfig::read(&place.folder.join("config.json")).unwrap();
    let encoder = config.load(place, FloatDType::F32, &device).unwrap().model;
    let ids = case.input("input_ids");
    let values: Vec<i32> = ids.values.iter().map(|id| *id as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(values, ids.shape.clone()), &device);
    array(encoder.encode(TextInput::new(ids)).last_hidden_state)
}

fn vae(case: &Case, place: WeightsFolder) -> Outputs {
    let model = AutoencoderConfig::read(&place.folder.join("config.json")).unwrap().init(&chosen_device());
    let keys = model.keys();
    let Autoencoder::Kl(vae) = load(model, place, Stem::Diffusers, keys, FloatDType::F32).unwrap().model else {
        panic!("{} is of another class", case.name)
    };
    let decoded = vae.decode_traced(tensor(case.input("latents")), &mut Trace::off());
    let mut outputs = vec![("vae_decoded".to_owned(), array(decoded))];
    if let Some(image) = case.optional_input("image") {
        let posterior = vae.encode(tensor(image));
        outputs.push(("vae_mean".to_owned(), array(posterior.mean)));
        outputs.push(("vae_logvar".to_owned(), array(posterior.logvar)));
    }
    outputs
}

fn image(case: &Case, model: &Model) -> Outputs {
    let source = PipelineSource { folder: model.folder.clone(), variant: model.variant.clone(), unet: None };
    let pipeline = StableDiffusion::open(source, &OpenOptions::new(&chosen_device()), |_| ()).unwrap();
    assert_eq!(case.params["scheduler"], "DDIMScheduler");
    let number = |key: &str| case.params[key].as_u64().unwrap() as usize;
    let settings = pipeline.settings();
    let settings = Settings {
        scheduler: settings.scheduler.with_kind(SamplerKind::Ddim).unwrap(),
        steps: number("num_inference_steps"),
        guidance_scale: case.params["guidance_scale"].as_f64().unwrap(),
        size: [number("height"), number("width")],
        ..pipeline.settings()
    };
    let prompt = case.params["prompt"].as_str().unwrap().to_owned();
    let requests = [ImageRequest { prompt, negative_prompt: String::new(), seed: 0 }];
    let start = Start::Latents(tensor(case.input("latents")));
    let latents = pipeline.latents(&requests, &settings, &start, &mut |_| ControlFlow::Continue(())).unwrap();
    let image = (pipeline.decode(latents.clone(), false) / 2.0 + 0.5).clamp(0.0, 1.0).permute([0, 2, 3, 1]);
    let image = array(image);
    let bytes: Vec<f64> = image.f32().iter().map(|value| f64::from((value * 255.0).round_ties_even())).collect();
    vec![("final_latents".to_owned(), array(latents)), ("image_uint8".to_owned(), Array::new(&image.shape, &bytes))]
}

fn tensor<const D: usize>(array: &Array) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), &chosen_device())
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
