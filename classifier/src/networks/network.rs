//! A network of any kind.

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{Device, Tensor};

use super::trainable::num_trainable;
use super::vit::VitClassifier;
use super::{ConvNeXt, DenseNet, Family, ResNet, StochasticDepth};

/// A classifier of any kind; logits come without a sigmoid.
///
/// Its parameters have the paths that they have in the network itself.
#[derive(Clone, Debug)]
pub enum Network {
    /// DenseNet-121 and the like.
    DenseNet(DenseNet),
    /// ResNet-50 and the like.
    ResNet(ResNet),
    /// ConvNeXt-Tiny and the like.
    ConvNeXt(ConvNeXt),
    /// DINOv2's ViT-B/14 and the like.
    Vit(VitClassifier),
}

/// An expression of the network within.
macro_rules! within {
    ($network:expr, $net:ident => $result:expr) => {
        match $network {
            Network::DenseNet($net) => $result,
            Network::ResNet($net) => $result,
            Network::ConvNeXt($net) => $result,
            Network::Vit($net) => $result,
        }
    };
}

impl Network {
    /// Its kind.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Self::DenseNet(_) => Family::DenseNet,
            Self::ResNet(_) => Family::ResNet,
            Self::ConvNeXt(_) => Family::ConvNeXt,
            Self::Vit(_) => Family::Vit,
        }
    }

    /// Computes in the type of the images, up to the features: those, the head and the logits are of 32 bits.
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]`, in the range of the weights (see [`InputRange`](roentgen_augment::batch::InputRange))
    /// - output: logits `[B, F]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        within!(self, net => net.forward(images))
    }

    /// The forward pass of a training step: residual branches are left out as `depth` draws, in networks that are trained so.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    pub fn forward_in_training(&self, images: Tensor<4>, depth: &StochasticDepth) -> Tensor<2> {
        match self {
            Self::ConvNeXt(net) => net.forward_in_training(images, depth),
            Self::Vit(net) => net.forward_in_training(images, depth),
            Self::DenseNet(_) | Self::ResNet(_) => self.forward(images),
        }
    }

    /// What the linear head sees: the last feature map averaged over its pixels, of a vision transformer the class token and the mean of
    /// the patches; `W` numbers per image.
    ///
    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - output: `[B, W]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        within!(self, net => net.features(images))
    }

    /// The linear head: [`forward`](Self::forward) is the head of the [`features`](Self::features).
    ///
    /// # Shapes
    /// - features: `[B, W]`
    /// - output: logits `[B, F]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        within!(self, net => net.head(features))
    }

    /// Parameters that training changes; running statistics are not among them.
    #[must_use]
    pub fn num_trainable(&self) -> usize {
        num_trainable(self)
    }
}

impl From<DenseNet> for Network {
    fn from(net: DenseNet) -> Self {
        Self::DenseNet(net)
    }
}

impl From<ResNet> for Network {
    fn from(net: ResNet) -> Self {
        Self::ResNet(net)
    }
}

impl From<ConvNeXt> for Network {
    fn from(net: ConvNeXt) -> Self {
        Self::ConvNeXt(net)
    }
}

impl From<VitClassifier> for Network {
    fn from(net: VitClassifier) -> Self {
        Self::Vit(net)
    }
}

/// By hand, since the derived one would put the variant's name into every parameter's path: checkpoints of DenseNets have none.
impl Module for Network {
    fn collect_devices(&self, devices: Devices) -> Devices {
        within!(self, net => net.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        within!(self, net => net.fork(device).into())
    }

    fn to_device(self, device: &Device) -> Self {
        within!(self, net => net.to_device(device).into())
    }

    fn train(self) -> Self {
        within!(self, net => net.train().into())
    }

    fn valid(&self) -> Self {
        within!(self, net => net.valid().into())
    }

    fn materialize(self) -> Self {
        within!(self, net => net.materialize().into())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        within!(self, net => net.visit(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        within!(self, net => net.map(mapper).into())
    }
}

impl ModuleDisplay for Network {}

impl ModuleDisplayDefault for Network {
    fn content(&self, content: Content) -> Option<Content> {
        within!(self, net => net.content(content))
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}
