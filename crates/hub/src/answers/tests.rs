//! One effect for one key, bounds that hold, and nobody who pushes out what is another's.

use super::*;
use message::{Clock, Time};
use std::time::Duration;

fn kept(body: &str) -> Kept {
    Kept { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

struct World {
    answers: Answers,
    clock: Clock,
    config: IdempotencyConfig,
}

fn world(bytes: u64) -> World {
    let config = IdempotencyConfig { keep: Span::secs(10), bytes: ByteCount(bytes), under_way: 2 };
    World { answers: Answers::default(), clock: Clock::manual(Time::from_millis(1 << 40)), config }
}

impl World {
    fn begin(&self, owner: &str, key: &str, question: &str) -> Result<Begun, Code> {
        let key = Fingerprint::of(&[owner.as_bytes(), key.as_bytes()]);
        let question = Fingerprint::of(&[question.as_bytes()]);
        let begun = self.answers.begin(self.clock.moment(), &self.config, &owner.into(), (key, question));
        begun.map_err(|fault| fault.code())
    }

    fn first(&self, owner: &str, key: &str) -> Ticket {
        match self.begin(owner, key, "q") {
            Ok(Begun::First(ticket)) => ticket,
            Ok(Begun::Again(_)) => panic!("{key} was known"),
            Err(code) => panic!("{key}: {code}"),
        }
    }

    fn finish(&self, owner: &str, key: &str, body: &str) {
        self.first(owner, key).keep(self.clock.moment(), &self.config, kept(body));
    }

    fn knows(&self, owner: &str, key: &str) -> Option<String> {
        match self.begin(owner, key, "q") {
            Ok(Begun::Again(kept)) => Some(String::from_utf8(kept.body.to_vec()).unwrap()),
            Ok(Begun::First(_)) => None,
            Err(code) => panic!("{key}: {code}"),
        }
    }
}

// Finding: I6
#[test]
fn a_key_is_under_way_then_answered_then_forgotten() {
    let world = world(1 << 20);
    let ticket = world.first("ann", "1");
    assert_eq!(world.begin("ann", "1", "q").err(), Some(Code::RequestRepeated));
    assert_eq!(world.begin("ann", "1", "other").err(), Some(Code::KeyReused));
    world.finish("bob", "1", "bob's");
    ticket.keep(world.clock.moment(), &world.config, kept("ann's"));
    assert_eq!(world.knows("ann", "1").as_deref(), Some("ann's"));
    assert_eq!(world.knows("bob", "1").as_deref(), Some("bob's"));
    assert_eq!(world.begin("ann", "1", "other").err(), Some(Code::KeyReused));
    world.clock.set(Time::from_millis(5));
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.knows("ann", "1"), None, "its time is over, whatever was done to the clock");
    assert_eq!(world.answers.stats(), AnswerStats { bytes: 0, replayed: 2, forgotten: 0 });
    assert!(world.answers.0.lock().owners.is_empty() && world.answers.0.lock().entries.is_empty());
}

#[test]
fn what_was_not_done_is_done_by_the_next() {
    let world = world(1 << 20);
    drop(world.first("ann", "1"));
    world.finish("ann", "1", "done");
    assert_eq!(world.knows("ann", "1").as_deref(), Some("done"));
}

#[test]
fn one_principal_has_so_many_under_way_and_others_theirs() {
    let world = world(1 << 20);
    let held = (world.first("ann", "1"), world.first("ann", "2"));
    assert_eq!(world.begin("ann", "3", "q").err(), Some(Code::TooManyRequests));
    drop(world.first("bob", "1"));
    drop(held.0);
    world.finish("ann", "3", "done");
}

#[test]
fn who_keeps_most_loses_first_and_what_is_too_large_is_refused_again() {
    let world = world(10_000);
    world.finish("ann", "a", "small");
    for number in 0..100 {
        world.finish("bob", &number.to_string(), &"x".repeat(1_000));
    }
    let stats = world.answers.stats();
    assert!(stats.bytes <= 10_000 && stats.forgotten >= 90, "{stats:?}");
    assert_eq!(world.knows("ann", "a").as_deref(), Some("small"));
    assert_eq!(world.knows("bob", "0"), None);
    world.finish("eve", "1", &"x".repeat(5_000));
    assert_eq!(
        world.begin("eve", "1", "q").err(),
        Some(Code::RequestRepeated),
        "done, and its answer is not kept"
    );
}
