//! Ownership, the cap, idle expiry, the mailbox's bound and the take-over of the standing stream.
//! What travels over it is tested at the face.

use super::*;
use message::Time;

fn opening(principal: &str) -> Opening {
    Opening {
        principal: principal.into(),
        tenant: "default".into(),
        version: "2025-11-25",
        capabilities: r#"{"sampling":{}}"#.into(),
        client_info: "{}".into(),
        mailbox: 2,
        replay: 100,
    }
}

// Finding: B4
#[test]
fn sessions_are_owned_capped_and_expire() {
    let clock = Clock::manual(Time::from_millis(1_000_000_000));
    let sessions = Sessions::new(clock.clone());
    let idle = Duration::from_secs(10);
    let one = sessions.open(opening("ann"), 2, idle).unwrap();
    assert!(one.id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && one.id.len() == 32);
    assert!(sessions.find(&one.id, "bob", "default").is_none());
    assert!(sessions.find(&one.id, "ann", "other").is_none());
    assert!(sessions.find(&one.id, "ann", "default").is_some());
    sessions.open(opening("bob"), 2, idle).unwrap();
    clock.set(Time::from_millis(5_000_000_000));
    assert!(sessions.open(opening("eve"), 2, idle).is_none());
    clock.set(Time::from_millis(1));
    clock.advance(Duration::from_secs(11));
    let run = one.run("7");
    let eve = sessions.open(opening("eve"), 2, idle).unwrap();
    assert_eq!(sessions.count(), 2, "bob was silent, ann has a call running");
    drop(run);
    sessions.close(&eve);
    assert!(eve.gone.is_cancelled());
    assert!(sessions.find(&eve.id, "eve", "default").is_none());
}

#[tokio::test]
async fn the_mailbox_is_bounded_and_the_stream_has_one_reader() {
    let session = Session::open(opening("ann"), "x".into(), Moment::from_micros(1_000));
    for text in ["1", "2", "3"] {
        session.post(Bytes::from(text));
    }
    let standing = session.stream(0).unwrap();
    let ticket = standing.take(None).unwrap();
    assert_eq!(standing.read(ticket).await, Some((2, Bytes::from("2"))));
    let other = standing.take(None).unwrap();
    assert!(standing.read(ticket).await.is_none());
    assert_eq!(standing.read(other).await, Some((3, Bytes::from("3"))));
}

#[test]
fn streams_that_ended_make_room_and_abandoned_calls_end() {
    let session = Session::open(opening("ann"), "x".into(), Moment::from_micros(1_000));
    let open = || session.open_stream(Moment::from_micros(1_000), session.gone.child_token());
    let ended = open();
    ended.post(Bytes::from(vec![b'x'; 101]), 9);
    ended.end();
    let second = open();
    assert!(session.stream(ended.number).is_none(), "more than the replay allows, and ended");
    second.post(Bytes::from("x"), 9);
    second.end();
    let running = open();
    assert!(session.stream(second.number).is_some(), "small enough to stay");
    for _ in 0..STREAMS {
        open();
    }
    assert!(session.stream(second.number).is_none() && running.cancel.is_cancelled());
    let last = open();
    session.sweep(Moment::from_micros(61_002_000), Duration::from_secs(60));
    assert!(last.cancel.is_cancelled() && session.stream(last.number).is_none());
}

#[tokio::test]
async fn answers_find_their_question_once() {
    let session = Session::open(opening("ann"), "x".into(), Moment::from_micros(1_000));
    let (sender, receiver) = oneshot::channel();
    let id = session.question(sender).unwrap();
    assert!(!session.answer("\"other\"", Ok("1")));
    assert!(session.answer(&id, Ok("{\"a\":1}")));
    assert!(!session.answer(&id, Ok("{}")));
    assert_eq!(receiver.await.unwrap().unwrap(), "{\"a\":1}");
    assert!(session.ask("elicitation/create", None).await.is_err(), "it was not declared");
}
