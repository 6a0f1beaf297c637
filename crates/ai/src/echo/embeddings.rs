//! `POST /v1/embeddings`: unit vectors made of the hashes of words, so that texts that share words lie near each other.
//! No meaning is known; synonyms are strangers.

use super::script::{self, Turn};
use super::{Form, Said, Wrong, count, field, fnv, text_of};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use message::{Dice, Time};
use serde_json::{Value, json};

/// How many numbers a vector has unless the client says.
const DIMENSIONS: u64 = 256;
/// The most numbers of a vector.
const DIMENSIONS_MAX: u64 = 4_096;
/// The most texts of one request, as OpenAI has it.
const INPUTS_MAX: usize = 2_048;

pub(super) fn answer(request: &Value, _: u64, _: Time) -> Result<Said, Wrong> {
    let inputs = inputs(field(request, "input"))?;
    let dimensions = field(request, "dimensions").as_u64().unwrap_or(DIMENSIONS);
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Wrong::new("dimensions", format!("dimensions must lie between 1 and {DIMENSIONS_MAX}")));
    }
    let base64 = match field(request, "encoding_format").as_str() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(Wrong::new("encoding_format", format!("{other:?} is no format: float or base64")));
        }
    };
    let model = text_of(field(request, "model"));
    let mut turns: Vec<Turn> =
        inputs.into_iter().map(|text| Turn { role: "user".to_owned(), text }).collect();
    let script = script::find(&mut turns, model).map_err(|what| Wrong::new("input", what))?;
    let tokens: u64 = turns.iter().map(|turn| count(&turn.text)).sum();
    let tokens = script.usage.map_or(tokens, |counts| counts.input_tokens);
    let data = turns.iter().enumerate().map(|(index, turn)| {
        let vector = embed(&turn.text, dimensions);
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    let value = json!({
        "object": "list", "data": data.collect::<Vec<_>>(), "model": model,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok(Said { script, form: Form::Whole(value) })
}

/// A text, texts, tokens, or lists of tokens.
fn inputs(input: &Value) -> Result<Vec<String>, Wrong> {
    let wrong = || Wrong::new("input", "input must be text, tokens, or an array of them, and not empty");
    let tokens = |list: &[Value]| {
        let numbers: Option<Vec<String>> =
            list.iter().map(|token| Some(token.as_u64()?.to_string())).collect();
        numbers.filter(|numbers| !numbers.is_empty()).map(|numbers| numbers.join(" "))
    };
    let list = match input {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Array(list) if list.len() > INPUTS_MAX => {
            return Err(Wrong::new("input", format!("input may hold at most {INPUTS_MAX} texts")));
        }
        Value::Array(list) if list.first().is_some_and(Value::is_u64) => {
            vec![tokens(list).ok_or_else(wrong)?]
        }
        Value::Array(list) if !list.is_empty() => list
            .iter()
            .map(|one| match one {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Array(one) => tokens(one),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    Ok(list)
}

/// The sum of a fixed random vector for each word, of length 1.
pub(super) fn embed(text: &str, dimensions: u64) -> Vec<f32> {
    let mut sum = vec![0_f32; usize::try_from(dimensions).unwrap_or(0)];
    let mut add = |word: &str| {
        let dice = Dice::seeded(fnv(word.as_bytes()));
        for number in &mut sum {
            // 16 bits of chance, from -1 to 1.
            let chance = u16::try_from(dice.roll() >> 48).unwrap_or(0);
            *number += f32::from(chance) / 32_767.5 - 1.0;
        }
    };
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut any = false;
    words.for_each(|word| {
        any = true;
        add(word);
    });
    if !any {
        add(text);
    }
    let length = sum.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        sum.iter_mut().for_each(|number| *number /= length);
    }
    sum
}
