//! `[generator.images]`: synthetic images that exist already.

use std::fmt;
use std::path::PathBuf;

use roentgen_augment::supply::Descendants;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ConfigError, DataConfig, PhantomConfig, SplitConfig};

/// The word for the study's own table.
const DATA: &str = "data";

/// Synthetic images that were made elsewhere, as the pool that arms draw from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesConfig {
    /// Where they are.
    pub from: ImagesFrom,
    /// The name of what made them, for rows that don't name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What their generator was trained on, as text for the comparison report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// What becomes of images that descend from patients of validation or test: `refuse` the pool, or `drop` them.
    #[serde(default)]
    pub held_out: Descendants,
}

/// Where synthetic images are.
#[derive(Clone, Debug, PartialEq)]
pub enum ImagesFrom {
    /// `"data"`: the synthetic rows of the study's own table.
    Data,
    /// A table, or a folder with a `manifest.csv` or with a folder per class.
    Path(PathBuf),
    /// A data set with the keys of `[data]` that say how it is read.
    Table(Box<DataConfig>),
}

impl Serialize for ImagesFrom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Data => serializer.serialize_str(DATA),
            Self::Path(path) => path.serialize(serializer),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ImagesFrom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;

        impl<'de> Visitor<'de> for Place {
            type Value = ImagesFrom;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"data\", the path of a folder or a table, or a table with the keys of [data]")
            }

            fn visit_str<E>(self, text: &str) -> Result<ImagesFrom, E> {
                Ok(if text == DATA { ImagesFrom::Data } else { ImagesFrom::Path(text.into()) })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<ImagesFrom, M::Error> {
                DataConfig::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(ImagesFrom::Table)
            }
        }

        deserializer.deserialize_any(Place)
    }
}

impl ImagesConfig {
    /// Every path in the table.
    pub(super) fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match &mut self.from {
            ImagesFrom::Data => Vec::new(),
            ImagesFrom::Path(path) => vec![path],
            ImagesFrom::Table(data) => data.paths_mut(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const KEY: &str = "generator.images.from";
        let ImagesFrom::Table(data) = &self.from else { return Ok(()) };
        let others = [
            (data.findings.is_some(), "findings", "nothing: the images get the study's findings"),
            (data.policy != Default::default(), "policy", "nothing: data.policy is that of all images"),
            (data.split != SplitConfig::default(), "split", "nothing: synthetic images only train"),
            (data.train_images.is_some(), "train_images", "nothing: arms say how many images they draw from"),
            (!data.also.is_empty(), "also", "nothing: convert the sets to one table with `roentgen data convert`"),
            (data.phantom != PhantomConfig::default(), "phantom", "nothing, or kind = \"phantom\" as the generator"),
        ];
        if let Some((_, key, expected)) = others.into_iter().find(|(set, ..)| *set) {
            return Err(ConfigError::value(format!("{KEY}.{key}"), "set", expected));
        }
        if data.is_phantom() {
            return Err(ConfigError::value(format!("{KEY}.format"), "phantom", "a layout of images on disk"));
        }
        data.validate().map_err(|error| error.below("data", KEY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ImagesConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_place_is_a_word_a_path_or_a_table() {
        assert_eq!(parse("from = \"data\"").unwrap().from, ImagesFrom::Data);
        assert_eq!(parse("from = \"./data\"").unwrap().from, ImagesFrom::Path("./data".into()));
        let table = parse("from = { format = \"table\", labels = \"x.csv\" }\nheld_out = \"drop\"").unwrap();
        let ImagesFrom::Table(data) = &table.from else { panic!("{table:?}") };
        assert_eq!((data.labels.as_deref(), table.held_out), (Some("x.csv".as_ref()), Descendants::Drop));
        for images in [parse("from = \"data\"").unwrap(), parse("from = \"out\"\nmodel = \"m\"").unwrap(), table] {
            assert_eq!(parse(&toml::to_string_pretty(&images).unwrap()).unwrap(), images);
        }
    }

    #[test]
    fn what_is_not_such_a_place_is_named() {
        assert!(parse("from = 3").unwrap_err().contains("the path of a folder or a table"));
        let message = parse("from = { format = \"table\", label = \"x.csv\" }").unwrap_err();
        assert!(message.contains("label") && message.contains("labels"), "{message}");
        let refused = |keys: &str| {
            let images = parse(&format!("from = {{ format = \"table\", {keys} }}")).unwrap();
            images.validate().unwrap_err().to_string()
        };
        assert!(refused("labels = \"x.csv\", train_images = 3").contains("generator.images.from.train_images is set"));
        assert!(refused("name = \"x\"").starts_with("generator.images.from.labels is absent"));
    }
}
