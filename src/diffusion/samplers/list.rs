//! The samplers by name.

use std::fmt;
use std::str::FromStr;

use super::steps::Spacing;
use crate::diffusion::DiffusionError;

/// The samplers. Names on the command line are those that [`Display`](fmt::Display) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// `ddpm`: ancestral sampling of the diffusion chain (Ho et al. 2020).
    Ddpm,
    /// `ddim`: its deterministic relative, with eta in between (Song et al. 2021).
    Ddim,
    /// `pndm`: linear multistep on DDIM's equation (Liu et al. 2022); Stable Diffusion's and RoentGen's default.
    Pndm,
    /// `euler`: Euler's method in the noise-to-signal ratio (Karras et al. 2022).
    Euler,
    /// `euler-a`: Euler's method with fresh noise each step.
    EulerAncestral,
    /// `dpm++2m`: DPM-Solver++ multistep (Lu et al. 2022).
    DpmSolver,
    /// `unipc`: predictor and corrector (Zhao et al. 2023).
    UniPc,
}

impl SamplerKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Ddpm, Self::Ddim, Self::Pndm, Self::Euler, Self::EulerAncestral, Self::DpmSolver, Self::UniPc];

    /// `_class_name` in a `scheduler_config.json`.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Ddpm => "DDPMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::DpmSolver => "DPMSolverMultistepScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
        }
    }

    pub(super) fn of_class(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.class_name() == name)
    }

    /// The spacing where a file names none.
    pub(super) const fn default_spacing(self) -> Spacing {
        match self {
            Self::Ddpm | Self::Ddim | Self::Pndm => Spacing::Leading,
            Self::Euler | Self::EulerAncestral | Self::DpmSolver | Self::UniPc => Spacing::Linspace,
        }
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ddpm => "ddpm",
            Self::Ddim => "ddim",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::DpmSolver => "dpm++2m",
            Self::UniPc => "unipc",
        })
    }
}

impl FromStr for SamplerKind {
    type Err = DiffusionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name).ok_or_else(|| DiffusionError::Setting {
            key: "sampler",
            value: name.to_owned(),
            expected: Self::ALL.map(|kind| kind.to_string()).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_the_list() {
        for kind in SamplerKind::ALL {
            assert_eq!(kind.to_string().parse::<SamplerKind>().unwrap(), kind);
            assert_eq!(SamplerKind::of_class(kind.class_name()), Some(kind));
        }
        let message = "heun".parse::<SamplerKind>().unwrap_err().to_string();
        assert_eq!(message, "sampler is heun, expected ddpm, ddim, pndm, euler, euler-a, dpm++2m, unipc");
    }
}
