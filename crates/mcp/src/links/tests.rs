//! What is written otherwise, and that everything else keeps its bytes.

use super::*;

fn rewrite(uri: &str) -> Option<String> {
    uri.strip_prefix("a:").map(|rest| format!("b:{rest}"))
}

// Finding: M7
#[test]
fn uris_are_written_otherwise_and_nothing_else_is() {
    for (from, to) in [
        (
            r#"{"x":1.50,"content":[{"type":"resource_link","uri":"a:1","name":"a:1"},{"type":"text","text":"a:2"}]}"#,
            Some(
                r#"{"x":1.50,"content":[{"type":"resource_link","uri":"b:1","name":"a:1"},{"type":"text","text":"a:2"}]}"#,
            ),
        ),
        (
            r#"{"content":[{"type":"resource","resource":{"uri":"a:1","text":"a:1"}}],"structuredContent":{"uri":"a:1"}}"#,
            Some(
                r#"{"content":[{"type":"resource","resource":{"uri":"b:1","text":"a:1"}}],"structuredContent":{"uri":"a:1"}}"#,
            ),
        ),
        (
            r#"{"contents":[{"uri":"a:1"},{"uri":"c:1"}]}"#,
            Some(r#"{"contents":[{"uri":"b:1"},{"uri":"c:1"}]}"#),
        ),
        (
            r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"a:1"}}]}"#,
            Some(r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"b:1"}}]}"#),
        ),
        (r#"{"content":[{"type":"resource_link","uri":"c:1"}]}"#, None),
        (r#"{"content":7,"messages":[7]}"#, None),
        ("7", None),
    ] {
        assert_eq!(result(from, &rewrite).as_deref(), to, "{from}");
    }
    let tool_from = r#"{"name":"x","_meta":{"ui":{"resourceUri":"a:1","k":1},"openai/outputTemplate":"a:2","other":"a:3"}}"#;
    let tool_to = r#"{"name":"x","_meta":{"ui":{"resourceUri":"b:1","k":1},"openai/outputTemplate":"b:2","other":"a:3"}}"#;
    assert_eq!(tool(tool_from, &rewrite).as_deref(), Some(tool_to));
}
