//! The whole broker through its face: tasks, batches, long polls, restarts and a store that fails.
//! The rules of a queue are tested at the machine, crashes in the simulation.

mod disk;

use super::*;
use message::Time;
use std::collections::{BTreeMap, BTreeSet};
use store::{Faults, Memory};

struct World {
    engine: Memory,
    broker: Arc<Broker>,
    dice: Dice,
    address: Address,
}

impl World {
    async fn new() -> World {
        let world = World::over(Memory::default()).await;
        world.declare(QueueOptions::default()).await;
        world
    }

    async fn over(engine: Memory) -> World {
        let dice = Dice::seeded(5);
        let any: Arc<dyn Engine> = Arc::new(engine.clone());
        let broker =
            Broker::open(any, Settings::default(), Clock::system(), Dice::from_system(), Tasks::new()).await;
        World { engine, broker: broker.unwrap(), dice, address: Address::parse("queue/orders").unwrap() }
    }

    async fn restart(self) -> World {
        World::over(self.engine.crash()).await
    }

    async fn declare(&self, options: QueueOptions) {
        self.broker.declare(&self.address, Some(options)).await.unwrap();
    }

    fn envelope(&self, body: &str) -> Arc<Envelope> {
        Arc::new(Envelope::new(self.address.clone(), body.to_owned(), &Clock::system(), &self.dice))
    }

    async fn put(&self, body: &str) -> Number {
        self.broker.enqueue(&self.address, self.envelope(body)).await.unwrap().number
    }

    async fn lease(&self, max: usize, wait_ms: u64) -> Vec<Delivery> {
        let lease = Lease::new("worker", max).waiting(Duration::from_millis(wait_ms));
        self.broker.lease(&self.address, lease).await.unwrap()
    }

    async fn settle(&self, delivery: &Delivery, settlement: Settlement) -> Result<Settled, Fault> {
        self.broker.settle(&self.address, delivery.token, settlement).await
    }

    async fn stats(&self) -> QueueStats {
        self.broker.stats(&self.address).await.unwrap()
    }
}

fn body(envelope: &Envelope) -> &str {
    std::str::from_utf8(&envelope.body).unwrap()
}

fn failure() -> Fault {
    Fault::new(Code::UpstreamFailed, "it fell over")
}

#[tokio::test]
async fn what_is_put_is_leased_acknowledged_and_gone() {
    let world = World::new().await;
    world.put("first").await;
    world.put("second").await;
    let peeked = world.broker.peek(&world.address, None, 10).await.unwrap();
    assert_eq!(
        peeked.iter().map(|one| body(one.envelope.as_ref().unwrap())).collect::<Vec<_>>(),
        ["first", "second"]
    );
    let page = world.broker.peek(&world.address, Some(peeked[0].number), 10).await.unwrap();
    assert_eq!(page.len(), 1);
    let got = world.lease(10, 0).await;
    assert_eq!(got.iter().map(|one| body(&one.envelope)).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((world.stats().await.leased, world.stats().await.consumers), (2, vec!["worker".into()]));
    for delivery in &got {
        assert_eq!(world.settle(delivery, Settlement::Ack).await.unwrap(), Settled::Acked);
    }
    let again = world.settle(&got[0], Settlement::Ack).await;
    assert_eq!(again.unwrap_err().code(), Code::LeaseLost);
    assert!(world.lease(10, 0).await.is_empty());
    let rate = &world.broker.rates()[0];
    assert_eq!((rate.messages_in, rate.messages_out), (2, 2));
}

#[tokio::test]
async fn a_long_poll_is_answered_by_the_next_message_or_by_its_deadline() {
    let world = World::new().await;
    let put = async {
        tokio::task::yield_now().await;
        world.put("late").await
    };
    let (got, _) = tokio::join!(world.lease(5, 10_000), put);
    assert_eq!(body(&got[0].envelope), "late");
    assert!(world.lease(5, 20).await.is_empty());
    assert_eq!(world.stats().await.waiting, 0);
}

#[tokio::test]
async fn a_consumer_that_goes_away_while_it_waits_loses_nothing() {
    let world = World::new().await;
    for _ in 0..20 {
        let gone = tokio::time::timeout(Duration::from_millis(1), world.lease(5, 60_000)).await;
        assert!(gone.is_err());
        world.put("x").await;
        let got = world.lease(5, 5_000).await;
        assert_eq!((got.len(), got[0].attempt), (1, 1));
        world.settle(&got[0], Settlement::Ack).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_restart_everything_is_there_and_old_tokens_are_not() {
    let world = World::new().await;
    for number in 0..10 {
        world.put(&number.to_string()).await;
    }
    let got = world.lease(3, 0).await;
    world.settle(&got[0], Settlement::Ack).await.unwrap();
    world.settle(&got[1], Settlement::Reject { error: failure() }).await.unwrap();
    let world = world.restart().await;
    let lost = world.settle(&got[2], Settlement::Ack).await;
    assert_eq!(lost.unwrap_err().code(), Code::LeaseLost);
    let again = world.lease(100, 0).await;
    let bodies: Vec<&str> = again.iter().map(|one| body(&one.envelope)).collect();
    assert_eq!(bodies, ["2", "3", "4", "5", "6", "7", "8", "9"]);
    let dead = world.broker.dead(&world.address, None, 10).await.unwrap();
    assert_eq!(
        (dead.len(), body(dead[0].envelope.as_ref().unwrap()), dead[0].reason),
        (1, "1", Code::UpstreamFailed)
    );
    assert_eq!((&*dead[0].attempts[0].text, &*dead[0].attempts[0].consumer), ("it fell over", "worker"));
}

/// The record as a newer version may write it: with a part of the envelope that we know nothing of.
fn of_a_newer_version(record: &[u8]) -> bytes::Bytes {
    // The envelope's version and its flags, of which only one is set.
    let envelope = record.windows(3).position(|bytes| bytes == [1, 0, 1]).unwrap();
    let mut record = record.to_vec();
    record[envelope + 2] |= 0x80;
    record.into()
}

// Finding: H0.6
#[tokio::test]
async fn a_message_of_a_newer_version_is_shown_as_unreadable_and_never_skipped() {
    let world = World::new().await;
    for text in ["one", "two", "three"] {
        world.put(text).await;
    }
    let records = world.engine.log("queue/orders").unwrap().read(0, 10, 10_000).unwrap();
    let engine = Memory::default();
    let log = engine.log("queue/orders").unwrap();
    for (number, (_, record)) in records.into_iter().enumerate() {
        let record = if number == 1 { of_a_newer_version(&record) } else { record };
        log.append(vec![record]).await.unwrap();
    }
    let world = World::over(engine).await;
    world.declare(QueueOptions::default()).await;
    let readable = |all: Vec<Option<Arc<Envelope>>>| all.iter().map(Option::is_some).collect::<Vec<_>>();
    let peeked = world.broker.peek(&world.address, None, 10).await.unwrap();
    assert_eq!(readable(peeked.into_iter().map(|one| one.envelope).collect()), [true, false, true]);
    let got = world.lease(10, 0).await;
    assert_eq!(got.iter().map(|one| body(&one.envelope)).collect::<Vec<_>>(), ["one", "three"]);
    let dead = world.broker.dead(&world.address, None, 10).await.unwrap();
    assert_eq!((dead.len(), dead[0].reason, dead[0].deliveries), (1, Code::StoreDamaged, 1));
    assert!(dead[0].envelope.is_none());
    // It stays until somebody says what is to become of it.
    assert_eq!(world.broker.replay(&world.address, Selection::All).await.unwrap(), 0);
    assert_eq!(world.stats().await.dead, 1);
    assert_eq!(world.broker.drop_dead(&world.address, Selection::All).await.unwrap(), 1);
}

#[tokio::test]
async fn a_dead_letter_is_replayed_with_its_history_or_dropped() {
    let world = World::new().await;
    for name in ["one", "two", "three"] {
        world.put(name).await;
    }
    for delivery in world.lease(3, 0).await {
        world.settle(&delivery, Settlement::Reject { error: failure() }).await.unwrap();
    }
    let dead = world.broker.dead(&world.address, None, 10).await.unwrap();
    let chosen = Selection::Numbers(vec![dead[1].number]);
    assert_eq!(world.broker.replay(&world.address, chosen).await.unwrap(), 1);
    let got = world.lease(10, 1_000).await;
    assert_eq!((got.len(), body(&got[0].envelope), got[0].attempt), (1, "two", 1));
    world.settle(&got[0], Settlement::Reject { error: failure() }).await.unwrap();
    let world = world.restart().await;
    let dead = world.broker.dead(&world.address, None, 10).await.unwrap();
    let attempts = dead
        .iter()
        .find(|dead| body(dead.envelope.as_ref().unwrap()) == "two")
        .map(|dead| dead.attempts.len());
    assert_eq!((dead.len(), attempts), (3, Some(2)));
    assert_eq!(world.broker.drop_dead(&world.address, Selection::Oldest(2)).await.unwrap(), 2);
    assert_eq!(world.stats().await.dead, 1);
}

#[tokio::test]
async fn bodies_beyond_the_cache_come_from_the_log() {
    let engine = Memory::default();
    let any: Arc<dyn Engine> = Arc::new(engine.clone());
    let settings = Settings { queue_cache_bytes: 500, ..Settings::default() };
    let broker =
        Broker::open(any, settings, Clock::system(), Dice::from_system(), Tasks::new()).await.unwrap();
    let address = Address::parse("queue/orders").unwrap();
    broker.declare(&address, None).await.unwrap();
    let world = World { engine, broker, dice: Dice::seeded(5), address };
    for number in 0..50 {
        world.put(&number.to_string()).await;
    }
    let got = world.lease(100, 0).await;
    let bodies: Vec<String> = got.iter().map(|one| body(&one.envelope).to_owned()).collect();
    assert_eq!(bodies, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn queues_and_options_survive_and_a_removed_queue_does_not() {
    let world = World::new().await;
    world.declare(QueueOptions { messages_max: 1, ..QueueOptions::default() }).await;
    let stream = Address::parse("stream/audit").unwrap();
    world.broker.declare_stream(&stream, None).await.unwrap();
    world.broker.append(&stream, &world.envelope("x")).await.unwrap();
    let world = world.restart().await;
    world.put("x").await;
    let full = world.broker.enqueue(&world.address, world.envelope("y")).await;
    assert_eq!(full.unwrap_err().code(), Code::QueueFull);
    assert_eq!(world.broker.queues().await.len(), 1);
    assert_eq!(world.broker.read(&stream, StartAt::Earliest, 9).unwrap().len(), 1);
    world.broker.remove(&world.address).await.unwrap();
    let world = world.restart().await;
    let unknown = world.broker.enqueue(&world.address, world.envelope("y")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::UnknownAddress);
    world.declare(QueueOptions::default()).await;
    assert_eq!(world.stats().await.depth, 0);
}

#[tokio::test]
async fn a_full_store_refuses_and_the_queue_goes_on_when_there_is_room() {
    let world = World::new().await;
    world.put("kept").await;
    let used = world.engine.health().bytes;
    world.engine.set_faults(Faults { bytes_max: Some(used + 50), ..Faults::none() });
    let refused = world.broker.enqueue(&world.address, world.envelope("lost")).await;
    assert_eq!(refused.unwrap_err().code(), Code::StoreUnavailable);
    world.engine.set_faults(Faults::none());
    let taken = async {
        loop {
            match world.broker.enqueue(&world.address, world.envelope("taken")).await {
                Ok(_) => break,
                Err(fault) => assert_eq!(fault.code(), Code::StoreUnavailable),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), taken).await.expect("the queue works again");
    let got = world.lease(10, 1_000).await;
    assert_eq!(got.iter().map(|one| body(&one.envelope)).collect::<Vec<_>>(), ["kept", "taken"]);
}

#[tokio::test]
async fn a_poisoned_store_refuses_until_it_is_reopened() {
    let world = World::new().await;
    world.put("kept").await;
    world.engine.set_faults(Faults { sync_fails: 1.0, late: 1.0, late_polls_max: 1, ..Faults::none() });
    for _ in 0..3 {
        let refused = world.broker.enqueue(&world.address, world.envelope("lost")).await;
        assert_eq!(refused.unwrap_err().code(), Code::StoreUnavailable);
    }
    world.engine.set_faults(Faults::none());
    let world = world.restart().await;
    assert_eq!(body(&world.lease(10, 0).await[0].envelope), "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_producers_and_consumers_lose_and_double_nothing() {
    let world = Arc::new(World::over(Memory::new(Faults { lost: 0.0, ..Faults::crashes(3) })).await);
    world.declare(QueueOptions { ordered: true, ..QueueOptions::default() }).await;
    let tasks = Tasks::new();
    let mut producers: Vec<net::Task> = Vec::new();
    for producer in 0..8 {
        let world = Arc::clone(&world);
        producers.push(tasks.spawn("producer", async move {
            for number in 0..100 {
                world.put(&format!("{producer}/{number}")).await;
            }
        }));
    }
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut consumers: Vec<net::Task> = Vec::new();
    for _ in 0..4 {
        let (world, seen) = (Arc::clone(&world), Arc::clone(&seen));
        consumers.push(tasks.spawn("consumer", async move {
            while seen.lock().len() < 800 {
                for delivery in world.lease(7, 50).await {
                    world.settle(&delivery, Settlement::Ack).await.unwrap();
                    seen.lock().push(body(&delivery.envelope).to_owned());
                }
            }
        }));
    }
    for mut task in producers.into_iter().chain(consumers) {
        tokio::time::timeout(Duration::from_secs(60), task.ended()).await.expect("all of them end");
    }
    let seen = seen.lock().clone();
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (800, 800));
}

/// What producers and consumers were told before a crash.
#[derive(Default)]
struct Heard {
    stored: BTreeSet<String>,
    /// An acknowledgement was under way: gone or not.
    acking: BTreeSet<String>,
    acked: BTreeSet<String>,
}

async fn produce(world: Arc<World>, producer: usize, heard: Arc<parking_lot::Mutex<Heard>>) {
    for number in 0.. {
        let text = format!("{producer}/{number}");
        match world.broker.enqueue(&world.address, world.envelope(&text)).await {
            Ok(_) => heard.lock().stored.insert(text),
            Err(_) => return,
        };
    }
}

async fn consume(world: Arc<World>, heard: Arc<parking_lot::Mutex<Heard>>) {
    loop {
        let lease = Lease::new("worker", 4).waiting(Duration::from_millis(20));
        let Ok(got) = world.broker.lease(&world.address, lease).await else { return };
        for delivery in got {
            let text = body(&delivery.envelope).to_owned();
            assert!(!heard.lock().acked.contains(&text), "{text} came back after its acknowledgement");
            heard.lock().acking.insert(text.clone());
            match world.settle(&delivery, Settlement::Ack).await {
                Ok(_) => heard.lock().acked.insert(text),
                Err(_) => return,
            };
        }
    }
}

#[tokio::test]
async fn a_crash_under_load_loses_nothing_that_was_told() {
    for seed in 0..8 {
        let mut engine = Memory::new(Faults::crashes(seed));
        let heard = Arc::new(parking_lot::Mutex::new(Heard::default()));
        for life in 0..4_usize {
            let world = Arc::new(World::over(engine.clone()).await);
            world.declare(QueueOptions { deliveries_max: 0, ..QueueOptions::default() }).await;
            let tasks = Tasks::new();
            let mut running = Vec::new();
            for producer in 0..6 {
                running.push(
                    tasks.spawn("p", produce(Arc::clone(&world), life * 10 + producer, Arc::clone(&heard))),
                );
            }
            for _ in 0..3 {
                running.push(tasks.spawn("c", consume(Arc::clone(&world), Arc::clone(&heard))));
            }
            // An engine in memory is as fast as its publishers; enough is enough.
            let enough = heard.lock().stored.len() + 300;
            for _ in 0..200 + seed * 7 {
                tokio::task::yield_now().await;
                if heard.lock().stored.len() > enough {
                    break;
                }
            }
            engine = world.engine.crash();
            for mut task in running {
                tokio::time::timeout(Duration::from_secs(20), task.ended())
                    .await
                    .expect("refused, not stuck");
            }
            assert_eq!(tasks.panics(), 0, "seed {seed}");
        }
        let world = World::over(engine).await;
        let mut left = BTreeSet::new();
        loop {
            let got = world.lease(1_000, 0).await;
            if got.is_empty() {
                break;
            }
            left.extend(got.iter().map(|one| body(&one.envelope).to_owned()));
        }
        let heard = heard.lock();
        assert!(heard.stored.len() > 20, "seed {seed}: only {} were stored", heard.stored.len());
        assert_eq!(left.intersection(&heard.acked).next(), None, "seed {seed}");
        let lost: Vec<&String> =
            heard.stored.iter().filter(|one| !left.contains(*one) && !heard.acking.contains(*one)).collect();
        assert_eq!(lost, Vec::<&String>::new(), "seed {seed}");
    }
}

#[tokio::test]
async fn after_a_refused_append_every_receipt_still_fits_its_message() {
    let world = World::new().await;
    world.broker.enqueue(&world.address, world.envelope("first")).await.unwrap();
    let used = world.engine.health().bytes;
    // Room for small messages, and none for the large ones between them: they are refused, and everything behind them
    // until the queue has looked again.
    world.engine.set_faults(Faults { bytes_max: Some(used + 20_000), ..Faults::none() });
    let mut told = BTreeMap::new();
    for round in 0..3 {
        let texts: Vec<String> = (0..8)
            .map(|place| {
                format!("{round}/{place}{}", if place == 3 { "x".repeat(30_000) } else { String::new() })
            })
            .collect();
        let puts = texts.iter().map(|text| world.broker.enqueue(&world.address, world.envelope(text)));
        for (text, put) in texts.iter().zip(futures_util::future::join_all(puts).await) {
            match put {
                Ok(enqueued) => drop(told.insert(enqueued.number, text.clone())),
                Err(fault) => assert_eq!(fault.code(), Code::StoreUnavailable),
            }
        }
        let again = async {
            loop {
                match world.broker.enqueue(&world.address, world.envelope("again")).await {
                    Ok(enqueued) => break drop(told.insert(enqueued.number, "again".to_owned())),
                    Err(fault) => assert_eq!(fault.code(), Code::StoreUnavailable),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.expect("the queue works again");
    }
    assert!(told.len() >= 12, "what came before the refusal was taken: {told:?}");
    world.engine.set_faults(Faults::none());
    let left: BTreeMap<Number, String> = world
        .broker
        .peek(&world.address, None, 1_000)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.number, body(row.envelope.as_ref().unwrap()).to_owned()))
        .collect();
    for (number, text) in &told {
        assert_eq!(left.get(number), Some(text), "the message {number}");
    }
    assert!(left.values().all(|text| text.len() < 100), "what was refused is not there");
}

#[tokio::test]
async fn snapshots_shorten_the_log() {
    let world = World::new().await;
    let lane = world.broker.lane(&world.address).unwrap();
    for _ in 0..100 {
        let puts = (0..200).map(|_| world.broker.enqueue(&world.address, world.envelope("x")));
        for result in futures_util::future::join_all(puts).await {
            result.unwrap();
        }
    }
    for _ in 0..19 {
        let got = world.lease(1_000, 0).await;
        let acks = got.iter().map(|delivery| world.settle(delivery, Settlement::Ack));
        for result in futures_util::future::join_all(acks).await {
            result.unwrap();
        }
    }
    lane.let_go().await.unwrap();
    let log = world.engine.log("queue/orders").unwrap();
    let trimmed = async {
        while log.head() < 19_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), trimmed).await.expect("what was consumed is trimmed");
    let world = world.restart().await;
    assert_eq!(world.stats().await.depth, 1_000);
    assert_eq!(world.stats().await.oldest.map(|time| time > Time::default()), Some(true));
}

/// A few messages that nobody takes must not keep every segment behind them on the disk.
#[tokio::test]
async fn old_messages_are_copied_forward_so_that_segments_are_freed() {
    let dir = tempfile::tempdir().unwrap();
    let options = store::Options {
        durability: store::Durability::Buffered,
        segment_bytes: 1 << 16,
        ..store::Options::default()
    };
    let open = || async {
        let engine: Arc<dyn Engine> = Arc::new(store::Embedded::open(dir.path(), options.clone()).unwrap());
        let (clock, dice) = (Clock::system(), Dice::from_system());
        let settings = Settings { append_bytes_max: 1 << 14, ..Settings::default() };
        let broker = Broker::open(Arc::clone(&engine), settings, clock, dice, Tasks::new()).await;
        (engine, broker.unwrap())
    };
    let (engine, broker) = open().await;
    let (old, busy) = (Address::parse("queue/old").unwrap(), Address::parse("queue/busy").unwrap());
    let dice = Dice::seeded(5);
    let envelope = |address: &Address, body: &str| {
        Arc::new(Envelope::new(address.clone(), body.to_owned(), &Clock::system(), &dice))
    };
    for address in [&old, &busy] {
        broker.declare(address, None).await.unwrap();
    }
    for number in 0..10 {
        broker.enqueue(&old, envelope(&old, &number.to_string())).await.unwrap();
    }
    let dead = broker.lease(&old, Lease::new("worker", 1)).await.unwrap().remove(0);
    broker.settle(&old, dead.token, Settlement::Reject { error: failure() }).await.unwrap();
    for _ in 0..30 {
        let text = "x".repeat(1_000);
        let puts = (0..50).map(|_| broker.enqueue(&busy, envelope(&busy, &text)));
        for put in futures_util::future::join_all(puts).await {
            put.unwrap();
        }
        let got = broker.lease(&busy, Lease::new("worker", 50)).await.unwrap();
        let acks = got.iter().map(|one| broker.settle(&busy, one.token, Settlement::Ack));
        for ack in futures_util::future::join_all(acks).await {
            ack.unwrap();
        }
    }
    let freed = async {
        while engine.health().bytes > 2 << 16 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("segments are freed");
    engine.close().unwrap();
    drop((engine, broker));
    let (_engine, broker) = open().await;
    let got = broker.lease(&old, Lease::new("worker", 100)).await.unwrap();
    assert_eq!(
        got.iter().map(|one| body(&one.envelope).parse::<u8>().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
    assert_eq!(body(broker.dead(&old, None, 9).await.unwrap()[0].envelope.as_ref().unwrap()), "0");
}

#[test]
fn the_wrong_kind_of_address_is_refused() {
    let topic = Address::parse("topic/a").unwrap();
    assert_eq!(expect_kind(&topic, Kind::Queue).unwrap_err().code(), Code::BadAddress);
}
