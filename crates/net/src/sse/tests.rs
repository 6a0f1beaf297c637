//! Tests of event streams: the standard's own examples, every way to cut a stream, and writing read back.
//! The body underneath is tested beside `http/body.rs`.

use proptest::prelude::*;

use super::*;

fn parse(pieces: &[&[u8]]) -> Vec<(Option<String>, String, Option<String>)> {
    let mut parser = Parser::new(10_000);
    let mut all = Vec::new();
    for piece in pieces {
        parser.push(piece).unwrap();
        while let Some(event) = parser.next_event() {
            all.push((event.event, event.data, event.id));
        }
    }
    all
}

fn check(stream: &str, expected: &[(&str, &str, &str)]) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let expected: Vec<_> =
        expected.iter().map(|(event, data, id)| (some(event), (*data).to_owned(), some(id))).collect();
    assert_eq!(parse(&[stream.as_bytes()]), expected, "{stream:?}");
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(parse(&bytes), expected, "byte by byte: {stream:?}");
}

#[test]
fn reads_the_examples_of_the_standard() {
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10", "")]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[("", "first event", "1"), ("", "second event", ""), ("", " third event", "")],
    );
    check("data\n\ndata\ndata\n\ndata:", &[("", "", ""), ("", "\n", "")]);
    check("data:test\n\ndata: test\n\n", &[("", "test", ""), ("", "test", "")]);
}

#[test]
fn reads_every_line_end_and_odd_fields() {
    check(
        "event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\rdata: 3\n\n",
        &[("a", "1", ""), ("b", "2", ""), ("", "3", "")],
    );
    check("\u{feff}data: bom\n\n", &[("", "bom", "")]);
    check("data: x\n\u{feff}data: y\n\n", &[("", "x", "")]);
    check("event: only\n\ndata: x\n\n", &[("", "x", "")]);
    check("id: 7\n\ndata: x\n\n", &[("", "x", "7")]);
    check("id: a\0b\ndata: x\n\n", &[("", "x", "")]);
    check("unknown: 1\n: comment\ndata: x\n\n", &[("", "x", "")]);
    check("data: not ended", &[]);
}

#[test]
fn keeps_id_and_retry_without_data() {
    let mut parser = Parser::new(100);
    parser.push(b"id: 9\nretry: 1500\nretry: 1x\n\n").unwrap();
    assert_eq!(parser.next_event(), None);
    assert_eq!((parser.last_id(), parser.retry()), (Some("9"), Some(Duration::from_millis(1500))));
}

#[test]
fn refuses_lines_and_events_over_the_limit() {
    assert_eq!(Parser::new(10).push(b"data: 0123456789").unwrap_err().code(), Code::TooLarge);
    let mut parser = Parser::new(10);
    parser.push(b"data: 0123\ndata: 0123\n").unwrap();
    assert_eq!(parser.push(b"data: 0123\n").unwrap_err().code(), Code::TooLarge);
}

proptest! {
    #[test]
    fn cuts_change_nothing(stream in "(data|event|id|retry|:|x|[ \r\n]|\u{e9}|\u{feff}){0,60}", cuts in prop::collection::vec(0_usize..200, 0..8)) {
        let bytes = stream.as_bytes();
        let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        places.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for place in places {
            pieces.push(&bytes[from..place]);
            from = place;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(parse(&pieces), parse(&[bytes]));
    }

    #[test]
    fn what_is_written_is_read(data in "[a-z \r\n:\u{e9}]{0,40}", event in "[a-z]{1,8}", id in "[a-z0-9]{1,8}") {
        let written = Event::named(event.clone(), data.clone()).with_id(id.clone()).encode();
        let normal = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(parse(&[&written]), vec![(Some(event), normal, Some(id))]);
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse(&[&bytes]);
    }
}

#[tokio::test]
async fn sends_events_and_comments() {
    let (sender, response) = stream(4, Duration::from_millis(30));
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    assert!(sender.send(&Event::data("a\nb")).await);
    assert_eq!(body.next().await.unwrap().unwrap(), "data: a\ndata: b\n\n");
    // Nothing is sent until the keep-alive is due, twice.
    assert_eq!(body.next().await.unwrap().unwrap(), ":\n\n");
    assert_eq!(body.next().await.unwrap().unwrap(), ":\n\n");
    drop(sender);
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn reads_a_body() {
    let (sender, body) = Body::channel(4);
    for piece in ["id: 1\nda", "ta: x\n", "\ndata: y\n\ndata"] {
        assert!(sender.send(piece).await);
    }
    drop(sender);
    let mut reader = Reader::new(body, 100);
    assert_eq!(reader.next().await.unwrap().unwrap().data, "x");
    assert_eq!(reader.next().await.unwrap().unwrap(), Event::data("y").with_id("1"));
    assert!(reader.next().await.is_none());
}
