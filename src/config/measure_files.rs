//! The files that single measures of `[evaluation]` need.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, EvaluationConfig};
use crate::evaluation::features::{NetworkChoice, NetworkKind};

/// `evaluation.lpips`: what LPIPS is made of. Both files are needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LpipsConfig {
    /// torchvision's AlexNet (`alexnet-owt-7be5be79.pth`).
    pub network: PathBuf,
    /// lpips's weights of its channels (`lpips/weights/v0.1/alex.pth`).
    pub weights: PathBuf,
}

/// `evaluation.texts`: texts that ask for images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextsConfig {
    /// A table of prompts: `prompt`, and a column for each finding, positive for those that the text asks for.
    pub table: PathBuf,
    /// Their embeddings, a row per text in the table's order, in the space of the network's features. Without them, the text tower of a CLIP
    /// makes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<PathBuf>,
    /// The network in whose features they look, one of `evaluation.networks`; the only one, or the only CLIP, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkChoice>,
}

impl LpipsConfig {
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.network, &mut self.weights] {
            *path = super::resolve(folder, path);
        }
    }
}

impl TextsConfig {
    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in std::iter::once(&mut self.table).chain(&mut self.embeddings) {
            *path = super::resolve(folder, path);
        }
        self.network = self.network.take().map(|choice| choice.resolved(|path| super::resolve(folder, path)));
    }
}

impl EvaluationConfig {
    /// The place among the networks of the one in whose features texts look for images; `None` without texts.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if none or several could be meant, and for a network that makes no embeddings of texts where no file has them.
    pub fn network_of_texts(&self) -> Result<Option<usize>, ConfigError> {
        const KEY: &str = "evaluation.texts.network";
        let Some(texts) = &self.texts else { return Ok(None) };
        let named = self.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let is_clip = |choice: &NetworkChoice| choice.kind == NetworkKind::Clip;
        let place = match &texts.network {
            Some(asked) => self.networks.iter().position(|choice| choice == asked).ok_or_else(|| {
                ConfigError::value(KEY, asked, format!("one of the networks whose features are compared: {named}"))
            })?,
            None => {
                let clips: Vec<usize> = (0..self.networks.len()).filter(|&place| is_clip(&self.networks[place])).collect();
                match (&clips[..], self.networks.len()) {
                    (&[clip], _) => clip,
                    ([], 1) => 0,
                    (_, 0) => return Err(ConfigError::value(KEY, "absent", "a network: `evaluation.networks` names none")),
                    _ => return Err(ConfigError::value(KEY, "absent", format!("one of {named}: any of them could be meant"))),
                }
            }
        };
        if texts.embeddings.is_none() && !is_clip(&self.networks[place]) {
            let expected = "a file of embeddings: only clip:FOLDER makes embeddings of texts itself";
            return Err(ConfigError::value(
                "evaluation.texts.embeddings",
                format!("absent for {}", self.networks[place]),
                expected,
            ));
        }
        Ok(Some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<EvaluationConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn both_files_of_lpips_are_needed() {
        let whole = config("lpips = { network = \"a.pth\", weights = \"w.pth\" }").unwrap();
        assert_eq!(whole.lpips.as_ref().map(|lpips| lpips.weights.clone()), Some(PathBuf::from("w.pth")));
        let written = toml::to_string(&whole).unwrap();
        assert_eq!(config(&written).unwrap(), whole);
        let half = config("lpips = { network = \"a.pth\" }").unwrap_err();
        assert!(half.contains("missing field `weights`"), "{half}");
        let other = config("lpips = { network = \"a.pth\", weights = \"w.pth\", net = \"vgg\" }").unwrap_err();
        assert!(other.contains("unknown field `net`"), "{other}");
    }

    #[test]
    fn the_network_of_texts_is_never_guessed() {
        let place = |text: &str| config(text).unwrap().network_of_texts().map_err(|error| error.to_string());
        assert_eq!(place("networks = [\"xrv:a.pt\"]"), Ok(None));
        assert_eq!(place("networks = [\"xrv:a.pt\", \"clip:c\"]\ntexts = { table = \"t.csv\" }"), Ok(Some(1)));
        assert_eq!(place("networks = [\"xrv:a.pt\"]\ntexts = { table = \"t.csv\", embeddings = \"e.npy\" }"), Ok(Some(0)));
        let named = "networks = [\"xrv:a.pt\", \"clip:c\"]\ntexts = { table = \"t.csv\", embeddings = \"e.npy\", network = \"xrv:a.pt\" }";
        assert_eq!(place(named), Ok(Some(0)));
        for (text, said) in [
            ("texts = { table = \"t.csv\" }", "`evaluation.networks` names none"),
            ("networks = [\"clip:a\", \"clip:b\"]\ntexts = { table = \"t.csv\" }", "one of clip:a, clip:b"),
            ("networks = [\"xrv:a.pt\"]\ntexts = { table = \"t.csv\" }", "evaluation.texts.embeddings is absent for xrv:a.pt"),
            (
                "networks = [\"clip:a\"]\ntexts = { table = \"t.csv\", network = \"clip:b\" }",
                "clip:b, expected one of the networks",
            ),
        ] {
            let error = place(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
