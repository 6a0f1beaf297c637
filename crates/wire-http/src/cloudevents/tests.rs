//! Round trips of envelopes through all three forms, and what is refused.

use super::*;
use bytes::Bytes;
use http::HeaderMap;
use message::Kind;
use proptest::prelude::*;

fn tools() -> (Clock, Dice) {
    (Clock::manual(Time::from_millis(1_763_722_800_123)), Dice::seeded(7))
}

fn address() -> Address {
    Address::new(Kind::Topic, "plant/7/temp").unwrap()
}

fn structured(json: &str) -> Result<Envelope, Fault> {
    let (clock, dice) = tools();
    read_structured(&Bytes::copy_from_slice(json.as_bytes()), &address(), &clock, &dice)
}

fn event(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#)
}

/// What must survive a round trip: everything but the defaults that the forms fill in.
fn assert_same(before: &Envelope, after: &Envelope) {
    assert_eq!(after.id, before.id);
    assert_eq!(after.time, before.time);
    assert_eq!(after.key, before.key);
    assert_eq!(after.event_type, before.event_type);
    assert_eq!(after.trace, before.trace);
    assert_eq!(after.reply_to, before.reply_to);
    assert_eq!(after.correlation, before.correlation);
    assert_eq!(after.deadline, before.deadline);
    assert_eq!(
        (after.priority, after.attempt, after.retain),
        (before.priority, before.attempt, before.retain)
    );
    let source = before.source.as_deref().unwrap_or("/principal/anonymous");
    assert_eq!(after.source.as_deref(), Some(source));
    let sorted = |envelope: &Envelope| {
        let mut all: Vec<(String, String)> =
            envelope.headers.iter().map(|(name, value)| (name.into(), value.into())).collect();
        // Stable: the order among the values of one name is kept.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(sorted(after), sorted(before));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9]{0,8}",
        "x-[a-z]{1,5}",
        Just("subject".to_owned()),
        Just("dataschema".to_owned()),
        Just("id".to_owned()),
        Just("data".to_owned()),
        Just("tlheaders".to_owned()),
        Just("partitionkey".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just("topic/plant/7/temp2".to_owned()),
        Just("\u{fffe}\n".to_owned())
    ]
}

prop_compose! {
    fn envelope()(
        id in "[!-~]{1,20}",
        body in proptest::collection::vec(any::<u8>(), 0..40),
        key in proptest::option::of("[a-z%\" é]{1,6}"),
        source in proptest::option::of("[a-z/:%é]{1,12}"),
        event_type in proptest::option::of("[a-z.]{1,9}"),
        headers in proptest::collection::vec((name(), value()), 0..6),
        numbers in (0..4_102_444_800_000_u64, proptest::option::of(0..4_102_444_800_000_u64), 0..10_u8, 0..3_u32),
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) -> Envelope {
        let (clock, dice) = tools();
        let mut envelope = Envelope::new(address(), body, &clock, &dice);
        envelope.id = message::Id::from_text(&id);
        envelope.key = key.map(Into::into);
        envelope.source = source.map(Into::into);
        envelope.event_type = event_type.map(Into::into);
        for (name, value) in &headers {
            envelope.headers.push(name, value);
        }
        envelope.time = Time::from_millis(numbers.0);
        envelope.deadline = numbers.1.map(|millis| clock.both().due_at(Time::from_millis(millis)));
        envelope.priority = numbers.2;
        envelope.attempt = numbers.3;
        envelope.retain = flags.0;
        if flags.1 {
            envelope.trace = Some(Trace { state: Some("a=1,b=2".into()), ..Trace::start(&dice) });
        }
        if flags.2 {
            envelope.reply_to = Some(Address::new(Kind::Queue, "answers é").unwrap());
            envelope.correlation = Some(std::sync::Arc::from(&b"\x00\xff"[..]));
        }
        envelope
    }
}

proptest! {
    #[test]
    fn binary_round_trip(envelope in envelope()) {
        let (clock, dice) = tools();
        let mut before = envelope;
        before.content_type = Some("application/octet-stream".into());
        let mut headers = HeaderMap::new();
        write_binary(&before, &mut headers);
        prop_assert!(is_binary(&headers));
        let after = read_binary(&headers, before.body.clone(), &address(), &clock, &dice).unwrap();
        assert_same(&before, &after);
        prop_assert_eq!(after.content_type, before.content_type);
        prop_assert_eq!(after.body, before.body);
    }

    #[test]
    fn structured_and_batch_round_trip(
        envelopes in proptest::collection::vec(envelope(), 0..4),
        kind in proptest::option::of(proptest::sample::select(vec![
            "application/json", "text/plain", "application/octet-stream", "application/x+json; charset=utf-8",
        ])),
    ) {
        let (clock, dice) = tools();
        let mut before = envelopes;
        for envelope in &mut before {
            envelope.content_type = kind.map(Into::into);
        }
        let mut out = Vec::new();
        write_batch(&before, &mut out);
        let after = read_batch(&out.into(), &address(), &clock, &dice).unwrap();
        prop_assert_eq!(after.len(), before.len());
        for (before, after) in before.iter().zip(&after) {
            assert_same(before, after);
            let json = kind.is_none_or(text::is_json);
            let trimmed = |bytes: &Bytes| if json { bytes.trim_ascii().to_vec() } else { bytes.to_vec() };
            prop_assert_eq!(trimmed(&after.body), trimmed(&before.body));
            if kind.is_some() {
                prop_assert_eq!(&after.content_type, &before.content_type);
            }
        }
    }

    #[test]
    fn garbage_is_refused_not_choked_on(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
        let (clock, dice) = tools();
        for document in [Bytes::from(bytes), Bytes::from(text)] {
            prop_assert!(read_structured(&document, &address(), &clock, &dice).is_err());
            drop(read_batch(&document, &address(), &clock, &dice));
        }
    }
}

#[test]
fn json_data_keeps_its_bytes() {
    let read = structured(&event(r#","data":{"a": 1.0000000000000000000001}"#)).unwrap();
    assert_eq!(&read.body[..], br#"{"a": 1.0000000000000000000001}"#);
    assert_eq!(read.content_type.as_deref(), Some("application/json"));
    let mut out = Vec::new();
    write_structured(&read, &mut out);
    assert!(String::from_utf8(out).unwrap().ends_with(r#""data":{"a": 1.0000000000000000000001}}"#));
}

#[test]
fn data_in_its_four_shapes() {
    for (kind, body, expected) in [
        (Some("text/plain"), &b"hi \"you\""[..], r#""datacontenttype":"text/plain","data":"hi \"you\"""#),
        (
            Some("application/json"),
            b"{broken",
            r#""datacontenttype":"application/json","data_base64":"e2Jyb2tlbg==""#,
        ),
        (None, b"21.5", r#""datacontenttype":"text/plain","data":"21.5""#),
        (None, b"[1]", r#""data":[1]"#),
        (None, b"\xff", r#""data_base64":"/w==""#),
    ] {
        let (clock, dice) = tools();
        let mut envelope = Envelope::new(address(), body, &clock, &dice);
        envelope.content_type = kind.map(Into::into);
        let mut out = Vec::new();
        write_structured(&envelope, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn foreign_subject_and_typed_extensions() {
    let read = structured(&event(
        r#","subject":"a b","flag":true,"count":-7,"gone":null,"time":"2026-11-21T12:00:00+01:00""#,
    ))
    .unwrap();
    assert_eq!(read.headers.get("subject"), Some("a b"));
    assert_eq!(read.headers.get("flag"), Some("true"));
    assert_eq!(read.headers.get("count"), Some("-7"));
    assert_eq!(read.headers.get("gone"), None);
    assert_eq!(read.time.to_string(), "2026-11-21T11:00:00.000Z");
    let mut out = Vec::new();
    write_structured(&read, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains(r#""subject":"a b""#) && text.contains(r#""tladdress":"topic/plant/7/temp""#),
        "{text}"
    );
}

#[test]
fn what_breaks_the_specification_is_named() {
    for (json, says) in [
        ("[]".to_owned(), "JSON object"),
        ("{".to_owned(), "EOF"),
        (r#"{"specversion":"1.0","id":"1","type":"t"}"#.to_owned(), "source is missing"),
        (event(r#","specversion":"1.0""#), "stands twice"),
        (event(r#","Upper":"x""#), "lower-case"),
        (event(r#","with_underscore":"x""#), "lower-case"),
        (event(r#","time":"yesterday""#), "RFC 3339"),
        (event(r#","count":1.5"#), "32-bit"),
        (event(r#","count":3000000000"#), "32-bit"),
        (event(r#","nested":{}"#), "32-bit"),
        (event(r#","data":1,"data_base64":"AA==""#), "exclude"),
        (event(r#","data_base64":"A""#), "not base64"),
        (event(r#","datacontenttype":"text/plain","data":1"#), "must be a string"),
        (event(r#","datacontenttype":"nothing""#), "no media type"),
        (event(r#","subject":"""#), "is empty"),
        (event(r#","tlpriority":11"#), "0 to 9"),
        (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#.to_owned(), "only 1.0"),
    ] {
        let fault = structured(&json).expect_err(&json);
        assert_eq!(fault.code(), Code::Malformed);
        assert!(fault.detail().contains(says), "{json}: {}", fault.detail());
    }
}

#[test]
fn binary_values_are_percent_encoded_utf8() {
    let (clock, dice) = tools();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b"),
        ("ce-source", "/s"),
        ("ce-type", "\"quoted\""),
        ("ce-note", "Euro%20%E2%82%AC"),
    ] {
        headers.insert(http::HeaderName::from_static(name), value.parse().unwrap());
    }
    let read = read_binary(&headers, Bytes::new(), &address(), &clock, &dice).unwrap();
    assert_eq!(read.id.to_string(), "a b");
    assert_eq!(read.event_type.as_deref(), Some("quoted"));
    assert_eq!(read.headers.get("note"), Some("Euro €"));
    let mut out = HeaderMap::new();
    write_binary(&read, &mut out);
    assert_eq!(out.get("ce-note").unwrap(), "Euro%20%E2%82%AC");
    headers.remove("ce-specversion");
    let fault = read_binary(&headers, Bytes::new(), &address(), &clock, &dice).unwrap_err();
    assert!(fault.detail().contains("specversion is missing"));
}

#[test]
fn a_batch_is_all_or_nothing_and_bounded() {
    let (clock, dice) = tools();
    let bad = format!("[{},{}]", event(""), event(r#","time":"x""#));
    let fault = read_batch(&bad.into(), &address(), &clock, &dice).unwrap_err();
    assert!(fault.detail().starts_with("event 1"), "{}", fault.detail());
    let many = format!("[{}]", vec![event(""); BATCH_EVENTS_MAX + 1].join(","));
    assert_eq!(read_batch(&many.into(), &address(), &clock, &dice).unwrap_err().code(), Code::TooLarge);
}
