//! The first event is found however it is written, and nothing of the stream is lost.

use super::super::verdict::{Health, Next};
use super::*;
use futures_util::stream;
use net::http::{Body, respond};

async fn looked(pieces: &[&str]) -> (Option<Next>, String) {
    let mut answer = respond(http::StatusCode::OK, "text/event-stream; charset=utf-8", Bytes::new());
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from((*piece).to_owned()))).collect();
    *answer.body_mut() = Body::stream(stream::iter(pieces));
    assert!(is_stream(&answer));
    let (answer, verdict) = look(answer).await.unwrap();
    let bytes = answer.into_body().collect(1 << 20).await.unwrap();
    (verdict.map(|verdict| verdict.next), String::from_utf8(bytes.to_vec()).unwrap())
}

// Finding: A14
#[tokio::test]
async fn the_first_event_says_whether_it_failed() {
    let check = async |text: &str, next: Option<Next>| {
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        for pieces in [vec![text], bytes] {
            assert_eq!(looked(&pieces).await, (next, text.to_owned()), "{text}");
        }
    };
    let elsewhere = Some(Next::Elsewhere);
    check("data: {\"choices\":[{\"delta\":{\"content\":\"error\"}}]}\n\n", None).await;
    check("data: {\"error\":null,\"choices\":[]}\n\n", None).await;
    check("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n", elsewhere).await;
    check("data:{\"error\":\"overloaded\"}\n\ndata: [DONE]\n\n", elsewhere).await;
    check("\u{feff}: wait\r\n\r\n: wait\r\n\r\ndata: {\"error\":{\"code\":502}}\r\n\r\n", elsewhere).await;
    check(
        "event: error\rdata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\r\r",
        elsewhere,
    )
    .await;
    check("event: error\ndata: busy\n\n", elsewhere).await;
    check("data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\"}\n\n", elsewhere).await;
    check("data: {\"error\":{\"code\":\"429\"}}\n\n", elsewhere).await;
    // What the client did wrong is wrong everywhere.
    let done = Some(Next::Done);
    check("data: {\"error\":{\"code\":400,\"message\":\"no\"}}\n\n", done).await;
    check("data: {\"error\":{\"type\":\"invalid_request_error\"}}\n\n", done).await;
    check("data: {\"error\":{\"code\":\"context_length_exceeded\"}}\n\n", done).await;
    // Only the first event counts, and what is never whole is let through.
    check("data: {}\n\ndata: {\"error\":{}}\n\n", None).await;
    check("data: {\"error\":{}}", None).await;
    check("", None).await;
    check(&format!("data: {}\n\n", "x".repeat(100_000)), None).await;
}

#[test]
fn an_error_that_is_the_providers_doing_is_no_proof_against_it() {
    let verdict = verdict::of_event(b"", br#"{"error":{"code":529}}"#).unwrap();
    assert_eq!(verdict.health, Health::Suspect);
}
