//! `POST /v1/chat/completions`, whole and streamed.
//! Images, audio and files in messages are not looked at; only their text is echoed.

use super::script::{self, Script, ToolCall, Turn};
use super::{Form, Said, Wrong, count, field, pieces, shape, text_of, within};
use bytes::Bytes;
use message::Time;
use serde_json::{Value, json};

/// The most choices of one answer.
const CHOICES_MAX: u64 = 16;

/// What `echo` says to a conversation.
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) finish: String,
    pub(super) input_tokens: u64,
    pub(super) cached_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) script: Script,
}

impl Answer {
    /// To these turns; `forced` is a tool that the client wants called, `form` what the answer must be: any JSON, or what
    /// fits a schema.
    pub(super) fn to(
        mut turns: Vec<Turn>,
        model: &str,
        max_tokens: Option<u64>,
        forced: Option<ToolCall>,
        form: Option<Wanted<'_>>,
    ) -> Result<Answer, String> {
        let script = script::find(&mut turns, model)?;
        let input_tokens = turns.iter().map(|turn| count(&turn.text)).sum();
        let answered = turns.last().is_some_and(|turn| turn.role == "tool");
        let mut calls = script.tool_calls.clone();
        if calls.is_empty() {
            calls.extend(forced);
        }
        if answered {
            calls.clear();
        }
        let echoed = if answered {
            turns.last()
        } else {
            turns.iter().rev().find(|turn| turn.role == "user").or(turns.last())
        };
        let echoed = echoed.map(|turn| turn.text.clone()).unwrap_or_default();
        let mut text = if answered { echoed } else { script.reply.clone().unwrap_or(echoed) };
        if !calls.is_empty() {
            text = script.reply.clone().unwrap_or_default();
        } else if let Some(form) = form
            && serde_json::from_str::<Value>(&text).is_err()
        {
            text = form.filled(&text).to_string();
        }
        let (text, fits) = within(&text, max_tokens);
        let usual = if !calls.is_empty() {
            "tool_calls"
        } else if fits {
            "stop"
        } else {
            "length"
        };
        let finish = script.finish_reason.clone().unwrap_or_else(|| usual.to_owned());
        let written =
            count(&text) + calls.iter().map(|call| count(&call.name) + count(&call.arguments())).sum::<u64>();
        let counts = script.usage;
        Ok(Answer {
            text,
            calls,
            finish,
            input_tokens: counts.map_or(input_tokens, |counts| counts.input_tokens),
            cached_tokens: counts.map_or(0, |counts| counts.cached_tokens),
            output_tokens: counts.map_or(written, |counts| counts.output_tokens),
            script,
        })
    }
}

/// In which form an answer is wanted.
pub(super) enum Wanted<'r> {
    Json,
    Fitting(&'r Value),
}

impl<'r> Wanted<'r> {
    /// By the `type` of a format and its schema.
    pub(super) fn read(kind: &str, schema: &'r Value) -> Option<Wanted<'r>> {
        match kind {
            "json_schema" if schema.is_object() => Some(Wanted::Fitting(schema)),
            _ => kind.starts_with("json").then_some(Wanted::Json),
        }
    }

    fn filled(&self, text: &str) -> Value {
        match self {
            Wanted::Json => json!({ "echo": text }),
            Wanted::Fitting(schema) => shape::value(schema, text),
        }
    }
}

impl Answer {
    /// Ends the text before the first of these (a text or an array of texts).
    pub(super) fn stop_at(&mut self, stop: &Value) {
        let words: Vec<&str> = match stop {
            Value::String(word) => vec![word],
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        let places = words.iter().filter(|word| !word.is_empty()).filter_map(|word| self.text.find(word));
        let Some(end) = places.min() else { return };
        let before = count(&self.text);
        self.text.truncate(end);
        if self.script.usage.is_none() {
            self.output_tokens = self.output_tokens + count(&self.text) - before;
        }
        if self.calls.is_empty() && self.script.finish_reason.is_none() {
            self.finish = "stop".to_owned();
        }
    }
}

pub(super) fn answer(request: &Value, seed: u64, now: Time) -> Result<Said, Wrong> {
    let messages = field(request, "messages")
        .as_array()
        .ok_or_else(|| Wrong::new("messages", "messages must be an array"))?;
    if messages.is_empty() {
        return Err(Wrong::new("messages", "messages must hold at least one message"));
    }
    let turns = messages.iter().map(turn).collect::<Result<Vec<_>, _>>()?;
    let model = text_of(field(request, "model"));
    let max =
        field(request, "max_completion_tokens").as_u64().or_else(|| field(request, "max_tokens").as_u64());
    let format = field(request, "response_format");
    let form = Wanted::read(text_of(field(format, "type")), field(field(format, "json_schema"), "schema"));
    let answer = Answer::to(turns, model, max, forced(request), form);
    let mut answer = answer.map_err(|what| Wrong::new("messages", what))?;
    answer.stop_at(field(request, "stop"));
    let choices = field(request, "n").as_u64().unwrap_or(1).clamp(1, CHOICES_MAX);
    let frame =
        Frame { id: format!("chatcmpl-{seed:016x}"), created: now.as_millis() / 1000, model, choices };
    let form = if field(request, "stream").as_bool() == Some(true) {
        let with_usage = field(field(request, "stream_options"), "include_usage").as_bool() == Some(true);
        Form::Events(frame.events(&answer, with_usage))
    } else {
        Form::Whole(frame.whole(&answer))
    };
    Ok(Said { script: answer.script, form })
}

fn turn(message: &Value) -> Result<Turn, Wrong> {
    let role = text_of(field(message, "role"));
    if !["system", "developer", "user", "assistant", "tool", "function"].contains(&role) {
        return Err(Wrong::new("messages", format!("{role:?} is no role")));
    }
    let role = if role == "function" { "tool" } else { role };
    Ok(Turn { role: role.to_owned(), text: content(field(message, "content")) })
}

/// The text of a message: itself, or that of its parts.
pub(super) fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| field(part, "text").as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// The tool that `tool_choice` insists on.
fn forced(request: &Value) -> Option<ToolCall> {
    let choice = field(request, "tool_choice");
    let name = match choice {
        Value::String(word) if word == "required" => {
            field(field(field(request, "tools").as_array()?.first()?, "function"), "name").as_str()?
        }
        Value::Object(_) => field(field(choice, "function"), "name").as_str()?,
        _ => return None,
    };
    Some(ToolCall { name: name.to_owned(), arguments: Value::Null })
}

struct Frame<'a> {
    id: String,
    created: u64,
    model: &'a str,
    choices: u64,
}

impl Frame<'_> {
    fn call_id(&self, choice: u64, place: usize) -> String {
        format!("call_{}_{choice}_{place}", self.id.trim_start_matches("chatcmpl-"))
    }

    fn usage(&self, answer: &Answer) -> Value {
        let written = answer.output_tokens * self.choices;
        json!({
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": written,
            "total_tokens": answer.input_tokens + written,
            "prompt_tokens_details": { "cached_tokens": answer.cached_tokens, "audio_tokens": 0 },
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }

    fn whole(&self, answer: &Answer) -> Value {
        let choice = |index: u64| {
            let silent = answer.text.is_empty() && !answer.calls.is_empty();
            let content = if silent { Value::Null } else { Value::from(answer.text.as_str()) };
            let mut message =
                json!({ "role": "assistant", "content": content, "refusal": null, "annotations": [] });
            if !answer.calls.is_empty() {
                let calls = answer.calls.iter().enumerate().map(|(place, call)| {
                    let function = json!({ "name": call.name, "arguments": call.arguments() });
                    json!({ "id": self.call_id(index, place), "type": "function", "function": function })
                });
                if let Some(message) = message.as_object_mut() {
                    message.insert("tool_calls".to_owned(), calls.collect());
                }
            }
            json!({ "index": index, "message": message, "logprobs": null, "finish_reason": answer.finish })
        };
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": (0..self.choices).map(choice).collect::<Vec<_>>(),
            "usage": self.usage(answer), "service_tier": "default", "system_fingerprint": "fp_echo",
        })
    }

    fn chunk(&self, choices: &Value, usage: Option<Value>) -> Bytes {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "service_tier": "default", "system_fingerprint": "fp_echo", "choices": choices,
        });
        if let (Some(usage), Some(chunk)) = (usage, chunk.as_object_mut()) {
            chunk.insert("usage".to_owned(), usage);
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    }

    fn events(&self, answer: &Answer, with_usage: bool) -> Vec<Bytes> {
        let none = with_usage.then_some(Value::Null);
        let mut events = Vec::new();
        let mut say = |index: u64, delta: Value, finish: Option<&str>| {
            let choice =
                json!([{ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish }]);
            events.push(self.chunk(&choice, none.clone()));
        };
        for index in 0..self.choices {
            let opening = if answer.calls.is_empty() { json!("") } else { Value::Null };
            say(index, json!({ "role": "assistant", "content": opening, "refusal": null }), None);
            for piece in pieces(&answer.text) {
                say(index, json!({ "content": piece }), None);
            }
            for (place, call) in answer.calls.iter().enumerate() {
                let function = json!({ "name": call.name, "arguments": "" });
                let id = self.call_id(index, place);
                let begun = json!({ "index": place, "id": id, "type": "function", "function": function });
                say(index, json!({ "tool_calls": [begun] }), None);
                for piece in pieces(&call.arguments()) {
                    say(
                        index,
                        json!({ "tool_calls": [{ "index": place, "function": { "arguments": piece } }] }),
                        None,
                    );
                }
            }
            say(index, json!({}), Some(&answer.finish));
        }
        if with_usage {
            events.push(self.chunk(&json!([]), Some(self.usage(answer))));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }
}
