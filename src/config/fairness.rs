//! The `[fairness]` table: by which groups of test patients the arms are judged.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::{entries, within};
use super::{ConfigError, DataConfig};

/// What records say of an image by themselves, whatever its layout.
pub const ATTRIBUTES: [&str; 4] = ["sex", "age", "view", "race"];

/// Largest age at which a band may begin.
const OLDEST: u32 = 150;

/// By which groups of test patients the arms are judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FairnessConfig {
    /// Attributes that images are grouped by: `sex`, `age`, `view`, `race`, or any other column of the table. Those of the four that are
    /// recorded if absent; none if empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Ages in years at which a band begins, rising; whoever is younger than the first is in a band below it.
    pub ages: Vec<u32>,
    /// How the threshold of each finding is chosen on the validation images.
    pub operating_point: OperatingPoint,
    /// Fewest positive and fewest negative test images of a finding in every group that the AUROC takes, and fewest ill images of a group
    /// that has an under-diagnosis rate.
    pub least_images: usize,
    /// Fewest patients of a group that is judged.
    pub least_patients: usize,
}

/// How a threshold is chosen on the validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatingPoint {
    /// With the largest sum of sensitivity and specificity.
    Youden,
    /// The largest with at least this sensitivity, above 0 and below 1.
    Sensitivity(f64),
    /// The smallest with at least this specificity, above 0 and below 1.
    Specificity(f64),
}

impl fmt::Display for OperatingPoint {
    /// What is chosen, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Youden => {
                f.write_str("the threshold with the largest sensitivity plus specificity on the validation images (Youden)")
            }
            Self::Sensitivity(least) => {
                write!(f, "the largest threshold with a sensitivity of at least {least} on the validation images")
            }
            Self::Specificity(least) => {
                write!(f, "the smallest threshold with a specificity of at least {least} on the validation images")
            }
        }
    }
}

impl Default for FairnessConfig {
    fn default() -> Self {
        Self {
            columns: None,
            ages: vec![40, 60, 80],
            operating_point: OperatingPoint::Youden,
            least_images: 10,
            least_patients: 20,
        }
    }
}

impl FairnessConfig {
    /// Columns that records have only if the reader of the table is told to keep them.
    pub(super) fn kept_columns(&self) -> Vec<String> {
        let columns = self.columns.iter().flatten();
        columns.filter(|column| !ATTRIBUTES.contains(&column.as_str())).cloned().collect()
    }

    /// Refuses values that parse but are invalid.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub(super) fn validate(&self, data: &DataConfig) -> Result<(), ConfigError> {
        self.validate_columns(data)?;
        entries("fairness.ages", self.ages.len())?;
        if self.ages.is_empty() {
            return Err(ConfigError::value("fairness.ages", "empty", "at least one age at which a band begins"));
        }
        self.ages.iter().try_for_each(|age| within("fairness.ages", *age, 1..=OLDEST))?;
        if !self.ages.is_sorted_by(|a, b| a < b) {
            let expected = "rising ages, such as [40, 60, 80]: each begins a band";
            return Err(ConfigError::value("fairness.ages", format!("{:?}", self.ages), expected));
        }
        let (name, share) = match self.operating_point {
            OperatingPoint::Youden => ("youden", 0.5),
            OperatingPoint::Sensitivity(share) => ("sensitivity", share),
            OperatingPoint::Specificity(share) => ("specificity", share),
        };
        // NaN is in no range.
        if !(share > 0.0 && share < 1.0) {
            let expected = "a number above 0 and below 1: everything, or nothing, is called at 0 and 1";
            return Err(ConfigError::value(format!("fairness.operating_point.{name}"), share, expected));
        }
        within("fairness.least_images", self.least_images, 1..=1_000_000)?;
        // Patients are resampled.
        within("fairness.least_patients", self.least_patients, 2..=1_000_000)
    }

    fn validate_columns(&self, data: &DataConfig) -> Result<(), ConfigError> {
        const KEY: &str = "fairness.columns";
        let Some(columns) = &self.columns else { return Ok(()) };
        entries(KEY, columns.len())?;
        if let Some(at) = columns.iter().position(|column| column.trim().is_empty()) {
            return Err(ConfigError::value(KEY, format!("a blank name at place {}", at + 1), "names of columns"));
        }
        // Columns are taken in upper or lower case.
        let lower: Vec<String> = columns.iter().map(|column| column.trim().to_lowercase()).collect();
        if let Some(at) = (1..lower.len()).find(|&at| lower[..at].contains(&lower[at])) {
            return Err(ConfigError::value(KEY, format!("`{}` twice", columns[at]), "each column once"));
        }
        let kept = self.kept_columns();
        if let Some(attribute) = kept.iter().find(|column| ATTRIBUTES.contains(&column.trim().to_lowercase().as_str())) {
            let expected = format!("`{}`: the column of the table is X", attribute.trim().to_lowercase());
            return Err(ConfigError::value(KEY, format!("`{attribute}`"), expected));
        }
        match kept.first().filter(|_| data.sets().all(|set| !set.format.has_columns)) {
            None => Ok(()),
            Some(column) => {
                let expected = format!("{}: of `{}`, nothing else is kept", ATTRIBUTES.join(", "), data.format.name);
                Err(ConfigError::value(KEY, format!("`{column}`"), expected))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{FairnessConfig, OperatingPoint, RunConfig};

    fn parse(format: &str, fairness: &str) -> Result<RunConfig, String> {
        let text =
            format!("[data]\nformat = \"{format}\"\nlabels = \"t.csv\"\n[fairness]\n{fairness}\n[[arms]]\nname = \"real\"\n");
        let config = RunConfig::parse(&text, Path::new("r.toml"), Path::new("")).map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn operating_points_are_a_word_or_a_share() {
        let of =
            |text: &str| parse("table", &format!("operating_point = {text}")).map(|config| config.fairness.operating_point);
        assert_eq!(of("\"youden\""), Ok(OperatingPoint::Youden));
        assert_eq!(of("{ sensitivity = 0.9 }"), Ok(OperatingPoint::Sensitivity(0.9)));
        assert_eq!(of("{ specificity = 0.95 }"), Ok(OperatingPoint::Specificity(0.95)));
        for share in ["0.0", "1.0", "-0.5", "nan", "90"] {
            let message = of(&format!("{{ sensitivity = {share} }}")).unwrap_err();
            assert!(
                message.contains("fairness.operating_point.sensitivity is ") && message.contains("above 0 and below 1"),
                "{message}"
            );
        }
        assert!(of("\"best\"").unwrap_err().contains("youden"));
        assert!(of("{ sensitivity = 0.9, specificity = 0.9 }").is_err());
    }

    #[test]
    fn columns_that_no_table_has_are_refused() {
        let config = parse("table", "columns = [\"sex\", \"scanner\"]").unwrap();
        assert_eq!(config.data.kept_columns, ["scanner"]);
        assert_eq!(parse("table", "columns = []").unwrap().fairness.columns, Some(Vec::new()));
        let refused = |format, columns: &str| parse(format, &format!("columns = {columns}")).unwrap_err();
        let message = refused("nih", "[\"age\", \"scanner\"]");
        assert_eq!(message, "fairness.columns is `scanner`, expected sex, age, view, race: of `nih`, nothing else is kept");
        assert!(refused("table", "[\"site\", \"Site\"]").contains("`Site` twice"));
        assert!(refused("table", "[\" \"]").contains("blank"));
        assert!(refused("table", "[\"Sex\"]").contains("expected `sex`"));
    }

    #[test]
    fn bands_rise_and_groups_have_a_size() {
        assert_eq!(parse("table", "ages = [18, 65]").unwrap().fairness.ages, [18, 65]);
        for (ages, said) in
            [("[60, 40]", "rising"), ("[40, 40]", "rising"), ("[]", "at least one"), ("[0, 40]", "at least 1"), ("[-3]", "-3")]
        {
            let message = parse("table", &format!("ages = {ages}")).unwrap_err();
            assert!(message.contains("ages") && message.contains(said), "{message}");
        }
        assert!(parse("table", "least_images = 0").unwrap_err().contains("fairness.least_images is 0"));
        assert!(parse("table", "least_patients = 1").unwrap_err().contains("fairness.least_patients is 1"));
        assert_eq!(parse("table", "").unwrap().fairness, FairnessConfig::default());
    }

    #[test]
    fn what_is_written_is_read() {
        let config = parse("table", "columns = [\"site\"]\noperating_point = { specificity = 0.9 }").unwrap();
        let read = RunConfig::parse(&config.to_toml(), Path::new("r.toml"), Path::new("")).unwrap();
        assert_eq!((&read.fairness, &read.data.kept_columns), (&config.fairness, &config.data.kept_columns));
    }
}
