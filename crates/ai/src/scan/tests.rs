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
        let mut guard = Guard::strict();
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

fn lenient(body: &[u8]) -> Head {
    let mut guard = Guard::lenient();
    guard.feed(body).unwrap();
    guard.end().unwrap();
    guard.head()
}

#[test]
fn odd_heads_are_what_they_are() {
    assert_eq!(Head::read(br#"{"model":5}"#).unwrap_err().code(), Code::BadRequest);
    assert_eq!(Head::read(b"[]").unwrap(), Head::default());
    assert_eq!(Head::read(br#"["model","x"]"#).unwrap().model, None);
    for body in [&b""[..], b"nonsense", b"{\"x\"", b"{}{}", b"\xff"] {
        assert_eq!(lenient(body).model, None);
        assert_eq!(Head::read(body).unwrap_err().code(), Code::BadRequest);
    }
    let head = Head::read(br#"{"stream":false,"stream_options":null}"#).unwrap();
    assert!(!head.stream && !head.usage_asked && head.options.is_some());
}

#[test]
fn what_readers_take_differently_is_refused() {
    for body in [
        // A second model, in whatever letters: Go folds case, C stops at a NUL.
        r#"{"model":"a","x":1,"model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","Model":"b"}"#,
        r#"{"\u004dODEL":"b","model":"a"}"#,
        r#"{"model":"a","model\u0000x":"b"}"#,
        // A second value, and what lenient readers make of what is none.
        r#"{"model":"a"}{"model":"b"}"#,
        r#"{"model":"a"},"model":"b""#,
        r#"{"model":"a","x":tru,"y":1}"#,
        r#"{"model":"a","x":1"model":"b"}"#,
        r#"{"model":"a","x":NaN}"#,
        r#"{"model":"a","x":01}"#,
        r#"{"model":"a","x":[1,]}"#,
        r#"{"model":"a",}"#,
        r#"{"model":"a",/* */"x":1}"#,
        r#"{"model":"a",'model':"b"}"#,
        "\u{feff}{\"model\":\"a\"}",
        r#"{"model":"a""#,
    ] {
        let fault = Head::read(body.as_bytes()).expect_err(body);
        assert_eq!(fault.code(), Code::BadRequest, "{body}");
    }
    // An e and quotes in more bytes than UTF-8 allows, UTF-16, and a nesting that readers give up on.
    let long = b"{\"model\":\"a\",\"x\":\"\xc0\xa2,\xc0\xa2model\xc0\xa2:\xc0\xa2b\"}";
    let wide: Vec<u8> = r#"{"model":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!(r#"{{"model":"a","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for body in [&b"{\"model\":\"a\",\"mod\xc1\xa5l\":\"b\"}"[..], long, &wide, deep.as_bytes()] {
        for piece in [1, body.len()] {
            let mut guard = Guard::strict();
            assert!(body.chunks(piece).any(|bytes| guard.feed(bytes).is_err()), "{body:?}");
        }
    }
    assert!(Head::read(br#"{"model":"a","x":{"model":"b"},"y":["model"],"models":"c"}"#).is_ok());
}

/// Values as they come, with keys that matter among them, and texts that look like structure.
fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,6}",
        Just("model".to_owned()),
        Just("\"},{\"model\":\"x\\".to_owned()),
        any::<String>()
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("model".to_owned()),
        1 => Just("stream".to_owned()),
        1 => Just("stream_options".to_owned()),
        1 => Just("include_usage".to_owned()),
        1 => Just("content".to_owned()),
        2 => any::<String>(),
    ]
}

/// JSON as somebody else writes it: escapes where none are needed, and spaces.
fn written(value: &Value, seed: u64) -> String {
    let plain = if seed.is_multiple_of(2) { value.to_string() } else { format!("\n {value:#}\t\r\n") };
    if !seed.is_multiple_of(3) {
        return plain;
    }
    // Inside of texts every e may be written so.
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for letter in plain.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside = !inside,
            'e' if inside => {
                out.push_str("\\u0065");
                continue;
            }
            _ => {}
        }
        out.push(letter);
    }
    out
}

/// The head, read in pieces of these lengths, round and round.
fn in_pieces(mut guard: Guard, mut bytes: &[u8], cuts: &[usize]) -> Result<Head, Fault> {
    for cut in cuts.iter().cycle() {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        guard.feed(piece)?;
        bytes = rest;
        if rest.is_empty() {
            break;
        }
    }
    guard.end()?;
    Ok(guard.head())
}

/// What serde_json finds.
fn oracle(value: &Value) -> (Option<&str>, bool, bool) {
    (
        value.get("model").and_then(Value::as_str),
        value.get("stream") == Some(&Value::Bool(true)),
        value.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
    )
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..20_usize, 1..8)
}

proptest! {
    #[test]
    fn any_json_has_the_head_that_a_parser_finds(value in value(), seed in any::<u64>(), cuts in cuts()) {
        let text = written(&value, seed);
        let again: Value = serde_json::from_str(&text).unwrap();
        let head = in_pieces(Guard::strict(), text.as_bytes(), &cuts);
        if let Value::Object(members) = &again
            && members.keys().filter(|key| key.eq_ignore_ascii_case("model")).count() > 1
        {
            prop_assert!(head.is_err());
            return Ok(());
        }
        let head = head.unwrap();
        prop_assert_eq!((head.model.as_deref(), head.stream, head.usage_asked), oracle(&again));
        if let Some(model) = &head.model {
            let there: String = serde_json::from_str(text.get(head.span.clone()).unwrap()).unwrap();
            prop_assert_eq!(&*there, &**model);
        }
        if let Some(options) = head.options {
            let there: Value = serde_json::from_str(text.get(options).unwrap()).unwrap();
            prop_assert_eq!(Some(&there), again.get("stream_options"));
        }
    }

    #[test]
    fn a_spoilt_body_is_refused_or_has_the_head_that_a_parser_finds(
        value in value(),
        seed in any::<u64>(),
        spoils in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(br#"{}[]",:\eE+-.019tn /"#.to_vec()), 0..3_u8), 1..4),
        cuts in cuts(),
    ) {
        let mut bytes = written(&value, seed).into_bytes();
        for (index, byte, how) in spoils {
            let at = index.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => { bytes.remove(at); }
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        let ours = in_pieces(Guard::strict(), &bytes, &cuts);
        prop_assert_eq!(&ours, &in_pieces(Guard::strict(), &bytes, &[usize::MAX]).map_err(|_| ours.clone().unwrap_err()));
        match (ours, serde_json::from_slice::<Value>(&bytes)) {
            (Ok(head), Ok(parsed)) => {
                prop_assert_eq!((head.model.as_deref(), head.stream, head.usage_asked), oracle(&parsed));
            }
            // Of what stands inside of texts we judge nothing: an escape that is none moves no value.
            (Ok(_), Err(error)) => prop_assert!(
                ["escape", "control character", "surrogate", "number out of range"].iter().any(|why| error.to_string().contains(why)),
                "{} in {:?}", error, String::from_utf8_lossy(&bytes)
            ),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn garbage_is_nobodys_end(bytes in prop::collection::vec(any::<u8>(), 0..400), cuts in cuts()) {
        let strict = in_pieces(Guard::strict(), &bytes, &cuts);
        prop_assert!(strict.is_err() || std::str::from_utf8(&bytes).is_ok());
        drop(in_pieces(Guard::lenient(), &bytes, &cuts));
        drop(in_pieces(Guard::form(b"b"), &bytes, &cuts));
    }

    #[test]
    fn a_form_has_the_model_that_was_put_in(
        parts in prop::collection::vec(("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..200)), 0..6),
        place in any::<prop::sample::Index>(),
        model in "[ -~]{1,30}",
        cuts in cuts(),
    ) {
        let mut parts: Vec<(String, Vec<u8>)> = parts.into_iter().filter(|(name, _)| name != "model").collect();
        parts.insert(place.index(parts.len() + 1), ("model".to_owned(), model.clone().into_bytes()));
        let mut body = Vec::new();
        for (name, content) in &parts {
            body.extend_from_slice(format!("--==boundary==\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--==boundary==--\r\n");
        let head = in_pieces(Guard::form(b"==boundary=="), &body, &cuts).unwrap();
        prop_assert_eq!(head.model.as_deref(), Some(&*model));
        prop_assert_eq!(&body[head.span], model.as_bytes());
    }
}

use message::{Code, Fault};
use proptest::prelude::*;
use serde_json::Value;
