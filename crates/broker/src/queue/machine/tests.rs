//! The rules of a queue one by one, on a machine whose log is instantly durable.
//! Crashes and disorder are the simulation's.

use super::*;
use crate::queue::fold::Folded;
use crate::queue::types::Selection;
use message::{Address, Clock, Dice, Envelope, Time};

struct Queue {
    machine: Machine,
    clock: Clock,
    dice: Dice,
    records: Vec<Bytes>,
    ticket: u64,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn failure() -> Fault {
    Fault::new(Code::UpstreamFailed, "it fell over")
}

impl Queue {
    fn new(options: QueueOptions) -> Queue {
        Queue::at(Time::from_millis(1_000), options)
    }

    fn at(start: Time, options: QueueOptions) -> Queue {
        let mut index = Index::default();
        let clock = Clock::manual(start);
        index.rebuild(clock.both(), &options, true);
        let folded = Folded { index, next: 0, replayed: 0, broken_off: Vec::new() };
        let machine = Machine::new(options, 7, folded);
        Queue { machine, clock, dice: Dice::seeded(1), records: Vec::new(), ticket: 0 }
    }

    fn run(&mut self, command: Command) -> (Answer, Vec<Grant>) {
        let now = self.clock.both();
        let mut effects = Effects::default();
        self.machine.apply(now, Command::Tick, &mut effects);
        let answer = self.machine.apply(now, command, &mut effects);
        self.machine.finish(now, &mut effects);
        let upto = self.machine.next();
        self.machine.apply(now, Command::Durable { upto }, &mut effects);
        self.machine.finish(now, &mut effects);
        self.records.append(&mut effects.records);
        (answer, effects.grants)
    }

    fn envelope(&self, body: &str) -> Envelope {
        let address = Address::parse("queue/test").unwrap();
        Envelope::new(address, body.to_owned(), &self.clock, &self.dice)
    }

    fn try_put(&mut self, envelope: &Envelope) -> Result<Enqueued, Fault> {
        let now = self.clock.both();
        let meta = Meta::of(now, envelope);
        match self.run(Command::Enqueue { meta, record: record::enqueued(now, &meta, envelope) }).0 {
            Answer::Enqueued(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn put(&mut self, change: impl FnOnce(&mut Envelope)) -> Number {
        let mut envelope = self.envelope("x");
        change(&mut envelope);
        self.try_put(&envelope).unwrap().number
    }

    fn lease(&mut self, max: usize) -> Vec<Leased> {
        self.ticket += 1;
        let (until, ticket) = (self.clock.moment(), self.ticket);
        let (_, grants) = self.run(Command::Lease {
            ticket,
            max: max.into(),
            hold: None,
            until,
            consumer: "worker".into(),
        });
        let grant = grants.into_iter().find(|grant| grant.ticket == ticket);
        grant.expect("a lease without waiting is answered at once").leases
    }

    fn one(&mut self) -> Token {
        self.lease(1).first().expect("a message is there").token
    }

    fn numbers(&mut self) -> Vec<Number> {
        self.lease(100).iter().map(|leased| leased.token.number).collect()
    }

    fn settle(&mut self, token: Token, settlement: Settlement) -> Result<Settled, Code> {
        match self.run(Command::Settle { token, settlement }).0 {
            Answer::Settled(result) => result.map_err(|fault| fault.code()),
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, span: Duration) {
        self.clock.advance(span);
        self.run(Command::Tick);
    }
}

#[test]
fn a_message_goes_to_one_consumer_until_it_is_acknowledged() {
    let mut queue = Queue::new(QueueOptions::default());
    let number = queue.put(|_| ());
    let token = queue.one();
    assert_eq!((token.number, queue.lease(1).len()), (number, 0));
    assert_eq!(queue.settle(token, Settlement::Ack), Ok(Settled::Acked));
    assert_eq!(queue.settle(token, Settlement::Ack), Err(Code::LeaseLost));
    queue.pass(ms(1_000_000));
    assert_eq!((queue.lease(1).len(), queue.machine.stats().depth), (0, 0));
}

#[test]
fn a_quick_acknowledgement_costs_one_record_beside_the_message() {
    let mut queue = Queue::new(QueueOptions::default());
    queue.put(|_| ());
    let token = queue.one();
    queue.settle(token, Settlement::Ack).unwrap();
    assert_eq!(queue.records.iter().map(|record| record[0]).collect::<Vec<_>>(), b"EA");
    queue.put(|_| ());
    queue.one();
    queue.pass(ms(LEASE_RECORD_MS));
    assert_eq!(queue.records.last().map(|record| record[0]), Some(b'L'));
}

#[test]
fn a_lease_that_runs_out_is_lost_and_the_message_goes_to_another() {
    let mut queue = Queue::new(QueueOptions { hold_ms: 100, ..QueueOptions::default() });
    queue.put(|_| ());
    let first = queue.one();
    queue.clock.advance(ms(100));
    assert_eq!(queue.settle(first, Settlement::Ack), Err(Code::LeaseLost));
    let second = queue.lease(1).remove(0);
    assert_eq!((second.token.number, second.attempt), (first.number, 2));
    assert_eq!(queue.settle(first, Settlement::Ack), Err(Code::LeaseLost));
    assert_eq!(queue.settle(second.token, Settlement::Ack), Ok(Settled::Acked));
    let elsewhere = Token { epoch: 8, ..second.token };
    assert_eq!(queue.settle(elsewhere, Settlement::Ack), Err(Code::LeaseLost));
    assert_eq!(queue.machine.stats().lost, 1);
}

#[test]
fn extending_holds_a_lease_and_is_bounded() {
    let mut queue = Queue::new(QueueOptions { hold_ms: 100, hold_ms_max: 500, ..QueueOptions::default() });
    queue.put(|_| ());
    let token = queue.one();
    queue.pass(ms(90));
    let refused = queue.settle(token, Settlement::Extend { hold: Some(ms(501)) });
    assert_eq!(refused, Err(Code::BadRequest));
    let held = queue.settle(token, Settlement::Extend { hold: Some(ms(500)) });
    assert_eq!(held, Ok(Settled::Held(queue.clock.both().due_in(ms(500)))));
    queue.pass(ms(499));
    assert_eq!(queue.settle(token, Settlement::Ack), Ok(Settled::Acked));
}

#[test]
fn a_retry_waits_longer_each_time_and_ends_as_a_dead_letter() {
    let options = QueueOptions { deliveries_max: 3, retry_ms: 100, ..QueueOptions::default() };
    let mut queue = Queue::new(options);
    let number = queue.put(|_| ());
    for pause in [100, 200] {
        let token = queue.one();
        let retry = Settlement::Retry { delay: None, error: failure(), took: Some(ms(5)) };
        assert_eq!(queue.settle(token, retry), Ok(Settled::Retrying(queue.clock.both().due_in(ms(pause)))));
        queue.pass(ms(pause - 1));
        assert_eq!(queue.lease(1).len(), 0);
        queue.pass(ms(1));
    }
    let token = queue.one();
    let last = Settlement::Retry { delay: Some(ms(1)), error: failure(), took: Some(ms(5)) };
    assert_eq!(queue.settle(token, last), Ok(Settled::Dead));
    let dead = &queue.machine.index().dead[&number];
    assert_eq!((dead.died.code, dead.deliveries), (Code::TooManyDeliveries, 3));
    let tried: Vec<(Code, &str, &str, Duration)> =
        dead.history.iter().map(|one| (one.code, &*one.text, &*one.consumer, one.took)).collect();
    assert_eq!(tried, [(Code::UpstreamFailed, "it fell over", "worker", ms(5)); 3]);
}

#[test]
fn a_rejected_message_is_dead_at_once_and_lives_again_when_replayed() {
    let mut queue = Queue::new(QueueOptions::default());
    let envelope = queue.envelope("again");
    let number = queue.try_put(&envelope).unwrap().number;
    let token = queue.one();
    assert_eq!(queue.settle(token, Settlement::Reject { error: failure() }), Ok(Settled::Dead));
    let stats = queue.machine.stats();
    assert_eq!((stats.depth, stats.dead, stats.died), (0, 1, 1));
    let now = queue.clock.both();
    let meta = Meta::of(now, &envelope);
    let record = record::replayed(now, (number, &[]), &meta, &envelope);
    for expected in [1, 0] {
        let items = vec![(number, meta, record.clone())];
        assert!(matches!(queue.run(Command::Replay { items }).0, Answer::Count(count) if count == expected));
    }
    let leased = queue.lease(9);
    assert_eq!((leased.len(), leased[0].attempt), (1, 1));
    assert!(leased[0].token.number > number);
    assert_eq!(queue.machine.index().entries[&leased[0].token.number].history().len(), 1);
}

#[test]
fn a_released_message_was_never_delivered() {
    let mut queue = Queue::new(QueueOptions { deliveries_max: 1, ..QueueOptions::default() });
    queue.put(|_| ());
    for _ in 0..3 {
        let leased = queue.lease(1).remove(0);
        assert_eq!(leased.attempt, 1);
        assert_eq!(queue.settle(leased.token, Settlement::Release), Ok(Settled::Released));
    }
}

#[test]
fn priorities_go_first_and_equal_ones_keep_their_order() {
    let mut queue = Queue::new(QueueOptions::default());
    let numbers: Vec<Number> = [4, 9, 0, 9, 4].map(|priority| queue.put(|e| e.priority = priority)).into();
    assert_eq!(queue.numbers(), [1, 3, 0, 4, 2].map(|place: usize| numbers[place]));
    let mut plain = Queue::new(QueueOptions { prioritized: false, ..QueueOptions::default() });
    let numbers: Vec<Number> = [4, 9, 0].map(|priority| plain.put(|e| e.priority = priority)).into();
    assert_eq!(plain.numbers(), numbers);
}

#[test]
fn messages_of_a_key_are_delivered_one_after_the_other() {
    let mut queue = Queue::new(QueueOptions { ordered: true, ..QueueOptions::default() });
    let key = |name: &'static str| move |envelope: &mut Envelope| envelope.key = Some(name.into());
    let (a1, a2) = (queue.put(key("a")), queue.put(key("a")));
    let (b1, free) = (queue.put(key("b")), queue.put(|_| ()));
    let leased = queue.lease(9);
    assert_eq!(leased.iter().map(|one| one.token.number).collect::<Vec<_>>(), [a1, b1, free]);
    let retry = Settlement::Retry { delay: Some(ms(50)), error: failure(), took: None };
    queue.settle(leased[0].token, retry).unwrap();
    assert_eq!(queue.lease(9).len(), 0, "an earlier one waits for its retry");
    queue.pass(ms(50));
    let again = queue.lease(9);
    assert_eq!(again.len(), 1);
    queue.settle(again[0].token, Settlement::Reject { error: failure() }).unwrap();
    assert_eq!(queue.numbers(), [a2], "a dead letter does not hold up the others");
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let mut queue = Queue::new(QueueOptions { messages_max: 2, ..QueueOptions::default() });
    queue.put(|_| ());
    queue.put(|_| ());
    let envelope = queue.envelope("x");
    let fault = queue.try_put(&envelope).unwrap_err();
    assert_eq!(fault.code(), Code::QueueFull);
    assert!(fault.detail().contains("2 of 2 messages"), "{fault}");
    let token = queue.one();
    queue.settle(token, Settlement::Ack).unwrap();
    queue.put(|_| ());
    assert_eq!(queue.machine.stats().refused, 1);
    let mut small = Queue::new(QueueOptions { bytes_max: 300, ..QueueOptions::default() });
    small.put(|_| ());
    let big = small.envelope(&"x".repeat(300));
    assert_eq!(small.try_put(&big).unwrap_err().code(), Code::QueueFull);
}

// Finding: B5
#[test]
fn the_same_id_is_stored_once_within_the_window() {
    let mut queue = Queue::new(QueueOptions { dedupe_ms: 1_000, dedupe_max: 2, ..QueueOptions::default() });
    let mut envelope = queue.envelope("x");
    envelope.identify("x");
    let first = queue.try_put(&envelope).unwrap();
    let second = queue.try_put(&envelope).unwrap();
    assert_eq!((second.number, second.duplicate), (first.number, true));
    let token = queue.one();
    queue.settle(token, Settlement::Ack).unwrap();
    assert!(queue.try_put(&envelope).unwrap().duplicate, "also after it was consumed");
    queue.pass(ms(1_000));
    assert!(!queue.try_put(&envelope).unwrap().duplicate);
    for _ in 0..30 {
        queue.put(|_| ());
    }
    assert!(queue.try_put(&envelope).unwrap().duplicate, "what nobody sends again pushes nothing out");
    for id in ["1", "2", "3"] {
        queue.put(|envelope| envelope.identify(id));
    }
    let stats = queue.machine.stats();
    assert_eq!((stats.known, stats.forgotten), (2, 2), "two were forgotten before their time");
    assert!(!queue.try_put(&envelope).unwrap().duplicate, "the oldest are forgotten first");
    queue.pass(ms(1_000));
    queue.put(|envelope| envelope.identify("4"));
    let stats = queue.machine.stats();
    assert_eq!((stats.known, stats.forgotten), (1, 3), "what is forgotten in its time is not counted");
}

// Finding: I6
#[test]
fn room_that_was_promised_is_kept_until_it_is_used_or_given_back() {
    let mut queue = Queue::new(QueueOptions { messages_max: 2, dedupe_ms: 1_000, ..QueueOptions::default() });
    let mut envelope = queue.envelope("x");
    envelope.identify("x");
    let (now, meta) = (queue.clock.both(), Meta::of(queue.clock.both(), &envelope));
    assert!(queue.machine.book(now, &meta, 10).unwrap());
    queue.put(|_| ());
    let other = queue.envelope("y");
    assert_eq!(queue.try_put(&other).unwrap_err().code(), Code::QueueFull, "the room is promised");
    assert_eq!(queue.machine.book(now, &meta, 10).unwrap_err().code(), Code::QueueFull);
    queue.machine.unbook(10);
    queue.try_put(&envelope).unwrap();
    assert!(!queue.machine.book(now, &meta, 10).unwrap(), "what is known needs none, however full it is");
}

#[test]
fn a_message_past_its_deadline_is_dead_or_dropped_but_not_in_the_hands_of_a_consumer() {
    for (expired, dead) in [(Expired::DeadLetter, 1), (Expired::Drop, 0)] {
        let mut queue = Queue::new(QueueOptions { expired, ..QueueOptions::default() });
        let deadline = queue.clock.both().due_in(ms(50));
        queue.put(|envelope| envelope.deadline = Some(deadline));
        queue.put(|envelope| envelope.deadline = Some(deadline));
        let token = queue.one();
        queue.pass(ms(50));
        let stats = queue.machine.stats();
        assert_eq!((stats.depth, stats.dead, stats.expired), (1, dead, 1));
        assert_eq!(queue.settle(token, Settlement::Ack), Ok(Settled::Acked));
        if let Some((_, dead)) = queue.machine.index().dead.first_key_value() {
            assert_eq!(dead.died.code, Code::DeadlinePassed);
        }
    }
}

#[test]
fn who_waits_is_served_in_order_and_goes_empty_handed_in_time() {
    let mut queue = Queue::new(QueueOptions::default());
    let until = queue.clock.moment().after(ms(100));
    for ticket in [101, 102, 103] {
        let command = Command::Lease { ticket, max: 1.into(), hold: None, until, consumer: "worker".into() };
        assert!(queue.run(command).1.is_empty());
    }
    assert_eq!(queue.machine.next_timer(), Some(until));
    queue.run(Command::Cancel { ticket: 101 });
    let envelope = queue.envelope("x");
    let now = queue.clock.both();
    let meta = Meta::of(now, &envelope);
    let record = record::enqueued(now, &meta, &envelope);
    let (_, grants) = queue.run(Command::Enqueue { meta, record });
    assert_eq!(grants.iter().map(|grant| (grant.ticket, grant.leases.len())).collect::<Vec<_>>(), [(102, 1)]);
    queue.clock.advance(ms(100));
    let (_, grants) = queue.run(Command::Tick);
    assert_eq!(grants.iter().map(|grant| (grant.ticket, grant.leases.len())).collect::<Vec<_>>(), [(103, 0)]);
    assert_eq!(queue.machine.stats().waiting, 0);
}

#[test]
fn purging_leaves_what_is_leased_and_dead_letters() {
    let mut queue = Queue::new(QueueOptions::default());
    for _ in 0..5 {
        queue.put(|_| ());
    }
    let (dead, held) = (queue.one(), queue.one());
    queue.settle(dead, Settlement::Reject { error: failure() }).unwrap();
    assert!(matches!(queue.run(Command::Purge).0, Answer::Count(3)));
    let stats = queue.machine.stats();
    assert_eq!((stats.depth, stats.leased, stats.dead), (1, 1, 1));
    assert_eq!(queue.settle(held, Settlement::Ack), Ok(Settled::Acked));
    assert!(matches!(queue.run(Command::DropDead { selection: Selection::All }).0, Answer::Count(1)));
    assert_eq!(queue.machine.needed_from(), queue.machine.next());
}

#[test]
fn dead_letters_are_bounded_and_the_oldest_go_first() {
    let mut queue = Queue::new(QueueOptions { dead_max: 2, ..QueueOptions::default() });
    let numbers: Vec<Number> = (0..4).map(|_| queue.put(|_| ())).collect();
    for _ in 0..4 {
        let token = queue.one();
        queue.settle(token, Settlement::Reject { error: failure() }).unwrap();
    }
    assert_eq!(queue.machine.select(&Selection::All), numbers[2..]);
    assert_eq!(queue.machine.select(&Selection::Oldest(1)), numbers[2..3]);
    let chosen = Selection::Numbers(vec![numbers[3], numbers[0], numbers[3]]);
    assert_eq!(queue.machine.select(&chosen), numbers[3..]);
}

#[test]
fn a_token_survives_as_text() {
    let token = Token { number: 0x1234_5678_9abc, lease: 3, epoch: u32::MAX };
    assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
    for bad in ["", "1-2", "1-2-3-4", "1-2-x", "-1-2-3"] {
        assert_eq!(bad.parse::<Token>().unwrap_err().code(), Code::BadRequest, "{bad}");
    }
}

/// What somebody, or a time server, does to the time of day.
fn set_clocks() -> [i64; 4] {
    const HOUR: i64 = 3_600_000;
    [-24 * HOUR, -HOUR, 2 * HOUR, 24 * HOUR]
}

fn set(clock: &Clock, by: i64) {
    clock.set(Time::from_millis(clock.now().as_millis().checked_add_signed(by).unwrap()));
}

// Finding: B4
#[test]
fn setting_the_clock_moves_no_lease_no_retry_no_deadline_and_no_wait() {
    for by in set_clocks() {
        let options = QueueOptions { hold_ms: 5_000, retry_ms: 2_000, ..QueueOptions::default() };
        let mut queue = Queue::at(Time::from_millis(1 << 40), options);
        let due = queue.clock.both().due_in(ms(9_000));
        queue.put(|envelope| envelope.deadline = Some(due));
        let (token, until) = (queue.one(), queue.clock.moment().after(ms(3_000)));
        queue.run(Command::Lease { ticket: 900, max: 1.into(), hold: None, until, consumer: "waits".into() });
        set(&queue.clock, by);
        queue.pass(ms(2_999));
        let early = queue.run(Command::Tick).1;
        assert!(
            early.is_empty() && queue.machine.stats().leased == 1,
            "by {by} the lease was lost or the wait cut"
        );
        queue.clock.advance(ms(1));
        assert_eq!(queue.run(Command::Tick).1.len(), 1, "by {by} who waits is answered in time");
        queue.pass(ms(2_000));
        assert_eq!(queue.machine.stats().lost, 1, "by {by} the lease ran out when it was due");
        assert_eq!(queue.settle(token, Settlement::Ack), Err(Code::LeaseLost));
        let token = queue.one();
        let retry = Settlement::Retry { delay: Some(ms(2_000)), error: failure(), took: None };
        queue.settle(token, retry).unwrap();
        set(&queue.clock, -by);
        queue.pass(ms(1_999));
        assert_eq!(queue.lease(1).len(), 0, "by {by} its pause is not over");
        queue.pass(ms(1));
        let token = queue.one();
        assert_eq!(queue.settle(token, Settlement::Release), Ok(Settled::Released));
        set(&queue.clock, by);
        queue.pass(ms(1_999));
        assert_eq!(queue.machine.stats().ready, 1, "by {by} somebody still wants it");
        queue.pass(ms(1));
        assert_eq!(queue.machine.stats().expired, 1, "by {by} nobody wants it any more");
    }
}

// Finding: B4
#[test]
fn setting_the_clock_opens_and_shuts_no_window() {
    for by in set_clocks() {
        let options = QueueOptions { dedupe_ms: 1_000, ..QueueOptions::default() };
        let mut queue = Queue::at(Time::from_millis(1 << 40), options);
        let mut envelope = queue.envelope("x");
        envelope.identify("x");
        queue.try_put(&envelope).unwrap();
        set(&queue.clock, by);
        queue.pass(ms(999));
        assert!(queue.try_put(&envelope).unwrap().duplicate, "by {by} it was forgotten");
        queue.pass(ms(1));
        assert!(!queue.try_put(&envelope).unwrap().duplicate, "by {by} it is remembered too long");
    }
}

// Finding: B4
#[tokio::test]
async fn what_outlives_a_restart_waits_no_longer_than_was_asked() {
    use store::Engine;
    for by in set_clocks() {
        for snapshot in [false, true] {
            let options = QueueOptions::default();
            let mut queue = Queue::at(Time::from_millis(1 << 40), options.clone());
            let due = queue.clock.both().due_in(ms(60_000));
            let number = queue.put(|envelope| envelope.deadline = Some(due));
            let token = queue.one();
            let retry = Settlement::Retry { delay: Some(ms(2_000)), error: failure(), took: None };
            queue.settle(token, retry).unwrap();
            let engine = store::Memory::default();
            let log = engine.log("q").unwrap();
            log.append(std::mem::take(&mut queue.records)).await.unwrap();
            let saved = snapshot.then(|| {
                crate::queue::snapshot::write(queue.clock.both(), queue.machine.next(), queue.machine.index())
            });
            // Stopped with the clock as it was, started with it set: no more than what was asked is waited, and no time that
            // has not passed by either clock is taken off where the clock runs behind.
            set(&queue.clock, by);
            let now = queue.clock.both();
            let folded = crate::queue::fold::fold(now, &*log, saved.as_ref(), &options).unwrap();
            let entry = &folded.index.entries[&number];
            let Place::Delayed(until) = entry.place else { panic!("{:?}", entry.place) };
            let left = if by < 0 { (ms(2_000), ms(60_000)) } else { (ms(0), ms(0)) };
            let waits = (until.since(now.moment), entry.meta.deadline.unwrap().left(now.moment));
            assert_eq!(waits, left, "by {by}, snapshot {snapshot}");
        }
    }
}

// Finding: B11
#[test]
fn dead_letters_are_bounded_in_bytes_and_the_newest_stays() {
    let mut queue = Queue::new(QueueOptions { dead_bytes_max: 1, ..QueueOptions::default() });
    for _ in 0..3 {
        let number = queue.put(|_| {});
        let lease = queue.lease(1).remove(0);
        let error = Fault::new(Code::UpstreamRefused, "not like this");
        queue.settle(lease.token, Settlement::Reject { error }).unwrap();
        assert_eq!(queue.machine.index().dead.keys().copied().collect::<Vec<_>>(), [number]);
    }
}
