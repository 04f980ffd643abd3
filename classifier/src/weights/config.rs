//! The shape of a net, inferred from its tensors.

use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};

use super::families::{Shapes, naming, published_name};
use super::source::Source;
use crate::ClassifierError;
use crate::networks::{Family, Network, NetworkShape};

impl Network {
    /// The configuration that makes a net of this shape.
    #[must_use]
    pub fn shape(&self) -> NetworkShape {
        (naming(self.family()).shape)(&shapes_of(self)).expect("a net has the tensors of a net")
    }
}

pub(super) fn shapes_of(net: &Network) -> Shapes {
    let tensors = net.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
    tensors.into_iter().map(|tensor| (name_of(net.family(), &tensor.name), tensor.shape.to_vec())).collect()
}

pub(super) fn name_of(family: Family, module_path: &str) -> String {
    published_name(family, module_path).expect("each tensor of a net is in the table of its family")
}

/// The configuration of the net in a file: from the tensors' shapes, and in our own files checked against the card.
///
/// # Errors
/// As [`load_weights`](super::load_weights), and [`ClassifierError::NotWeights`] if the shapes are those of no net that is known.
pub fn infer_config(path: &Path) -> Result<NetworkShape, ClassifierError> {
    infer(path, &Source::open(path)?)
}

pub(super) fn infer(path: &Path, source: &Source) -> Result<NetworkShape, ClassifierError> {
    let shape = (naming(source.family).shape)(&source.shapes()).map_err(|reason| ClassifierError::NotWeights {
        path: path.to_owned(),
        looks_like: format!("a {} of an unsupported form: {reason}", source.family),
    })?;
    if let Some(card) = &source.card {
        card.check(path, &shape)?;
    }
    Ok(shape)
}
