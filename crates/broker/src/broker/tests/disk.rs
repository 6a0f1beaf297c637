//! The disk over time: a log that stays short whatever is kept in it, and one that is full.

use super::*;
use std::path::Path;
use store::Log;

const SEGMENT: u64 = 1 << 16;
const HOUR: Duration = Duration::from_secs(3_600);

/// A broker on files, whose clock goes only as it is told.
struct OnDisk {
    dir: tempfile::TempDir,
    engine: Arc<dyn Engine>,
    broker: Arc<Broker>,
    clock: Clock,
    dice: Dice,
}

impl OnDisk {
    async fn new(disk_bytes_max: u64) -> OnDisk {
        let dir = tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let options = store::Options {
            durability: store::Durability::Buffered,
            segment_bytes: SEGMENT,
            disk_bytes_max,
            ..store::Options::default()
        };
        let engine: Arc<dyn Engine> = Arc::new(store::Embedded::open(dir.path(), options).unwrap());
        let clock = Clock::manual(Time::from_millis(1_800_000_000_000));
        let dice = Dice::seeded(7);
        let tasks = Tasks::new();
        let broker =
            Broker::open(Arc::clone(&engine), Settings::default(), clock.clone(), dice.clone(), tasks).await;
        OnDisk { dir, engine, broker: broker.unwrap(), clock, dice }
    }

    fn envelope(&self, address: &Address, body: &str) -> Arc<Envelope> {
        Arc::new(Envelope::new(address.clone(), body.to_owned(), &self.clock, &self.dice))
    }

    async fn queue(&self, name: &str) -> Address {
        let address = Address::parse(&format!("queue/{name}")).unwrap();
        self.broker.declare(&address, None).await.unwrap();
        address
    }

    async fn stream(&self, name: &str, options: StreamOptions) -> Address {
        let address = Address::parse(&format!("stream/{name}")).unwrap();
        self.broker.declare_stream(&address, Some(options)).await.unwrap();
        address
    }

    /// Puts messages and acknowledges what comes out, as many as were put.
    async fn pass(&self, address: &Address, count: usize, body: &str) {
        let puts = (0..count).map(|_| self.broker.enqueue(address, self.envelope(address, body)));
        for put in futures_util::future::join_all(puts).await {
            put.unwrap();
        }
        let got = self.broker.lease(address, Lease::new("worker", count)).await.unwrap();
        let acks = got.iter().map(|one| self.broker.settle(address, one.token, Settlement::Ack));
        for ack in futures_util::future::join_all(acks).await {
            ack.unwrap();
        }
    }

    /// What is alive in queues, streams and this log.
    async fn live(&self, other: &Arc<dyn Log>) -> u64 {
        let queues = self.broker.queues().await;
        let streams = self.broker.streams();
        queues.iter().map(|row| row.stats.bytes).sum::<u64>()
            + streams.iter().map(|row| row.stats.bytes).sum::<u64>()
            + other.bytes()
    }
}

/// Bytes of all files of the log, whatever they are for.
fn log_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("log")).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |data| data.len())).sum()
}

#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
async fn within(wait: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + wait;
    while !holds().await {
        if std::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// A day of traffic, beside one quiet stream, one lease of half a day, one message that waits for tomorrow, a dead letter and
/// a trail of what was done: at every hour the log takes no more than twice what is alive, and two segments.
// Finding: B2, B14, B12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_traffic_leaves_a_short_log() {
    let world = OnDisk::new(0).await;
    let (busy, slow) = (world.queue("busy").await, world.queue("slow").await);
    let quiet = world.stream("quiet", StreamOptions { age_ms_max: 5 * 3_600_000, bytes_max: 0 }).await;
    let audit = world.engine.log("audit").unwrap();
    for body in ["leased", "delayed", "dead"] {
        world.broker.enqueue(&slow, world.envelope(&slow, body)).await.unwrap();
    }
    let lease = Lease { hold: Some(12 * HOUR), ..Lease::new("worker", 3) };
    let got = world.broker.lease(&slow, lease).await.unwrap();
    let (leased, delayed, dead) = (got[0].token, got[1].token, got[2].token);
    let retry = Settlement::Retry { delay: Some(20 * HOUR), error: failure(), took: None };
    world.broker.settle(&slow, delayed, retry).await.unwrap();
    world.broker.settle(&slow, dead, Settlement::Reject { error: failure() }).await.unwrap();
    world.broker.append(&quiet, &world.envelope(&quiet, "once")).await.unwrap();
    let line = bytes::Bytes::from("x".repeat(250));
    for hour in 0..24_u32 {
        for _ in 0..42 {
            for _ in 0..4 {
                world.pass(&busy, 250, &"x".repeat(200)).await;
            }
            let tail = audit.append(vec![line.clone(); 40]).wait().unwrap().end;
            audit.trim(tail.saturating_sub(2_000)).unwrap();
            world.clock.advance(HOUR / 42);
        }
        let short = within(Duration::from_secs(10), async || {
            log_bytes(world.dir.path()) <= 2 * world.live(&audit).await + 2 * SEGMENT
        });
        assert!(
            short.await,
            "hour {hour}: {} bytes of log for {} that are alive",
            log_bytes(world.dir.path()),
            world.live(&audit).await
        );
        let old = within(Duration::from_secs(10), async || {
            world.broker.read(&quiet, StartAt::Earliest, 9).unwrap().is_empty() == (hour >= 5)
        });
        assert!(old.await, "hour {hour}: the stream keeps its age, though nobody appends");
        if hour == 10 {
            let held = world.broker.settle(&slow, leased, Settlement::Extend { hold: Some(12 * HOUR) }).await;
            held.expect("a lease is where it was, wherever its message is");
        }
    }
    let peeked = world.broker.peek(&slow, None, 9).await.unwrap();
    assert_eq!(
        peeked.iter().map(|one| body(one.envelope.as_ref().unwrap())).collect::<Vec<_>>(),
        ["leased", "delayed"]
    );
    assert_eq!(world.broker.dead(&slow, None, 9).await.unwrap()[0].attempts.len(), 1);
    assert_eq!(world.stats_of(&busy).await.depth, 0);
}

impl OnDisk {
    async fn stats_of(&self, address: &Address) -> QueueStats {
        self.broker.stats(address).await.unwrap()
    }
}

/// A disk that is full: leases and tokens stay as they are, acknowledgements are taken, and what they free is used again.
// Finding: B1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_drained_by_acknowledgements_alone() {
    let world = OnDisk::new(4 * SEGMENT).await;
    let queue = world.queue("q").await;
    let held = world.broker.enqueue(&queue, world.envelope(&queue, "first")).await.unwrap().number;
    let first = world.broker.lease(&queue, Lease::new("worker", 1)).await.unwrap().remove(0);
    assert_eq!(first.token.number, held);
    let mut stored = 1;
    let refused = loop {
        match world.broker.enqueue(&queue, world.envelope(&queue, &"x".repeat(1_000))).await {
            Ok(_) => stored += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(refused.code(), Code::StoreUnavailable, "{refused}");
    assert!(refused.detail().contains("space"), "{refused}");
    assert!(world.engine.health().full);
    for _ in 0..20 {
        world.broker.enqueue(&queue, world.envelope(&queue, &"x".repeat(1_000))).await.unwrap_err();
    }
    let retry = Settlement::Retry { delay: None, error: failure(), took: None };
    let refused = world.broker.settle(&queue, first.token, retry).await.unwrap_err();
    assert_eq!(refused.code(), Code::StoreUnavailable, "a retry frees nothing");
    assert_eq!(world.broker.settle(&queue, first.token, Settlement::Ack).await.unwrap(), Settled::Acked);
    let mut drained = 1;
    while drained < stored {
        let got = world.broker.lease(&queue, Lease::new("worker", 1)).await.unwrap().remove(0);
        assert_eq!(got.attempt, 1, "no refusal cost anybody a lease");
        // Slow enough for its lease to be written down, where there is room.
        world.clock.advance(Duration::from_millis(20));
        world.broker.settle(&queue, got.token, Settlement::Ack).await.unwrap();
        drained += 1;
    }
    let room = within(Duration::from_secs(10), async || {
        world.broker.enqueue(&queue, world.envelope(&queue, "again")).await.is_ok()
    });
    assert!(room.await, "there is room again");
    assert_eq!(world.broker.purge(&queue).await.unwrap(), 1);
    assert!(within(Duration::from_secs(10), async || log_bytes(world.dir.path()) == 2 * SEGMENT).await);
    assert!(!world.engine.health().full);
}

// Finding: B1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_purges_drops_and_deletions() {
    for how in ["purge", "drop", "remove"] {
        let world = OnDisk::new(4 * SEGMENT).await;
        let queue = world.queue("q").await;
        while world.broker.enqueue(&queue, world.envelope(&queue, &"x".repeat(1_000))).await.is_ok() {}
        match how {
            "purge" => assert!(world.broker.purge(&queue).await.unwrap() > 100),
            "drop" => {
                let got = world.broker.lease(&queue, Lease::new("worker", 1_000)).await.unwrap();
                for one in got {
                    world
                        .broker
                        .settle(&queue, one.token, Settlement::Reject { error: failure() })
                        .await
                        .unwrap();
                }
                assert!(world.broker.drop_dead(&queue, Selection::All).await.unwrap() > 100);
            }
            _ => world.broker.remove(&queue).await.unwrap(),
        }
        let other = world.queue("other").await;
        let room = within(Duration::from_secs(10), async || {
            world.broker.enqueue(&other, world.envelope(&other, &"x".repeat(1_000))).await.is_ok()
        });
        assert!(room.await, "{how}: there is room again");
    }
}
