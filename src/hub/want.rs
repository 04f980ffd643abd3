//! Which files of a repository are needed.
//!
//! Repositories hold the same weights several times (`.bin`, `.ckpt`, other precisions, other frameworks) and networks that are never
//! used (safety checkers): of 30 GB about 4 are needed.

use std::collections::BTreeSet;

use crate::adapters::{EMBEDDING_FILES, LORA_CONFIG, LORA_FILES};
use crate::diffusion::text::{OPEN_CLIP, TEXT_PROJECTION, TOKENIZER_FILES};
use crate::diffusion::weights::{Stem, Why};

/// What a name is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A whole pipeline in diffusers' layout.
    Pipeline,
    /// A text encoder, and the tokenizer in its folder or beside it.
    TextEncoder,
    /// A tokenizer alone.
    Tokenizer,
    /// A denoiser.
    UNet,
    /// A denoiser, which may be without its configuration as accelerate saves it.
    OtherUNet,
    /// An autoencoder of diffusers, or TAESD's own files.
    Vae,
    /// `scheduler_config.json`.
    Scheduler,
    /// A file of low-rank adapters, or diffusers' or peft's in a folder.
    Lora,
    /// A file of textual inversion, or diffusers' in a folder.
    Embedding,
    /// A network that makes features of images, such as RAD-DINO or CLIP.
    ImageNetwork,
    /// A checkpoint in one file.
    SingleFile,
    /// Whatever there is: one of these.
    Any,
}

/// What a name is to lead to, and which of its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is.
    pub want: Want,
    /// The variant of weights that is read where a component has it; the plain ones if `None`.
    pub variant: Option<String>,
    /// Components of a pipeline whose weights come from elsewhere: of these the configurations alone are needed.
    pub replaced: Vec<&'static str>,
}

impl From<Want> for Wanted {
    fn from(want: Want) -> Self {
        Self { want, variant: None, replaced: Vec::new() }
    }
}

/// The files of a repository that are needed, by their names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needed {
    /// Configurations, vocabularies and indices of shards: small, and first.
    pub(super) texts: Vec<String>,
    /// Whole files of weights.
    pub(super) weights: Vec<String>,
    /// Indices of shards, which name further files; each is in `texts` too.
    pub(super) indices: Vec<String>,
    /// Whether a component's weights are of another variant than was asked for: a cache may lack what the hub has.
    pub(super) is_second_choice: bool,
}

/// Why files are not what was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    /// The files that are not there, any of which would do.
    pub(super) missing: String,
    /// What to write instead.
    pub(super) hint: String,
}

impl Want {
    /// The folder that a pipeline has it in.
    fn usual_folder(self) -> &'static str {
        match self {
            Self::TextEncoder => "text_encoder",
            Self::Tokenizer => "tokenizer",
            Self::UNet | Self::OtherUNet => "unet",
            Self::Vae => "vae",
            Self::Scheduler => "scheduler",
            Self::Pipeline | Self::Lora | Self::Embedding | Self::ImageNetwork | Self::SingleFile | Self::Any => "",
        }
    }

    /// What `folder`, which may be a file, is among these files, for [`Any`](Self::Any); others stay what they are.
    pub(super) fn decided(self, folder: &str, names: &BTreeSet<String>) -> Self {
        let has = |files: &[&str]| files.iter().any(|name| names.contains(&join(folder, name)));
        match self {
            Self::Any if names.contains(folder) && names.contains(&beside(folder, LORA_CONFIG)) => Self::Lora,
            Self::Any if names.contains(folder) => Self::SingleFile,
            Self::Any if has(&["model_index.json"]) => Self::Pipeline,
            Self::Any if has(&LORA_FILES) => Self::Lora,
            Self::Any if has(&EMBEDDING_FILES) => Self::Embedding,
            Self::Any if has(&["config.json"]) => Self::OtherUNet,
            Self::Any => Self::Pipeline,
            other => other,
        }
    }

    /// What the repository is instead, or what to write.
    fn hint(self, folder: &str, names: &BTreeSet<String>) -> String {
        let has = |name: &str| names.contains(&join(folder, name));
        if self == Self::TextEncoder && has("open_clip_config.json") {
            return format!("it is a model of open_clip: {OPEN_CLIP}");
        }
        let usual = self.usual_folder();
        if !usual.is_empty() && has("model_index.json") {
            return format!("it is a whole pipeline: write `:{}` after the name", join(folder, usual));
        }
        let parts = ["unet_ema", "unet"].into_iter().filter(|part| has(&join(part, "config.json")));
        let parts: Vec<String> = parts.map(|part| format!("`:{}`", join(folder, part))).collect();
        if self == Self::OtherUNet && !parts.is_empty() {
            return format!("it is a folder of a training script: write {} after the name", parts.join(" or "));
        }
        let within = if is_weights(folder) { beside(folder, "") } else { folder.to_owned() };
        let is_file = |name: &&str| {
            let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
            match self {
                Self::SingleFile | Self::Pipeline | Self::Any => matches!(kind, "safetensors" | "ckpt"),
                _ => matches!(kind, "safetensors" | "bin" | "pt"),
            }
        };
        let files = inside(names, &within).filter(is_file).map(|name| join(&within, name));
        let files: Vec<String> = files.take(MOST_NAMED).collect();
        match (self, files.first()) {
            (Self::Lora | Self::Embedding | Self::SingleFile, Some(first)) => {
                format!("it has {}: name the file after a colon, such as owner/name:{first}", files.join(", "))
            }
            (Self::Pipeline, _) if names.contains(folder) => {
                "it is a file: `roentgen convert` takes its name and makes a folder of it, which --pipeline takes".to_owned()
            }
            (Self::Pipeline, _) if LORA_FILES.iter().any(|name| has(name)) => {
                "it holds an adapter (LoRA): give it as --lora beside the pipeline it was trained on".to_owned()
            }
            (Self::Pipeline, Some(first)) if !has("model_index.json") && !has("config.json") => format!(
                "it has checkpoints in one file: `roentgen convert owner/name:{first}` makes a folder of it, which --pipeline takes; or name \
                 a repository in diffusers' layout"
            ),
            _ => "name a repository that has it, or a folder of it after a colon".to_owned(),
        }
    }
}

/// Files of a repository that a message names.
const MOST_NAMED: usize = 5;

impl Wanted {
    /// Its files in `folder` among those of a repository or a snapshot; `folder` may be a file.
    pub(super) fn files(&self, folder: &str, names: &BTreeSet<String>) -> Result<Needed, Lack> {
        let want = self.want.decided(folder, names);
        let mut choice = Choosing { names, wanted: self, needed: Needed::default() };
        let chosen = match want {
            Want::Pipeline if names.contains(folder) => Err("folder of that name".to_owned()),
            Want::Pipeline | Want::Any => choice.pipeline(folder),
            Want::TextEncoder => choice.network(folder, Stem::Transformers).map(|()| {
                // Where else it comes from, the run file says.
                if choice.tokenizer(folder).is_err() {
                    let _ = choice.tokenizer(&beside(folder, "tokenizer"));
                }
            }),
            Want::Tokenizer => choice.tokenizer(folder),
            Want::UNet => choice.network(folder, Stem::Diffusers),
            Want::OtherUNet if names.contains(&join(folder, "config.json")) => choice.network(folder, Stem::Diffusers),
            Want::OtherUNet => choice.weights(folder, Stem::Transformers).map_err(|_| join(folder, "config.json")),
            Want::Vae => match choice.taesd(folder) {
                true => Ok(()),
                false => choice.network(folder, Stem::Diffusers),
            },
            Want::Scheduler => choice.text(&join(folder, "scheduler_config.json")),
            Want::Lora => choice.file(folder, &LORA_FILES).map(|file| {
                let _ = choice.text(&beside(&file, LORA_CONFIG));
            }),
            Want::Embedding => choice.file(folder, &EMBEDDING_FILES).map(drop),
            Want::ImageNetwork => {
                let network = choice.text(&join(folder, "preprocessor_config.json"));
                network.and_then(|()| choice.network(folder, Stem::Transformers)).map(|()| {
                    // CLIP's, for texts that look for images.
                    let _ = choice.tokenizer(folder);
                })
            }
            Want::SingleFile => choice.file(folder, &[]).map(drop),
        };
        chosen.map_err(|missing| Lack { hint: want.hint(folder, names), missing })?;
        if want == Want::Pipeline && self.replaced.is_empty() {
            choice.check_variant(folder)?;
        }
        Ok(choice.needed)
    }
}

/// Components of a pipeline with weights, and the names of their files.
const WEIGHTED: [(&str, Stem); 3] = [("text_encoder", Stem::Transformers), ("unet", Stem::Diffusers), ("vae", Stem::Diffusers)];

struct Choosing<'a> {
    names: &'a BTreeSet<String>,
    wanted: &'a Wanted,
    needed: Needed,
}

impl<'a> Choosing<'a> {
    fn pipeline(&mut self, folder: &str) -> Result<(), String> {
        for name in ["model_index.json", "scheduler/scheduler_config.json"] {
            self.text(&join(folder, name))?;
        }
        self.tokenizer(&join(folder, "tokenizer"))?;
        for (name, stem) in WEIGHTED {
            match self.wanted.replaced.contains(&name) {
                true => self.text(&join(folder, &join(name, "config.json")))?,
                false => self.network(&join(folder, name), stem)?,
            }
        }
        // A component of this program alone.
        let projection = join(folder, TEXT_PROJECTION);
        match self.names.contains(&join(&projection, "config.json")) {
            true => self.network(&projection, Stem::Diffusers),
            false => Ok(()),
        }
    }

    /// Refuses a variant that no component of a pipeline has, before the plain weights are downloaded for nothing.
    fn check_variant(&self, folder: &str) -> Result<(), Lack> {
        let Some(asked) = &self.wanted.variant else { return Ok(()) };
        let variants = |(name, stem): (&str, Stem)| stem.variants_among(&self.inside(&join(folder, name)));
        let found: BTreeSet<String> = WEIGHTED.into_iter().flat_map(variants).collect();
        if found.contains(asked) {
            return Ok(());
        }
        let found = Vec::from_iter(found).join(", ");
        let hint = match found.as_str() {
            "" => "its weights have no variants: leave the variant out".to_owned(),
            found => format!("its weights have the variants {found}: name one of them"),
        };
        Err(Lack { missing: format!("weights of variant {asked}"), hint })
    }

    fn text(&mut self, name: &str) -> Result<(), String> {
        if !self.names.contains(name) {
            return Err(name.to_owned());
        }
        self.needed.texts.push(name.to_owned());
        Ok(())
    }

    /// `config.json` and one set of weights.
    fn network(&mut self, folder: &str, stem: Stem) -> Result<(), String> {
        self.text(&join(folder, "config.json"))?;
        self.weights(folder, stem)
    }

    /// One set of weights.
    fn weights(&mut self, folder: &str, stem: Stem) -> Result<(), String> {
        let Some((file, why)) = self.choose(folder, stem) else { return Err(join(folder, stem.file_name())) };
        self.needed.is_second_choice |= matches!(why, Why::Only(_) | Why::Lacks(_));
        if file.ends_with(".json") {
            self.needed.texts.push(file.clone());
            self.needed.indices.push(file);
        } else {
            self.needed.weights.push(file);
        }
        Ok(())
    }

    fn choose(&self, folder: &str, stem: Stem) -> Option<(String, Why)> {
        let (file, why) = stem.choose(&self.inside(folder), self.wanted.variant.as_deref())?;
        Some((join(folder, &file), why))
    }

    /// The file that is named, or the first of these in the folder that is.
    fn file(&mut self, folder: &str, known: &[&str]) -> Result<String, String> {
        let within = || known.iter().map(|name| join(folder, name));
        let found = [folder.to_owned()].into_iter().chain(within()).find(|name| self.names.contains(name));
        let Some(file) = found else {
            return Err(match folder {
                "" if known.is_empty() => "file that is named after a colon".to_owned(),
                folder if known.is_empty() || is_weights(folder) => folder.to_owned(),
                _ => within().collect::<Vec<_>>().join(" or "),
            });
        };
        self.needed.weights.push(file.clone());
        Ok(file)
    }

    /// Every file that it is read from; they are enough if a vocabulary is among them.
    fn tokenizer(&mut self, folder: &str) -> Result<(), String> {
        let has = |name: &str| self.names.contains(&join(folder, name));
        if !(has("tokenizer.json") || has("vocab.txt") || has("vocab.json") && has("merges.txt")) {
            return Err(join(folder, "tokenizer.json, vocab.txt, or vocab.json with merges.txt"));
        }
        let files = TOKENIZER_FILES.iter().filter(|name| has(name)).map(|name| join(folder, name)).collect::<Vec<_>>();
        self.needed.texts.extend(files);
        Ok(())
    }

    /// The two files of TAESD, where there is no configuration.
    fn taesd(&mut self, folder: &str) -> bool {
        let inside = self.inside(folder);
        let find = |part: &str| inside.iter().find(|name| name.contains(part) && name.ends_with(".safetensors"));
        match (inside.contains(&"config.json"), find("_encoder"), find("_decoder")) {
            (false, Some(encoder), Some(decoder)) => {
                self.needed.weights.extend([encoder, decoder].map(|name| join(folder, name)));
                true
            }
            _ => false,
        }
    }

    /// The files right in a folder, without its name.
    fn inside(&self, folder: &str) -> Vec<&'a str> {
        inside(self.names, folder).collect()
    }
}

/// The files right in a folder, without its name.
fn inside<'a>(names: &'a BTreeSet<String>, folder: &str) -> impl Iterator<Item = &'a str> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    names.iter().filter_map(move |name| name.strip_prefix(&prefix)).filter(|name| !name.contains('/'))
}

/// A name in the folder that holds `file`.
fn beside(file: &str, name: &str) -> String {
    join(file.rsplit_once('/').map_or("", |(above, _)| above), name)
}

/// Whether a name is that of a file of weights.
fn is_weights(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, kind)| matches!(kind, "safetensors" | "ckpt" | "bin" | "pt" | "pth"))
}

/// A name in a folder of a repository.
pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}
