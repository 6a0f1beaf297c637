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
