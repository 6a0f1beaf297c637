//! Usage is found in whole answers and in streams, however they are cut.

use super::*;

fn measure(content_type: &str, text: &str, piece: usize) -> (Option<Usage>, u64, bool) {
    let mut meter = Meter::new(content_type);
    text.as_bytes().chunks(piece).for_each(|bytes| meter.feed(bytes));
    (meter.usage(), meter.text_bytes(), meter.has_failed())
}

fn check(content_type: &str, text: &str, usage: Option<(u64, u64, u64)>, text_bytes: u64) {
    let usage = usage.map(|(input_tokens, cached_tokens, output_tokens)| Usage {
        input_tokens,
        cached_tokens,
        output_tokens,
        estimated: false,
    });
    for piece in [1, 2, 3, 5, 64, text.len()] {
        assert_eq!(
            measure(content_type, text, piece),
            (usage, text_bytes, false),
            "in pieces of {piece}: {text}"
        );
    }
}

#[test]
fn whole_answers() {
    check(
        "application/json; charset=utf-8",
        r#"{"id":"x","choices":[{"message":{"content":"hello","usage":{"prompt_tokens":9}}}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":7,"audio_tokens":0}}}"#,
        Some((19, 7, 10)),
        5,
    );
    check(
        "application/json",
        r#"{"output":[],"error":null,"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":4},"output_tokens":87}}"#,
        Some((36, 4, 87)),
        0,
    );
    check(
        "application/json",
        r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        Some((8, 0, 0)),
        0,
    );
    check("application/json", r#"{"usage":null}"#, None, 0);
    check("application/json", r#"{"usage":{"seconds":3,"type":"duration"}}"#, None, 0);
    check("image/png", r#"{"usage":{"prompt_tokens":8}}"#, None, 0);
}

#[test]
fn chat_streams() {
    let stream = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"Hal\"}}],\"usage\":null}\n\n\
        : comment\n\ndata:{\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\r\n\r\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    check("text/event-stream", stream, Some((3, 0, 2)), 5);
    let (cut, _) = stream.split_once(": comment").unwrap();
    check("text/event-stream; charset=utf-8", cut, None, 3);
}

#[test]
fn responses_streams() {
    let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n\
        event: response.output_text.delta\ndata: {\"delta\":\"Hallo\",\"item_id\":\"m\"}\n\n\
        event: response.completed\ndata: {\"response\":{\"output\":[{\"content\":[]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n";
    check("text/event-stream", stream, Some((5, 0, 6)), 5);
}

#[test]
fn a_failure_inside_an_answer_is_seen() {
    let (_, _, failed) =
        measure("text/event-stream", "data: {\"error\":{\"message\":\"overloaded\"}}\n\n", 4);
    assert!(failed);
}

/// How the two ways to look at an event agree: in one piece a glance is enough, in single bytes it is read.
fn same(data: &str, text_bytes: u64) {
    let stream = format!("data: {data}\n\n");
    for piece in [1, stream.len()] {
        assert_eq!(
            measure("text/event-stream", &stream, piece).1,
            text_bytes,
            "in pieces of {piece}: {data}"
        );
    }
}

#[test]
fn a_glance_sees_the_texts_that_reading_sees() {
    same(
        r#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":"The"},"finish_reason":null}],"usage":null}"#,
        3,
    );
    same(r#"{"choices": [{"delta": {"content": "a: \"b\": {\"usage\": 1}"}}]}"#, 24);
    same(r#"{"choices":[{"delta":{"content":"\\"}}]}"#, 2);
    same(r#"{"choices":[{"delta":{"content":"","refusal":"no","reasoning_content":"hm"}}]}"#, 4);
    same(
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"content\":1}"}}]}}]}"#,
        15,
    );
    same(r#"{"content":"not generated","choices":[]}"#, 0);
    same(r#"{"type":"response.output_text.delta","delta":"Hallo: du","item_id":"m:1"}"#, 9);
    same(r#"{"delta":{"type":"text_delta","text":"x"}}"#, 0);
    same(r#"{ "choices" : [ { "delta" : { "content" : "spaced" } } ] }"#, 6);
    same("[DONE]", 0);
    same("", 0);
}

#[test]
fn what_a_glance_remembers_of_events_hides_no_text() {
    let event = |inner: &str, tail: &str| {
        format!("data: {{\"id\":\"a\",\"choices\":[{{\"index\":0,\"delta\":{{{inner}}}{tail}}}]}}\n\n")
    };
    let stream = [
        event(r#""role":"assistant","content":"""#, ""),
        event(r#""content":"x""#, ""),
        event(r#""content":"yy""#, ""),
        event(r#""content":"yy","refusal":"zzz""#, ""),
        event(r#""content":"yy","refusal":"zzzz""#, ""),
        event(r#""content":"yy","refusal":"zzzz""#, r#","finish_reason":null"#),
        event(r#""content":"a\"b""#, ""),
        event("", r#","finish_reason":"stop""#),
        event(r#""content":"yy""#, ""),
    ]
    .concat();
    for piece in [1, stream.len()] {
        assert_eq!(measure("text/event-stream", &stream, piece).1, 26, "in pieces of {piece}");
    }
}

#[test]
fn a_glance_passes_over_no_usage_and_no_failure() {
    let usage = r#"{"prompt_tokens":3,"completion_tokens":2}"#;
    let chunk = r#"{"id":"a","choices":[{"delta":{"content":"x"}}]"#;
    for last in [
        format!(r#"{chunk},"usage":{usage}}}"#),
        format!(r#"{chunk} , "usage" : {usage} }}"#),
        format!(r#"{chunk},"us\u0061ge":{usage}}}"#),
        format!(r#"{{"usage":null,"response":{{"usage":{usage}}}}}"#),
        format!(r#"{{"usage":{usage},"choices":[]}}"#),
    ] {
        // The first teaches how events begin.
        let stream = format!("data: {chunk}}}\n\ndata: {chunk}}}\r\n\r\ndata: {last}\n\n");
        for piece in [1, 7, stream.len()] {
            let (seen, ..) = measure("text/event-stream", &stream, piece);
            assert_eq!(seen.map(|seen| (seen.input_tokens, seen.output_tokens)), Some((3, 2)), "{last}");
        }
    }
    for error in [r#""error":{"code":1}"#, r#""error" : {"code":1}"#] {
        let stream = format!("data: {chunk}}}\n\ndata: {chunk},{error}}}\n\n");
        assert!(measure("text/event-stream", &stream, stream.len()).2, "{error}");
    }
}

// Finding: A20
#[test]
fn an_answer_that_does_not_say_its_form_is_counted_all_the_same() {
    let usage = r#"{"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    for text in [
        usage.to_owned(),
        format!(" \n{usage}"),
        format!("\u{feff}{usage}"),
        format!("data: {usage}\n\n"),
        format!(": hold\n\ndata: {usage}\n\n"),
        format!("event: x\ndata: {usage}\n\n"),
    ] {
        let mut meter = Meter::unsaid();
        meter.feed(text.as_bytes());
        assert_eq!(meter.usage().map(|usage| usage.input_tokens), Some(3), "{text}");
    }
    let mut meter = Meter::unsaid();
    meter.feed(b"  plain text");
    assert!(!meter.is_on());
    let marked = format!("\u{feff}data: {usage}\n\n");
    check("text/event-stream", &marked, Some((3, 0, 2)), 0);
}
