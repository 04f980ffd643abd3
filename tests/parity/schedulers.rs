//! 05_schedulers.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use roentgen::diffusion::samplers::{Sampler, SchedulerConfig};

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    let config = || {
        let text = case.params["config"].to_string();
        SchedulerConfig::parse(&text, Path::new("cases.json")).unwrap()
    };
    let produces = |output: &str| case.output_names().any(|name| name == output);
    Some(match &case.checkpoint {
        Some(folder) => {
            let config = SchedulerConfig::read(folder).unwrap();
            vec![("timesteps".to_owned(), list(sampler(&config, case).timesteps()))]
        }
        None if case.params.get("counts").is_some() => timesteps(case, &config()),
        None if case.optional_input("model_outputs").is_some() => trajectory(case, config()),
        None if produces("betas") => tables(case, &config()),
        None => return None,
    })
}

/// Betas and what training computes with them.
fn tables(case: &Case, config: &SchedulerConfig) -> Outputs {
    let schedule = config.noise_schedule();
    let mut outputs =
        vec![("betas".to_owned(), list(schedule.betas())), ("alphas_cumprod".to_owned(), list(schedule.alphas_cumprod()))];
    if case.output_names().any(|name| name == "noisy") {
        let (latents, noise) = (tensor(case.input("latents")), tensor(case.input("noise")));
        let timesteps: Vec<_> = case.input("timesteps").values.iter().map(|t| *t as usize).collect();
        let snr: Vec<_> = timesteps.iter().map(|t| schedule.snr(*t)).collect();
        outputs.extend([
            ("noisy".to_owned(), array(schedule.add_noise(latents.clone(), noise.clone(), &timesteps))),
            ("velocity".to_owned(), array(schedule.velocity(latents, noise, &timesteps))),
            ("snr".to_owned(), list(&snr)),
        ]);
    }
    outputs
}

/// The lists for several numbers of steps.
fn timesteps(case: &Case, config: &SchedulerConfig) -> Outputs {
    let mut outputs = Outputs::new();
    for count in case.params["counts"].as_array().unwrap() {
        let sampler = config.sampler(count.as_u64().unwrap() as usize).unwrap();
        outputs.push((format!("timesteps_{count}"), list(sampler.timesteps())));
        outputs.extend(sampler.sigmas().map(|sigmas| (format!("sigmas_{count}"), list(sigmas))));
    }
    outputs
}

/// A run with given outputs of the network.
fn trajectory(case: &Case, config: SchedulerConfig) -> Outputs {
    let config = config.with_eta(case.params["eta"].as_f64().unwrap_or(0.0)).unwrap();
    let mut sampler = sampler(&config, case);
    let given = case.input("model_outputs");
    let mut sample = tensor(case.input("noise")).mul_scalar(sampler.init_noise_sigma());
    let (mut seen, mut reached) = (Vec::new(), Vec::new());
    for i in 0..sampler.timesteps().len() {
        seen.push(sampler.scale_model_input(sample.clone(), i));
        let noise = sampler.needs_noise(i).then(|| row(case.input("variance_noise"), i));
        sample = sampler.step(row(given, i), i, sample, noise);
        reached.push(sample.clone());
    }
    let mut outputs = vec![
        ("timesteps".to_owned(), list(sampler.timesteps())),
        ("init_noise_sigma".to_owned(), Array::scalar(sampler.init_noise_sigma())),
        ("model_inputs".to_owned(), stack(&seen)),
        ("prev_samples".to_owned(), stack(&reached)),
    ];
    outputs.extend(sampler.sigmas().map(|sigmas| ("sigmas".to_owned(), list(sigmas))));
    outputs
}

fn sampler(config: &SchedulerConfig, case: &Case) -> Box<dyn Sampler> {
    config.sampler(case.params["num_inference_steps"].as_u64().unwrap() as usize).unwrap()
}

fn list(values: &[f64]) -> Array {
    Array::new(&[values.len()], values)
}

fn tensor(array: &Array) -> Tensor<4> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.as_slice()), &chosen_device())
}

/// `[i]` of an array with one more dimension.
fn row(array: &Array, i: usize) -> Tensor<4> {
    let size: usize = array.shape[1..].iter().product();
    tensor(&Array::new(&array.shape[1..], &array.values[i * size..][..size]))
}

fn array(tensor: Tensor<4>) -> Array {
    let shape = tensor.dims();
    Array::new(&shape, &tensor.into_data().try_to_vec::<f32>().unwrap())
}

fn stack(rows: &[Tensor<4>]) -> Array {
    let shape: Vec<_> = [rows.len()].into_iter().chain(rows[0].dims()).collect();
    let values: Vec<_> = rows.iter().flat_map(|row| array(row.clone()).values).collect();
    Array::new(&shape, &values)
}
