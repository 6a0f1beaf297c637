//! Raw bodies, CloudEvents forms, `tl-` headers.

use super::*;
use message::{Code, Id, Kind};

fn intake(pairs: &[(&'static str, &'static str)], query: &str, body: &'static str) -> Result<Intake, Fault> {
    let headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let (clock, dice) = (Clock::manual(Time::from_millis(1_000)), Dice::seeded(1));
    let address = Address::new(Kind::Queue, "orders").unwrap();
    let query = Query::read(Some(query), QUERY)?;
    read(&headers, &query, Bytes::from_static(body.as_bytes()), &address, (&clock, &dice))
}

fn one(pairs: &[(&'static str, &'static str)], query: &str, body: &'static str) -> Envelope {
    match intake(pairs, query, body).unwrap() {
        Intake::One(envelope) => envelope,
        Intake::Many(_) => panic!("one was sent"),
    }
}

#[test]
fn raw_bodies_take_what_the_headers_say() {
    let envelope = one(
        &[
            ("content-type", "text/csv"),
            ("tl-key", "k"),
            ("tl-priority", "9"),
            ("tl-reply-to", "topic/answers"),
            ("tl-h-region", "eu"),
            ("idempotency-key", "\"abc\""),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("user-agent", "curl"),
        ],
        "ttl=2s&retain=true",
        "a,b",
    );
    assert_eq!(envelope.content_type.as_deref(), Some("text/csv"));
    assert_eq!(envelope.key.as_deref(), Some("k"));
    assert_eq!(envelope.id, Id::from_text("abc"));
    assert_eq!(envelope.deadline.map(|due| due.time), Some(Time::from_millis(3_000)));
    assert_eq!((envelope.priority, envelope.retain), (9, true));
    assert_eq!(envelope.headers.iter().collect::<Vec<_>>(), [("region", "eu")]);
    assert!(envelope.trace.is_some());
    assert_eq!(&envelope.body[..], b"a,b");
}

#[test]
fn events_in_all_forms() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","tlattempt":3,"data":{"a":1}}"#;
    let envelope = one(&[("content-type", "application/cloudevents+json; charset=utf-8")], "", event);
    assert_eq!((envelope.attempt, &envelope.body[..]), (0, &br#"{"a":1}"#[..]));
    let envelope = one(
        &[("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/s"), ("ce-type", "t"), ("tl-key", "k")],
        "",
        "x",
    );
    assert_eq!((envelope.id.to_string().as_str(), envelope.key.as_deref()), ("7", Some("k")));
    let batch = [("content-type", "application/cloudevents-batch+json")];
    match intake(&batch, "", "[]").unwrap() {
        Intake::Many(events) => assert!(events.is_empty()),
        Intake::One(_) => panic!("a batch was sent"),
    }
}

#[test]
fn what_nobody_knows_is_refused() {
    for (name, value, says) in [
        ("tl-prioritty", "1", "did you mean \"tl-priority\"?"),
        ("tl-priority", "10", "0 to 9"),
        ("tl-deadline", "soon", "RFC 3339"),
        ("tl-ttl", "5", "as in 30s"),
        ("tl-id", "", "1 to 256"),
        ("tl-reply-to", "nowhere", "lacks its kind"),
        ("content-type", "application/cloudevents+avro", "no form"),
        ("ce-id", "1", "specversion is missing"),
    ] {
        let Err(fault) = intake(&[(name, value)], "", "") else { panic!("{name} was taken") };
        assert!(fault.detail().contains(says), "{name}: {}", fault.detail());
        assert!(matches!(fault.code(), Code::BadRequest | Code::Malformed | Code::BadAddress));
    }
}
