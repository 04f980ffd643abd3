//! The shape of any network.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::vit::VitClassifierConfig;
use super::{ConvNeXtConfig, DenseNetConfig, Family, Network, ResNetConfig};

/// Shape of a [`Network`].
///
/// As JSON it is the network's own configuration with `family` beside its fields; without a `family` it is a DenseNet, the first network
/// that files were written of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum NetworkShape {
    /// Of a DenseNet.
    DenseNet(DenseNetConfig),
    /// Of a ResNet.
    ResNet(ResNetConfig),
    /// Of a ConvNeXt.
    ConvNeXt(ConvNeXtConfig),
    /// Of a vision transformer.
    Vit(VitClassifierConfig),
}

/// Networks whose JSON names their family.
#[derive(Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
enum Named {
    ResNet(ResNetConfig),
    ConvNeXt(ConvNeXtConfig),
    Vit(VitClassifierConfig),
}

impl NetworkShape {
    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::DenseNet(_) => Family::DenseNet,
            Self::ResNet(_) => Family::ResNet,
            Self::ConvNeXt(_) => Family::ConvNeXt,
            Self::Vit(_) => Family::Vit,
        }
    }

    /// Channels of the images, 1 or 3.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        match self {
            Self::DenseNet(config) => config.in_channels,
            Self::ResNet(config) => config.in_channels,
            Self::ConvNeXt(config) => config.in_channels,
            Self::Vit(config) => config.in_channels,
        }
    }

    /// Number of findings.
    #[must_use]
    pub fn num_classes(&self) -> usize {
        match self {
            Self::DenseNet(config) => config.num_classes,
            Self::ResNet(config) => config.num_classes,
            Self::ConvNeXt(config) => config.num_classes,
            Self::Vit(config) => config.num_classes,
        }
    }

    /// Width of the features that the linear head sees.
    #[must_use]
    pub fn num_features(&self) -> usize {
        match self {
            Self::DenseNet(config) => config.num_features(),
            Self::ResNet(config) => config.num_features(),
            Self::ConvNeXt(config) => config.num_features(),
            Self::Vit(config) => config.num_features(),
        }
    }

    /// Channels of the first feature map, and how many times smaller than the image its sides are: what the first convolution keeps for
    /// the backward pass.
    #[must_use]
    pub fn first_map(&self) -> (usize, usize) {
        match self {
            Self::DenseNet(config) => (config.num_init_features, 2),
            Self::ResNet(config) => (config.stem, 2),
            Self::ConvNeXt(config) => (config.channels.first().copied().unwrap_or_default(), 4),
            Self::Vit(config) => (config.hidden_size, config.patch_size),
        }
    }

    /// Pixels per side of which an image's side must be a multiple, so that the network sees all of it: 1 but for the patches of a vision
    /// transformer, which drops what is left at the bottom and right.
    #[must_use]
    pub fn patch(&self) -> usize {
        match self {
            Self::DenseNet(_) | Self::ResNet(_) | Self::ConvNeXt(_) => 1,
            Self::Vit(config) => config.patch_size,
        }
    }

    /// A network of this shape, whose weights are still to be loaded or drawn from a seed ([`seeded`](super::seeded)).
    ///
    /// # Panics
    /// If any count is zero, lists by stage are not of one length, or a transformer's width is no multiple of 64.
    #[must_use]
    pub fn init(&self, device: &Device) -> Network {
        match self {
            Self::DenseNet(config) => config.init(device).into(),
            Self::ResNet(config) => config.init(device).into(),
            Self::ConvNeXt(config) => config.init(device).into(),
            Self::Vit(config) => config.init(device).into(),
        }
    }
}

impl From<DenseNetConfig> for NetworkShape {
    fn from(config: DenseNetConfig) -> Self {
        Self::DenseNet(config)
    }
}

impl From<ResNetConfig> for NetworkShape {
    fn from(config: ResNetConfig) -> Self {
        Self::ResNet(config)
    }
}

impl From<ConvNeXtConfig> for NetworkShape {
    fn from(config: ConvNeXtConfig) -> Self {
        Self::ConvNeXt(config)
    }
}

impl From<VitClassifierConfig> for NetworkShape {
    fn from(config: VitClassifierConfig) -> Self {
        Self::Vit(config)
    }
}

impl TryFrom<Value> for NetworkShape {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        if value.get("family").is_none() {
            return serde_json::from_value(value).map(Self::DenseNet);
        }
        serde_json::from_value(value).map(|named| match named {
            Named::ResNet(config) => Self::ResNet(config),
            Named::ConvNeXt(config) => Self::ConvNeXt(config),
            Named::Vit(config) => Self::Vit(config),
        })
    }
}

impl From<NetworkShape> for Value {
    fn from(shape: NetworkShape) -> Self {
        let value = match shape {
            NetworkShape::DenseNet(config) => serde_json::to_value(config),
            NetworkShape::ResNet(config) => serde_json::to_value(Named::ResNet(config)),
            NetworkShape::ConvNeXt(config) => serde_json::to_value(Named::ConvNeXt(config)),
            NetworkShape::Vit(config) => serde_json::to_value(Named::Vit(config)),
        };
        value.expect("a configuration is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> [NetworkShape; 4] {
        [
            NetworkShape::DenseNet(DenseNetConfig::densenet121(1, 18)),
            NetworkShape::ResNet(ResNetConfig::resnet50(3, 14)),
            NetworkShape::ConvNeXt(ConvNeXtConfig::tiny(3, 14)),
            NetworkShape::Vit(VitClassifierConfig::base14(3, 14)),
        ]
    }

    #[test]
    fn json_gives_a_shape_back() {
        for shape in shapes() {
            let json = serde_json::to_string(&shape).unwrap();
            assert_eq!(serde_json::from_str::<NetworkShape>(&json).unwrap(), shape, "{json}");
        }
    }

    /// A card that version 0.1 wrote.
    #[test]
    fn json_without_a_family_is_a_densenet() {
        let json = r#"{"growth_rate":32,"block_config":[6,12,24,16],"num_init_features":64,"bn_size":4,"in_channels":1,"num_classes":18}"#;
        let shape: NetworkShape = serde_json::from_str(json).unwrap();
        assert_eq!(shape, NetworkShape::DenseNet(DenseNetConfig::densenet121(1, 18)));
        assert_eq!(serde_json::to_value(&shape).unwrap(), serde_json::from_str::<Value>(json).unwrap());
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let [_, resnet, ..] = shapes();
        let json = serde_json::to_string(&resnet).unwrap();
        for (from, to, message) in [("stem", "stme", "stme"), ("resnet", "resent", "resent")] {
            let error = serde_json::from_str::<NetworkShape>(&json.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
