//! Adapters from files that are made here.

use std::path::Path;

use burn::tensor::{Device, FloatDType, Tensor};
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::adapters::file::{LORA_CONFIG, PEFT_FILES};
use crate::diffusion::pipeline::{OpenOptions, RandomSize, StableDiffusion, write_random_pipeline};

/// By hand: `B A` of `[[1], [2]]` and `[[3, 4, 5]]`, in the layout of files and in that of memory.
#[test]
fn a_product_has_the_layout_of_its_weight() {
    let device = Device::flex();
    let factors = Factors {
        a: Tensor::from_floats([3.0, 4.0, 5.0], &device),
        b: Tensor::from_floats([1.0, 2.0], &device),
        rank: 1,
        scale: 0.5,
    };
    let linear = Slot { key: "x.weight".to_owned(), shape: vec![3, 2], file_shape: vec![2, 3], transposed: true };
    let values = |slot: &Slot| factors.delta(slot).into_data().iter::<f32>().collect::<Vec<_>>();
    assert_eq!(values(&linear), [1.5, 3.0, 2.0, 4.0, 2.5, 5.0]);
    let convolution = Slot { shape: vec![2, 3, 1, 1], file_shape: vec![2, 3, 1, 1], transposed: false, ..linear };
    assert_eq!(values(&convolution), [1.5, 2.0, 2.5, 3.0, 4.0, 5.0]);
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let write = |tensors: &[(&str, &[usize])]| {
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| vec![0; 4 * shape.iter().product::<usize>()]).collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape), bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    };
    let pipeline = tempfile::tempdir().unwrap();
    write_random_pipeline(pipeline.path(), RandomSize::Tiny, 5, FloatDType::F32, |_| ()).unwrap();
    let open = || StableDiffusion::open(pipeline.path(), &OpenOptions::new(&Device::flex()), |_| ()).unwrap();
    let q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let (down, up) = (format!("unet.{q}.lora.down.weight"), format!("unet.{q}.lora.up.weight"));
    let (a, alpha) = (format!("unet.{q}.lora_A.weight"), format!("unet.{q}.alpha"));
    let message = || match Lora::read(&path) {
        Ok(lora) => lora.merge(open(), 1.0, &path).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    for (tensors, said) in [
        (&[(down.as_str(), &[4, 32][..])][..], "one factor of two"),
        (&[(&down, &[4, 32]), (&up, &[32, 5])], "their ranks differ"),
        // As many dimensions as a file likes.
        (&[(&down, &[]), (&up, &[32, 4])], "are [] and [32, 4], expected [rank, inputs]"),
        (&[(&down, &[4, 32]), (&up, &[])], "are [4, 32] and []"),
        (&[(&down, &[4]), (&up, &[32, 4])], "are [4] and [32, 4]"),
        (&[(&down, &[4, 32]), (&up, &[4])], "are [4, 32] and [4]"),
        (&[(&down, &[0, 32]), (&up, &[32, 0])], "or are none"),
        (&[(&down, &[4, 30]), (&up, &[32, 4])], "it was trained on another model"),
        (&[(&down, &[4, 8, 4]), (&up, &[32, 4])], "it was trained on another model"),
        (&[(&down, &[4, 32]), (&up, &[16, 4, 2])], "it was trained on another model"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&alpha, &[2])], "alpha of unet.mid_block"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&alpha, &[0])], "expected one number"),
        (&[(&down, &[4, 32]), (&up, &[32, 4]), (&a, &[4, 32])], "comes twice"),
        (
            &[("unet.conv_in.bias.lora_A.weight", &[4, 8]), ("unet.conv_in.bias.lora_B.weight", &[8, 4])],
            "the first unet.conv_in.bias",
        ),
        (&[("unet.conv_norm_out.lora_A.weight", &[4, 8]), ("unet.conv_norm_out.lora_B.weight", &[8, 4])], "another model"),
        (&[("unet.nowhere.lora_A.weight", &[4, 8]), ("unet.nowhere.lora_B.weight", &[8, 4])], "the first unet.nowhere"),
        (&[("lora_unet_mid_block.lora_down.weight", &[4, 8])], "one factor of two"),
        (&[("lora_unet_mid_block.lora_down.bias", &[4, 8])], "not a tensor of a LoRA"),
        (&[], "it holds no adapter"),
    ] {
        write(tensors);
        let message = message();
        assert!(message.contains(said) && message.contains("lora.safetensors"), "{message}");
    }
    std::fs::write(&path, b"not a file of tensors").unwrap();
    assert!(message().contains("cut short"), "{}", message());
    assert!(Lora::read(folder.path()).unwrap_err().to_string().contains("has none of"));
    assert!(Lora::read(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));

    let peft = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/07_training/lora_start_peft");
    for (key, value) in [("use_dora", "true"), ("bias", "\"all\""), ("peft_type", "\"LOHA\"")] {
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(peft.join(LORA_CONFIG)).unwrap()).unwrap();
        config[key] = serde_json::from_str(value).unwrap();
        std::fs::copy(peft.join(PEFT_FILES[0]), folder.path().join(PEFT_FILES[0])).unwrap();
        std::fs::write(folder.path().join(LORA_CONFIG), config.to_string()).unwrap();
        assert!(Lora::read(folder.path()).unwrap_err().to_string().contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn a_factor_without_dimensions_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lora.safetensors");
    let bytes = 1f32.to_le_bytes();
    let factor = |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    for (a, b) in [(&[][..], &[][..]), (&[1], &[1]), (&[1, 1], &[]), (&[], &[1, 1]), (&[1, 1], &[1])] {
        let tensors = [("unet.conv_in.lora_A.weight", factor(a)), ("unet.conv_in.lora_B.weight", factor(b))];
        std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
        let message = Lora::read(&path).unwrap_err().to_string();
        assert!(message.contains("lora.safetensors") && message.contains("unet.conv_in"), "{message}");
    }
}
