//! Names of the tiny autoencoder's tensors.

use super::super::weights::KeyMap;

/// Names of an [`AutoencoderTiny`](super::AutoencoderTiny) in files: positions in PyTorch's sequences, which count activations too.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderTinyKeys;

/// A part of a parameter's path within a block, and what files have for it.
const RENAMED: [(&str, &str); 5] = [
    (".conv.2.", ".conv.4."),
    (".conv.1.", ".conv.2."),
    (".pool.conv_in.", ".pool.0."),
    (".pool.norm.", ".pool.1."),
    (".pool.conv_out.", ".pool.3."),
];

impl KeyMap for AutoencoderTinyKeys {
    fn key(&self, path: &str) -> String {
        let renamed = RENAMED.iter().find(|(ours, _)| path.contains(ours));
        renamed.map_or_else(|| path.to_owned(), |(ours, theirs)| path.replace(ours, theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_the_layers_between() {
        for (path, name) in [
            ("encoder.layers.1.conv.0.weight", "encoder.layers.1.conv.0.weight"),
            ("encoder.layers.1.conv.1.weight", "encoder.layers.1.conv.2.weight"),
            ("decoder.layers.12.conv.2.bias", "decoder.layers.12.conv.4.bias"),
            ("decoder.layers.2.pool.conv_in.weight", "decoder.layers.2.pool.0.weight"),
            ("decoder.layers.2.pool.norm.bias", "decoder.layers.2.pool.1.bias"),
            ("decoder.layers.2.pool.conv_out.weight", "decoder.layers.2.pool.3.weight"),
            ("decoder.layers.0.weight", "decoder.layers.0.weight"),
        ] {
            assert_eq!(AutoencoderTinyKeys.key(path), name);
        }
    }
}
