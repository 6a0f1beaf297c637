//! What `echo` answers beside chats, responses and embeddings: old completions, moderations, images, speech, transcripts. Small, and
//! true to their form: an image is a PNG of one dot, speech is silence.

use super::chat::Answer;
use super::script::Turn;
use super::{Form, Said, Wrong, count, field, pieces, text_of};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use message::Time;
use net::http::{Body, Response, json, respond};
use serde_json::{Value, json};

/// A PNG of one grey dot.
const DOT: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";
/// How many prompts or images one request may ask for.
const COUNT_MAX: u64 = 16;

/// `POST /v1/completions`, whole and streamed.
pub(super) fn completions(request: &Value, seed: u64, now: Time) -> Result<Said, Wrong> {
    let prompt = match field(request, "prompt") {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        _ => return Err(Wrong::new("prompt", "prompt must be text or an array of texts")),
    };
    let model = text_of(field(request, "model"));
    let turns = vec![Turn { role: "user".to_owned(), text: prompt }];
    let mut answer = Answer::to(turns, model, field(request, "max_tokens").as_u64(), None, None)
        .map_err(|what| Wrong::new("prompt", what))?;
    answer.stop_at(field(request, "stop"));
    let (id, created) = (format!("cmpl-{seed:016x}"), now.as_millis() / 1000);
    let usage = json!({
        "prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    });
    let document = |text: &str, finish: Option<&str>, usage: Option<&Value>| {
        json!({
            "id": id, "object": "text_completion", "created": created, "model": model,
            "choices": [{ "text": text, "index": 0, "logprobs": null, "finish_reason": finish }], "usage": usage,
        })
    };
    if field(request, "stream").as_bool() != Some(true) {
        let whole = document(&answer.text, Some(&answer.finish), Some(&usage));
        return Ok(Said { script: answer.script, form: Form::Whole(whole) });
    }
    let event = |value: &Value| Bytes::from(format!("data: {value}\n\n"));
    let mut events: Vec<Bytes> =
        pieces(&answer.text).map(|piece| event(&document(piece, None, None))).collect();
    let with_usage = field(field(request, "stream_options"), "include_usage").as_bool() == Some(true);
    events.push(event(&document("", Some(&answer.finish), with_usage.then_some(&usage))));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Ok(Said { script: answer.script, form: Form::Events(events) })
}

/// `POST /v1/moderations`: nothing is flagged, for nothing is judged.
pub(super) fn moderations(request: &Value, seed: u64, _: Time) -> Result<Said, Wrong> {
    const CATEGORIES: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let inputs = match field(request, "input") {
        Value::String(_) => 1,
        Value::Array(inputs) if !inputs.is_empty() => inputs.len(),
        _ => return Err(Wrong::new("input", "input must be text or an array, and not empty")),
    };
    let by = |value: Value| -> Value {
        CATEGORIES
            .iter()
            .map(|name| ((*name).to_owned(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let result = json!({
        "flagged": false, "categories": by(json!(false)), "category_scores": by(json!(0.0)),
        "category_applied_input_types": by(json!(["text"])),
    });
    let value = json!({
        "id": format!("modr-{seed:016x}"), "model": field(request, "model"), "results": vec![result; inputs],
    });
    Ok(Said { script: Default::default(), form: Form::Whole(value) })
}

/// `POST /v1/images/generations`.
pub(super) fn images(request: &Value, _: u64, now: Time) -> Result<Said, Wrong> {
    let prompt = field(request, "prompt");
    let Some(prompt) = prompt.as_str() else { return Err(Wrong::new("prompt", "prompt must be text")) };
    let as_url = field(request, "response_format") == "url";
    let pictures = field(request, "n").as_u64().unwrap_or(1).clamp(1, COUNT_MAX);
    Ok(Said { script: Default::default(), form: Form::Whole(pictures_of(prompt, pictures, as_url, now)) })
}

/// The answer with so many images.
pub(super) fn pictures_of(prompt: &str, pictures: u64, as_url: bool, now: Time) -> Value {
    let picture = if as_url {
        json!({ "url": format!("data:image/png;base64,{DOT}") })
    } else {
        json!({ "b64_json": DOT })
    };
    let input = count(prompt);
    json!({
        "created": now.as_millis() / 1000,
        "data": (0..pictures).map(|_| picture.clone()).collect::<Vec<_>>(),
        "usage": { "input_tokens": input, "output_tokens": pictures, "total_tokens": input + pictures },
    })
}

/// `POST /v1/audio/speech`: a tenth of a second of silence for each word.
pub(super) fn speech(request: &Value) -> Result<Response, Wrong> {
    let input = field(request, "input").as_str().ok_or_else(|| Wrong::new("input", "input must be text"))?;
    let words = usize::try_from(count(input).clamp(1, 600)).unwrap_or(1);
    // 24,000 samples a second, as OpenAI's, of two bytes.
    let silence = vec![0_u8; words * 4_800];
    let (kind, body) = match field(request, "response_format").as_str() {
        None | Some("mp3") => ("audio/mpeg", mp3(words * 4)),
        Some("wav") => ("audio/wav", wav(&silence)),
        Some("pcm") => ("audio/pcm", silence),
        Some(other) => {
            let what = format!("echo speaks mp3, wav and pcm, not {other:?}");
            return Err(Wrong::new("response_format", what));
        }
    };
    Ok(respond(StatusCode::OK, kind, body))
}

/// Frames of MPEG-1 layer III at 128 kbit/s and 44.1 kHz in which everything is zero: 26 ms of silence each.
fn mp3(frames: usize) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0x64];
    frame.resize(417, 0);
    frame.repeat(frames)
}

fn wav(samples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap_or(u32::MAX - 36);
    let mut out = Vec::with_capacity(44 + samples.len());
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(length + 36).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend_from_slice(&24_000_u32.to_le_bytes());
    out.extend_from_slice(&48_000_u32.to_le_bytes());
    out.extend_from_slice(b"\x02\0\x10\0data");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(samples);
    out
}

/// The answer to a form with sound in it, which `echo` does not listen to, in the form that it asks for.
pub(super) fn heard(form: &Bytes) -> Response {
    let text = format!("{} bytes", form.len());
    let (input, output) = (form.len().div_ceil(1_000) as u64, count(&text));
    let usage = json!({
        "type": "tokens", "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
    });
    if part(form, "stream").is_some_and(|value| value == b"true") {
        let mut events = String::new();
        for piece in pieces(&text) {
            let event = json!({ "type": "transcript.text.delta", "delta": piece });
            events.push_str(&format!("data: {event}\n\n"));
        }
        let done = json!({ "type": "transcript.text.done", "text": text, "usage": usage });
        events.push_str(&format!("data: {done}\n\n"));
        let mut response = respond(StatusCode::OK, "text/event-stream; charset=utf-8", Bytes::new());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        *response.body_mut() = Body::full(events);
        return response;
    }
    match part(form, "response_format").unwrap_or(b"json") {
        b"text" => respond(StatusCode::OK, "text/plain; charset=utf-8", format!("{text}\n")),
        b"srt" => {
            let srt = format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n\n");
            respond(StatusCode::OK, "text/plain; charset=utf-8", srt)
        }
        b"vtt" => {
            let vtt = format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n\n");
            respond(StatusCode::OK, "text/plain; charset=utf-8", vtt)
        }
        b"verbose_json" => {
            let segment = json!({ "id": 0, "start": 0.0, "end": 1.0, "text": text });
            let value = json!({
                "task": "transcribe", "language": "english", "duration": 1.0, "text": text, "segments": [segment],
                "usage": usage,
            });
            json(StatusCode::OK, &value)
        }
        _ => json(StatusCode::OK, &json!({ "text": text, "usage": usage })),
    }
}

/// The value of a plain part of a form.
pub(super) fn part<'f>(form: &'f [u8], name: &str) -> Option<&'f [u8]> {
    let at = memchr::memmem::find(form, format!("name=\"{name}\"").as_bytes())?;
    let rest = form.get(at..)?;
    let begin = memchr::memmem::find(rest, b"\r\n\r\n")? + 4;
    let value = rest.get(begin..)?;
    value.get(..memchr::memmem::find(value, b"\r\n")?)
}
