//! Which files of a component's folder are its weights.
//!
//! Reference: diffusers 0.42.1, `ModelMixin.from_pretrained`; transformers 5.23.0, `PreTrainedModel.from_pretrained`. The plain files are
//! taken, and others only where their variant is named. Here alone, the only variant of a folder without plain files is taken too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::diffusion::DiffusionError;

/// The library whose file names a component's weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// `diffusion_pytorch_model.safetensors` or `.bin`: U-Nets and autoencoders.
    Diffusers,
    /// `model.safetensors` or `pytorch_model.bin`: text encoders, and any network that accelerate saves.
    Transformers,
}

/// A file, or the index of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Index,
}

/// What the name of a weights file says; `format` is a position in [`Stem::names`].
struct Named<'a> {
    format: usize,
    form: Form,
    variant: Option<&'a str>,
}

impl Stem {
    /// The name under which weights are written.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusion_pytorch_model.safetensors",
            Self::Transformers => "model.safetensors",
        }
    }

    /// Stem and extension, safetensors first.
    fn names(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Diffusers => [("diffusion_pytorch_model", "safetensors"), ("diffusion_pytorch_model", "bin")],
            Self::Transformers => [("model", "safetensors"), ("pytorch_model", "bin")],
        }
    }

    /// Of one variant, the preferred first: diffusers looks for an index of safetensors before the whole file, transformers after it.
    /// An index of `.bin` files is the last resort, and diffusers takes it on request only.
    fn order(self) -> [(usize, Form); 4] {
        match self {
            Self::Diffusers => [(0, Form::Index), (0, Form::Whole), (1, Form::Whole), (1, Form::Index)],
            Self::Transformers => [(0, Form::Whole), (0, Form::Index), (1, Form::Whole), (1, Form::Index)],
        }
    }

    /// The variants that a folder's weights have.
    ///
    /// # Errors
    /// [`DiffusionError::Io`].
    pub fn variants(self, folder: &Path) -> Result<BTreeSet<String>, DiffusionError> {
        Ok(self.variants_among(&files(folder)?))
    }

    /// The variants that weights among these files have.
    pub(crate) fn variants_among(self, files: &[impl AsRef<str>]) -> BTreeSet<String> {
        files.iter().filter_map(|file| self.parse(file.as_ref())?.variant.map(str::to_owned)).collect()
    }

    /// The file that a folder with these files is read from, or the index of shards, and why.
    pub(crate) fn choose(self, files: &[&str], asked: Option<&str>) -> Option<(String, Why)> {
        self.pick(files, asked).map(|(file, _, why)| (file.to_owned(), why))
    }

    /// The chosen one of a folder's files, and why.
    fn pick<'a>(self, files: &'a [impl AsRef<str>], asked: Option<&str>) -> Option<(&'a str, Form, Why)> {
        let named = || files.iter().filter_map(|file| Some((file.as_ref(), self.parse(file.as_ref())?)));
        let variants: BTreeSet<&str> = named().filter_map(|(_, named)| named.variant).collect();
        let has_plain = named().any(|(_, named)| named.variant.is_none());
        let (variant, why) = match asked {
            Some(asked) if variants.contains(asked) => (Some(asked), Why::Asked(asked.to_owned())),
            Some(asked) if has_plain => (None, Why::Lacks(asked.to_owned())),
            None if has_plain => (None, Why::Plain),
            None if variants.len() == 1 => {
                let only = variants.first().copied();
                (only, Why::Only(only.unwrap_or_default().to_owned()))
            }
            _ => return None,
        };
        let fits = |(format, form)| {
            named()
                .find(|(_, named)| (named.format, named.form, named.variant) == (format, form, variant))
                .map(|(file, _)| (file, form))
        };
        self.order().into_iter().find_map(fits).map(|(file, form)| (file, form, why))
    }

    fn parse(self, file: &str) -> Option<Named<'_>> {
        self.names().into_iter().enumerate().find_map(|(format, (stem, extension))| {
            let rest = file.strip_prefix(stem)?;
            let (form, middle) = match rest.strip_suffix(".json") {
                None => (Form::Whole, rest.strip_suffix(extension)?.strip_suffix('.')?),
                Some(rest) => {
                    let rest = rest.strip_prefix('.')?.strip_prefix(extension)?;
                    // Old versions of diffusers wrote the variant before `index`.
                    (Form::Index, rest.strip_prefix(".index").or_else(|| rest.strip_suffix(".index"))?)
                }
            };
            let variant = match middle {
                "" => None,
                middle => Some(middle.strip_prefix('.').filter(|name| !name.is_empty() && !is_shard(name))?),
            };
            Some(Named { format, form, variant })
        })
    }
}

/// Whether a name ends as that of a shard, `-00001-of-00002`.
fn is_shard(name: &str) -> bool {
    let Some((rest, total)) = name.rsplit_once("-of-") else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(total) && rest.rsplit_once('-').is_some_and(|(_, number)| digits(number))
}

/// A component's folder, and the variant of its weights that is asked for: `fp16` for `….fp16.safetensors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsFolder {
    /// The folder.
    pub folder: PathBuf,
    /// `None` for the plain files.
    pub variant: Option<String>,
}

impl From<&Path> for WeightsFolder {
    fn from(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), variant: None }
    }
}

impl From<&PathBuf> for WeightsFolder {
    fn from(folder: &PathBuf) -> Self {
        Self::from(folder.as_path())
    }
}

/// Why a file was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no variant, and none is asked for.
    Plain,
    /// Its variant is asked for.
    Asked(String),
    /// The plain file, because the folder has not the variant that is asked for.
    Lacks(String),
    /// Its variant is the only one, and there is no plain file.
    Only(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => write!(f, "the plain weights"),
            Self::Asked(variant) => write!(f, "variant {variant}, as asked for"),
            Self::Lacks(variant) => write!(f, "the plain weights: the folder has no variant {variant}"),
            Self::Only(variant) => {
                write!(f, "variant {variant}, the only weights here (diffusers takes them with variant=\"{variant}\" alone)")
            }
        }
    }
}

/// Files that together hold a model's weights.
#[derive(Debug)]
pub struct Choice {
    /// The file, or the index of the shards.
    pub path: PathBuf,
    /// The file, or the shards.
    pub shards: Vec<PathBuf>,
    /// Tensor name to shard, where there is an index.
    pub index: Option<BTreeMap<String, PathBuf>>,
    /// Why these.
    pub why: Why,
    /// Weights of the folder that are not read, by name.
    pub others: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Choice {
    /// Chooses among the files of a folder.
    ///
    /// # Errors
    /// [`DiffusionError::MissingFile`] for a folder without weights, of several variants none of which is asked for, and for a shard
    /// that is not there; [`DiffusionError::DamagedWeights`] and [`DiffusionError::NotJson`] for an index that is none.
    pub fn of(place: &WeightsFolder, stem: Stem) -> Result<Self, DiffusionError> {
        let (folder, asked) = (place.folder.as_path(), place.variant.as_deref());
        let files = files(folder)?;
        let Some((file, form, why)) = stem.pick(&files, asked) else { return Err(nothing(folder, stem, &files)) };
        let path = folder.join(file);
        let (shards, index) = match form {
            Form::Whole => (vec![path.clone()], None),
            Form::Index => {
                let index = read_index(folder, &path)?;
                (index.values().cloned().collect::<BTreeSet<_>>().into_iter().collect(), Some(index))
            }
        };
        let read = |file: &PathBuf| *file == path || shards.contains(file);
        let others = files.iter().filter(|file| is_weights(file)).map(|file| folder.join(file)).filter(|file| !read(file));
        let others = others.collect();
        Ok(Self { path, shards, index, why, others })
    }
}

/// Whether a file may hold weights, by its name.
fn is_weights(file: &str) -> bool {
    let known = ["safetensors", "bin", "ckpt", "pt", "pth", "msgpack", "h5", "onnx"];
    known.contains(&file.rsplit_once('.').map_or("", |(_, extension)| extension)) || file.contains(".index.")
}

/// Names of the files of a folder, sorted; none where there is no folder.
fn files(folder: &Path) -> Result<Vec<String>, DiffusionError> {
    let io = |source| DiffusionError::Io { action: "read", path: folder.to_owned(), source };
    let mut names = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.path().is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The error of a folder from which nothing can be chosen.
fn nothing(folder: &Path, stem: Stem, files: &[String]) -> DiffusionError {
    let variants: BTreeSet<&str> = files.iter().filter_map(|file| stem.parse(file)?.variant).collect();
    let expected = stem.names().map(|(name, extension)| format!("{name}.{extension}")).join(" or ");
    let shards = files.iter().any(|file| file.rsplit_once('.').is_some_and(|(name, _)| is_shard(name)));
    let hint = if !variants.is_empty() {
        let variants: Vec<_> = variants.iter().copied().collect();
        format!("it has the variants {}: name one (`--variant {}`)", variants.join(", "), variants[0])
    } else if shards {
        format!("it has shards without their index: download {}.index.json too", stem.file_name())
    } else if folder.is_dir() {
        "its weights are missing: download the complete folder (with git, `git lfs pull` fetches large files)".to_owned()
    } else {
        "the folder does not exist: give the folder that save_pretrained wrote".to_owned()
    };
    DiffusionError::MissingFile { folder: folder.to_owned(), expected, hint }
}

fn read_index(folder: &Path, path: &Path) -> Result<BTreeMap<String, PathBuf>, DiffusionError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| DiffusionError::Io { action: "read", path: path.to_owned(), source })?;
    let index: Index =
        serde_json::from_str(&text).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })?;
    let outside = |file: &String| Path::new(file).components().count() != 1 || file == "..";
    if let Some(file) = index.weight_map.values().find(|file| outside(file)) {
        let message = format!("its weight_map names `{file}`, which is not a file of this folder");
        return Err(DiffusionError::DamagedWeights { path: path.to_owned(), message });
    }
    let index: BTreeMap<_, _> = index.weight_map.into_iter().map(|(name, file)| (name, folder.join(file))).collect();
    if let Some(missing) = index.values().find(|shard| !shard.is_file()) {
        return Err(DiffusionError::MissingFile {
            folder: folder.to_owned(),
            expected: missing.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            hint: format!("{} lists it: download that shard too", path.display()),
        });
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The choice of a folder of empty files; an index names two shards of its own variant.
    fn choice(files: &[&str], asked: Option<&str>, stem: Stem) -> Result<Choice, DiffusionError> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let text =
                if file.ends_with(".json") { r#"{"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}"# } else { "" };
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        Choice::of(&WeightsFolder { folder: folder.path().to_owned(), variant: asked.map(str::to_owned) }, stem)
    }

    fn chosen(files: &[&str], asked: Option<&str>) -> (String, Why) {
        let choice = choice(files, asked, Stem::Diffusers).unwrap();
        (choice.path.file_name().unwrap().to_string_lossy().into_owned(), choice.why)
    }

    const ST: &str = "diffusion_pytorch_model.safetensors";
    const BIN: &str = "diffusion_pytorch_model.bin";
    const FP16: &str = "diffusion_pytorch_model.fp16.safetensors";
    const NON_EMA: &str = "diffusion_pytorch_model.non_ema.safetensors";

    /// diffusers 0.42.1 chooses these, but for the last, which it refuses without variant="fp16".
    #[test]
    fn plain_files_are_preferred_and_variants_are_named() {
        let fp16 = || "fp16".to_owned();
        for (files, asked, expected, why) in [
            (&[ST, BIN, NON_EMA][..], None, ST, Why::Plain),
            (&[BIN, NON_EMA, FP16], None, BIN, Why::Plain),
            (&[ST, FP16], Some("fp16"), FP16, Why::Asked(fp16())),
            (&[ST, NON_EMA], Some("fp16"), ST, Why::Lacks(fp16())),
            (&[BIN, "diffusion_pytorch_model.fp16.bin"], Some("fp16"), "diffusion_pytorch_model.fp16.bin", Why::Asked(fp16())),
            (&[FP16], None, FP16, Why::Only(fp16())),
        ] {
            assert_eq!(chosen(files, asked), (expected.to_owned(), why), "{files:?} {asked:?}");
        }
    }

    #[test]
    fn indices_of_every_version_are_found() {
        let shards = ["x.safetensors", "y.safetensors"];
        for (index, asked) in [
            ("diffusion_pytorch_model.safetensors.index.json", None),
            ("diffusion_pytorch_model.safetensors.index.fp16.json", Some("fp16")),
            ("diffusion_pytorch_model.safetensors.fp16.index.json", Some("fp16")),
        ] {
            let found = choice(&[index, shards[0], shards[1]], asked, Stem::Diffusers).unwrap();
            assert!(found.path.ends_with(index) && found.shards.len() == 2 && found.others.is_empty(), "{found:?}");
        }
        let index = "model.safetensors.index.json";
        let both = |stem, whole, index| choice(&[whole, index, shards[0], shards[1]], None, stem).unwrap();
        assert!(both(Stem::Transformers, "model.safetensors", index).path.ends_with("model.safetensors"));
        let index = "diffusion_pytorch_model.safetensors.index.json";
        let found = both(Stem::Diffusers, ST, index);
        assert!(found.path.ends_with(index) && found.others.len() == 1, "{found:?}");
    }

    #[test]
    fn shards_of_a_variant_are_no_variant() {
        let shard = "diffusion_pytorch_model.fp16-00001-of-00002.safetensors";
        let message = choice(&[shard], None, Stem::Diffusers).unwrap_err().to_string();
        assert!(message.contains("shards without their index"), "{message}");
        assert_eq!(chosen(&[shard, BIN], None).0, BIN);
    }

    #[test]
    fn what_can_not_be_chosen_is_said() {
        let message = |files: &[&str], asked| choice(files, asked, Stem::Diffusers).unwrap_err().to_string();
        let two = message(&[FP16, NON_EMA], None);
        assert!(two.contains("variants fp16, non_ema") && two.contains("--variant fp16"), "{two}");
        assert!(message(&[NON_EMA], Some("fp16")).contains("variants non_ema"));
        assert!(message(&[], None).contains("git lfs pull"));
        let missing = message(&["diffusion_pytorch_model.safetensors.index.json", "x.safetensors"], None);
        assert!(missing.contains("has no y.safetensors") && missing.contains("download that shard too"), "{missing}");
    }

    proptest! {
        #[test]
        fn no_name_panics_and_variants_come_back(variant in "[a-z_0-9]{1,8}", any in ".{0,40}") {
            let _ = Stem::Diffusers.parse(&any);
            for name in [
                format!("diffusion_pytorch_model.{variant}.safetensors"),
                format!("diffusion_pytorch_model.bin.index.{variant}.json"),
            ] {
                prop_assert_eq!(Stem::Diffusers.parse(&name).unwrap().variant, Some(variant.as_str()));
            }
        }
    }
}
