//! The one list of samplers: whatever names them, from `--help` to `docs/diffusion.md`, takes it from here.
//!
//! To add one: a variant of [`SamplerKind`], its entry in [`SAMPLERS`], a file beside this one with its configuration and its
//! [`Sampler`](super::Sampler), and a branch in `config.rs`, which the compiler asks for.

use std::fmt;
use std::str::FromStr;

use super::steps::Spacing;
use crate::diffusion::DiffusionError;

/// The samplers; [`SAMPLERS`] says what each of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "SAMPLERS describes them")]
pub enum SamplerKind {
    Ddpm,
    Ddim,
    Pndm,
    Euler,
    EulerAncestral,
    DpmSolver,
    UniPc,
}

/// What there is to say about a sampler.
#[derive(Debug)]
pub struct SamplerEntry {
    /// Which one it is.
    pub kind: SamplerKind,
    /// Its name on the command line and in run files.
    pub name: &'static str,
    /// What it is, in a line, with its source.
    pub title: &'static str,
    /// `_class_name` in a `scheduler_config.json`.
    pub class_name: &'static str,
    /// Whether it adds fresh noise in each step.
    pub noise: &'static str,
    /// Whether Karras' noise levels can be asked for.
    pub karras: bool,
    /// The spacing of timesteps where a file names none.
    pub(super) spacing: Spacing,
}

/// Every sampler, in the order in which they are listed.
pub const SAMPLERS: [SamplerEntry; 7] = [
    SamplerEntry {
        kind: SamplerKind::Ddpm,
        name: "ddpm",
        title: "ancestral sampling of the diffusion chain (Ho et al. 2020)",
        class_name: "DDPMScheduler",
        noise: "yes",
        karras: false,
        spacing: Spacing::Leading,
    },
    SamplerEntry {
        kind: SamplerKind::Ddim,
        name: "ddim",
        title: "DDPM's deterministic relative, with eta in between (Song et al. 2021)",
        class_name: "DDIMScheduler",
        noise: "with `--eta` above 0",
        karras: false,
        spacing: Spacing::Leading,
    },
    SamplerEntry {
        kind: SamplerKind::Pndm,
        name: "pndm",
        title: "linear multistep on DDIM's equation (Liu et al. 2022); Stable Diffusion's and RoentGen's default",
        class_name: "PNDMScheduler",
        noise: "no",
        karras: false,
        spacing: Spacing::Leading,
    },
    SamplerEntry {
        kind: SamplerKind::Euler,
        name: "euler",
        title: "Euler's method in the noise-to-signal ratio (Karras et al. 2022)",
        class_name: "EulerDiscreteScheduler",
        noise: "no",
        karras: true,
        spacing: Spacing::Linspace,
    },
    SamplerEntry {
        kind: SamplerKind::EulerAncestral,
        name: "euler-a",
        title: "Euler's method with fresh noise in each step",
        class_name: "EulerAncestralDiscreteScheduler",
        noise: "yes",
        karras: false,
        spacing: Spacing::Linspace,
    },
    SamplerEntry {
        kind: SamplerKind::DpmSolver,
        name: "dpm++2m",
        title: "DPM-Solver++ multistep (Lu et al. 2022)",
        class_name: "DPMSolverMultistepScheduler",
        noise: "if the file asks for an SDE",
        karras: true,
        spacing: Spacing::Linspace,
    },
    SamplerEntry {
        kind: SamplerKind::UniPc,
        name: "unipc",
        title: "predictor and corrector (Zhao et al. 2023)",
        class_name: "UniPCMultistepScheduler",
        noise: "no",
        karras: true,
        spacing: Spacing::Linspace,
    },
];

impl SamplerKind {
    /// Every kind.
    pub const ALL: [Self; SAMPLERS.len()] = {
        let mut all = [Self::Ddpm; SAMPLERS.len()];
        let mut i = 0;
        while i < all.len() {
            all[i] = SAMPLERS[i].kind;
            i += 1;
        }
        all
    };

    /// What there is to say about it.
    #[must_use]
    pub const fn entry(self) -> &'static SamplerEntry {
        const ENTRIES: &[SamplerEntry] = &SAMPLERS;
        &ENTRIES[self as usize]
    }

    /// `_class_name` in a `scheduler_config.json`.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        self.entry().class_name
    }

    /// The names of all samplers, as a sentence has them: `ddpm, ddim, … or unipc`.
    #[must_use]
    pub fn names() -> String {
        or_list(&SAMPLERS.map(|entry| entry.name))
    }

    /// The names of those with a choice of Karras' noise levels, in the same way.
    #[must_use]
    pub fn names_with_karras() -> String {
        or_list(&SAMPLERS.into_iter().filter(|entry| entry.karras).map(|entry| entry.name).collect::<Vec<_>>())
    }

    pub(super) fn of_class(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.class_name() == name)
    }
}

/// `a, b or c`.
fn or_list(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        names => names.concat(),
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.entry().name)
    }
}

impl FromStr for SamplerKind {
    type Err = DiffusionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.entry().name == name).ok_or_else(|| DiffusionError::Setting {
            key: "sampler",
            value: name.to_owned(),
            expected: Self::names(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_the_list() {
        for (place, kind) in SamplerKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "the list has the order of the variants");
            assert_eq!(kind.to_string().parse::<SamplerKind>().unwrap(), kind);
            assert_eq!(SamplerKind::of_class(kind.class_name()), Some(kind));
        }
        let message = "heun".parse::<SamplerKind>().unwrap_err().to_string();
        assert_eq!(message, "sampler is heun, expected ddpm, ddim, pndm, euler, euler-a, dpm++2m or unipc");
    }

    #[test]
    fn documents_list_every_sampler_and_no_other() {
        let docs = |name: &str| std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let text = docs("diffusion.md");
        let (_, table) = text.split_once("| `--sampler` |").expect("docs/diffusion.md has a table of samplers");
        let (table, _) = table.split_once("\n\n").unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = SAMPLERS.map(|entry| {
            let SamplerEntry { name, title, class_name, noise, .. } = entry;
            format!("| `{name}` | {title} | `{class_name}` | {noise} |")
        });
        assert_eq!(rows, expected, "docs/diffusion.md, the table of `--sampler`");

        let quoted = or_list(&SAMPLERS.map(|entry| format!("`{}`", entry.name)).each_ref().map(String::as_str));
        assert!(docs("run-file.md").contains(&quoted), "docs/run-file.md, `[generator.diffusion]`: {quoted}");
    }
}
