//! Topics as a subscriber and a publisher see them: who gets what, what is retained, what a full mailbox does.
//! Matching itself is tested at the trie, the table of retained values at its keeper.

use super::*;
use message::{Clock, Dice, Envelope, Time};
use std::time::Duration;
use store::{Engine, Memory};

struct World {
    topics: Arc<Topics>,
    now: Moment,
}

impl World {
    fn new() -> World {
        World::over(&Memory::default())
    }

    fn over(engine: &Memory) -> World {
        let limits = RetainedLimits { topics: 3, bytes: 10_000 };
        let keeper = load(engine.table("retained").unwrap(), limits, clock()).unwrap();
        World {
            topics: Arc::new(Topics::new(
                Arc::new(keeper),
                Arc::new(shelf(engine)),
                Arc::new(Rates::new(100)),
            )),
            now: clock().moment(),
        }
    }

    fn mailbox(&self, messages: usize, overflow: Overflow) -> Mailbox {
        self.topics.mailbox(MailboxOptions { messages, overflow, ..MailboxOptions::default() })
    }

    fn subscribe(&self, mailbox: &Mailbox, filter: &str, options: SubscribeOptions) -> bool {
        let pattern = Pattern::parse(&format!("topic/{filter}")).unwrap();
        self.topics.subscribe(self.now, mailbox, &pattern, &options).unwrap()
    }

    fn publish(&self, name: &str, body: &'static str) -> Published {
        self.topics.publish(&message(name, body, false, 0))
    }

    fn retain(&self, name: &str, body: &'static str) -> Published {
        self.topics.publish(&message(name, body, true, 0))
    }
}

fn clock() -> Clock {
    Clock::manual(Time::default())
}

fn shelf(engine: &Memory) -> Shelf {
    Shelf::load(engine.log("shelf").unwrap(), engine.table("shelf").unwrap(), clock()).unwrap().0
}

fn message(name: &str, body: &'static str, retain: bool, origin: u64) -> Arc<Message> {
    let address = Address::new(Kind::Topic, name).unwrap();
    let mut envelope = Envelope::new(address, body, &Clock::manual(Time::default()), &Dice::seeded(7));
    envelope.retain = retain;
    Message::from_origin(envelope, origin)
}

fn bodies(mailbox: &Mailbox) -> Vec<String> {
    let mut list = Vec::new();
    mailbox.try_recv_many(&mut list, 1_000);
    let body = |item: &Delivered| String::from_utf8(item.message.body.to_vec()).unwrap();
    list.iter().map(|item| format!("{}{}", if item.retained { "kept " } else { "" }, body(item))).collect()
}

#[test]
fn a_message_reaches_those_whose_filters_match() {
    let world = World::new();
    let (one, two) = (world.mailbox(9, Overflow::DropOldest), world.mailbox(9, Overflow::DropOldest));
    world.subscribe(&one, "plant/+/temp", SubscribeOptions::default());
    world.subscribe(&two, "plant/#", SubscribeOptions::default());
    assert_eq!(world.publish("plant/7/temp", "hot").live, 2);
    assert_eq!(world.publish("plant/7/level", "low").live, 1);
    assert_eq!(bodies(&one), ["hot"]);
    assert_eq!(bodies(&two), ["hot", "low"]);
}

#[test]
fn a_filter_ends_with_its_removal_and_with_its_mailbox() {
    let world = World::new();
    let (one, two) = (world.mailbox(9, Overflow::DropOldest), world.mailbox(9, Overflow::DropOldest));
    world.subscribe(&one, "a", SubscribeOptions::default());
    world.subscribe(&two, "a", SubscribeOptions::default());
    assert_eq!(world.publish("a", "x").live, 2);
    assert!(world.topics.unsubscribe(&one, &Pattern::parse("topic/a").unwrap(), None));
    assert!(!world.topics.unsubscribe(&one, &Pattern::parse("topic/a").unwrap(), None));
    assert_eq!(world.publish("a", "y").live, 1);
    drop(two);
    assert_eq!(world.publish("a", "z").live, 0);
    assert_eq!(world.topics.filters(), 0);
}

#[test]
fn overlapping_filters_bring_a_message_once_by_the_highest_rank() {
    let world = World::new();
    let mailbox = world.mailbox(9, Overflow::DropOldest);
    for (filter, tag, rank) in [("a/#", 1, 0), ("a/+", 2, 1), ("#", 3, 0)] {
        world.subscribe(&mailbox, filter, SubscribeOptions { tag, rank, ..SubscribeOptions::default() });
    }
    world.publish("a/b", "x");
    assert_eq!(mailbox.try_recv().map(|item| item.tag), Some(2));
    assert!(mailbox.is_empty());
    let each = world.topics.mailbox(MailboxOptions { once: false, ..MailboxOptions::default() });
    world.subscribe(&each, "a/#", SubscribeOptions::default());
    world.subscribe(&each, "a/+", SubscribeOptions::default());
    world.publish("a/b", "x");
    assert_eq!(each.len(), 2);
}

#[test]
fn a_publisher_does_not_hear_itself_when_it_asks_so() {
    let world = World::new();
    let mailbox = world.mailbox(9, Overflow::DropOldest);
    world.subscribe(&mailbox, "a", SubscribeOptions { no_local: true, ..SubscribeOptions::default() });
    assert_eq!(world.topics.publish(&message("a", "mine", false, mailbox.id())).live, 0);
    assert_eq!(world.topics.publish(&message("a", "theirs", false, 0)).live, 1);
}

#[test]
fn members_of_a_group_take_turns_and_full_ones_are_passed_over() {
    let world = World::new();
    let members = [world.mailbox(2, Overflow::DropOldest), world.mailbox(100, Overflow::DropOldest)];
    for member in &members {
        world.subscribe(
            member,
            "a",
            SubscribeOptions { group: Some("g".into()), ..SubscribeOptions::default() },
        );
    }
    for _ in 0..10 {
        assert_eq!(world.publish("a", "x").live, 1);
    }
    assert_eq!(members.each_ref().map(Mailbox::len), [2, 8]);
    assert_eq!(members[0].dropped(), 0);
}

#[test]
fn a_full_mailbox_drops_its_oldest_or_refuses_as_it_was_told() {
    let world = World::new();
    let (drops, refuses) = (world.mailbox(2, Overflow::DropOldest), world.mailbox(2, Overflow::Refuse));
    world.subscribe(&drops, "a", SubscribeOptions::default());
    world.subscribe(&refuses, "a", SubscribeOptions::default());
    world.publish("a", "1");
    world.publish("a", "2");
    let third = world.publish("a", "3");
    assert_eq!((third.live, third.refused), (1, 1));
    assert_eq!((bodies(&drops), drops.dropped()), (vec!["2".into(), "3".into()], 1));
    assert_eq!((bodies(&refuses), refuses.dropped()), (vec!["1".into(), "2".into()], 1));
}

#[test]
fn bytes_bound_a_mailbox_as_well() {
    let world = World::new();
    let mailbox = world.topics.mailbox(MailboxOptions { bytes: 400, ..MailboxOptions::default() });
    world.subscribe(&mailbox, "a", SubscribeOptions::default());
    for _ in 0..10 {
        world.publish("a", "some body");
    }
    assert_eq!((mailbox.len(), mailbox.dropped()), (2, 8));
}

#[tokio::test]
async fn a_publisher_waits_for_room_but_not_forever() {
    let world = World::new();
    let mailbox = Arc::new(world.mailbox(1, Overflow::Wait));
    world.subscribe(&mailbox, "a", SubscribeOptions::default());
    world.publish("a", "1");
    let second = world.publish("a", "2");
    assert!(!second.is_settled());
    let reader = async {
        tokio::task::yield_now().await;
        mailbox.recv().await
    };
    let (taken, first) = tokio::join!(second.settled(Duration::from_secs(1)), reader);
    assert_eq!((taken.unwrap(), first.unwrap().message.body.as_ref()), (1, b"1".as_ref()));
    let third = world.publish("a", "3").settled(Duration::from_millis(20)).await;
    assert_eq!((third.unwrap(), mailbox.dropped()), (0, 1));
    drop(world.publish("a", "4"));
    assert_eq!(mailbox.dropped(), 2);
}

#[tokio::test]
async fn a_reader_is_woken_once_per_burst_and_told_of_the_end() {
    let world = World::new();
    let mailbox = Arc::new(world.mailbox(10, Overflow::DropOldest));
    world.subscribe(&mailbox, "a", SubscribeOptions::default());
    let publisher = async {
        tokio::task::yield_now().await;
        for _ in 0..3 {
            world.publish("a", "x");
        }
    };
    let mut got = Vec::new();
    let (count, ()) = tokio::join!(mailbox.recv_many(&mut got, 100), publisher);
    assert_eq!(count, 3);
    mailbox.close();
    assert!(mailbox.recv().await.is_none());
    assert_eq!(world.publish("a", "y").live, 0);
}

#[test]
fn retained_values_come_with_a_new_filter_as_its_options_say() {
    let world = World::new();
    world.retain("a/1", "one");
    world.retain("a/2", "two");
    world.retain("a", "root");
    let mailbox = world.mailbox(1, Overflow::DropOldest);
    assert!(world.subscribe(&mailbox, "a/#", SubscribeOptions::default()));
    assert_eq!(bodies(&mailbox), ["kept root", "kept one", "kept two"]);
    let if_new = SubscribeOptions { retained: Retained::IfNew, ..SubscribeOptions::default() };
    assert!(!world.subscribe(&mailbox, "a/#", if_new.clone()));
    assert!(mailbox.is_empty());
    assert!(world.subscribe(&mailbox, "a/1", if_new));
    assert_eq!(bodies(&mailbox), ["kept one"]);
    world.subscribe(
        &mailbox,
        "+/2",
        SubscribeOptions { retained: Retained::Never, ..SubscribeOptions::default() },
    );
    world.subscribe(
        &mailbox,
        "a/2",
        SubscribeOptions { group: Some("g".into()), ..SubscribeOptions::default() },
    );
    assert!(mailbox.is_empty());
    world.subscribe(&mailbox, "+/2", SubscribeOptions::default());
    assert_eq!(bodies(&mailbox), ["kept two"]);
}

#[tokio::test]
async fn retained_values_are_bounded_and_an_empty_body_makes_room() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.retain(name, "x");
    }
    let refused = world.retain("d", "x").settled(Duration::ZERO).await;
    assert_eq!(refused.unwrap_err().code(), Code::QueueFull);
    world.retain("a", "");
    assert!(world.retain("d", "x").failure.is_none());
    assert_eq!(world.topics.keeper.usage().0, 3);
}

#[tokio::test]
async fn retained_values_survive_the_process() {
    let engine = Memory::default();
    let world = World::over(&engine);
    let task = net::Tasks::new();
    let run = task.background("keeper", Arc::clone(&world.topics.keeper).run());
    let kept = world.retain("a", "old").settled(Duration::ZERO);
    kept.await.unwrap();
    let later = [world.retain("a", "new"), world.retain("b", "b"), world.retain("b", "")];
    for published in later {
        published.settled(Duration::ZERO).await.unwrap();
    }
    run.abort();
    let again = World::over(&engine.crash());
    let values = again.topics.retained(again.now, &Pattern::parse("topic/#").unwrap(), None, 10.into()).0;
    let values: Vec<&[u8]> = values.iter().map(|value| value.body.as_ref()).collect();
    assert_eq!(values, [b"new"]);
}

#[test]
fn only_topics_can_be_subscribed_to() {
    let world = World::new();
    let mailbox = world.mailbox(1, Overflow::DropOldest);
    let pattern = Pattern::parse("queue/a").unwrap();
    let refused = world.topics.subscribe(world.now, &mailbox, &pattern, &SubscribeOptions::default());
    assert_eq!(refused.unwrap_err().code(), Code::BadAddress);
}

#[test]
fn the_encoding_of_a_message_is_made_once() {
    let message = message("a", "x", false, 0);
    let mut made = 0;
    for _ in 0..100 {
        let bytes = message.encoded(1, |envelope| {
            made += 1;
            envelope.body.clone()
        });
        assert_eq!(bytes.as_ref(), b"x");
    }
    assert_eq!(made, 1);
}

#[test]
fn addresses_beyond_the_limit_share_one_counter() {
    let rates = Rates::new(1);
    let count = |name: &str| rates.of(&Address::new(Kind::Topic, name).unwrap()).count_in(1);
    ["a", "b", "c", "a"].into_iter().for_each(count);
    let list: Vec<(Option<String>, u64)> = rates
        .list()
        .into_iter()
        .map(|rate| (rate.address.map(|a| a.to_string()), rate.messages_in))
        .collect();
    assert_eq!(list, [(Some("topic/a".into()), 2), (None, 2)]);
}

// Finding: B3
#[test]
fn a_reader_that_is_slow_holds_no_retained_values() {
    let engine = Memory::default();
    let keeper = load(engine.table("retained").unwrap(), RetainedLimits::default(), clock()).unwrap();
    let rates = Arc::new(Rates::new(100));
    let topics = Arc::new(Topics::new(Arc::new(keeper), Arc::new(shelf(&engine)), rates));
    let world = World { topics, now: clock().moment() };
    for place in 0..10_000 {
        world.retain(&format!("a/{place:05}"), "old");
    }
    world.retain("z", "other");
    let mailbox = world.mailbox(10, Overflow::DropOldest);
    // Asked for again and again, as by a client that subscribes and does not read.
    for _ in 0..50 {
        world.subscribe(&mailbox, "a/#", SubscribeOptions::default());
    }
    assert_eq!(mailbox.len(), 1);
    // What changes before it is read comes as it is then, and live traffic after it.
    world.retain("a/09999", "new");
    let mut seen = Vec::new();
    loop {
        let mut some = Vec::new();
        let taken = mailbox.try_recv_many(&mut some, Bounds { messages: 100, bytes: 2_000 });
        let bytes: usize = some.iter().map(|item| item.message.weight()).sum();
        assert!(taken <= 100 && (bytes <= 2_000 || taken == 1), "{taken} with {bytes} bytes");
        if taken == 0 {
            break;
        }
        seen.extend(some);
    }
    assert_eq!(seen.iter().filter(|item| item.retained).count(), 10_000);
    assert!(seen.is_sorted_by_key(|item| !item.retained));
    let last: Vec<&[u8]> = seen.iter().rev().take(2).map(|item| item.message.body.as_ref()).collect();
    assert_eq!(last, [b"new", b"new"]);
    // The filter that goes takes with it what it has not brought yet.
    world.subscribe(&mailbox, "a/#", SubscribeOptions::default());
    world.topics.unsubscribe(&mailbox, &Pattern::parse("topic/a/#").unwrap(), None);
    assert!(mailbox.is_empty());
}

// Finding: B3
#[test]
fn a_retained_value_keeps_no_encodings_beside_it() {
    let world = World::new();
    let live = world.mailbox(10, Overflow::DropOldest);
    world.subscribe(&live, "a", SubscribeOptions::default());
    world.retain("a", "x");
    let late = world.mailbox(10, Overflow::DropOldest);
    world.subscribe(&late, "a", SubscribeOptions::default());
    for mailbox in [&live, &late] {
        mailbox.try_recv().unwrap().encoded(2, |_| "encoded".into());
    }
    let kept = world.topics.keeper.get(world.now, &Address::new(Kind::Topic, "a").unwrap()).unwrap();
    assert_eq!(kept.encoded(2, |_| "anew".into()), "anew");
}
