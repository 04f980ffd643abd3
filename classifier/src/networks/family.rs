//! The kinds of networks.

use std::fmt;

/// A kind of networks, whose files name their tensors alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// [`DenseNet`](super::DenseNet)
    DenseNet,
    /// [`ResNet`](super::ResNet)
    ResNet,
    /// [`ConvNeXt`](super::ConvNeXt)
    ConvNeXt,
    /// [`VitClassifier`](super::vit::VitClassifier)
    Vit,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DenseNet, Self::ResNet, Self::ConvNeXt, Self::Vit];

    /// The name that its authors gave it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DenseNet => "DenseNet",
            Self::ResNet => "ResNet",
            Self::ConvNeXt => "ConvNeXt",
            Self::Vit => "DINOv2",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
