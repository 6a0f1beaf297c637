//! `POST /v1/responses`, whole and streamed. Nothing is stored: `previous_response_id` is refused.
//! Only text and function calls are spoken; built-in tools of OpenAI's are not.

use super::chat::{Answer, Wanted, content};
use super::script::{ToolCall, Turn};
use super::{Form, Said, Wrong, field, pieces, text_of};
use bytes::Bytes;
use message::Time;
use serde_json::{Value, json};

pub(super) fn answer(request: &Value, seed: u64, now: Time) -> Result<Said, Wrong> {
    if !field(request, "previous_response_id").is_null() {
        return Err(Wrong::new("previous_response_id", "echo stores no responses"));
    }
    let mut turns = Vec::new();
    if let Some(instructions) = field(request, "instructions").as_str() {
        turns.push(Turn { role: "system".to_owned(), text: instructions.to_owned() });
    }
    match field(request, "input") {
        Value::String(text) => turns.push(Turn { role: "user".to_owned(), text: text.clone() }),
        Value::Array(items) => turns.extend(items.iter().filter_map(turn)),
        Value::Null => return Err(Wrong::new("input", "input is needed")),
        _ => return Err(Wrong::new("input", "input must be text or an array of items")),
    }
    let model = text_of(field(request, "model"));
    let max = field(request, "max_output_tokens").as_u64();
    let format = field(field(request, "text"), "format");
    let form = Wanted::read(text_of(field(format, "type")), field(format, "schema"));
    let answer = Answer::to(turns, model, max, forced(request), form);
    let answer = answer.map_err(|what| Wrong::new("input", what))?;
    let frame = Frame { request, seed, created: now.as_millis() / 1000, model };
    let form = if field(request, "stream").as_bool() == Some(true) {
        Form::Events(frame.events(&answer))
    } else {
        Form::Whole(frame.response(&answer, true))
    };
    Ok(Said { script: answer.script, form })
}

fn turn(item: &Value) -> Option<Turn> {
    match field(item, "type").as_str() {
        Some("function_call_output") => {
            let output = field(item, "output");
            Some(Turn { role: "tool".to_owned(), text: content(output) })
        }
        None | Some("message") => {
            let role = text_of(field(item, "role")).to_owned();
            Some(Turn { role, text: content(field(item, "content")) })
        }
        _ => None,
    }
}

fn forced(request: &Value) -> Option<ToolCall> {
    let choice = field(request, "tool_choice");
    let name = match choice {
        Value::String(word) if word == "required" => {
            let tools = field(request, "tools").as_array()?;
            tools
                .iter()
                .find(|tool| field(tool, "type") == "function")
                .and_then(|tool| field(tool, "name").as_str())?
        }
        Value::Object(_) => field(choice, "name").as_str()?,
        _ => return None,
    };
    Some(ToolCall { name: name.to_owned(), arguments: Value::Null })
}

struct Frame<'a> {
    request: &'a Value,
    seed: u64,
    created: u64,
    model: &'a str,
}

impl Frame<'_> {
    fn message_id(&self) -> String {
        format!("msg_{:016x}", self.seed)
    }

    fn part(text: &str) -> Value {
        json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
    }

    fn message(&self, text: &str, done: bool) -> Value {
        let status = if done { "completed" } else { "in_progress" };
        let parts = if done { vec![Frame::part(text)] } else { Vec::new() };
        json!({ "type": "message", "id": self.message_id(), "status": status, "role": "assistant", "content": parts })
    }

    fn call(&self, place: usize, call: &ToolCall, done: bool) -> Value {
        let status = if done { "completed" } else { "in_progress" };
        let arguments = if done { call.arguments() } else { String::new() };
        json!({
            "type": "function_call", "id": format!("fc_{:016x}_{place}", self.seed), "status": status,
            "call_id": format!("call_{:016x}_{place}", self.seed), "name": call.name, "arguments": arguments,
        })
    }

    fn has_message(answer: &Answer) -> bool {
        answer.calls.is_empty() || !answer.text.is_empty()
    }

    /// The response object; before it is `done` it has no output and no usage.
    fn response(&self, answer: &Answer, done: bool) -> Value {
        let cut = done && answer.finish == "length";
        let status = match (done, cut) {
            (false, _) => "in_progress",
            (true, true) => "incomplete",
            (true, false) => "completed",
        };
        let mut output = Vec::new();
        if done && Frame::has_message(answer) {
            output.push(self.message(&answer.text, true));
        }
        if done {
            output.extend(answer.calls.iter().enumerate().map(|(place, call)| self.call(place, call, true)));
        }
        let usage = done.then(|| {
            json!({
                "input_tokens": answer.input_tokens,
                "input_tokens_details": { "cached_tokens": answer.cached_tokens, "cache_write_tokens": 0 },
                "output_tokens": answer.output_tokens, "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": answer.input_tokens + answer.output_tokens,
            })
        });
        let given = |name: &str, usual: Value| match field(self.request, name) {
            Value::Null => usual,
            value => value.clone(),
        };
        json!({
            "id": format!("resp_{:016x}", self.seed), "object": "response", "created_at": self.created,
            "status": status, "background": false, "error": null,
            "incomplete_details": if cut { json!({ "reason": "max_output_tokens" }) } else { Value::Null },
            "instructions": field(self.request, "instructions"),
            "max_output_tokens": field(self.request, "max_output_tokens"),
            "max_tool_calls": null, "model": self.model, "output": output,
            "parallel_tool_calls": given("parallel_tool_calls", json!(true)), "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null }, "service_tier": "default", "store": false,
            "temperature": given("temperature", json!(1.0)),
            "text": given("text", json!({ "format": { "type": "text" }, "verbosity": "medium" })),
            "tool_choice": given("tool_choice", json!("auto")), "tools": given("tools", json!([])),
            "top_logprobs": 0, "top_p": given("top_p", json!(1.0)), "truncation": "disabled", "usage": usage,
            "user": null, "metadata": given("metadata", json!({})),
        })
    }

    fn events(&self, answer: &Answer) -> Vec<Bytes> {
        let mut log = Log::default();
        log.say("response.created", json!({ "response": self.response(answer, false) }));
        log.say("response.in_progress", json!({ "response": self.response(answer, false) }));
        let mut place = 0;
        if Frame::has_message(answer) {
            self.say_message(&mut log, &answer.text);
            place = 1;
        }
        for (number, call) in answer.calls.iter().enumerate() {
            self.say_call(&mut log, place + number, number, call);
        }
        let last = if answer.finish == "length" { "response.incomplete" } else { "response.completed" };
        log.say(last, json!({ "response": self.response(answer, true) }));
        log.events
    }

    fn say_message(&self, log: &mut Log, text: &str) {
        let id = self.message_id();
        let at = |mut rest: Value| {
            if let Some(rest) = rest.as_object_mut() {
                rest.insert("item_id".to_owned(), json!(id));
                rest.insert("output_index".to_owned(), json!(0));
                rest.insert("content_index".to_owned(), json!(0));
            }
            rest
        };
        log.say("response.output_item.added", json!({ "output_index": 0, "item": self.message("", false) }));
        log.say("response.content_part.added", at(json!({ "part": Frame::part("") })));
        for piece in pieces(text) {
            log.say("response.output_text.delta", at(json!({ "delta": piece, "logprobs": [] })));
        }
        log.say("response.output_text.done", at(json!({ "text": text, "logprobs": [] })));
        log.say("response.content_part.done", at(json!({ "part": Frame::part(text) })));
        log.say("response.output_item.done", json!({ "output_index": 0, "item": self.message(text, true) }));
    }

    fn say_call(&self, log: &mut Log, index: usize, number: usize, call: &ToolCall) {
        let (item, arguments) = (self.call(number, call, true), call.arguments());
        let id = field(&item, "id").clone();
        log.say(
            "response.output_item.added",
            json!({ "output_index": index, "item": self.call(number, call, false) }),
        );
        for piece in pieces(&arguments) {
            let delta = json!({ "item_id": id, "output_index": index, "delta": piece });
            log.say("response.function_call_arguments.delta", delta);
        }
        let done = json!({ "item_id": id, "output_index": index, "name": call.name, "arguments": arguments });
        log.say("response.function_call_arguments.done", done);
        log.say("response.output_item.done", json!({ "output_index": index, "item": item }));
    }
}

/// The events so far, numbered.
#[derive(Default)]
struct Log {
    events: Vec<Bytes>,
}

impl Log {
    fn say(&mut self, name: &str, rest: Value) {
        let mut event = json!({ "type": name, "sequence_number": self.events.len() });
        if let (Some(event), Value::Object(rest)) = (event.as_object_mut(), rest) {
            event.extend(rest);
        }
        self.events.push(Bytes::from(format!("event: {name}\ndata: {event}\n\n")));
    }
}
