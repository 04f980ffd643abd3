//! `cases.json` and the tensors beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;

use super::Array;

/// One folder of the tree.
#[derive(Debug)]
pub struct Topic {
    pub cases: Vec<Entry>,
}

/// A case of the file; one that can't be read does not affect the others.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub case: Result<Case, String>,
}

/// One case: inputs and expected outputs.
#[derive(Debug)]
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
    cases: Vec<Value>,
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

#[derive(Clone, Copy, Debug, Deserialize)]
struct Tolerance {
    atol: f64,
    rtol: f64,
    /// Largest distance of the reference in 32-bit floats from the same in 64.
    noise32: Option<f64>,
}

/// Tensors of a file by key; of a type that has no numbers, its name.
type Tensors = BTreeMap<String, Result<Array, String>>;

impl Topic {
    /// Reads the list of cases and the tensors beside it.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let path = folder.join("cases.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file: CasesFile = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let (inputs, expected) = (tensors(&folder.join("inputs.safetensors"))?, tensors(&folder.join("expected.safetensors"))?);
        let entry = |(i, entry): (usize, Value)| {
            let name = entry["name"].as_str().map_or_else(|| format!("case {i}"), str::to_owned);
            let case = serde_json::from_value(entry).map_err(|error| error.to_string());
            Entry { name, case: case.and_then(|entry| Case::new(folder, entry, &inputs, &expected)) }
        };
        Ok(Self { cases: file.cases.into_iter().enumerate().map(entry).collect() })
    }
}

fn tensors(path: &Path) -> Result<Tensors, String> {
    if !path.exists() {
        return Ok(Tensors::new());
    }
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(file.iter().map(|(name, view)| (name.to_owned(), Array::read(&view))).collect())
}

fn find(tensors: &Tensors, key: &str, file: &str) -> Result<Array, String> {
    let found = tensors.get(key).ok_or_else(|| format!("{file}.safetensors has no {key}"))?;
    found.clone().map_err(|error| format!("{key} of {file}.safetensors: {error}"))
}

impl Case {
    fn new(folder: &Path, entry: CaseEntry, inputs: &Tensors, expected: &Tensors) -> Result<Self, String> {
        let input = |(name, key): (String, String)| Ok((name, find(inputs, &key, "inputs")?));
        let output = |(output, tolerance): (String, Tolerance)| {
            let want = find(expected, &format!("{}/{output}", entry.name), "expected")?;
            Ok::<_, String>((output, (tolerance, want)))
        };
        Ok(Self {
            inputs: entry.inputs.into_iter().map(input).collect::<Result<_, String>>()?,
            outputs: entry.outputs.into_iter().map(output).collect::<Result<_, _>>()?,
            checkpoint: entry.checkpoint.map(|name| folder.join(name)),
            folder: folder.to_owned(),
            name: entry.name.clone(),
            params: entry.params,
        })
    }

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

    /// What an output should be.
    pub fn expected(&self, output: &str) -> &Array {
        &self.outputs[output].1
    }

    /// How far rounding to 24 bits took the reference from an output.
    pub fn noise32(&self, output: &str) -> Option<f64> {
        self.outputs[output].0.noise32
    }

    /// Names of the outputs that are judged.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.keys().map(String::as_str)
    }

    /// Largest error over tolerance, which may be up to `allowed`, or what is wrong.
    pub fn judge(&self, produced: &[(String, Array)], allowed: f64) -> Result<f64, String> {
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
                if ratio.is_nan() || ratio > allowed {
                    return Err(format!("{output}[{i}] is {g:e}, expected {w:e}, error / tolerance {ratio:.2}"));
                }
                worst = worst.max(ratio);
            }
        }
        Ok(worst)
    }
}
