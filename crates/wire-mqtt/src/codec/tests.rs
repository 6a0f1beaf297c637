//! The codec against itself (round trips), against garbage, and against bytes written by hand from the standard.
//! Live connections are tested in `tests/`.

use super::*;
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

const MAX: usize = 1 << 20;

fn all(bytes: &[u8], version: Version) -> Result<Option<Packet>, Error> {
    decode(&mut BytesMut::from(bytes), version, MAX)
}

fn round_trip(packet: &Packet, version: Version) {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out);
    for cut in 0..out.len() {
        let mut part = BytesMut::from(&out[..cut]);
        assert_eq!(decode(&mut part, version, MAX), Ok(None), "cut at {cut} of {packet:?}");
        assert_eq!(part.len(), cut, "an incomplete packet must stay in the buffer");
    }
    out.extend_from_slice(b"next");
    assert_eq!(decode(&mut out, version, MAX).as_ref(), Ok(&Some(packet.clone())));
    assert_eq!(&out[..], b"next");
}

fn text() -> impl Strategy<Value = Text> {
    "[a-zA-Z0-9/ äöü€😀._-]{0,24}".prop_map(|text| Text::from(text.as_str()))
}

fn topic() -> impl Strategy<Value = Text> {
    "[a-z/€$]{1,20}".prop_map(|text| Text::from(text.as_str()))
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::Zero), Just(Qos::One), Just(Qos::Two)]
}

/// Properties that every packet may carry, and those of a PUBLISH.
fn user() -> impl Strategy<Value = Properties> {
    vec((text(), text()), 0..4).prop_map(|pairs| {
        Properties(
            pairs.into_iter().map(|(a, b)| Property { name: Name::User, value: Value::Pair(a, b) }).collect(),
        )
    })
}

fn message_properties() -> impl Strategy<Value = Properties> {
    (user(), any::<u32>(), text(), topic(), blob(), 0..=1_u8, any::<u8>()).prop_map(
        |(mut properties, expiry, kind, topic, data, flag, which)| {
            let optional = [
                (Name::MessageExpiry, Value::Long(expiry)),
                (Name::ContentType, Value::Text(kind)),
                (Name::ResponseTopic, Value::Text(topic)),
                (Name::CorrelationData, Value::Binary(data)),
                (Name::PayloadFormat, Value::Byte(flag)),
            ];
            for (place, (name, value)) in optional.into_iter().enumerate() {
                if which & (1 << place) != 0 {
                    properties.0.push(Property { name, value });
                }
            }
            properties
        },
    )
}

fn publish() -> impl Strategy<Value = Publish> {
    (any::<bool>(), qos(), any::<bool>(), topic(), 1..=u16::MAX, message_properties(), blob()).prop_map(
        |(dup, qos, retain, topic, id, properties, payload)| {
            let numbered = qos != Qos::Zero;
            Publish {
                dup: dup && numbered,
                qos,
                retain,
                topic,
                id: if numbered { id } else { 0 },
                properties,
                payload,
            }
        },
    )
}

fn will() -> impl Strategy<Value = Will> {
    (topic(), blob(), qos(), any::<bool>(), message_properties()).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    )
}

fn connect() -> impl Strategy<Value = Connect> {
    (
        3..=5_u8,
        any::<bool>(),
        any::<u16>(),
        text(),
        proptest::option::of(will()),
        text(),
        blob(),
        0..3_u8,
        user(),
    )
        .prop_map(|(level, clean, keep_alive_s, client_id, will, name, word, shown, properties)| {
            Connect {
                level,
                clean,
                keep_alive_s,
                client_id,
                will: will.map(|will| {
                    if level == 5 { will } else { Will { properties: Properties::default(), ..will } }
                }),
                username: (shown > 0).then_some(name),
                password: (shown > 1).then_some(word),
                properties: if level == 5 { properties } else { Properties::default() },
            }
        })
}

fn filters() -> impl Strategy<Value = Vec<Filter>> {
    let filter = (topic(), qos(), any::<bool>(), any::<bool>(), 0..=2_u8).prop_map(
        |(filter, qos, no_local, retain_as_published, retain_handling)| Filter {
            filter,
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    vec(filter, 1..5)
}

proptest! {
    #[test]
    fn publish_comes_back(publish in publish()) {
        round_trip(&Packet::Publish(publish.clone()), Version::V5);
        round_trip(&Packet::Publish(Publish { properties: Properties::default(), ..publish }), Version::V3);
    }

    #[test]
    fn connect_comes_back(connect in connect()) {
        let version = connect.version();
        round_trip(&Packet::Connect(Box::new(connect)), version);
    }

    #[test]
    fn subscriptions_come_back(id in 1..=u16::MAX, filters in filters(), properties in user(), number in 1..=268_435_455_u32) {
        let properties = properties.with(Name::SubscriptionId, Value::Varint(number));
        let names = filters.iter().map(|filter| filter.filter.clone()).collect();
        round_trip(&Packet::Subscribe(Subscribe { id, properties, filters }), Version::V5);
        round_trip(&Packet::Unsubscribe(Unsubscribe { id, properties: Properties::default(), filters: names }), Version::V3);
    }

    #[test]
    fn answers_come_back(id in 1..=u16::MAX, properties in user(), short in any::<bool>()) {
        let reason = if short { 0 } else { 0x92 };
        let properties = if short { Properties::default() } else { properties };
        let ack = Ack { id, reason, properties: properties.clone() };
        round_trip(&Packet::Pubrel(ack.clone()), Version::V5);
        round_trip(&Packet::Pubcomp(ack), Version::V5);
        let nothing = Ack { id, reason: 0, properties: Properties::default() };
        for packet in [Packet::Puback(nothing.clone()), Packet::Pubrec(nothing.clone()), Packet::Pubrel(nothing)] {
            round_trip(&packet, Version::V3);
            round_trip(&packet, Version::V5);
        }
        round_trip(&Packet::Suback(Suback { id, properties: properties.clone(), codes: vec![0, 1, 0x87] }), Version::V5);
        round_trip(&Packet::Unsuback(Suback { id, properties: properties.clone(), codes: vec![0, 0x11] }), Version::V5);
        round_trip(&Packet::Unsuback(Suback { id, properties: Properties::default(), codes: vec![] }), Version::V3);
        round_trip(&Packet::Connack(Connack { session_present: short, code: 0, properties: properties.clone() }), Version::V5);
        round_trip(&Packet::Disconnect(Disconnect { reason: 0x8e, properties: properties.clone() }), Version::V5);
        let auth = properties.with(Name::AuthMethod, Value::Text("SCRAM".into()));
        round_trip(&Packet::Auth(Auth { reason: 0x18, properties: auth }), Version::V5);
        for packet in [Packet::Pingreq, Packet::Pingresp, Packet::Disconnect(Disconnect::default())] {
            round_trip(&packet, Version::V3);
            round_trip(&packet, Version::V5);
        }
    }

    /// What is read from any bytes, written again, reads as the same.
    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300), v5 in any::<bool>(), first in 0x10..=0xff_u8, len in 0..60_u8) {
        let version = if v5 { Version::V5 } else { Version::V3 };
        let framed: Vec<u8> = [first, len].into_iter().chain(bytes.iter().copied()).collect();
        for bytes in [&bytes, &framed] {
            let mut left = BytesMut::from(&bytes[..]);
            while let Ok(Some(packet)) = decode(&mut left, version, 4096) {
                let kind = if let Packet::Connect(connect) = &packet { connect.version() } else { version };
                let mut out = BytesMut::new();
                encode(&packet, kind, &mut out);
                prop_assert_eq!(decode(&mut out, kind, MAX), Ok(Some(packet)));
                prop_assert!(out.is_empty());
            }
        }
    }

    /// One wrong byte in a good packet is refused or read as something else, never a panic.
    #[test]
    fn a_flipped_byte_never_panics(publish in publish(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut out = BytesMut::new();
        encode(&Packet::Publish(publish), Version::V5, &mut out);
        let place = place.index(out.len());
        out[place] = byte;
        if let Ok(Some(packet)) = decode(&mut out, Version::V5, MAX) {
            prop_assert!(!matches!(packet, Packet::Connect(_)) || out.is_empty());
        }
    }
}

#[test]
fn payload_is_a_slice_of_the_input() {
    let mut input = BytesMut::from(&b"\x30\x07\x00\x01ahola"[..]);
    let range = input.as_ptr_range();
    let Ok(Some(Packet::Publish(publish))) = decode(&mut input, Version::V3, MAX) else {
        panic!("no PUBLISH")
    };
    assert_eq!(&publish.payload[..], b"hola");
    assert!(range.contains(&publish.payload.as_ptr()), "the payload was copied");
}

#[test]
fn sizes_are_refused_before_the_bytes_arrive() {
    let mut input = BytesMut::from(&b"\x30\xff\xff\x03"[..]);
    assert_eq!(decode(&mut input, Version::V3, 1000), Err(Error::TooLarge { bytes: 65_539, max: 1000 }));
    let mut fits = BytesMut::from(&b"\x30\x07\x00\x01ahola"[..]);
    assert!(decode(&mut fits.clone(), Version::V3, 9).is_ok_and(|packet| packet.is_some()));
    assert!(decode(&mut fits, Version::V3, 8).is_err());
}

#[test]
fn malformed_packets_are_refused_with_their_section() {
    let table: &[(&str, Version, &[u8], &str)] = &[
        ("type 0", Version::V5, b"\x00\x00", "2.1.2"),
        ("AUTH in v3", Version::V3, b"\xf0\x00", "2.1.2"),
        ("flags of PINGREQ", Version::V3, b"\xc1\x00", "2.1.3"),
        ("flags of SUBSCRIBE", Version::V3, b"\x80\x06\x00\x01\x00\x01a\x00", "2.1.3"),
        ("five length bytes", Version::V5, b"\x30\x80\x80\x80\x80\x01", "1.5.5"),
        ("padded length", Version::V5, b"\x30\x80\x00", "1.5.5"),
        ("QoS 3", Version::V5, b"\x36\x05\x00\x01a\x00\x01", "3.3.1.2"),
        ("DUP with QoS 0", Version::V5, b"\x38\x04\x00\x01a\x00", "3.3.1.1"),
        ("packet id 0", Version::V3, b"\x32\x05\x00\x01a\x00\x00", "2.2.1"),
        ("wildcard in a name", Version::V3, b"\x30\x03\x00\x01#", "3.3.2.1"),
        ("empty topic", Version::V3, b"\x30\x02\x00\x00", "3.3.2.1"),
        ("empty topic, no alias", Version::V5, b"\x30\x03\x00\x00\x00", "3.3.2.1"),
        ("not UTF-8", Version::V3, b"\x30\x03\x00\x01\xff", "1.5.4"),
        ("surrogate", Version::V3, b"\x30\x05\x00\x03\xed\xa0\x80", "1.5.4"),
        ("U+0000", Version::V3, b"\x30\x03\x00\x01\x00", "1.5.4"),
        ("no filter", Version::V3, b"\x82\x02\x00\x01", "3.8.3"),
        ("no filter in UNSUBSCRIBE", Version::V3, b"\xa2\x02\x00\x01", "3.10.3"),
        ("reserved options", Version::V5, b"\x82\x07\x00\x01\x00\x00\x01a\xc0", "3.8.3.1"),
        ("v5 options in v3", Version::V3, b"\x82\x06\x00\x01\x00\x01a\x04", "3.8.3.1"),
        ("retain handling 3", Version::V5, b"\x82\x07\x00\x01\x00\x00\x01a\x30", "3.8.3.1"),
        ("no local on shared", Version::V5, b"\x82\x0f\x00\x01\x00\x00\x09$share/ga\x04", "3.8.3.1"),
        ("unknown property", Version::V5, b"\x30\x06\x00\x01a\x02\x7e\x00", "2.2.2.2"),
        ("property elsewhere", Version::V5, b"\x30\x07\x00\x01a\x03\x21\x00\x01", "2.2.2.2"),
        ("property twice", Version::V5, b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", "2.2.2.2"),
        ("flag 2", Version::V5, b"\x30\x06\x00\x01a\x02\x01\x02", "2.2.2.2"),
        ("subscription id 0", Version::V5, b"\x82\x09\x00\x01\x02\x0b\x00\x00\x01a\x00", "2.2.2.2"),
        ("response topic with wildcard", Version::V5, b"\x30\x08\x00\x01a\x04\x08\x00\x01+", "3.3.2.3.5"),
        ("unknown reason", Version::V5, b"\x40\x03\x00\x01\x01", "2.4"),
        ("bytes after PINGREQ", Version::V3, b"\xc0\x01\x00", "2.1.4"),
        ("reason in v3", Version::V3, b"\x40\x03\x00\x01\x00", "2.1.4"),
        ("short CONNECT", Version::V3, b"\x10\x04\x00\x04MQ", "2.1.4"),
        ("other protocol", Version::V3, b"\x10\x07\x00\x04HTTP\x04", "3.1.2.1"),
        ("reserved connect flag", Version::V3, b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x00\x00\x00", "3.1.2.3"),
        ("will QoS without will", Version::V3, b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x00\x00\x00", "3.1.2.6"),
        (
            "password alone in v3",
            Version::V3,
            b"\x10\x0f\x00\x04MQTT\x04\x42\x00\x00\x00\x00\x00\x01p",
            "3.1.2.9",
        ),
        ("bytes after CONNECT", Version::V3, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00", "2.1.4"),
    ];
    for (name, version, bytes, want) in table {
        match all(bytes, *version) {
            Err(Error::Malformed { section, .. } | Error::Protocol { section, .. }) => {
                assert_eq!(section, *want, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(all(b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x00\x00\x00", Version::V3), Err(Error::Version(6)));
}

#[test]
fn v3_accepts_a_padded_length() {
    assert_eq!(all(b"\xc0\x80\x00", Version::V3), Ok(Some(Packet::Pingreq)));
}

#[test]
fn fast_paths_write_what_the_slow_ones_do() {
    for (version, reason) in [(Version::V3, 0), (Version::V5, 0), (Version::V5, 0x87)] {
        let (mut fast, mut slow) = (BytesMut::new(), BytesMut::new());
        put_ack(&mut fast, Type::Puback, 513, reason, version);
        encode(
            &Packet::Puback(Ack { id: 513, reason, properties: Properties::default() }),
            version,
            &mut slow,
        );
        assert_eq!(fast, slow);
    }
    let head =
        PublishHead { dup: true, qos: Qos::Two, retain: true, topic: "a/b", id: 9, properties: Some(&[]) };
    let mut fast = BytesMut::new();
    put_publish_head(&mut fast, &head, 3);
    fast.extend_from_slice(b"xyz");
    assert_eq!(fast.len(), head.packet_len(3));
    let Ok(Some(Packet::Publish(publish))) = decode(&mut fast, Version::V5, MAX) else {
        panic!("no PUBLISH")
    };
    assert_eq!((publish.dup, publish.qos, publish.retain, publish.id), (true, Qos::Two, true, 9));
    assert_eq!((publish.topic.as_str(), &publish.payload[..]), ("a/b", &b"xyz"[..]));
}
