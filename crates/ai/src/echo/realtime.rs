//! `GET /v1/realtime` as `echo` speaks it: text in, text out, and what was used. It hears no sound.
//! Who asks and how the events travel is not its business.

use super::chat::{Answer, content};
use super::script::Turn;
use super::{field, pieces, text_of};
use crate::percent::decoded;
use message::Time;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// The most turns of a conversation that are remembered.
const TURNS_MAX: usize = 1_000;

/// One connection's conversation.
pub(crate) struct Talk {
    model: String,
    turns: VecDeque<Turn>,
    to_say: VecDeque<Result<String, u16>>,
    events: u64,
    answers: u64,
    expires: u64,
    session: Value,
}

impl Talk {
    /// Begins, with what the path's query says.
    pub(crate) fn new(rest: &str, now: Time) -> Talk {
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let model = query.split('&').find_map(|pair| pair.strip_prefix("model=")).unwrap_or("echo");
        let mut talk = Talk {
            model: String::from_utf8_lossy(&decoded(model.as_bytes())).into_owned(),
            turns: VecDeque::new(),
            to_say: VecDeque::new(),
            events: 0,
            answers: 0,
            expires: now.as_millis() / 1000 + 3_600,
            session: json!({ "output_modalities": ["text"], "instructions": "" }),
        };
        talk.session_event("session.created");
        talk
    }

    /// What is said next: an event, or the code to close with.
    pub(crate) fn say(&mut self) -> Option<Result<String, u16>> {
        self.to_say.pop_front()
    }

    /// Hears one event of the client.
    pub(crate) fn hear(&mut self, text: &str) {
        let Ok(event) = serde_json::from_str::<Value>(text) else {
            return self.refuse(&Value::Null, "the event is no JSON");
        };
        match text_of(field(&event, "type")) {
            "session.update" => {
                if let (Value::Object(ours), Some(theirs)) =
                    (&mut self.session, field(&event, "session").as_object())
                {
                    ours.extend(theirs.clone());
                }
                self.session_event("session.updated");
            }
            "conversation.item.create" => self.item(field(&event, "item")),
            "response.create" => self.answer(field(&event, "response")),
            "input_audio_buffer.append" | "input_audio_buffer.clear" | "response.cancel" => {}
            other => self.refuse(field(&event, "event_id"), &format!("echo knows no event {other:?}")),
        }
    }

    fn push(&mut self, mut event: Value) {
        self.events += 1;
        if let Value::Object(members) = &mut event {
            members.insert("event_id".to_owned(), format!("event_{}", self.events).into());
        }
        self.to_say.push_back(Ok(event.to_string()));
    }

    fn session_event(&mut self, kind: &str) {
        let mut session = self.session.clone();
        if let Value::Object(members) = &mut session {
            for (name, value) in [
                ("type", json!("realtime")),
                ("object", json!("realtime.session")),
                ("id", json!("sess_echo")),
                ("model", json!(self.model)),
                ("expires_at", json!(self.expires)),
            ] {
                members.insert(name.to_owned(), value);
            }
        }
        self.push(json!({ "type": kind, "session": session }));
    }

    fn item(&mut self, item: &Value) {
        let (role, text) = match text_of(field(item, "type")) {
            "function_call_output" => ("tool", content(field(item, "output"))),
            _ => (text_of(field(item, "role")), content(field(item, "content"))),
        };
        if self.turns.len() >= TURNS_MAX {
            self.turns.pop_front();
        }
        self.turns.push_back(Turn { role: role.to_owned(), text });
        let mut item = item.clone();
        if let Value::Object(members) = &mut item {
            members.entry("id").or_insert_with(|| format!("item_{}", self.turns.len()).into());
            members.insert("status".to_owned(), "completed".into());
        }
        self.push(json!({ "type": "conversation.item.added", "previous_item_id": null, "item": item }));
        self.push(json!({ "type": "conversation.item.done", "previous_item_id": null, "item": item }));
    }

    fn answer(&mut self, wanted: &Value) {
        let instructions = field(wanted, "instructions").as_str();
        let instructions =
            instructions.unwrap_or_else(|| text_of(field(&self.session, "instructions"))).to_owned();
        let system = Turn { role: "system".to_owned(), text: instructions };
        let turns = std::iter::once(system).chain(self.turns.iter().cloned()).collect();
        let max = field(wanted, "max_output_tokens").as_u64();
        let answer = match Answer::to(turns, &self.model, max, None, None) {
            Ok(answer) => answer,
            Err(what) => return self.refuse(&Value::Null, &what),
        };
        if let Some(code) = answer.script.close {
            return self.to_say.push_back(Err(code));
        }
        self.answers += 1;
        let (id, item_id) = (format!("resp_{}", self.answers), format!("item_resp_{}", self.answers));
        let response = |status: &str, output: Value, usage: Value| json!({ "object": "realtime.response", "id": id, "status": status, "status_details": null, "output": output, "usage": usage });
        let item = |status: &str, content: Value| json!({ "id": item_id, "object": "realtime.item", "type": "message", "status": status, "role": "assistant", "content": content });
        let place = json!({ "response_id": id, "item_id": item_id, "output_index": 0, "content_index": 0 });
        let with = |kind: &str, name: &str, value: Value| {
            let mut event = place.clone();
            if let Value::Object(members) = &mut event {
                members.insert("type".to_owned(), kind.into());
                members.insert(name.to_owned(), value);
            }
            event
        };
        self.push(json!({ "type": "response.created", "response": response("in_progress", json!([]), Value::Null) }));
        self.push(with("response.output_item.added", "item", item("in_progress", json!([]))));
        for piece in pieces(&answer.text) {
            self.push(with("response.output_text.delta", "delta", piece.into()));
        }
        self.push(with("response.output_text.done", "text", answer.text.clone().into()));
        let done = item("completed", json!([{ "type": "output_text", "text": answer.text }]));
        self.push(with("response.output_item.done", "item", done.clone()));
        let usage = json!({
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "input_token_details": { "text_tokens": answer.input_tokens, "cached_tokens": answer.cached_tokens },
            "output_token_details": { "text_tokens": answer.output_tokens },
        });
        self.push(
            json!({ "type": "response.done", "response": response("completed", json!([done]), usage) }),
        );
        self.turns.push_back(Turn { role: "assistant".to_owned(), text: answer.text });
    }

    fn refuse(&mut self, event_id: &Value, what: &str) {
        let error = json!({ "type": "invalid_request_error", "code": null, "message": what, "param": null, "event_id": event_id });
        self.push(json!({ "type": "error", "error": error }));
    }
}
