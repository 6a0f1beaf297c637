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
    let envelope = envelope();
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
        assert_eq!(format!("{back:?}"), format!("{envelope:?}"));
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
    assert_eq!(hash(KEY_SEED, b"patient 7"), 8_798_950_848_710_241_591);
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
