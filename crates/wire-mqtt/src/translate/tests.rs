//! What a PUBLISH says survives the way through an envelope.

use super::*;
use crate::codec::{Packet, PublishHead, Version, decode, put_publish_head};
use message::{Address, Dice, Time};

fn through(properties: Properties, qos: Qos, body: &'static [u8]) -> (Envelope, Properties) {
    let (clock, dice) = (Clock::manual(Time::from_millis(1_000_000)), Dice::seeded(1));
    let mut envelope =
        Envelope::new(Address::parse("topic/a/b").unwrap(), Bytes::from_static(body), &clock, &dice);
    fill(&mut envelope, qos, false, &properties, &clock).unwrap();
    let mut written = BytesMut::new();
    put_shared_properties(&envelope, &mut written);
    let head = PublishHead {
        dup: false,
        qos: Qos::Zero,
        retain: false,
        topic: "a/b",
        id: 0,
        properties: Some(&written),
    };
    let mut out = BytesMut::new();
    put_publish_head(&mut out, &head, body.len());
    out.extend_from_slice(body);
    let Ok(Some(Packet::Publish(publish))) = decode(&mut out, Version::V5, 1 << 20) else {
        panic!("no PUBLISH")
    };
    (envelope, publish.properties)
}

fn pair(name: &str, value: &str) -> Value {
    Value::Pair(name.into(), value.into())
}

#[test]
fn properties_come_back() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = Properties::default()
        .with(Name::ContentType, Value::Text("application/json".into()))
        .with(Name::ResponseTopic, Value::Text("$queue/answers".into()))
        .with(Name::CorrelationData, Value::Binary(Bytes::from_static(b"\x00\xffbin")))
        .with(Name::PayloadFormat, Value::Byte(1))
        .with(Name::User, pair("b", "1"))
        .with(Name::User, pair("traceparent", parent))
        .with(Name::User, pair("a", "2"))
        .with(Name::User, pair("B-Side", "3"));
    let (envelope, got) = through(sent, Qos::Two, b"{}");
    assert_eq!(envelope.qos, Qos::Two);
    assert_eq!(envelope.trace.as_ref().unwrap().to_string(), parent);
    assert_eq!(envelope.reply_to.as_ref().unwrap().to_string(), "queue/answers");
    assert_eq!(got.text(Name::ContentType).unwrap().as_str(), "application/json");
    assert_eq!(got.text(Name::ResponseTopic).unwrap().as_str(), "$queue/answers");
    assert_eq!(got.binary(Name::CorrelationData).unwrap(), &b"\x00\xffbin"[..]);
    assert_eq!(got.number(Name::PayloadFormat), Some(1));
    let user: Vec<_> = got.user().collect();
    assert_eq!(user, [("b", "1"), ("traceparent", parent), ("a", "2"), ("B-Side", "3")]);
}

// Finding: Q1, Q3
#[test]
fn no_name_of_a_user_property_is_interpreted() {
    let names = [
        "correlation-id",
        "Correlation-ID",
        "Mqtt-Correlation",
        "mqtt-correlation",
        "Mqtt-Payload-Format",
        "mqtt-payload-format",
        "Mqtt-Qos",
        "mqtt-qos",
        "mqtt-name",
        "MQTT-NAME",
        "X-Foo",
        "x-foo",
        "x-foo",
        "traceparent",
        "traceparent",
        "Traceparent",
        "tracestate",
        "qos",
        "content-type",
        "",
    ];
    let properties =
        Properties::default().with(Name::CorrelationData, Value::Binary(Bytes::from_static(b"CD")));
    let sent = names.iter().fold(properties, |all, name| all.with(Name::User, pair(name, "0")));
    for qos in [Qos::Zero, Qos::One, Qos::Two] {
        let (envelope, got) = through(sent.clone(), qos, b"\xff");
        assert_eq!(envelope.qos, qos);
        assert_eq!(got.0.iter().filter(|property| property.name == Name::CorrelationData).count(), 1);
        assert_eq!(got.binary(Name::CorrelationData).unwrap(), &b"CD"[..]);
        assert_eq!(got.number(Name::PayloadFormat), None);
        assert_eq!(got.user().collect::<Vec<_>>(), names.map(|name| (name, "0")));
    }
}

#[test]
fn expiry_becomes_a_deadline_and_counts_down() {
    let sent = Properties::default().with(Name::MessageExpiry, Value::Long(10));
    let (envelope, _) = through(sent, Qos::Zero, b"x");
    let deadline = envelope.deadline.unwrap();
    assert_eq!(deadline.time.as_millis(), 1_010_000);
    let before = |millis| deadline.at.before(Duration::from_millis(millis));
    assert_eq!(seconds_left(deadline, before(9_999)), Some(10));
    assert_eq!(seconds_left(deadline, before(999)), Some(1));
    assert_eq!(seconds_left(deadline, before(0)), None);
}

#[test]
fn a_payload_that_is_not_the_text_it_claims_to_be_is_refused() {
    let (clock, dice) = (Clock::system(), Dice::seeded(1));
    let mut envelope =
        Envelope::new(Address::parse("topic/a").unwrap(), Bytes::from_static(b"\xff"), &clock, &dice);
    let properties = Properties::default().with(Name::PayloadFormat, Value::Byte(1));
    let fault = fill(&mut envelope, Qos::One, false, &properties, &clock).unwrap_err();
    assert_eq!(crate::reason::of(fault.code()).puback, 0x99);
}
