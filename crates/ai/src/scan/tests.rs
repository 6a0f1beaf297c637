//! The reader keeps its place however the bytes are cut.

use super::*;

#[derive(Default)]
struct Log(Vec<String>);

impl Sink for Log {
    fn begin(&mut self, depth: u32, key: Key<'_>, first: u8, at: u64) -> bool {
        self.0.push(format!("{depth} {} {} {at}", String::from_utf8_lossy(key.raw), char::from(first)));
        key.is("keep")
    }

    fn end(&mut self, depth: u32, end: u64, kept: Option<&[u8]>) {
        let kept = kept.map(|kept| String::from_utf8_lossy(kept).into_owned());
        self.0.push(format!("{depth} ends {end} {}", kept.unwrap_or_default()));
    }
}

fn walk(text: &str, piece: usize) -> (Vec<String>, bool) {
    let (mut scan, mut log) = (Scan::default(), Log::default());
    for bytes in text.as_bytes().chunks(piece) {
        scan.feed(bytes, &mut log);
    }
    (log.0, scan.is_whole())
}

const SAMPLE: &str =
    r#" {"a":1,"keep":{"x":[true,"y\"}"],"keep":"z"},"e\"k":["",[],{},-1.5e3 ],"keep":null}"#;

#[test]
fn values_are_told_however_the_bytes_are_cut() {
    let (whole, done) = walk(SAMPLE, SAMPLE.len());
    assert!(done);
    assert!(whole.contains(&r#"1 ends 45 {"x":[true,"y\"}"],"keep":"z"}"#.to_owned()), "{whole:#?}");
    assert!(whole.contains(&"1 ends 83 null".to_owned()), "{whole:#?}");
    for piece in 1..SAMPLE.len() {
        assert_eq!(walk(SAMPLE, piece), (whole.clone(), true), "in pieces of {piece}");
    }
}

#[test]
fn what_is_no_json_ends_the_walk_without_an_end() {
    for text in ["{", "]", "{]", "[}", "{\"a\" 1}", "nonsense", "{\"a\":x}", "\"open"] {
        let done = walk(text, 1).1;
        assert!(!done, "{text}");
    }
    assert!(!walk(&"[".repeat(500), 7).1);
}

#[test]
fn long_keys_and_values_are_cut_off() {
    let long = "v".repeat(KEPT_BYTES_MAX + 10);
    let (told, done) = walk(&format!(r#"{{"{long}":1,"keep":"{long}"}}"#), 1000);
    assert!(done);
    assert!(told.iter().all(|line| line.len() < 200));
}

#[test]
fn the_head_of_a_request_is_found() {
    let body = r#"{"messages":[{"role":"user","content":"hello","model":"no"}],"model":"gpt\u002d5","stream":true,"stream_options":{"include_usage":true}}"#;
    for piece in [1, 7, body.len()] {
        let mut guard = Guard::default();
        body.as_bytes().chunks(piece).for_each(|bytes| guard.feed(bytes).unwrap());
        let head = guard.head();
        assert_eq!(head.model.as_deref(), Some("gpt-5"));
        assert_eq!(body.get(head.span.clone()).unwrap(), r#""gpt\u002d5""#);
        assert_eq!(body.get(head.options.clone().unwrap()).unwrap(), r#"{"include_usage":true}"#);
        assert!(head.stream && head.usage_asked);
        assert_eq!(head.text_bytes, 5);
        assert_eq!(head.inside, Some(1));
    }
}

#[test]
fn odd_heads_are_what_they_are() {
    assert_eq!(Head::read(br#"{"model":5}"#).unwrap().model, None);
    assert_eq!(Head::read(b"[]").unwrap(), Head::default());
    assert_eq!(Head::read(b"").unwrap(), Head::default());
    let head = Head::read(br#"{"stream":false,"stream_options":null}"#).unwrap();
    assert!(!head.stream && !head.usage_asked && head.options.is_some());
}

#[test]
fn a_second_model_is_refused_however_it_is_written() {
    for body in [r#"{"model":"a","x":1,"model":"b"}"#, r#"{"model":"a","mod\u0065l":"b"}"#] {
        assert_eq!(Head::read(body.as_bytes()).unwrap_err().code(), Code::BadRequest);
    }
    assert!(Head::read(br#"{"model":"a","x":{"model":"b"}}"#).is_ok());
}

use message::Code;
