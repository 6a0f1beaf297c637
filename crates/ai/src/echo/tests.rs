//! `echo` says the same to the same, and does what scripts say.

use super::script::Turn;
use super::*;

async fn ask(memory: &Memory, path: &str, body: Value) -> (StatusCode, String) {
    let body = Bytes::from(body.to_string());
    let principal: Arc<str> = "test".into();
    let now = Time::from_millis(1_795_000_000_000);
    let ask = Ask { method: &Method::POST, path, body: &body, form: false, principal: &principal, now };
    let (parts, body) = answer(memory, ask).await.unwrap().into_parts();
    (parts.status, String::from_utf8(body.collect(1 << 20).await.unwrap().to_vec()).unwrap())
}

fn chat(text: &str) -> Value {
    json!({ "model": "echo", "messages": [{ "role": "user", "content": text }] })
}

#[tokio::test]
async fn the_same_question_has_the_same_answer() {
    let memory = Memory::default();
    for (path, body) in [
        ("/chat/completions", chat("hello")),
        ("/responses", json!({ "model": "echo", "input": "hello" })),
        ("/embeddings", json!({ "model": "echo", "input": ["hello", "you"] })),
    ] {
        let first = ask(&memory, path, body.clone()).await;
        assert_eq!(first.0, StatusCode::OK, "{}", first.1);
        assert_eq!(first, ask(&memory, path, body).await);
    }
}

#[tokio::test]
async fn scripts_are_taken_out_and_done() {
    let memory = Memory::default();
    let said = async |text: &str| {
        let (status, body) = ask(&memory, "/chat/completions", chat(text)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["choices"][0].clone()
    };
    let choice = said(r#"say {"echo": {"finish_reason": "content_filter"}} this"#).await;
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("say this"), &json!("content_filter"))
    );
    let choice = said(r#"{"echo":{"reply":"no"}} {"not":"a script"} {"echo":{"reply":"yes"}}"#).await;
    assert_eq!(choice["message"]["content"], "yes");
    let choice = said(r#"{"a": {"echoes": 1"#).await;
    assert_eq!(choice["message"]["content"], r#"{"a": {"echoes": 1"#);
    let choice = said(r#"{"echo":{"tool_calls":[{"name":"f","arguments":"not json"}]}}"#).await;
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], "not json");
    assert_eq!(choice["message"]["content"], Value::Null);
}

#[tokio::test]
async fn failures_come_as_often_as_they_are_asked_for() {
    let memory = Memory::default();
    let body = chat(r#"{"echo":{"fail":429,"fail_times":2}}"#);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&memory, "/chat/completions", body.clone()).await.0.as_u16());
    }
    assert_eq!(statuses, [429, 429, 200, 429]);
    for (model, status) in
        [("echo-fail", 503), ("echo-fail-418", 418), ("echo-fail-99", 500), ("echo-other", 200)]
    {
        let mut body = chat("x");
        body["model"] = json!(model);
        assert_eq!(ask(&memory, "/chat/completions", body).await.0.as_u16(), status, "{model}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let memory = Memory::default();
    for (path, body, param) in [
        ("/chat/completions", json!({ "model": "echo" }), "messages"),
        ("/chat/completions", json!({ "messages": [{ "role": "nobody", "content": "" }] }), "messages"),
        ("/chat/completions", chat(r#"{"echo":{"fale":1}}"#), "messages"),
        ("/responses", json!({ "input": 5 }), "input"),
        ("/responses", json!({ "input": "x", "previous_response_id": "resp_1" }), "previous_response_id"),
        ("/embeddings", json!({ "input": "" }), "input"),
        ("/embeddings", json!({ "input": ["a", 1] }), "input"),
        ("/embeddings", json!({ "input": "a", "dimensions": 0 }), "dimensions"),
        ("/embeddings", json!({ "input": "a", "encoding_format": "hex" }), "encoding_format"),
    ] {
        let (status, body) = ask(&memory, path, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["error"]["param"], param, "{body}");
    }
}

#[test]
fn the_last_script_holds_and_assistants_give_none() {
    let turn = |role: &str, text: &str| Turn { role: role.into(), text: text.into() };
    let mut turns = [
        turn("system", r#"{"echo":{"reply":"a"}}"#),
        turn("user", r#"x {"echo":{"reply":"b","delay_ms":99999999}}"#),
        turn("assistant", r#"{"echo":{"reply":"c"}}"#),
    ];
    let script = script::find(&mut turns, "echo").unwrap();
    assert_eq!((script.reply.as_deref(), script.delay_ms), (Some("b"), 600_000));
    assert_eq!(turns[1].text, "x");
}

#[test]
fn vectors_are_units_and_words_make_them() {
    let length = |vector: &[f32]| vector.iter().map(|number| number * number).sum::<f32>();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let one = embeddings::embed("The cat sat.", 64);
    assert!((length(&one) - 1.0).abs() < 1e-4);
    assert_eq!(one, embeddings::embed("the CAT, sat", 64));
    let (near, far) = (embeddings::embed("the cat ran", 64), embeddings::embed("stock market prices", 64));
    assert!(dot(&one, &near) > dot(&one, &far));
    assert!((length(&embeddings::embed("!?", 8)) - 1.0).abs() < 1e-4);
}

// Finding: A23
#[tokio::test]
async fn stops_and_forms_are_kept_to() {
    let memory = Memory::default();
    let said = async |more: Value| {
        let mut body = chat("one two three");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, body) = ask(&memory, "/chat/completions", body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let value: Value = serde_json::from_str(&body).unwrap();
        (value["choices"][0].clone(), value["usage"]["completion_tokens"].clone())
    };
    for stop in [json!(" three"), json!(["four", " three"])] {
        let (choice, tokens) = said(json!({ "stop": stop })).await;
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!("one two"), &json!("stop"))
        );
        assert_eq!(tokens, 2);
    }
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["name", "age", "tags", "kind", "next", "at", "maybe"],
        "properties": {
            "name": { "type": "string", "maxLength": 7 }, "age": { "type": "integer", "minimum": 3 },
            "tags": { "type": "array", "minItems": 2, "items": { "type": "string" } }, "kind": { "enum": ["a", "b"] },
            "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] }, "at": { "$ref": "#/$defs/at" },
            "maybe": { "type": ["number", "null"] },
        },
        "$defs": { "at": { "type": "string", "format": "date-time" } },
    });
    let format = json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } });
    let (choice, _) = said(format).await;
    let value: Value = serde_json::from_str(choice["message"]["content"].as_str().unwrap()).unwrap();
    let plain = (&value["name"], &value["age"], &value["kind"], &value["maybe"]);
    assert_eq!(plain, (&json!("one two"), &json!(3), &json!("a"), &json!(0)));
    assert_eq!((value["tags"].as_array().unwrap().len(), &value["at"]), (2, &json!("2026-01-01T00:00:00Z")));
    assert!(value["next"].is_object() && value.as_object().unwrap().len() == 7);
    let (choice, _) = said(json!({ "response_format": { "type": "json_object" } })).await;
    assert_eq!(choice["message"]["content"], r#"{"echo":"one two three"}"#);
}

// Finding: A23
#[tokio::test]
async fn the_other_paths_of_models_are_answered_in_their_form() {
    let memory = Memory::default();
    let said = async |path: &str, body: Value| {
        let (status, body) = ask(&memory, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path} {body}");
        body
    };
    let parsed = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let whole =
        parsed(said("/completions", json!({ "model": "echo", "prompt": "a b c", "max_tokens": 2 })).await);
    assert_eq!(
        (&whole["choices"][0]["text"], &whole["choices"][0]["finish_reason"]),
        (&json!("a b "), &json!("length"))
    );
    assert_eq!(whole["usage"]["completion_tokens"], 2);
    let events = said("/completions", json!({ "prompt": ["a", "b"], "stream": true })).await;
    assert!(events.contains("text_completion") && events.ends_with("data: [DONE]\n\n"), "{events}");
    let judged = parsed(said("/moderations", json!({ "input": ["a", "b"] })).await);
    assert_eq!(
        (judged["results"].as_array().unwrap().len(), &judged["results"][1]["flagged"]),
        (2, &json!(false))
    );
    let drawn = parsed(said("/images/generations", json!({ "prompt": "a dot", "n": 2 })).await);
    assert_eq!(drawn["data"].as_array().unwrap().len(), 2);
    use base64::Engine as _;
    let png = base64::engine::general_purpose::STANDARD
        .decode(drawn["data"][0]["b64_json"].as_str().unwrap())
        .unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n") && png.ends_with(b"IEND\xaeB`\x82"));
    for (path, body) in [
        ("/completions", json!({ "prompt": 5 })),
        ("/moderations", json!({})),
        ("/images/generations", json!({})),
        ("/audio/speech", json!({ "input": "x", "response_format": "opus" })),
    ] {
        assert_eq!(ask(&memory, path, body).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
}

// Finding: A23
#[tokio::test]
async fn sound_is_spoken_and_heard_in_the_form_that_is_asked_for() {
    let memory = Memory::default();
    let principal: Arc<str> = "test".into();
    let send = async |path: &str, body: Bytes, form: bool| {
        let now = Time::from_millis(1_795_000_000_000);
        let ask = Ask { method: &Method::POST, path, body: &body, form, principal: &principal, now };
        let (parts, body) = answer(&memory, ask).await.unwrap().into_parts();
        (parts.headers["content-type"].to_str().unwrap().to_owned(), body.collect(1 << 20).await.unwrap())
    };
    for (format, kind, begin) in [
        ("wav", "audio/wav", &b"RIFF"[..]),
        ("mp3", "audio/mpeg", b"\xff\xfb"),
        ("pcm", "audio/pcm", b"\0\0"),
    ] {
        let body = json!({ "input": "two words", "response_format": format }).to_string();
        let (said, sound) = send("/audio/speech", body.into(), false).await;
        assert!(said == kind && sound.starts_with(begin) && sound.len() > 1_000, "{format}");
    }
    let form = |more: &str| {
        Bytes::from(format!(
            "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\necho\r\n{more}--b--\r\n"
        ))
    };
    let field = |name: &str, value: &str| {
        form(&format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
    };
    let path = "/audio/transcriptions";
    let (kind, text) = send(path, form(""), true).await;
    assert!(kind == "application/json" && text.starts_with(b"{"), "{text:?}");
    for (format, begin) in [("text", ""), ("srt", "1\n00:00:00,000 -->"), ("vtt", "WEBVTT\n\n")] {
        let (kind, text) = send(path, field("response_format", format), true).await;
        assert!(
            kind.starts_with("text/plain") && text.starts_with(begin.as_bytes()) && text.ends_with(b"\n"),
            "{text:?}"
        );
    }
    let (_, text) = send(path, field("response_format", "verbose_json"), true).await;
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["segments"].as_array().unwrap().len(), 1);
    let (kind, text) = send(path, field("stream", "true"), true).await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(kind.starts_with("text/event-stream") && text.contains("transcript.text.done"), "{text}");
}
