//! Adapters on the command line.

use std::path::PathBuf;
use std::str::FromStr;

/// `FILE` or `FILE:SCALE`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    /// File or folder.
    pub path: PathBuf,
    /// Factor of its adapters.
    pub scale: f64,
}

impl FromStr for LoraChoice {
    type Err = String;

    /// A last part that is not a number belongs to the name.
    fn from_str(text: &str) -> Result<Self, String> {
        let scaled = text.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse::<f64>().ok()?)));
        match scaled.unwrap_or((text, 1.0)) {
            ("", _) => Err("expected a file, or FILE:SCALE".to_owned()),
            (_, scale) if !scale.is_finite() => Err(format!("the scale {scale} is not a finite number")),
            (path, scale) => Ok(Self { path: path.into(), scale }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_at_the_end_is_the_scale() {
        let read = |text: &str| text.parse::<LoraChoice>().map(|choice| (choice.path.display().to_string(), choice.scale));
        assert_eq!(read("chest.safetensors"), Ok(("chest.safetensors".to_owned(), 1.0)));
        assert_eq!(read("runs/chest:0.5"), Ok(("runs/chest".to_owned(), 0.5)));
        assert_eq!(read("C:\\chest"), Ok(("C:\\chest".to_owned(), 1.0)));
        assert!(read("chest:inf").is_err() && read(":2").is_err() && read("").is_err());
    }
}
