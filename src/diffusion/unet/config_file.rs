//! The U-Net's architecture from the options of its `config.json`.
//!
//! Defaults and meanings: diffusers 0.42.1, `UNet2DConditionModel.__init__`. Options that no Stable Diffusion 1 or 2 model sets
//! must have the value that disables them. Many options have one value for all levels or one for each.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::config::{UNetBlock, UNetConfig, levels};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{Options, SIDE, WIDTH};

pub(super) fn read(mut options: Options) -> Result<UNetConfig, DiffusionError> {
    refuse_other_models(&options)?;
    leave_out(&mut options)?;
    let levels = levels(&mut options)?;
    let sample_size = match options.take("sample_size")? {
        None => None,
        Some(PerLevel::One(side)) => Some([side, side]),
        Some(PerLevel::Each(sides)) => Some(
            <[usize; 2]>::try_from(sides)
                .map_err(|sides| options.refuse("sample_size", &format!("{sides:?}"), "one number, or height and width"))?,
        ),
    };
    options.in_range("sample_size", sample_size.as_ref().map_or(&[], |sides| sides), SIDE)?;
    let config = UNetConfig {
        sample_size,
        in_channels: options.within("in_channels", 4, WIDTH)?,
        out_channels: options.within("out_channels", 4, WIDTH)?,
        center_input_sample: options.take_or("center_input_sample", false)?,
        flip_sin_to_cos: options.take_or("flip_sin_to_cos", true)?,
        freq_shift: options.take_or("freq_shift", 0.0)?,
        levels,
        cross_attention_dim: text_width(&mut options)?,
        norm_num_groups: options.within("norm_num_groups", 32, WIDTH)?,
        norm_eps: options.take_or("norm_eps", 1e-5)?,
        use_linear_projection: options.take_or("use_linear_projection", false)?,
        upcast_attention: options.take_or("upcast_attention", false)?,
    };
    check(&config, &options)?;
    options.finish()?;
    Ok(config)
}

fn refuse_other_models(options: &Options) -> Result<(), DiffusionError> {
    let other = |found: String| DiffusionError::OtherModel {
        path: options.path().to_owned(),
        found,
        expected: "this program computes the U-Nets of Stable Diffusion 1 and 2 (class UNet2DConditionModel)".to_owned(),
    };
    match options.peek("_class_name") {
        Some(class) if class != "UNet2DConditionModel" => return Err(other(format!("the configuration of a {class}"))),
        _ => {}
    }
    match options.peek("addition_embed_type") {
        Some(kind) if kind == "text_time" => {
            Err(other(format!("the U-Net of Stable Diffusion XL (addition_embed_type {kind})")))
        }
        _ => Ok(()),
    }
}

/// Options of other models.
fn leave_out(options: &mut Options) -> Result<(), DiffusionError> {
    for key in [
        "addition_embed_type",
        "class_embed_type",
        "cross_attention_norm",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "num_class_embeds",
        "reverse_transformer_layers_per_block",
        "time_cond_proj_dim",
        "time_embedding_act_fn",
        "time_embedding_dim",
        "timestep_post_act",
    ] {
        options.neutral(key, &[])?;
    }
    for (key, value) in [
        ("attention_type", json!("default")),
        ("class_embeddings_concat", json!(false)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("downsample_padding", json!(1)),
        ("dropout", json!(0)),
        ("dual_cross_attention", json!(false)),
        ("mid_block_scale_factor", json!(1)),
        ("mid_block_type", json!("UNetMidBlock2DCrossAttn")),
        ("resnet_out_scale_factor", json!(1)),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("time_embedding_type", json!("positional")),
    ] {
        options.neutral(key, &[value])?;
    }
    options.neutral("act_fn", &[json!("silu"), json!("swish")])?;
    // Sizes of embeddings that are left out, and a choice within another kind of middle block.
    options.without_influence(&[
        "addition_embed_type_num_heads",
        "addition_time_embed_dim",
        "mid_block_only_cross_attention",
        "projection_class_embeddings_input_dim",
    ]);
    // The state of diffusers' `EMAModel`, which it writes into the configuration of a `unet_ema` folder.
    options.without_influence(&[
        "decay",
        "inv_gamma",
        "min_decay",
        "optimization_step",
        "power",
        "update_after_step",
        "use_ema_warmup",
    ]);
    Ok(())
}

/// The width of text states, which is the same at every level.
fn text_width(options: &mut Options) -> Result<usize, DiffusionError> {
    let key = "cross_attention_dim";
    let widths = match options.take(key)? {
        None => vec![1280],
        Some(PerLevel::One(width)) => vec![width],
        Some(PerLevel::Each(widths)) => widths,
    };
    options.in_range(key, &widths, WIDTH)?;
    match widths[..] {
        [width, ref others @ ..] if others.iter().all(|other| *other == width) => Ok(width),
        _ => Err(options.refuse(key, &format!("{widths:?}"), "one width for all levels")),
    }
}

/// Conditions between options.
fn check(config: &UNetConfig, options: &Options) -> Result<(), DiffusionError> {
    let groups = config.norm_num_groups;
    for (i, level) in config.levels.iter().enumerate() {
        let (channels, heads) = (level.channels, level.heads);
        if !channels.is_multiple_of(groups) {
            let expected = format!("a divisor of the {channels} channels of level {i}");
            return Err(options.refuse("norm_num_groups", &groups.to_string(), &expected));
        }
        let lowest = i + 1 == config.levels.len();
        let attends = lowest || level.down == UNetBlock::CrossAttention || level.up == UNetBlock::CrossAttention;
        if attends && !channels.is_multiple_of(heads) {
            let expected = format!("a number of heads that divides the {channels} channels of level {i}");
            return Err(options.refuse("attention_head_dim", &heads.to_string(), &expected));
        }
    }
    let highest = config.levels[0].channels;
    if !highest.is_multiple_of(2) {
        return Err(options.refuse(
            "block_out_channels",
            &highest.to_string(),
            "an even number of channels at the first level",
        ));
    }
    let half = (highest / 2) as f32;
    if !(0.0..half).contains(&config.freq_shift) {
        return Err(options.refuse("freq_shift", &config.freq_shift.to_string(), &format!("at least 0, below {half}")));
    }
    if !(config.norm_eps > 0.0 && config.norm_eps < 1.0) {
        return Err(options.refuse("norm_eps", &config.norm_eps.to_string(), "more than 0, below 1"));
    }
    Ok(())
}

/// One value for all levels, or one for each from the highest resolution to the lowest.
#[derive(Deserialize)]
#[serde(untagged, expecting = "one value or a list of them")]
enum PerLevel<T> {
    One(T),
    Each(Vec<T>),
}

/// A value for each of `count` levels.
pub(super) fn per_level<T>(options: &mut Options, key: &str, default: T, count: usize) -> Result<Vec<T>, DiffusionError>
where
    T: Clone + DeserializeOwned,
{
    match options.take(key)? {
        None => Ok(vec![default; count]),
        Some(PerLevel::One(value)) => Ok(vec![value; count]),
        Some(PerLevel::Each(values)) => same_length(options, key, values.len(), count).map(|()| values),
    }
}

pub(super) fn same_length(options: &Options, key: &str, found: usize, count: usize) -> Result<(), DiffusionError> {
    match found == count {
        true => Ok(()),
        false => {
            Err(options.refuse(key, &format!("a list of {found}"), &format!("{count}, one for each of block_out_channels")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::config::UNetLevel;
    use super::*;
    use crate::diffusion::weights::summarize;

    fn parse(text: &str) -> Result<UNetConfig, DiffusionError> {
        UNetConfig::parse(text, Path::new("unet/config.json"))
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    /// The file of Stable Diffusion 1.4, which is RoentGen's too.
    const SD_1_4: &str = r#"{
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.2.2", "act_fn": "silu", "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false, "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
    }"#;

    #[test]
    fn stable_diffusion_1_is_read() {
        let config = parse(SD_1_4).unwrap();
        let level = |channels, block| UNetLevel {
            channels,
            layers: 2,
            heads: 8,
            transformer_layers: 1,
            only_cross_attention: false,
            down: block,
            up: block,
        };
        let expected = UNetConfig {
            sample_size: Some([64, 64]),
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            levels: vec![
                level(320, UNetBlock::CrossAttention),
                level(640, UNetBlock::CrossAttention),
                level(1280, UNetBlock::CrossAttention),
                level(1280, UNetBlock::Plain),
            ],
            cross_attention_dim: 768,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            use_linear_projection: false,
            upcast_attention: false,
        };
        assert_eq!(config, expected);
        // All but two options have these values by default.
        assert_eq!(parse(r#"{"sample_size": 64, "cross_attention_dim": 768}"#).unwrap(), expected);
    }

    #[test]
    fn other_models_are_named_and_averages_are_read() {
        let xl = message(
            r#"{"_class_name": "UNet2DConditionModel", "addition_embed_type": "text_time", "block_out_channels": [320]}"#,
        );
        assert!(xl.contains("unet/config.json is the U-Net of Stable Diffusion XL"), "{xl}");
        // As diffusers 0.42.1 writes it into unet_ema.
        let averaged = r#"{"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "optimization_step": 500, "power": 0.6666666666666666,
            "update_after_step": 0, "use_ema_warmup": false}"#;
        assert!(parse(averaged).is_ok());
        let other = message(r#"{"_class_name": "SD3Transformer2DModel"}"#);
        assert!(other.contains("SD3Transformer2DModel"), "{other}");
    }

    /// Every option of diffusers 0.42.1 that changes results and is not computed here.
    #[test]
    fn options_of_other_models_are_refused_by_name() {
        for (key, value) in [
            ("act_fn", json!("mish")),
            ("addition_embed_type", json!("text")),
            ("attention_type", json!("gated")),
            ("class_embed_type", json!("timestep")),
            ("class_embeddings_concat", json!(true)),
            ("conv_in_kernel", json!(1)),
            ("conv_out_kernel", json!(5)),
            ("cross_attention_norm", json!("layer_norm")),
            ("downsample_padding", json!(0)),
            ("dropout", json!(0.1)),
            ("dual_cross_attention", json!(true)),
            ("encoder_hid_dim", json!(1024)),
            ("encoder_hid_dim_type", json!("text_proj")),
            ("mid_block_scale_factor", json!(2)),
            ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
            ("num_class_embeds", json!(1000)),
            ("resnet_out_scale_factor", json!(2.0)),
            ("resnet_skip_time_act", json!(true)),
            ("resnet_time_scale_shift", json!("scale_shift")),
            ("reverse_transformer_layers_per_block", json!([[1], [1]])),
            ("time_cond_proj_dim", json!(256)),
            ("time_embedding_act_fn", json!("silu")),
            ("time_embedding_dim", json!(512)),
            ("time_embedding_type", json!("fourier")),
            ("timestep_post_act", json!("silu")),
            ("a_new_option", json!(1)),
        ] {
            let message = message(&json!({ key: value }).to_string());
            assert!(message.contains(&format!("`{key}`")), "{key}: {message}");
        }
    }

    #[test]
    fn values_that_make_no_network_are_refused_by_name() {
        for (text, key) in [
            (r#"{"block_out_channels": []}"#, "block_out_channels"),
            (r#"{"block_out_channels": [320, 0, 640, 640]}"#, "block_out_channels"),
            (r#"{"block_out_channels": [9223372036854775807, 1, 1, 1]}"#, "block_out_channels"),
            (r#"{"block_out_channels": [320, 640]}"#, "down_block_types"),
            (r#"{"block_out_channels": [1, 1, 1, 1], "norm_num_groups": 1, "attention_head_dim": 1}"#, "block_out_channels"),
            (r#"{"down_block_types": ["AttnDownBlock2D"]}"#, "down_block_types"),
            (r#"{"up_block_types": ["UpBlock2D"]}"#, "up_block_types"),
            (r#"{"layers_per_block": 0}"#, "layers_per_block"),
            (r#"{"layers_per_block": [2, 2]}"#, "layers_per_block"),
            (r#"{"layers_per_block": "two"}"#, "layers_per_block"),
            (r#"{"transformer_layers_per_block": [[1], [1], [1], [1]]}"#, "transformer_layers_per_block"),
            (r#"{"attention_head_dim": 0}"#, "attention_head_dim"),
            (r#"{"attention_head_dim": 7}"#, "attention_head_dim"),
            (r#"{"num_attention_heads": [8]}"#, "num_attention_heads"),
            (r#"{"norm_num_groups": 0}"#, "norm_num_groups"),
            (r#"{"norm_num_groups": 48}"#, "norm_num_groups"),
            (r#"{"norm_eps": 0}"#, "norm_eps"),
            (r#"{"freq_shift": 160}"#, "freq_shift"),
            (r#"{"cross_attention_dim": [768, 1024, 768, 768]}"#, "cross_attention_dim"),
            (r#"{"cross_attention_dim": []}"#, "cross_attention_dim"),
            (r#"{"in_channels": 0}"#, "in_channels"),
            (r#"{"out_channels": -4}"#, "out_channels"),
            (r#"{"sample_size": [64, 64, 64]}"#, "sample_size"),
        ] {
            let message = message(text);
            assert!(message.contains(&format!("`{key}`")), "{text}: {message}");
        }
    }

    proptest! {
        /// Every accepted configuration makes a network that `init` can build.
        #[test]
        fn what_is_read_can_be_built(
            channels in prop::collection::vec(0usize..40, 0..4), groups in 0usize..6, heads in 0usize..6, layers in 0usize..3,
            attention in any::<[bool; 8]>(), shift in 0usize..30,
        ) {
            let names = |plain: &str, attends: &[bool]| -> Value {
                let name = |attends: &bool| if *attends { format!("CrossAttn{plain}") } else { plain.to_owned() };
                attends.iter().take(channels.len()).map(name).collect()
            };
            let mut options = Map::new();
            options.insert("down_block_types".into(), names("DownBlock2D", &attention[..4]));
            options.insert("up_block_types".into(), names("UpBlock2D", &attention[4..]));
            options.insert("block_out_channels".into(), json!(channels));
            options.insert("norm_num_groups".into(), json!(groups));
            options.insert("attention_head_dim".into(), json!(heads));
            options.insert("layers_per_block".into(), json!(layers));
            options.insert("freq_shift".into(), json!(shift));
            if let Ok(config) = parse(&Value::Object(options).to_string()) {
                prop_assert!(summarize(&config.init(&Device::flex()), &config.keys()).parameters > 0);
            }
        }
    }
}
