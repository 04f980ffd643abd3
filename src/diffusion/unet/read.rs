//! The U-Net's architecture from the options of its `config.json`.
//!
//! Defaults and meanings: diffusers 0.42.1, `UNet2DConditionModel.__init__`. Options that no Stable Diffusion 1 or 2 model sets must
//! have the value that leaves them out.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::DiffusionError;
use super::super::options::Options;
use super::config::UNetConfig;
use super::level::{UNetBlock, UNetLevel};

/// Far above any model, far below what overflows: the largest width is 1280.
const WIDTH: RangeInclusive<usize> = 1..=65_536;
/// The same for numbers of layers, of which there are 2.
const LAYERS: RangeInclusive<usize> = 1..=100;

/// One value for all levels, or one for each from the highest resolution to the lowest.
#[derive(Deserialize)]
#[serde(untagged, expecting = "one value or a list of them")]
enum PerLevel<T> {
    One(T),
    Each(Vec<T>),
}

pub(super) fn config(mut options: Options) -> Result<UNetConfig, DiffusionError> {
    refuse_other_models(&options)?;
    leave_out(&mut options)?;
    let levels = levels(&mut options)?;
    let config = UNetConfig {
        sample_size: match options.take("sample_size")? {
            None => None,
            Some(PerLevel::One(side)) => Some([side, side]),
            Some(PerLevel::Each(sides)) => Some(
                <[usize; 2]>::try_from(sides)
                    .map_err(|sides| options.refuse("sample_size", &format!("{sides:?}"), "one number, or height and width"))?,
            ),
        },
        in_channels: within(&mut options, "in_channels", 4, WIDTH)?,
        out_channels: within(&mut options, "out_channels", 4, WIDTH)?,
        center_input_sample: options.take_or("center_input_sample", false)?,
        flip_sin_to_cos: options.take_or("flip_sin_to_cos", true)?,
        freq_shift: options.take_or("freq_shift", 0.0)?,
        levels,
        cross_attention_dim: text_width(&mut options)?,
        norm_num_groups: within(&mut options, "norm_num_groups", 32, WIDTH)?,
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
    Ok(())
}

fn levels(options: &mut Options) -> Result<Vec<UNetLevel>, DiffusionError> {
    let channels = options.take_or("block_out_channels", vec![320, 640, 1280, 1280])?;
    in_range(options, "block_out_channels", &channels, WIDTH)?;
    let count = channels.len();
    if !LAYERS.contains(&count) {
        return Err(options.refuse("block_out_channels", &format!("{channels:?}"), "channels of at least one level"));
    }
    let down = blocks(options, "down_block_types", ["DownBlock2D", "CrossAttnDownBlock2D"], 3, count)?;
    let mut up = blocks(options, "up_block_types", ["UpBlock2D", "CrossAttnUpBlock2D"], 0, count)?;
    up.reverse();
    let layers = per_level(options, "layers_per_block", 2, count)?;
    in_range(options, "layers_per_block", &layers, LAYERS)?;
    let transformer_layers = per_level(options, "transformer_layers_per_block", 1, count)?;
    in_range(options, "transformer_layers_per_block", &transformer_layers, LAYERS)?;
    let only_cross_attention = per_level(options, "only_cross_attention", false, count)?;
    // By its name the width of a head, and always used as the number of heads; `num_attention_heads` is the right name, which few
    // files have.
    let key = if options.peek("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    let heads = per_level(options, key, 8, count)?;
    in_range(options, key, &heads, WIDTH)?;
    options.without_influence(&["num_attention_heads", "attention_head_dim"]);
    let level = |i| UNetLevel {
        channels: channels[i],
        layers: layers[i],
        heads: heads[i],
        transformer_layers: transformer_layers[i],
        only_cross_attention: only_cross_attention[i],
        down: down[i],
        up: up[i],
    };
    Ok((0..count).map(level).collect())
}

/// Names of block classes; of `names`, the first is the plain one. `plain` is where the default has that one.
fn blocks(
    options: &mut Options,
    key: &str,
    names: [&str; 2],
    plain: usize,
    count: usize,
) -> Result<Vec<UNetBlock>, DiffusionError> {
    let default = || (0..4).map(|i| names[usize::from(i != plain)].to_owned()).collect();
    let classes: Vec<String> = options.take(key)?.unwrap_or_else(default);
    let block = |class: &String| match names.iter().position(|name| name == class) {
        Some(0) => Ok(UNetBlock::Plain),
        Some(_) => Ok(UNetBlock::CrossAttention),
        None => Err(options.refuse(key, &format!("{classes:?}"), &format!("blocks of class {} or {}", names[0], names[1]))),
    };
    let blocks = classes.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    same_length(options, key, blocks.len(), count)?;
    Ok(blocks)
}

/// The width of text states, which is the same at every level.
fn text_width(options: &mut Options) -> Result<usize, DiffusionError> {
    let key = "cross_attention_dim";
    let widths = match options.take(key)? {
        None => vec![1280],
        Some(PerLevel::One(width)) => vec![width],
        Some(PerLevel::Each(widths)) => widths,
    };
    in_range(options, key, &widths, WIDTH)?;
    match widths[..] {
        [width, ref others @ ..] if others.iter().all(|other| *other == width) => Ok(width),
        _ => Err(options.refuse(key, &format!("{widths:?}"), "one width for all levels")),
    }
}

fn per_level<T>(options: &mut Options, key: &str, default: T, count: usize) -> Result<Vec<T>, DiffusionError>
where
    T: Clone + DeserializeOwned,
{
    match options.take(key)? {
        None => Ok(vec![default; count]),
        Some(PerLevel::One(value)) => Ok(vec![value; count]),
        Some(PerLevel::Each(values)) => same_length(options, key, values.len(), count).map(|()| values),
    }
}

fn same_length(options: &Options, key: &str, found: usize, count: usize) -> Result<(), DiffusionError> {
    match found == count {
        true => Ok(()),
        false => {
            Err(options.refuse(key, &format!("a list of {found}"), &format!("{count}, one for each of block_out_channels")))
        }
    }
}

fn within(options: &mut Options, key: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, DiffusionError> {
    let value = options.take_or(key, default)?;
    in_range(options, key, &[value], range)?;
    Ok(value)
}

fn in_range(options: &Options, key: &str, values: &[usize], range: RangeInclusive<usize>) -> Result<(), DiffusionError> {
    match values.iter().find(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) => Err(options.refuse(key, &value.to_string(), &format!("{} to {}", range.start(), range.end()))),
    }
}

/// What one option demands of another.
fn check(config: &UNetConfig, options: &Options) -> Result<(), DiffusionError> {
    let groups = config.norm_num_groups;
    for (i, level) in config.levels.iter().enumerate() {
        let (channels, heads) = (level.channels, level.heads);
        if channels % groups != 0 {
            let expected = format!("a divisor of the {channels} channels of level {i}");
            return Err(options.refuse("norm_num_groups", &groups.to_string(), &expected));
        }
        let lowest = i + 1 == config.levels.len();
        let attends = lowest || level.down == UNetBlock::CrossAttention || level.up == UNetBlock::CrossAttention;
        if attends && channels % heads != 0 {
            let expected = format!("a number of heads that divides the {channels} channels of level {i}");
            return Err(options.refuse("attention_head_dim", &heads.to_string(), &expected));
        }
    }
    let highest = config.levels[0].channels;
    if highest % 2 != 0 {
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
