//! `cases.json` and the tensors beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;

use super::Array;

/// One folder of the tree.
pub struct Topic {
    pub cases: Vec<Case>,
}

/// One case: what goes in, what must come out.
pub struct Case {
    pub name: String,
    pub params: Value,
    /// The checkpoint folder, if the case has one.
    pub checkpoint: Option<PathBuf>,
    /// The topic's folder.
    pub folder: PathBuf,
    inputs: BTreeMap<String, Array>,
    outputs: BTreeMap<String, (Tolerance, Array)>,
}

#[derive(Deserialize)]
struct CasesFile {
    cases: Vec<CaseEntry>,
}

#[derive(Deserialize)]
struct CaseEntry {
    name: String,
    #[serde(default)]
    params: Value,
    checkpoint: Option<String>,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    outputs: BTreeMap<String, Tolerance>,
}

#[derive(Clone, Copy, Deserialize)]
struct Tolerance {
    atol: f64,
    rtol: f64,
}

impl Topic {
    pub fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
        let file: CasesFile = serde_json::from_str(&text).unwrap();
        let (inputs, expected) = (tensors(&folder.join("inputs.safetensors")), tensors(&folder.join("expected.safetensors")));
        let cases = file.cases.into_iter().map(|entry| Case {
            inputs: entry.inputs.into_iter().map(|(name, key)| (name, inputs[&key].clone())).collect(),
            outputs: entry
                .outputs
                .into_iter()
                .map(|(output, tolerance)| {
                    let want = expected[&format!("{}/{output}", entry.name)].clone();
                    (output, (tolerance, want))
                })
                .collect(),
            checkpoint: entry.checkpoint.map(|name| folder.join(name)),
            folder: folder.to_owned(),
            name: entry.name,
            params: entry.params,
        });
        Self { cases: cases.collect() }
    }
}

fn tensors(path: &Path) -> BTreeMap<String, Array> {
    if !path.exists() {
        return BTreeMap::new();
    }
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), Array::read(&view))).collect()
}

impl Case {
    /// An input by name.
    pub fn input(&self, name: &str) -> &Array {
        self.inputs.get(name).unwrap_or_else(|| panic!("{} has no input {name}", self.name))
    }

    /// An input that few cases have.
    pub fn optional_input(&self, name: &str) -> Option<&Array> {
        self.inputs.get(name)
    }

    /// Shape of an output that is judged.
    pub fn expected_shape(&self, output: &str) -> &[usize] {
        &self.outputs[output].1.shape
    }

    /// Names of the outputs that are judged.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.keys().map(String::as_str)
    }

    /// Largest error over tolerance, or what is wrong.
    pub fn judge(&self, produced: &[(String, Array)]) -> Result<f64, String> {
        let mut worst = 0f64;
        for (output, (tolerance, want)) in &self.outputs {
            let Some((_, got)) = produced.iter().find(|(name, _)| name == output) else {
                return Err(format!("output {output} is missing"));
            };
            let single = want.values.len() == 1 && got.values.len() == 1;
            if got.shape != want.shape && !single {
                return Err(format!("{output} has shape {:?}, expected {:?}", got.shape, want.shape));
            }
            for (i, (g, w)) in got.values.iter().zip(&want.values).enumerate() {
                if g == w || (g.is_nan() && w.is_nan()) {
                    continue;
                }
                let ratio = (g - w).abs() / (tolerance.atol + tolerance.rtol * w.abs());
                if ratio.is_nan() || ratio > 1.0 {
                    return Err(format!("{output}[{i}] is {g:e}, expected {w:e}, error / tolerance {ratio:.2}"));
                }
                worst = worst.max(ratio);
            }
        }
        Ok(worst)
    }
}
