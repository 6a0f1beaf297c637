//! Envelopes come back as they went, and bytes that nobody wrote are refused without a panic.
//! Whether damaged bytes are noticed is the store's business.

use super::*;
use proptest::prelude::*;

fn now() -> Now {
    message::Clock::manual(Time::from_millis(1 << 40)).both()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", "\\PC{0,40}"]
}

fn address() -> impl Strategy<Value = Address> {
    (0..Kind::ALL.len(), "[a-zA-Z0-9$ä]{1,9}(/[a-z0-9]{0,5}){0,4}")
        .prop_map(|(kind, name)| Address::new(Kind::ALL[kind], &name).unwrap())
}

prop_compose! {
    fn trace()(trace_id: u128, span_id: u64, sampled: bool, state in proptest::option::of(text())) -> Trace {
        Trace { trace_id, span_id, sampled, state: state.map(Arc::from) }
    }
}

prop_compose! {
    fn envelope()(
        id in prop_oneof![any::<u128>().prop_map(Id::from_bits), text().prop_map(|id| Id::from_text(&id))],
        address in address(),
        times in (any::<u64>(), proptest::option::of(0..1_u64 << 40)),
        texts in proptest::array::uniform4(proptest::option::of(text())),
        names in (text(), text()),
        trace in proptest::option::of(trace()),
        reply_to in proptest::option::of(address()),
        counts in (any::<u8>(), any::<u32>(), any::<bool>()),
        more in (0..3_u8, any::<bool>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))),
        headers in proptest::collection::vec((text(), text()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> Envelope {
        let [key, content_type, source, event_type] = texts.map(|text| text.map(Arc::from));
        Envelope {
            id, fingerprint: None, address, key, content_type, source, event_type, trace, reply_to,
            time: Time::from_millis(times.0),
            deadline: times.1.map(|millis| now().due_in(std::time::Duration::from_millis(millis))),
            headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: body.into(),
            principal: names.0.into(),
            tenant: names.1.into(),
            priority: counts.0,
            attempt: counts.1,
            retain: counts.2,
            qos: message::Qos::from_bits(more.0).unwrap(),
            is_text: more.1,
            correlation: more.2.map(Arc::from),
        }
    }
}

proptest! {
    #[test]
    fn an_envelope_comes_back_as_it_went(envelope in envelope()) {
        let bytes = encode(now().moment, &envelope);
        let back = decode(&bytes, now()).expect("our own bytes");
        prop_assert_eq!(format!("{envelope:?}"), format!("{back:?}"));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes.into(), now()));
    }

    #[test]
    fn changed_bytes_never_panic(envelope in envelope(), place: proptest::sample::Index, byte: u8, cut: bool) {
        let mut bytes = encode(now().moment, &envelope).to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if cut {
            bytes.truncate(place);
        }
        drop(decode(&bytes.into(), now()));
    }

    #[test]
    fn numbers_come_back(value: u64) {
        let mut out = Vec::new();
        number(&mut out, value);
        let bytes = Bytes::from(out);
        prop_assert_eq!(Reader::new(&bytes).number(), Some(value));
    }
}

#[test]
fn a_number_over_64_bits_is_refused() {
    let bytes = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
    assert_eq!(Reader::new(&bytes).number(), None);
}

#[test]
fn the_version_is_checked() {
    let address = Address::parse("topic/a").unwrap();
    let envelope = Envelope::new(address, "x", &message::Clock::system(), &message::Dice::seeded(1));
    let mut bytes = encode(now().moment, &envelope).to_vec();
    bytes[0] = 2;
    assert!(decode(&bytes.into(), now()).is_none());
}

// Finding: B4
#[test]
fn a_deadline_that_was_stored_is_never_further_than_it_was() {
    let address = Address::parse("topic/a").unwrap();
    let clock = message::Clock::manual(Time::from_millis(1 << 40));
    let mut envelope = Envelope::new(address, "x", &clock, &message::Dice::seeded(1));
    let (hour, day) = (std::time::Duration::from_secs(3_600), std::time::Duration::from_secs(86_400));
    envelope.deadline = Some(clock.both().due_in(hour));
    let bytes = encode(clock.moment(), &envelope);
    for (time, left) in
        [(now().time, hour), (now().time.earlier(day), hour), (now().time.later(hour / 2), hour / 2)]
    {
        clock.set(time);
        let due = decode(&bytes, clock.both()).unwrap().deadline.unwrap();
        assert_eq!(
            (due.left(clock.moment()), due.time),
            (left, envelope.deadline.unwrap().time),
            "at {time}"
        );
    }
}
