//! Low-rank adapters of every tool.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use roentgen::adapters::lora::Lora;
use roentgen::diffusion::pipeline::StableDiffusion;
use serde_json::{Value, json};

use super::files::{Floats, Tensors, diffusers, kohya, modules, peft, processors, write_pickle, write_safetensors};
use super::{Place, explains, open, tiny};

fn merged(path: &Path, scale: f64) -> StableDiffusion {
    Lora::read(path).unwrap().merge(open(), scale, path).unwrap()
}

#[test]
fn every_tool_s_names_give_the_same_weights() {
    let place = Place::new();
    let modules = modules();
    let path = place.path("reference.safetensors");
    write_safetensors(&path, &diffusers(&modules, ["lora.down.weight", "lora.up.weight"]), &[]);
    let expected = merged(&path, 1.0).fingerprint();
    assert_ne!(expected, open().fingerprint());
    for (name, tensors) in [
        ("kohya", kohya(&modules, "te", None)),
        ("kohya te1", kohya(&modules, "te1", Some(4.0))),
        ("peft's names", diffusers(&modules, ["lora_A.weight", "lora_B.weight"])),
        ("linear layers", diffusers(&modules, ["lora_linear_layer.down.weight", "lora_linear_layer.up.weight"])),
        ("processors", processors(&modules, "unet.")),
        ("processors without a prefix", processors(&modules, "")),
    ] {
        let [safe, pickle] = ["lora.safetensors", "lora.bin"].map(|file| place.path(file));
        write_safetensors(&safe, &tensors, &[("format", "pt")]);
        write_pickle(&pickle, &tensors, None);
        assert_eq!(merged(&safe, 1.0).fingerprint(), expected, "{name}");
        assert_eq!(merged(&pickle, 1.0).fingerprint(), expected, "{name}, .bin");
    }
    // In a folder, under the names that diffusers gives them.
    std::fs::rename(place.path("lora.bin"), place.path("pytorch_lora_weights.bin")).unwrap();
    assert_eq!(merged(place.0.path(), 1.0).fingerprint(), expected);
}

#[test]
fn a_file_is_as_strong_as_it_says() {
    let place = Place::new();
    let modules = modules();
    let [plain, other] = ["plain.safetensors", "other.safetensors"].map(|file| place.path(file));
    write_safetensors(&plain, &diffusers(&modules, ["lora.down.weight", "lora.up.weight"]), &[]);
    // Rank 4 and alpha 1: a quarter.
    let quarter = merged(&plain, 0.25).fingerprint();
    write_safetensors(&other, &kohya(&modules, "te", Some(1.0)), &[("ss_network_alpha", "9")]);
    assert_eq!(merged(&other, 1.0).fingerprint(), quarter);

    let metadata = json!({ "unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": { "to_q": 1, "to_out.0": 1 },
        "text_encoder.r": 4, "text_encoder.lora_alpha": 1 });
    let notes = [("lora_adapter_metadata", &*metadata.to_string())];
    write_safetensors(&other, &diffusers(&modules, ["lora.down.weight", "lora.up.weight"]), &notes);
    assert_eq!(merged(&other, 1.0).fingerprint(), quarter);

    // A folder of peft is of one network; its root of a rank of 4 is 2.
    let of_unet: Vec<_> = modules.into_iter().filter(|module| !module.is_text).collect();
    write_safetensors(&plain, &diffusers(&of_unet, ["lora.down.weight", "lora.up.weight"]), &[]);
    let quarter = merged(&plain, 0.25).fingerprint();
    let folder = place.path("peft");
    std::fs::create_dir(&folder).unwrap();
    write_safetensors(&folder.join("adapter_model.safetensors"), &peft(&of_unet), &[]);
    for config in [
        json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 1 }),
        json!({ "r": 8, "lora_alpha": 0.5, "use_rslora": true, "rank_pattern": { "attn1.to_q": 4, "to_out.*": 4 } }),
        json!({ "r": 4, "lora_alpha": 3, "alpha_pattern": { "to_(q|k)": 1, ".*0": 1 } }),
    ] {
        std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
        assert_eq!(merged(&folder, 1.0).fingerprint(), quarter, "{config}");
        assert_eq!(merged(&folder.join("adapter_model.safetensors"), 1.0).fingerprint(), quarter, "{config}");
    }
}

/// By hand: a 3x3 convolution to the rank and a 1x1 convolution from it are one 3x3 convolution.
#[test]
fn a_convolution_s_change_is_the_product_of_both() {
    let place = Place::new();
    let device = Device::flex();
    let (down, up) = (Floats::drawn(&[2, 4, 3, 3], 1), Floats::drawn(&[16, 2, 1, 1], 2));
    let path = place.path("conv.safetensors");
    let tensors = [
        ("lora_unet_conv_in.lora_down.weight", down.clone()),
        ("lora_unet_conv_in.lora_up.weight", up.clone()),
        ("lora_unet_conv_in.alpha", Floats::number(0.5)),
    ];
    write_safetensors(&path, &tensors.map(|(name, floats)| (name.to_owned(), floats)).into(), &[]);
    merged(&path, 3.0).save(&place.path("merged")).unwrap();
    let weights = |folder: &Path| {
        let bytes = std::fs::read(folder.join("unet/diffusion_pytorch_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor("conv_in.weight").unwrap().data().to_vec();
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect::<Vec<f32>>()
    };
    let tensor =
        |floats: &Floats, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(floats.values.clone(), shape), &device);
    let product: Vec<f32> = tensor(&up, [16, 2]).matmul(tensor(&down, [2, 36])).into_data().iter().collect();
    for ((after, before), product) in weights(&place.path("merged")).iter().zip(weights(tiny())).zip(product) {
        // scale 3, alpha 0.5, rank 2; a rounding or two of numbers below 1.
        assert!((after - (before + 0.75 * product)).abs() < 1e-6, "{after} {before} {product}");
    }
}

#[test]
fn several_files_add_up_each_with_its_scale() {
    let place = Place::new();
    let (first, second) =
        (modules(), modules().into_iter().map(|module| super::files::Module { a: Floats::drawn(&[4, 32], 77), ..module }));
    write_safetensors(&place.path("a.safetensors"), &kohya(&first, "te", Some(2.0)), &[]);
    write_safetensors(
        &place.path("b.safetensors"),
        &diffusers(&second.collect::<Vec<_>>(), ["lora_A.weight", "lora_B.weight"]),
        &[],
    );
    let image = |out: &str, loras: &[&str]| {
        let loras: Vec<&str> = loras.iter().flat_map(|lora| ["--lora", lora]).collect();
        place.makes(tiny(), out, &[&["--prompt", "film"], &loras[..]].concat()).0
    };
    let both = image("both", &["a.safetensors:0.8", "b.safetensors:-4"]);
    // Sums in another order: a gray level may round the other way.
    assert!(super::difference(&both, &image("swapped", &["b.safetensors:-4", "a.safetensors:0.8"])) <= 1);
    assert!(super::difference(&both, &image("one", &["a.safetensors:0.8"])) > 1);
    assert!(super::difference(&both, &image("plain", &[])) > 1);
}

/// A file with these tensors; the path that it is given to `--lora` by.
fn file(place: &Place, tensors: &[(&str, &[usize])], notes: &[(&str, &str)]) -> String {
    let tensors: Tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), Floats::drawn(shape, 1))).collect();
    write_safetensors(&place.path("lora.safetensors"), &tensors, notes);
    "lora.safetensors".to_owned()
}

/// Both `generate` and `inspect` say it.
#[test]
fn other_kinds_are_refused_by_name() {
    let place = Place::new();
    const Q: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";
    let q = |end: &str| format!("{Q}.{end}");
    for (name, said) in [
        (q("hada_w1_a"), &["LoHa", "tools/merge.py"][..]),
        (q("lokr_w1"), &["LoKr", "merge it into its base"]),
        (q("dora_scale"), &["DoRA"]),
        ("unet.mid_block.to_q.lora_magnitude_vector".to_owned(), &["DoRA"]),
        (q("lora_mid.weight"), &["Tucker"]),
        (q("oft_blocks"), &["OFT"]),
        (q("diff"), &["whole differences"]),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight".to_owned(), &["Stable Diffusion XL"]),
        ("lora_unet_input_blocks_4_1_proj_in.lora_down.weight".to_owned(), &["Stable Diffusion XL"]),
        ("transformer.single_blocks.0.attn.to_q.lora_A.weight".to_owned(), &["transformer", "FLUX"]),
    ] {
        let lora = file(&place, &[(&name, &[4, 32])], &[]);
        place.refuses(&["--lora", &lora], &[&["lora.safetensors", &name][..], said].concat());
        explains(&place.roentgen(&["inspect", &lora]), &["inspect"], said);
    }

    // Numbers in 8 bits, as `torch.float8_e4m3fn` has them.
    let (down, up) = ([0u8; 128], [0u8; 128]);
    let view = |shape: &[usize], bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F8_E4M3, shape.to_vec(), bytes).unwrap()
    };
    let views = [(q("lora_down.weight"), view(&[4, 32], &down[..])), (q("lora_up.weight"), view(&[32, 4], &up[..]))];
    std::fs::write(place.path("lora.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    place.refuses(&["--lora", "lora.safetensors"], &["fp8", "F8_E4M3", "torch.float16"]);
    explains(&place.roentgen(&["inspect", "lora.safetensors"]), &["inspect"], &["fp8"]);
}

#[test]
fn files_that_do_not_fit_say_what_they_are_for() {
    let place = Place::new();
    let k = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k";
    let [a, b] = ["A", "B"].map(|end| format!("unet.{k}.lora_{end}.weight"));
    for (width, said) in [(768, "Stable Diffusion 1, by"), (1024, "Stable Diffusion 2, by"), (2048, "Stable Diffusion XL, by")]
    {
        let lora = file(&place, &[(&a, &[4, width]), (&b, &[16, 4])], &[]);
        place.refuses(&["--lora", &lora], &["trained on another model", said, "give --pipeline its own base"]);
    }
    let lora = file(&place, &[(&a, &[4, 768]), (&b, &[16, 4])], &[("ss_base_model_version", "sd_v2_v")]);
    place.refuses(&["--lora", &lora], &["sd_v2_v, says its header"]);
    let lora =
        file(&place, &[("lora_unet_no_such.lora_down.weight", &[4, 8]), ("lora_unet_no_such.lora_up.weight", &[8, 4])], &[]);
    place.refuses(&["--lora", &lora], &["1 of its 1 modules", "unet.no_such"]);
    let lora = file(&place, &[("lora_unet_conv_in.lora_down.weight", &[4, 8])], &[]);
    place.refuses(&["--lora", &lora], &["unet.conv_in has one factor of two"]);
    let lora = file(&place, &[("conv_in.weight", &[16, 4, 3, 3]), ("conv_in.bias", &[16])], &[]);
    place.refuses(&["--lora", &lora], &["whole weights", "--pipeline"]);
    let lora = file(&place, &[("base_model.model.conv_in.lora_A.weight", &[4, 8])], &[]);
    place.refuses(&["--lora", &lora], &["no adapter_config.json beside it"]);

    // Numbers that would make a weight infinite, and an alpha that is none.
    let (down, up) = ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.lora_up.weight");
    let tensors = |alpha: f32, size: f32| -> Tensors {
        let filled = |shape: &[usize]| Floats { shape: shape.to_vec(), values: vec![size; shape.iter().product()] };
        [(down, filled(&[2, 4, 3, 3])), (up, filled(&[16, 2, 1, 1])), ("lora_unet_conv_in.alpha", Floats::number(alpha))]
            .map(|(name, floats)| (name.to_owned(), floats))
            .into()
    };
    for (alpha, size, said) in [
        (1.0, 1e25, "beyond 32-bit floats"),
        (0.0, 1.0, "alpha of unet.conv_in is 0"),
        (-2.0, 1.0, "is -2"),
        (3e6, 1.0, "at most"),
    ] {
        write_safetensors(&place.path("lora.safetensors"), &tensors(alpha, size), &[]);
        place.refuses(&["--lora", "lora.safetensors"], &[said]);
    }

    write_pickle(&place.path("x.bin"), &Tensors::from([("<x>".to_owned(), Floats::drawn(&[32], 1))]), None);
    place.refuses(&["--lora", "x.bin"], &["textual inversion (token <x>)", "give it to --embedding"]);
    place.refuses(&["--lora", "absent.safetensors"], &["cannot read absent.safetensors"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    place.refuses(&["--lora", "empty"], &["pytorch_lora_weights.safetensors", "name the file itself"]);
}

#[test]
fn inspect_says_what_a_file_holds() {
    let place = Place::new();
    write_safetensors(&place.path("k.safetensors"), &kohya(&modules(), "te", Some(1.0)), &[("ss_base_model_version", "sd_v1")]);
    let output = place.roentgen(&["inspect", "k.safetensors"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("LoRA of kohya's scripts, trained on sd_v1"), "{text}");
    assert!(text.contains("2 modules, rank 4, alpha / rank 0.25"), "{text}");
    let output = place.roentgen(&["inspect", "k.safetensors", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["kind"], &value["parts"][1]["modules"]), (&json!("lora"), &json!(1)));
}
