//! 03_vae: the autoencoder's two directions, by the product's own code.

use burn::tensor::{FloatDType, Tensor, TensorData};
use roentgen::diffusion::Trace;
use roentgen::diffusion::autoencoder::{Autoencoder, AutoencoderConfig, Slices};
use roentgen::diffusion::weights::{Stem, load};

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    let vae = read(case);
    Some(if case.optional_input("image").is_some() { both_ways(case, &vae) } else { decode(case, &vae) })
}

fn read(case: &Case) -> Autoencoder {
    let folder = case.checkpoint.as_ref().expect("the case has a checkpoint").join("vae");
    let model = AutoencoderConfig::read(&folder.join("config.json")).unwrap().init(&chosen_device());
    let keys = model.keys();
    load(model, &folder, Stem::Diffusers, keys, FloatDType::F32).unwrap().model
}

fn decode(case: &Case, vae: &Autoencoder) -> Outputs {
    let latents = tensor(case.input("latents")) * vae.scaling_factor();
    vec![("decoded".to_owned(), array(vae.from_latents(latents, &Slices::default())))]
}

fn both_ways(case: &Case, vae: &Autoencoder) -> Outputs {
    let Autoencoder::Kl(kl) = vae else { panic!("{} is of another class", case.name) };
    let (image, noise) = (tensor(case.input("image")), tensor(case.input("noise")));
    let latents = vae.to_latents(image.clone(), Some(noise), &Slices::default());
    let mut trace = Trace::on();
    let posterior = kl.encode_traced(image, &mut trace);
    let mut outputs = vec![
        ("mean".to_owned(), array(posterior.mean.clone())),
        ("logvar".to_owned(), array(posterior.logvar.clone())),
        ("std".to_owned(), array(posterior.std())),
        ("kl".to_owned(), array(posterior.kl())),
        ("latents".to_owned(), array(latents.clone())),
        ("decoded".to_owned(), array(vae.from_latents(latents, &Slices::default()))),
        ("decoded_mean".to_owned(), array(kl.decode_traced(posterior.mode(), &mut trace))),
    ];
    let kept = trace.into_kept().into_iter();
    outputs.extend(kept.map(|(name, data)| (name, Array::new(data.shape(), data.as_slice::<f32>().unwrap()))));
    outputs
}

fn tensor(array: &Array) -> Tensor<4> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), &chosen_device())
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
