//! What is to be said of generated images, whichever command makes them.

use roentgen_augment::request::SampleRequest;

use super::synthesizer::DiffusionSynthesizer;
use crate::diffusion::DiffusionError;

/// A gray picture's channels differ by at most this share of the range, on average.
const COLOURED: f64 = 0.05;

/// Prompts of which the text encoder does not see the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutPrompts {
    /// How many, one per image.
    pub prompts: usize,
    /// The largest number of tokens that one of them loses.
    pub most_tokens: usize,
}

impl CutPrompts {
    /// Those among the prompts of `requests`.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub fn of<'a>(
        synthesizer: &DiffusionSynthesizer,
        requests: impl IntoIterator<Item = &'a SampleRequest>,
    ) -> Result<Self, DiffusionError> {
        let prompts: Vec<&str> = requests.into_iter().map(|request| request.prompt.as_str()).collect();
        let dropped = synthesizer.pipeline().dropped_tokens(&prompts)?;
        let cut = dropped.into_iter().filter(|dropped| *dropped > 0);
        Ok(cut.fold(Self::default(), |Self { prompts, most_tokens }, dropped| Self {
            prompts: prompts + 1,
            most_tokens: most_tokens.max(dropped),
        }))
    }

    /// The sentence about them; `None` if there are none.
    #[must_use]
    pub fn note(self) -> Option<String> {
        let (prompts, were) = if self.prompts == 1 { ("prompt is", "was") } else { ("prompts are", "were") };
        (self.prompts > 0).then(|| {
            format!(
                "{} {prompts} longer than the text encoder reads and {were} cut; the longest lost its last {} tokens",
                self.prompts, self.most_tokens
            )
        })
    }
}

/// The sentence about a generator whose channels differ by this share of the range on average; `None` for one that paints in gray.
#[must_use]
pub fn colour_note(mean_channel_spread: f64) -> Option<String> {
    (mean_channel_spread > COLOURED).then(|| {
        format!(
            "the model produced colour (channels differ by {:.0} % of the range on average); the gray images are their mean",
            100.0 * mean_channel_spread
        )
    })
}
