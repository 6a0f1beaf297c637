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
    let share = Share { most: 2, each: 2 };
    let (one, _) = sessions.open(opening("ann"), share).unwrap();
    assert!(one.id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && one.id.len() == 32);
    assert!(sessions.find(&one.id, "bob", "default").is_none());
    assert!(sessions.find(&one.id, "ann", "other").is_none());
    assert!(sessions.find(&one.id, "ann", "default").is_some());
    sessions.open(opening("bob"), share).unwrap();
    clock.set(Time::from_millis(5_000_000_000));
    assert!(sessions.open(opening("eve"), share).is_none());
    clock.set(Time::from_millis(1));
    clock.advance(Duration::from_secs(11));
    let run = one.run("7");
    assert_eq!(sessions.sweep(idle).len(), 1);
    let (eve, _) = sessions.open(opening("eve"), share).unwrap();
    assert_eq!(sessions.count(), 2, "bob was silent, ann has a call running");
    drop(run);
    sessions.close(&eve);
    assert!(eve.gone.is_cancelled());
    assert!(sessions.find(&eve.id, "eve", "default").is_none());
}

// Finding: M10
#[test]
fn whoever_has_the_most_sessions_makes_room() {
    let clock = Clock::manual(Time::from_millis(1));
    let sessions = Sessions::new(clock.clone());
    let share = Share { most: 4, each: 3 };
    let mut eves: Vec<Arc<Session>> = Vec::new();
    for _ in 0..3 {
        eves.push(sessions.open(opening("eve"), share).unwrap().0);
        clock.advance(Duration::from_secs(1));
    }
    assert!(sessions.open(opening("eve"), share).is_none(), "that is her share");
    assert!(sessions.open(opening("bob"), share).unwrap().1.is_none());
    let busy = eves[0].run("1");
    let (_, ended) = sessions.open(opening("ann"), share).unwrap();
    assert_eq!(ended.unwrap().id, eves[1].id, "the one that was silent longest and has nothing to do");
    assert!(eves[1].gone.is_cancelled() && sessions.count() == 4);
    assert!(sessions.open(opening("ann"), share).is_none(), "nobody would have more than she has");
    drop(busy);
    assert!(sessions.open(opening("pat"), share).unwrap().1.is_some());
    assert!(sessions.open(opening("sue"), share).is_none(), "everybody has one");
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
