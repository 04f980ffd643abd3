//! The description of a net that our own files hold beside its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use roentgen_augment::batch::InputRange;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::safetensors::open_safetensors;
use super::source::{Format, format_of};
use crate::ClassifierError;
use crate::networks::NetworkShape;
use crate::training::Precision;

/// The one metadata key of our files. One, so that a file's bytes depend on nothing but its content: safetensors writes several
/// in any order.
pub(super) const METADATA_KEY: &str = "roentgen";
const FORMAT: &str = "roentgen-classifier";
const VERSION: u32 = 1;

/// Everything besides the weights that using a net needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Shape of the net.
    pub config: NetworkShape,
    /// Name of each output, in order.
    pub findings: Vec<String>,
    /// Range of the pixels the net was trained with.
    pub input_range: InputRange,
    /// Side of the square images it was trained with, in pixels.
    pub image_size: usize,
    /// What the net was trained in, and predicts in; nothing about the weights, which are of 32 bits.
    #[serde(default, skip_serializing_if = "Precision::is_fp32")]
    pub precision: Precision,
    /// How images were prepared, as far as the trainer recorded it.
    #[serde(default)]
    pub preprocess: Value,
}

/// A card as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    version: u32,
    card: Value,
}

impl Card {
    pub(super) fn to_metadata(&self) -> String {
        let card = serde_json::to_value(self).expect("a card is plain data");
        let stored = Stored { format: FORMAT.to_owned(), version: VERSION, card };
        serde_json::to_string(&stored).expect("a card is plain data")
    }

    /// Checks the card against itself and the net it describes.
    pub(super) fn check(&self, path: &Path, net: &NetworkShape) -> Result<(), ClassifierError> {
        let wrong = |message| Err(ClassifierError::Card { path: path.to_owned(), message });
        if self.config != *net {
            return wrong(format!("its configuration is {:?}, the tensors are of {net:?}", self.config));
        }
        if self.findings.len() != net.num_classes() {
            return wrong(format!("it names {} findings, the net has {} outputs", self.findings.len(), net.num_classes()));
        }
        if self.input_range.channels() != net.in_channels() {
            let channels = self.input_range.channels();
            return wrong(format!(
                "its input range {:?} has {channels} channels, the net takes {}",
                self.input_range,
                net.in_channels()
            ));
        }
        Ok(())
    }
}

/// The card of one of our own files.
///
/// # Errors
/// [`ClassifierError::Card`] if the file is from another program (torchvision's and torchxrayvision's files have no card), of a
/// later version, or its card is damaged; [`ClassifierError::NotWeights`] if it is not a weights file.
pub fn read_card(path: &Path) -> Result<Card, ClassifierError> {
    find_card(path)?.ok_or_else(|| ClassifierError::Card {
        path: path.to_owned(),
        message: "there is none: the file was not written by this program; give the findings and the input range by hand"
            .to_owned(),
    })
}

/// As [`read_card`], `None` if the file is from another program.
///
/// # Errors
/// As [`read_card`].
pub fn find_card(path: &Path) -> Result<Option<Card>, ClassifierError> {
    match format_of(path)? {
        Format::Safetensors => of(path, &open_safetensors(path)?.notes),
        Format::Pytorch => Ok(None),
    }
}

/// The card among the notes of a safetensors file, `None` if it is another program's.
pub(super) fn of(path: &Path, notes: &BTreeMap<String, String>) -> Result<Option<Card>, ClassifierError> {
    let damaged = |message: String| ClassifierError::Card { path: path.to_owned(), message };
    let Some(text) = notes.get(METADATA_KEY) else { return Ok(None) };
    let stored: Stored = serde_json::from_str(text).map_err(|e| damaged(format!("it is damaged ({e}); save the net again")))?;
    if stored.format != FORMAT {
        return Err(damaged(format!("it is of a `{}`, expected a `{FORMAT}`", stored.format)));
    }
    if stored.version > VERSION {
        return Err(damaged(format!(
            "it has version {}, this program reads up to {VERSION}: update the program",
            stored.version
        )));
    }
    let card = serde_json::from_value(stored.card).map_err(|e| damaged(format!("it is damaged ({e}); save the net again")))?;
    Ok(Some(card))
}

#[cfg(test)]
mod tests {
    use super::super::save::{serialize, state_dict};
    use super::super::testing::{card_of, fixture, folder, net};
    use super::*;

    fn read(stored: &str) -> String {
        let folder = folder();
        let path = folder.path().join("net.safetensors");
        std::fs::write(&path, serialize(&state_dict(&net()), Some(stored.to_owned()))).unwrap();
        match read_card(&path) {
            Err(error @ ClassifierError::Card { .. }) => error.to_string(),
            other => panic!("expected a bad card, got {other:?}"),
        }
    }

    #[test]
    fn bad_cards_are_told_apart() {
        let good = card_of(&net()).to_metadata();
        for (stored, message) in [
            (good.replace(FORMAT, "roentgen-diffusion"), "it is of a `roentgen-diffusion`"),
            (good.replace("\"version\":1", "\"version\":7"), "it has version 7, this program reads up to 1"),
            (good.replace("growth_rate", "growht_rate"), "unknown field `growht_rate`"),
            (good[..good.len() / 2].to_owned(), "it is damaged"),
        ] {
            let found = read(&stored);
            assert!(found.contains(message), "{found}");
        }
    }

    #[test]
    fn files_of_other_projects_have_no_card() {
        for file in ["torchvision/model.safetensors", "torchvision/model_state.pt"] {
            assert!(matches!(read_card(&fixture(file)), Err(ClassifierError::Card { .. })), "{file}");
        }
        assert!(matches!(read_card(&fixture("torchvision/config.json")), Err(ClassifierError::NotWeights { .. })));
    }
}
