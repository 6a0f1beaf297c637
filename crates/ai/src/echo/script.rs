//! Scripts: what `echo` is told to do, by a JSON object in a message or by the name of the model.
//! The last script of a conversation holds.

use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// How many requests that are to fail some times are remembered.
const REMEMBERED_MAX: usize = 1_024;
/// The longest wait that a script may ask for.
const DELAY_MS_MAX: u64 = 600_000;

/// `{"echo": {…}}` anywhere in the text of a message; what stands around it is what is echoed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    /// What to answer instead of the last message.
    pub(super) reply: Option<String>,
    /// Which tools to call. Once the results are there, the last of them is echoed.
    pub(super) tool_calls: Vec<ToolCall>,
    /// How long to wait before the answer, in milliseconds.
    pub(super) delay_ms: u64,
    /// How long to wait between the pieces of a stream, in milliseconds.
    pub(super) chunk_delay_ms: u64,
    /// With which status to fail.
    pub(super) fail: Option<u16>,
    /// How often the same request of the same client fails before it passes; without it, always.
    pub(super) fail_times: Option<u64>,
    /// What `Retry-After` says of a failure, in seconds.
    pub(super) retry_after: Option<u64>,
    /// After how many events a stream breaks off.
    pub(super) cut_after: Option<usize>,
    /// With which code a realtime connection is closed in place of an answer.
    pub(super) close: Option<u16>,
    /// Why the answer ends there, in place of `stop`, `length` or `tool_calls`.
    pub(super) finish_reason: Option<String>,
    /// What the usage says, in place of the counts.
    pub(super) usage: Option<Counts>,
}

/// A tool to call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolCall {
    /// The tool.
    pub(super) name: String,
    /// Its arguments: an object, or text that is sent as it is.
    #[serde(default)]
    pub(super) arguments: Value,
}

impl ToolCall {
    pub(super) fn arguments(&self) -> String {
        match &self.arguments {
            Value::Null => "{}".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Scripted usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) input_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) output_tokens: u64,
}

#[derive(Deserialize)]
struct Wrapped {
    echo: Script,
}

/// One message of a conversation.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    pub(super) role: String,
    pub(super) text: String,
}

/// The script of a conversation, which is taken out of its texts, or else what the model's name says.
pub(super) fn find(turns: &mut [Turn], model: &str) -> Result<Script, String> {
    let mut found = None;
    for turn in turns.iter_mut().filter(|turn| turn.role != "assistant" && turn.role != "tool") {
        while let Some((script, text)) = take(&turn.text)? {
            turn.text = text;
            found = Some(script);
        }
    }
    let mut script = found.unwrap_or_else(|| by_name(model));
    script.delay_ms = script.delay_ms.min(DELAY_MS_MAX);
    script.chunk_delay_ms = script.chunk_delay_ms.min(DELAY_MS_MAX);
    Ok(script)
}

fn take(text: &str) -> Result<Option<(Script, String)>, String> {
    for (at, _) in text.match_indices('{') {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        let key = rest.get(1..).unwrap_or_default().trim_start();
        let named = key.strip_prefix("\"echo\"").is_some_and(|after| after.trim_start().starts_with(':'));
        if !named {
            continue;
        }
        let mut reader = serde_json::Deserializer::from_str(rest).into_iter::<Wrapped>();
        let Some(wrapped) = reader.next() else { continue };
        let wrapped = wrapped.map_err(|error| format!("the echo script cannot be read: {error}"))?;
        let after = rest.get(reader.byte_offset()..).unwrap_or_default();
        let around = [before.trim_end(), after.trim_start()].join(" ");
        return Ok(Some((wrapped.echo, around.trim().to_owned())));
    }
    Ok(None)
}

/// `echo-slow`, `echo-fail`, `echo-fail-429`, `echo-cut`; any other name asks for nothing.
fn by_name(model: &str) -> Script {
    let usual = Script::default();
    match model.strip_prefix("echo-").unwrap_or_default() {
        "slow" => Script { delay_ms: 1_000, chunk_delay_ms: 100, ..usual },
        "cut" => Script { cut_after: Some(2), ..usual },
        "fail" => Script { fail: Some(503), ..usual },
        other => match other.strip_prefix("fail-").and_then(|status| status.parse().ok()) {
            Some(status) => Script { fail: Some(status), ..usual },
            None => usual,
        },
    }
}

/// How often requests that are to fail some times have failed.
#[derive(Default)]
pub(crate) struct Memory {
    failed: Mutex<HashMap<u64, u64, foldhash::fast::RandomState>>,
}

impl Memory {
    /// The status with which this request fails now, if it does.
    pub(super) fn failure(&self, script: &Script, key: u64) -> Option<StatusCode> {
        let status = StatusCode::from_u16(script.fail?).ok().filter(|status| status.as_u16() >= 400);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let Some(times) = script.fail_times else { return Some(status) };
        let mut failed = self.failed.lock();
        if failed.len() >= REMEMBERED_MAX && !failed.contains_key(&key) {
            failed.clear();
        }
        let count = failed.entry(key).or_default();
        if *count >= times {
            failed.remove(&key);
            return None;
        }
        *count += 1;
        Some(status)
    }
}
