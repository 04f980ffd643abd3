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

/// The sentence about prompts that use only the first vector of a token of several; `None` if there are none.
///
/// # Errors
/// [`DiffusionError::Tokenizer`].
pub fn cut_tokens_note<'a>(
    synthesizer: &DiffusionSynthesizer,
    requests: impl IntoIterator<Item = &'a SampleRequest>,
) -> Result<Option<String>, DiffusionError> {
    let pipeline = synthesizer.pipeline();
    let mut prompts: Vec<&str> = requests.into_iter().map(|request| request.prompt.as_str()).collect();
    prompts.push(synthesizer.negative_prompt());
    let tokenizer = pipeline.tokenizer();
    let encoded = pipeline.prompt_ids(&prompts)?;
    let mut cut = encoded.iter().filter_map(|ids| tokenizer.cut_short(ids));
    let Some((token, vectors)) = cut.next() else { return Ok(None) };
    let count = 1 + cut.count();
    let remedy = match token.to_lowercase() == token {
        true => format!("write it as {token}"),
        false => format!("give it a name in lower case, {}=FILE", token.to_lowercase()),
    };
    let use_only = if count == 1 { "prompt uses" } else { "prompts use" };
    Ok(Some(format!(
        "{count} {use_only} only the first of the {vectors} vectors of {token}, as in diffusers, because of capital letters: {remedy}"
    )))
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
