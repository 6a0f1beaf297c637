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
