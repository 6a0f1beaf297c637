//! Records come back as they went, and garbage is refused without a panic or a large allocation.
//! What they do to the state is tested at the machine and in the simulation.

use super::*;
use message::{Address, Clock, Dice};
use proptest::prelude::*;

fn clock() -> Clock {
    Clock::manual(Time::from_millis(5))
}

fn envelope() -> Envelope {
    let mut envelope = Envelope::new(Address::parse("queue/a").unwrap(), "body", &clock(), &Dice::seeded(3));
    envelope.key = Some("k".into());
    envelope.priority = 4;
    envelope.deadline = Some(clock().both().due_at(Time::from_millis(9)));
    envelope
}

fn attempt() -> Attempt {
    Attempt {
        time: Time::from_millis(1),
        took: Duration::from_millis(2),
        code: Code::UpstreamFailed,
        text: "it fell over".into(),
        consumer: "worker".into(),
    }
}

#[test]
fn a_message_is_found_in_every_record_that_carries_one() {
    let mut envelope = envelope();
    envelope.identify("chosen");
    let now = clock().both();
    let meta = Meta::of(now, &envelope);
    let first = enqueued(now, &meta, &envelope);
    let payload = read_payload(&first).unwrap();
    let died = Died { time: Time::from_millis(3), code: Code::LeaseLost, text: "x".into() };
    let carried = Carried {
        number: 7,
        leases: 3,
        deliveries: 2,
        pause: Some(Pause { from: Time::from_millis(5), wait: Duration::from_millis(3) }),
        died: Some(died),
        history: vec![attempt(), attempt()],
    };
    for record in [first, replayed(now, (7, &[attempt()]), &meta, &envelope), moved(&carried, &payload)] {
        let back = read_envelope(&record, now).unwrap();
        let plain = Envelope { fingerprint: None, ..envelope.clone() };
        assert_eq!(format!("{back:?}"), format!("{plain:?}"));
        match read(&record, now).unwrap() {
            Record::Enqueued(have) => assert_eq!(have, meta),
            Record::Replayed { old, history, meta: have } => {
                assert_eq!((old, history, have), (7, vec![attempt()], meta));
            }
            Record::Moved(have, its) => assert_eq!((*have, its), (carried.clone(), meta)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lists_come_back() {
    let mut out = vec![DIED];
    let ended = |number, died: bool, attempted: bool| Ended {
        number,
        leases: 4,
        deliveries: 3,
        until: (!died).then(|| Time::from_millis(10)),
        died: died.then(|| Died {
            time: Time::from_millis(2),
            code: Code::TooManyDeliveries,
            text: "y".into(),
        }),
        attempt: attempted.then(attempt),
    };
    let list = [ended(1, true, true), ended(1 << 40, true, false), ended(3, false, true)];
    list.iter().for_each(|one| write_ended(&mut out, one));
    match read(&out.into(), clock().both()) {
        Some(Record::Died(have)) => assert_eq!(have, list),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hashes_never_change() {
    // They lie on disk: a message stored yesterday must have the same key today.
    assert_eq!(hash("patient 7"), 8218275219900472118);
}

/// What version 1 wrote of a message: other hashes, always there, and an envelope whose deadline was a time of day alone.
fn version_1(envelope: &Envelope, key: u64) -> Bytes {
    let mut out = Vec::new();
    number(&mut out, 4);
    number(&mut out, 9);
    out.push(envelope.priority);
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&7_u128.to_le_bytes());
    codec::encode_into(&mut out, clock().moment(), envelope);
    out.into()
}

// Finding: H0.1
#[test]
fn what_version_1_wrote_is_read_and_its_ids_are_not_compared() {
    let keyed = envelope();
    let free = Envelope { key: None, ..envelope() };
    for (envelope, old, key) in [(&keyed, 8_798_950_848_710_241_591, hash("k")), (&free, 0, 0)] {
        let payload = version_1(envelope, old);
        let mut first = vec![ENQUEUED];
        first.extend_from_slice(&payload);
        let carried = Carried { number: 7, ..Carried::default() };
        for record in [Bytes::from(first), moved(&carried, &payload)] {
            let now = clock().both();
            let (Record::Enqueued(meta) | Record::Moved(_, meta)) = read(&record, now).unwrap() else {
                panic!()
            };
            // Its key keeps its order with messages of this version.
            assert_eq!((meta.key, meta.fingerprint, meta.priority), (key, None, 4));
            assert_eq!(
                (meta.entered, meta.deadline),
                (Time::from_millis(4), Some(now.due_at(Time::from_millis(9))))
            );
            assert_eq!(format!("{:?}", read_envelope(&record, now).unwrap()), format!("{envelope:?}"));
        }
    }
}

// Finding: B4
#[test]
fn a_pause_of_version_1_began_with_its_last_attempt() {
    let mut old = Vec::new();
    for value in [7, 3, 2, 2_001] {
        number(&mut old, value);
    }
    old.push(0);
    write_history(&mut old, &[attempt()]);
    let carried = read_carried(&mut Reader::new(&old.into())).unwrap();
    assert_eq!(carried.pause, Some(Pause { from: Time::from_millis(1), wait: Duration::from_millis(2_000) }));
    assert_eq!((carried.number, carried.leases, carried.deliveries), (7, 3, 2));
}

#[test]
fn long_texts_are_cut_between_characters() {
    let text = "ä".repeat(200);
    assert_eq!(cut(&text).len(), TEXT_BYTES_MAX);
    assert_eq!(&*cut("short"), "short");
}

proptest! {
    #[test]
    fn garbage_is_refused(tag in proptest::sample::select(b"EPMAXFLRDQ".to_vec()), bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let record: Bytes = [&[tag][..], &bytes].concat().into();
        drop(read(&record, clock().both()));
        drop(read_envelope(&record, clock().both()));
        drop(read_payload(&record));
    }
}
