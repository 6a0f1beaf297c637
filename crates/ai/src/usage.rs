//! What an answer says it used, in the words of chat, responses, embeddings, images and audio.
//! Only counts are read; what they cost is in `price`.

use serde::Deserialize;

/// The tokens of one call.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    /// Of the input, what the provider had cached.
    pub(crate) cached_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Whether they were guessed from the length of the texts.
    pub(crate) estimated: bool,
}

/// How many bytes of text one token has on average; good enough for a guess that is marked as one.
const BYTES_PER_TOKEN: u64 = 4;

#[derive(Deserialize)]
struct Written {
    #[serde(default, alias = "input_tokens")]
    prompt_tokens: Option<u64>,
    #[serde(default, alias = "output_tokens")]
    completion_tokens: Option<u64>,
    #[serde(default, alias = "input_tokens_details", alias = "input_token_details")]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl Usage {
    /// Reads the value of `usage`; None when it holds no counts of tokens.
    pub(crate) fn read(value: &[u8]) -> Option<Usage> {
        let written: Written = serde_json::from_slice(value).ok()?;
        written.prompt_tokens.or(written.completion_tokens)?;
        Some(Usage {
            input_tokens: written.prompt_tokens.unwrap_or(0),
            cached_tokens: written
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or(0),
            output_tokens: written.completion_tokens.unwrap_or(0),
            estimated: false,
        })
    }

    /// The guess for texts of these lengths.
    pub(crate) fn estimate(input_bytes: u64, output_bytes: u64) -> Usage {
        Usage {
            input_tokens: input_bytes.div_ceil(BYTES_PER_TOKEN),
            cached_tokens: 0,
            output_tokens: output_bytes.div_ceil(BYTES_PER_TOKEN),
            estimated: true,
        }
    }

    /// What a later report adds to an earlier one: providers that report in parts repeat or raise their counts.
    pub(crate) fn merge(self, later: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.max(later.input_tokens),
            cached_tokens: self.cached_tokens.max(later.cached_tokens),
            output_tokens: self.output_tokens.max(later.output_tokens),
            estimated: false,
        }
    }
}
