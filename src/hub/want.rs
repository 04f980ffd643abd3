//! Which files of a repository are needed.
//!
//! Repositories hold the same weights several times (`.bin`, `.ckpt`, other precisions, other frameworks) and networks that are never
//! used (safety checkers): of 30 GB about 4 are needed.

use std::collections::BTreeSet;

use crate::diffusion::text::{OPEN_CLIP, TEXT_PROJECTION, TOKENIZER_FILES};
use crate::diffusion::weights::Stem;

/// What a folder is to hold.
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
    /// An autoencoder of diffusers, or TAESD's own files.
    Vae,
    /// `scheduler_config.json`.
    Scheduler,
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
            Self::Pipeline => "",
            Self::TextEncoder => "text_encoder",
            Self::Tokenizer => "tokenizer",
            Self::UNet => "unet",
            Self::Vae => "vae",
            Self::Scheduler => "scheduler",
        }
    }

    /// Its files in `folder` among those of a repository or a snapshot.
    pub(super) fn files(self, folder: &str, names: &BTreeSet<String>) -> Result<Needed, Lack> {
        let mut choice = Choosing { names, needed: Needed::default() };
        let within = |name: &str| join(folder, name);
        let chosen = match self {
            Self::Pipeline => choice.pipeline(folder),
            Self::TextEncoder => choice.network(folder, Stem::Transformers).map(|()| {
                // Where else it comes from, the run file says.
                if choice.tokenizer(folder).is_err() {
                    let beside = folder.rsplit_once('/').map_or("", |(above, _)| above);
                    let _ = choice.tokenizer(&join(beside, "tokenizer"));
                }
            }),
            Self::Tokenizer => choice.tokenizer(folder),
            Self::UNet => choice.network(folder, Stem::Diffusers),
            Self::Vae => match choice.taesd(folder) {
                true => Ok(()),
                false => choice.network(folder, Stem::Diffusers),
            },
            Self::Scheduler => choice.text(&within("scheduler_config.json")),
        };
        match chosen {
            Ok(()) => Ok(choice.needed),
            Err(missing) => Err(Lack { hint: self.hint(folder, names), missing }),
        }
    }

    /// What the repository is instead, or what to write.
    fn hint(self, folder: &str, names: &BTreeSet<String>) -> String {
        let has = |name: &str| names.contains(&join(folder, name));
        let usual = join(folder, self.usual_folder());
        if self == Self::TextEncoder && has("open_clip_config.json") {
            return format!("it is a model of open_clip: {OPEN_CLIP}");
        }
        if self != Self::Pipeline && has("model_index.json") {
            return format!("it is a whole pipeline: write `:{usual}` after the name");
        }
        if has("adapter_config.json") || has("pytorch_lora_weights.safetensors") {
            return "it holds an adapter (LoRA): download the file and give it as --lora beside the pipeline it was trained on"
                .to_owned();
        }
        let is_single = |name: &&String| {
            let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
            !name.contains('/') && matches!(kind, "safetensors" | "ckpt")
        };
        match names.iter().find(is_single) {
            Some(file) if self == Self::Pipeline && !has("model_index.json") && !has("config.json") => format!(
                "it has single-file checkpoints such as {file}: download one and convert it to a folder, or name a repository in \
                 diffusers' layout"
            ),
            _ => "name a repository that has it, or a folder of it after a colon".to_owned(),
        }
    }
}

struct Choosing<'a> {
    names: &'a BTreeSet<String>,
    needed: Needed,
}

impl Choosing<'_> {
    fn pipeline(&mut self, folder: &str) -> Result<(), String> {
        for name in ["model_index.json", "scheduler/scheduler_config.json"] {
            self.text(&join(folder, name))?;
        }
        self.tokenizer(&join(folder, "tokenizer"))?;
        self.network(&join(folder, "text_encoder"), Stem::Transformers)?;
        self.network(&join(folder, "unet"), Stem::Diffusers)?;
        self.network(&join(folder, "vae"), Stem::Diffusers)?;
        // A component of this program alone.
        let projection = join(folder, TEXT_PROJECTION);
        match self.names.contains(&join(&projection, "config.json")) {
            true => self.network(&projection, Stem::Diffusers),
            false => Ok(()),
        }
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
        let inside = self.inside(folder);
        let Some(file) = stem.choose(&inside) else { return Err(join(folder, stem.file_name())) };
        let file = join(folder, file);
        if file.ends_with(".json") {
            self.needed.texts.push(file.clone());
            self.needed.indices.push(file);
        } else {
            self.needed.weights.push(file);
        }
        Ok(())
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
    fn inside(&self, folder: &str) -> Vec<&str> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.names.iter().filter_map(|name| name.strip_prefix(&prefix)).filter(|name| !name.contains('/')).collect()
    }
}

/// A name in a folder of a repository.
pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}
