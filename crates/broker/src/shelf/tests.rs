//! The shelf under crashes: a seeded run against a model. What a publisher was told, or a reader was given, is there after every
//! crash, once, in order, until it is settled; what is settled lets go of the log. And the corners, one by one.

use super::*;
use crate::rates::Rates;
use crate::topics::{Mailbox, MailboxOptions, Overflow, RetainedLimits, Topics, load};
use message::{Address, Clock, Dice, Envelope, Kind, Time};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use store::{Engine, Faults, Memory};

const NAMES: [&str; 3] = ["m0", "m1", "m2"];
/// Which topics each mailbox wants, by its place.
const FILTERS: [&str; 3] = ["a", "+", "b"];

struct World {
    topics: Arc<Topics>,
    boxes: Vec<Mailbox>,
}

fn options() -> MailboxOptions {
    MailboxOptions { messages: 100_000, bytes: 1 << 30, overflow: Overflow::Refuse, once: true }
}

fn filter(place: usize) -> (Pattern, SubscribeOptions) {
    let pattern = Pattern::parse(&format!("topic/{}", FILTERS[place])).unwrap();
    let tag = u32::try_from(place).unwrap();
    (pattern, SubscribeOptions { tag, rank: 1, keep: true, ..SubscribeOptions::default() })
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
    }
}

impl World {
    /// Opens what the engine holds; makes the mailboxes at first.
    fn open(engine: &Memory) -> (World, Vec<Vec<(u64, Kept)>>) {
        let shelf = Shelf::load(
            engine.log("shelf").unwrap(),
            engine.table("shelf").unwrap(),
            Clock::manual(Time::default()),
        );
        let (shelf, stored) = shelf.unwrap();
        let keeper = load(
            engine.table("retained").unwrap(),
            RetainedLimits::default(),
            Clock::manual(Time::default()),
        )
        .unwrap();
        let topics = Arc::new(Topics::new(Arc::new(keeper), Arc::new(shelf), Arc::new(Rates::new(100))));
        if stored.is_empty() {
            let boxes = NAMES.iter().enumerate().map(|(place, name)| {
                let number = 100 + place as u64;
                let mailbox = topics.kept_mailbox(options(), name, number);
                block(topics.shelf.open(name, number, b"state").unwrap()).unwrap();
                let (pattern, options) = filter(place);
                topics.subscribe(message::Moment::from_micros(0), &mailbox, &pattern, &options).unwrap();
                let kept = KeptFilter { pattern, options, data: Bytes::from_static(b"how") };
                block(mailbox.write_down(vec![KeptChange::Filter("f".into(), kept)])).unwrap();
                mailbox
            });
            let boxes = boxes.collect();
            return (World { topics, boxes }, vec![Vec::new(); NAMES.len()]);
        }
        let mut found: Vec<_> = stored.into_iter().map(|stored| topics.restore(stored)).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(found.iter().map(|one| &*one.name).collect::<Vec<_>>(), NAMES);
        let mut boxes = Vec::new();
        let mut waiting = Vec::new();
        for one in found {
            assert_eq!(&one.state[..], b"state");
            assert_eq!(&one.filters[0].1.data[..], b"how");
            let mailbox = Arc::into_inner(one.mailbox).unwrap();
            mailbox.set_options(options());
            let mut items = Vec::new();
            mailbox.try_recv_many(&mut items, usize::MAX);
            waiting.push(items.iter().map(|item| (label(item), item.kept.unwrap())).collect());
            boxes.push(mailbox);
        }
        (World { topics, boxes }, waiting)
    }

    fn publish(&self, topic: &str, label: u64) -> crate::Published {
        let address = Address::new(Kind::Topic, topic).unwrap();
        let clock = Clock::manual(Time::default());
        self.topics.publish(&Message::new(Envelope::new(
            address,
            label.to_string(),
            &clock,
            &Dice::seeded(label),
        )))
    }

    /// Begins to write what there is to write, if there is.
    fn begin(&self) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let shelf = Arc::clone(&self.topics.shelf);
        let (lines, settled) = shelf.gather();
        if lines.is_empty() && settled.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            shelf.write(lines, &settled).await;
            shelf.trim();
        }))
    }

    fn flush(&self) {
        while let Some(writing) = self.begin() {
            block(writing);
        }
        self.topics.shelf.trim();
    }
}

fn label(item: &Delivered) -> u64 {
    std::str::from_utf8(&item.message.body).unwrap().parse().unwrap()
}

#[derive(Default)]
struct Fate {
    to: Vec<usize>,
    /// Its publisher was told, or a reader was given it.
    promised: bool,
    settled: BTreeSet<usize>,
}

fn run(seed: u64) {
    let dice = Dice::seeded(seed);
    let roll = |below: u64| dice.roll() % below;
    let mut engine = Memory::new(Faults::none());
    let (mut world, mut held) = World::open(&engine);
    engine.set_faults(Faults::crashes(seed));
    let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
    let mut told: Vec<(u64, oneshot::Receiver<Result<(), Fault>>)> = Vec::new();
    let mut writing: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    let mut cx = Context::from_waker(Waker::noop());
    for step in 0..400 {
        match roll(40) {
            0..12 => {
                let (topic, to) = if roll(2) == 0 { ("a", vec![0, 1]) } else { ("b", vec![1, 2]) };
                let published = world.publish(topic, step);
                assert_eq!(published.live, 2);
                told.push((step, published.stored.unwrap()));
                fates.insert(step, Fate { to, ..Fate::default() });
            }
            12..22 => {
                writing = writing.or_else(|| world.begin());
                if writing.as_mut().is_some_and(|writing| writing.as_mut().poll(&mut cx).is_ready()) {
                    writing = None;
                }
            }
            22..30 => {
                let place = usize::try_from(roll(3)).unwrap();
                let mut items = Vec::new();
                world.boxes[place].try_recv_many(&mut items, 3);
                for item in items {
                    fates.get_mut(&label(&item)).unwrap().promised = true;
                    held[place].push((label(&item), item.kept.unwrap()));
                }
            }
            30..36 => {
                let place = usize::try_from(roll(3)).unwrap();
                if !held[place].is_empty() {
                    let count = held[place].len() as u64;
                    let (label, kept) = held[place].remove(usize::try_from(roll(count)).unwrap());
                    world.boxes[place].settle(kept);
                    fates.get_mut(&label).unwrap().settled.insert(place);
                }
            }
            36..38 => world.topics.shelf.copy_below(u64::MAX, 1 + roll(1_000)),
            _ if roll(4) == 0 => {
                engine = engine.crash();
                engine.set_faults(Faults::crashes(seed + step));
                writing = None;
                told.clear();
                (world, held) = World::open(&engine);
                check(&mut fates, &held, seed);
            }
            _ => {}
        }
        told.retain_mut(|(label, told)| match told.try_recv() {
            Ok(done) => {
                done.unwrap();
                fates.get_mut(label).unwrap().promised = true;
                false
            }
            Err(_) => true,
        });
    }
    finish(&world, writing, &engine, seed);
}

/// After a crash: all that was promised, once, in order, and nothing that was for somebody else.
fn check(fates: &mut BTreeMap<u64, Fate>, found: &[Vec<(u64, Kept)>], seed: u64) {
    for (place, found) in found.iter().enumerate() {
        let labels: Vec<u64> = found.iter().map(|(label, _)| *label).collect();
        assert!(labels.is_sorted_by(|a, b| a < b), "seed {seed}: twice or out of order: {labels:?}");
        for (label, fate) in &mut *fates {
            let mine = fate.to.contains(&place);
            let there = labels.contains(label);
            assert!(mine || !there, "seed {seed}: {label} is in {place} and should not be");
            let due = mine && fate.promised && !fate.settled.contains(&place);
            assert!(there || !due, "seed {seed}: {label} was promised to {place} and is lost");
            // That it was done with may be lost: then it is there again.
            if there {
                fate.settled.remove(&place);
                fate.promised = true;
            } else {
                fate.to.retain(|to| *to != place);
            }
        }
        assert!(found.iter().all(|(_, kept)| kept.again));
        let tickets: BTreeSet<u16> = found.iter().map(|(_, kept)| kept.ticket).collect();
        assert_eq!(tickets.len(), found.len(), "seed {seed}: a ticket twice");
    }
}

fn finish(world: &World, writing: Option<Pin<Box<dyn Future<Output = ()>>>>, engine: &Memory, seed: u64) {
    if let Some(writing) = writing {
        block(writing);
    }
    for mailbox in &world.boxes {
        block(mailbox.forget()).unwrap();
    }
    world.flush();
    assert_eq!(world.topics.shelf.usage().bytes, 0, "seed {seed}");
    let log = engine.log("shelf").unwrap();
    assert_eq!(log.head(), log.tail(), "seed {seed}: the log is not let go of");
}

#[test]
fn nothing_that_was_promised_is_lost_in_a_crash() {
    for seed in 0..400 {
        run(seed);
    }
}

#[test]
fn readers_wait_until_it_is_durable() {
    let (world, _) = World::open(&Memory::new(Faults::none()));
    let mut published = world.publish("a", 1);
    assert!(!published.is_settled());
    assert!(world.boxes[0].try_recv().is_none(), "it is not on disk yet");
    assert!(published.stored.as_mut().unwrap().try_recv().is_err());
    world.flush();
    assert_eq!(label(&world.boxes[0].try_recv().unwrap()), 1);
    assert_eq!(block(published.settled(Duration::ZERO)).unwrap(), 2);
}

#[test]
fn what_the_store_refuses_reaches_nobody() {
    let engine = Memory::new(Faults::none());
    let (world, _) = World::open(&engine);
    engine.set_faults(Faults { bytes_max: Some(10), ..Faults::none() });
    let published = world.publish("a", 1);
    world.flush();
    assert!(block(published.settled(Duration::ZERO)).is_err());
    assert!(world.boxes[0].try_recv().is_none() && world.boxes[0].is_empty());
    engine.set_faults(Faults::none());
    world.publish("a", 2);
    world.flush();
    assert_eq!(label(&world.boxes[0].try_recv().unwrap()), 2, "the next one is let through");
    assert_eq!(world.topics.shelf.usage().messages, 1);
}

#[test]
fn a_ticket_outlives_arriving_and_numbers_are_noted() {
    let engine = Memory::new(Faults::none());
    let (world, _) = World::open(&engine);
    world.publish("a", 1);
    world.flush();
    let kept = world.boxes[0].try_recv().unwrap().kept.unwrap();
    let (arrived, noted) = (world.boxes[0].arrived(kept), world.boxes[0].note(7, true));
    world.flush();
    block(async { arrived.await.and(noted.await) }).unwrap();
    // Also when they were copied forward.
    world.topics.shelf.copy_below(u64::MAX, u64::MAX);
    world.flush();
    let load = |engine: &Memory| {
        let (shelf, stored) = Shelf::load(
            engine.log("shelf").unwrap(),
            engine.table("shelf").unwrap(),
            Clock::manual(Time::default()),
        )
        .unwrap();
        let mut left: Vec<Left> = stored.into_iter().map(|stored| stored.left).collect();
        (shelf, left.remove(0))
    };
    let engine = engine.crash();
    let (_, left) = load(&engine);
    assert_eq!((left.waiting.len(), left.notes), (0, vec![7]));
    assert_eq!(left.arrived, [Kept { again: true, ..kept }]);
    let (world, _) = World::open(&engine);
    let unnoted = world.boxes[0].note(7, false);
    world.boxes[0].settle(kept);
    world.flush();
    block(unnoted).unwrap();
    let (shelf, left) = load(&engine.crash());
    assert!(left.arrived.is_empty() && left.notes.is_empty());
    // The other mailbox still has to get it.
    assert_eq!(shelf.usage().messages, 1);
}

#[test]
fn a_mailbox_of_the_same_name_replaces_the_old_one() {
    let engine = Memory::new(Faults::none());
    let (world, _) = World::open(&engine);
    world.publish("a", 1);
    world.flush();
    let shelf = &world.topics.shelf;
    block(shelf.open("m0", 999, b"new").unwrap()).unwrap();
    let (_, stored) = Shelf::load(
        engine.log("shelf").unwrap(),
        engine.table("shelf").unwrap(),
        Clock::manual(Time::default()),
    )
    .unwrap();
    let new: Vec<&Stored> = stored.iter().filter(|stored| stored.name == "m0").collect();
    assert_eq!((new.len(), new[0].number, new[0].filters.len()), (1, 999, 0));
    assert!(new[0].left.waiting.is_empty());
    // Ending the old one does not end the new one.
    block(world.boxes[0].forget()).unwrap();
    assert_eq!(shelf.usage().mailboxes, 3);
}

#[test]
fn tickets_go_round_in_their_half() {
    let (world, _) = World::open(&Memory::new(Faults::none()));
    let seat = world.topics.shelf.seat(1, Some(u16::MAX - 1));
    let tickets: Vec<u16> = (0..3).map(|_| seat.ticket()).collect();
    assert_eq!(tickets, [u16::MAX, TICKET_MIN, TICKET_MIN + 1]);
}

#[test]
fn a_number_is_noted_with_its_message_or_not_at_all() {
    let engine = Memory::new(Faults::none());
    let (world, _) = World::open(&engine);
    let clock = Clock::manual(Time::default());
    let envelope = |label: u64| {
        Envelope::new(Address::new(Kind::Topic, "a").unwrap(), "x", &clock, &Dice::seeded(label))
    };
    let publisher = Arc::new(world.topics.kept_mailbox(options(), "publisher", 7));
    let first = envelope(1);
    let noting = publisher.note_with(first.id.clone(), 11);
    world.topics.publish(&Message::new(first));
    drop(noting);
    let (lines, _) = world.topics.shelf.gather();
    assert_eq!(lines.len(), 2, "both in one append");
    block(world.topics.shelf.write(lines, &[]));
    assert!(world.topics.shelf.inner.lock().state.is_noted(7, 11));
    // Given up before it came.
    let second = envelope(2);
    drop(publisher.note_with(second.id.clone(), 12));
    world.topics.publish(&Message::new(second));
    assert!(!world.topics.shelf.inner.lock().state.is_noted(7, 12));
    // The store refuses both.
    engine.set_faults(Faults { bytes_max: Some(10), ..Faults::none() });
    let third = envelope(3);
    let noting = publisher.note_with(third.id.clone(), 13);
    world.topics.publish(&Message::new(third));
    world.flush();
    drop(noting);
    assert!(!world.topics.shelf.inner.lock().state.is_noted(7, 13));
}
