//! What arrives whole: documents of other people's making, and the programs and files of an operator. Whatever is accepted
//! must survive being written and read again.

use bytes::Bytes;
use hub::steps::{Flowing, StepConfig, Steps, Surroundings, compile, try_program};
use message::{Address, Clock, Dice, Envelope, Pattern, Time};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::LazyLock;
use wire_http::cloudevents;

fn clock() -> Clock {
    Clock::manual(Time::from_millis(1_700_000_000_000))
}

fn envelope(body: &[u8]) -> Envelope {
    #[expect(clippy::unwrap_used, reason = "a constant")]
    let address = Address::parse("topic/a").unwrap();
    Envelope::new(address, Bytes::copy_from_slice(body), &clock(), &Dice::seeded(1))
}

fn steps(list: Value) -> Option<Steps> {
    let configs: Vec<StepConfig> = serde_json::from_value(list).ok()?;
    let with =
        Surroundings { base: Path::new("/nonexistent"), outside: access::Outside::Unread, jq_steps: 1 << 20 };
    compile(&configs, with).ok()
}

/// An event that was read is written as one that reads the same.
pub(crate) fn cloudevents(data: &[u8]) {
    let (document, clock, dice) = (Bytes::copy_from_slice(data), clock(), Dice::seeded(1));
    let address = envelope(&[]).address;
    drop(cloudevents::read_batch(&document, &address, &clock, &dice));
    let Ok(event) = cloudevents::read_structured(&document, &address, &clock, &dice) else { return };
    let mut written = Vec::new();
    cloudevents::write_structured(&event, &mut written);
    let again = cloudevents::read_structured(&Bytes::from(written.clone()), &address, &clock, &dice);
    let text = String::from_utf8_lossy(&written).into_owned();
    match again {
        Ok(again) => {
            assert_eq!(again.id, event.id, "{text}");
            assert_eq!(again.source, event.source, "{text}");
            assert_eq!(again.event_type, event.event_type, "{text}");
            assert_eq!(again.key, event.key, "{text}");
            assert_eq!(again.body, event.body, "{text}");
        }
        Err(fault) => panic!("what was written is not read: {fault:?}\n{text}"),
    }
    let mut headers = http::HeaderMap::new();
    cloudevents::write_binary(&event, &mut headers);
    let binary = cloudevents::read_binary(&headers, event.body.clone(), &address, &clock, &dice);
    assert!(binary.is_ok(), "{:?} {headers:?}", binary.err());
}

/// A message that is read can be turned into JSON and back, and the second message reads as the first.
pub(crate) fn hl7(data: &[u8]) {
    static STEPS: LazyLock<Option<Steps>> =
        LazyLock::new(|| steps(json!([{ "decode": "hl7" }, { "encode": "hl7" }])));
    let Ok(message) = hub::steps::hl7::Message::parse(data) else { return };
    for path in
        ["MSH-9", "MSH-9.1", "MSH-18", "PID-3.1", "OBX[2]-5", "MSH-0", "-", "OBX[99999999999999999999]-1"]
    {
        drop(message.get(path));
    }
    let json = message.to_json();
    let Some(steps) = &*STEPS else { panic!("the steps do not compile") };
    let Ok(Some(written)) = steps.run(envelope(data)) else { return };
    let Ok(written) = written.into_envelope() else { return };
    match hub::steps::hl7::Message::parse(&written.body) {
        Ok(again) => assert_eq!(again.to_json(), json, "{:?}", String::from_utf8_lossy(&written.body)),
        Err(error) => {
            panic!("what was written is not read: {error:?} {:?}", String::from_utf8_lossy(&written.body))
        }
    }
}

/// XML that is read can be written, and reads as the same again.
pub(crate) fn xml(data: &[u8]) {
    static READ: LazyLock<Option<Steps>> = LazyLock::new(|| steps(json!([{ "decode": "xml" }])));
    static BOTH: LazyLock<Option<Steps>> =
        LazyLock::new(|| steps(json!([{ "decode": "xml" }, { "encode": "xml" }])));
    let (Some(read), Some(both)) = (&*READ, &*BOTH) else { panic!("the steps do not compile") };
    let Ok(Some(first)) = read.run(envelope(data)) else { return };
    let Ok(Some(written)) = both.run(envelope(data)) else { return };
    let Ok(written) = written.into_envelope() else { return };
    let again = read.run(envelope(&written.body));
    let text = String::from_utf8_lossy(&written.body).into_owned();
    match again {
        Ok(Some(again)) => {
            let body = |flowing: Flowing| flowing.into_envelope().ok().map(|envelope| envelope.body);
            assert_eq!(body(again), body(first), "{text}");
        }
        other => panic!("what was written is not read: {:?}\n{text}", other.err()),
    }
}

/// A program that is accepted ends; libFuzzer's own deadline says when it does not. After a NUL may stand a body of its own, whose
/// numbers and texts the identity keeps.
pub(crate) fn jq(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (code, own) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(code) = std::str::from_utf8(code) else { return };
    let own = String::from_utf8_lossy(own);
    let written = |body: &str| {
        let tried = try_program(".", &envelope(body.as_bytes()), 1).ok()?;
        tried.results.into_iter().next()
    };
    if let Some(once) = written(&own) {
        assert_eq!(written(&once).as_ref(), Some(&once), "{own}");
    }
    let Some(steps) = steps(json!([{ "map": code }])) else { return };
    let usual = r#"{"a":[1,-2.5,{"b":null,"c":"ä"}],"n":1e300,"s":"x y"}"#;
    for body in [usual, "[]", "3", "\"text\"", "null", &own] {
        if let Ok(Some(flowing)) = steps.run(envelope(body.as_bytes())) {
            drop(flowing.into_envelope());
        }
    }
}

/// A schema and a document, with a NUL between them.
pub(crate) fn schema(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(schema), Some(body)) = (parts.next(), parts.next()) else { return };
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return };
    let Some(steps) = steps(json!([{ "validate": { "schema": schema } }])) else { return };
    drop(steps.run(envelope(body)));
}

/// A configuration is taken or refused with a place.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = Path::new("/nonexistent/trunkline.yaml");
    let Ok(document) = trunkline::config::parse(file, text, []) else { return };
    if let Err(misfit) = trunkline::config::take_apart(&document, Path::new("/nonexistent")) {
        let problem = document.locate(&misfit);
        assert!(!problem.what.is_empty());
        drop(problem.to_string());
    }
}

/// An address is what it was parsed from; a pattern that is the address matches it.
pub(crate) fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(address) = Address::parse(text) {
        assert_eq!(address.to_string(), text);
        if let Ok(pattern) = Pattern::parse(text) {
            assert!(pattern.matches(&address), "{text:?}");
        }
    }
    if let Ok(pattern) = Pattern::parse(text) {
        let again = Pattern::parse(&pattern.to_string());
        assert!(again.is_ok_and(|again| again == pattern), "{text:?}");
    }
    if let Some(time) = Time::parse_rfc3339(text) {
        assert_eq!(Time::parse_rfc3339(&time.to_string()), Some(time), "{text:?}");
    }
}
