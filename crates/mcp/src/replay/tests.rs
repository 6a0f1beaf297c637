//! What a reader that comes back gets: all that it missed, once, or a plain no.
//! No clock runs here; times are made up.

use super::*;

fn replay(kept: usize) -> Replay {
    Replay::new(3, kept, Moment::from_micros(0), CancellationToken::new())
}

async fn all(replay: &Replay, ticket: u64) -> Vec<(u64, Bytes)> {
    let mut read = Vec::new();
    while let Some(event) = replay.read(ticket).await {
        read.push(event);
    }
    read
}

fn events(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, Bytes)> {
    range.map(|number| (number, Bytes::from(format!("event {number}")))).collect()
}

fn filled(kept: usize, count: u64) -> Replay {
    let replay = replay(kept);
    for (_, event) in events(1..=count) {
        replay.post(event, 1_000);
    }
    replay.end();
    replay
}

#[tokio::test]
async fn what_was_missed_comes_once() {
    let replay = filled(1_000, 5);
    let first = replay.take(None).unwrap();
    assert_eq!(all(&replay, first).await, events(1..=5));
    // The connection broke when the client had seen two of them.
    let second = replay.take(Some(2)).unwrap();
    assert_eq!(replay.read(first).await, None, "the first reader was displaced");
    assert_eq!(all(&replay, second).await, events(3..=5));
    let third = replay.take(Some(5)).unwrap();
    assert_eq!(all(&replay, third).await, []);
}

#[tokio::test]
async fn what_is_gone_or_never_was_is_stale() {
    let replay = filled(16, 9);
    let reader = replay.take(None).unwrap();
    assert_eq!(all(&replay, reader).await, events(1..=9), "what nobody read is never dropped for size");
    assert_eq!(replay.take(Some(2)), Err(Stale));
    assert_eq!(replay.take(Some(10)), Err(Stale));
    assert_eq!(replay.take(Some(u64::MAX)), Err(Stale));
    let reader = replay.take(Some(8)).unwrap();
    assert_eq!(all(&replay, reader).await, events(9..=9), "the last one stays");
}

#[tokio::test]
async fn a_mailbox_drops_its_oldest() {
    let replay = replay(1_000);
    for (_, event) in events(1..=5) {
        replay.post(event, 3);
    }
    replay.end();
    let reader = replay.take(None).unwrap();
    assert_eq!(all(&replay, reader).await, events(3..=5));
    assert_eq!(replay.take(Some(1)), Err(Stale), "that 2 was lost is not hidden");
}

#[tokio::test]
async fn a_call_waits_for_its_reader_or_its_end() {
    let replay = replay(1_000);
    for (_, event) in events(1..=UNREAD as u64) {
        assert!(replay.offer(event).await);
    }
    let reader = replay.take(None).unwrap();
    let (offered, read) = tokio::join!(replay.offer(Bytes::from("late")), replay.read(reader));
    assert!(offered && read.is_some());
    let ending = async { replay.cancel.cancel() };
    let (offered, ()) = tokio::join!(replay.offer(Bytes::from("later")), ending);
    assert!(!offered);
}

#[tokio::test]
async fn abandoned_means_nobody_reads_for_a_while() {
    let (replay, wait) = (replay(10), Duration::from_secs(60));
    let at = |millis: u64| Moment::from_micros(millis * 1_000);
    assert!(!replay.is_abandoned(at(60_000), wait) && replay.is_abandoned(at(60_001), wait));
    let reader = replay.take(None).unwrap();
    assert!(replay.is_read() && !replay.is_abandoned(at(900_000), wait));
    replay.leave(reader, at(900_000));
    assert!(!replay.is_abandoned(at(960_000), wait) && replay.is_abandoned(at(960_001), wait));
}
