//! Which output of a classifier is which label.

use roentgen_augment::record::Finding;

use super::report::CorrectnessError;

/// Whether two names mean the same finding: by any of its [spellings](Finding::known), or as written.
#[must_use]
pub fn same_finding(a: &str, b: &str) -> bool {
    Key::of(a) == Key::of(b)
}

/// A name by its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Finding(Finding),
    Other(String),
}

impl Key {
    fn of(name: &str) -> Self {
        let other = || Self::Other(name.trim().to_lowercase());
        // `Age>=60` and `Age<60` have the same letters.
        if name.contains(['=', '<', '>']) {
            return other();
        }
        Finding::parse(name).map_or_else(|_| other(), Self::Finding)
    }
}

/// Columns of one finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub output: usize,
    pub label: usize,
}

/// The findings that both know, in the order of the outputs.
pub(super) fn shared(outputs: &[String], labels: &[String]) -> Result<Vec<Shared>, CorrectnessError> {
    let (output_keys, label_keys) = (keys("outputs", outputs)?, keys("labels", labels)?);
    let label = |(output, key): (usize, &Key)| {
        let label = label_keys.iter().position(|label| label == key)?;
        Some(Shared { output, label })
    };
    Ok(output_keys.iter().enumerate().filter_map(label).collect())
}

fn keys(what: &'static str, names: &[String]) -> Result<Vec<Key>, CorrectnessError> {
    let keys: Vec<Key> = names.iter().map(|name| Key::of(name)).collect();
    for (second, key) in keys.iter().enumerate() {
        if let Some(first) = keys[..second].iter().position(|earlier| earlier == key) {
            return Err(CorrectnessError::Twice { what, first: names[first].clone(), second: names[second].clone() });
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn spellings_of_one_finding_meet() {
        let outputs = names(&["Atelectasis", "Effusion", "Pleural_Thickening", "my own sign", "Age>=60"]);
        let labels = names(&["My own sign", "Pleural Effusion", "Age<60", "No Finding", "Pleural Thickening"]);
        let pairs: Vec<_> = shared(&outputs, &labels).unwrap().iter().map(|pair| (pair.output, pair.label)).collect();
        assert_eq!(pairs, [(1, 1), (2, 4), (3, 0)]);
        assert!(same_finding("effusion", "PLEURAL-EFFUSION") && !same_finding("Age<60", "Age>=60"));
    }

    #[test]
    fn one_finding_in_two_columns_is_refused() {
        let error = shared(&names(&["Mass"]), &names(&["Effusion", "Pleural Effusion"])).unwrap_err().to_string();
        assert_eq!(error, "`Effusion` and `Pleural Effusion` of the labels are the same finding; keep one of them");
    }
}
