//! Streams as writers and readers see them, across restarts and retention.
//! Durability itself is the store's.

use super::*;
use message::{Clock, Dice};
use store::{Engine, Memory};

struct World {
    engine: Memory,
    clock: Clock,
    stream: Arc<Stream>,
}

impl World {
    async fn open(engine: Memory, options: Option<StreamOptions>) -> World {
        let clock = Clock::manual(Time::from_millis(1_000));
        let address = Address::parse("stream/audit").unwrap();
        let (log, table) = (engine.log("stream/audit").unwrap(), engine.table("lanes").unwrap());
        let stream =
            Stream::open(&address, log, table, options, Arc::default(), clock.clone()).await.unwrap();
        World { engine, clock, stream: Arc::new(stream) }
    }

    async fn append(&self, count: u64) {
        for _ in 0..count {
            self.clock.advance(Duration::from_millis(10));
            let address = Address::parse("stream/audit").unwrap();
            let envelope = Envelope::new(address, "body", &self.clock, &Dice::seeded(1));
            self.stream.append(self.clock.both(), &envelope).await.unwrap();
        }
    }

    fn offsets(&self, from: StartAt, max: usize) -> Vec<u64> {
        self.stream.read(from, max.into()).unwrap().iter().map(|record| record.offset).collect()
    }
}

#[tokio::test]
async fn it_is_read_from_an_offset_or_a_time() {
    let world = World::open(Memory::default(), None).await;
    world.append(1_000).await;
    assert_eq!(world.offsets(StartAt::Earliest, 2), [0, 1]);
    assert_eq!(world.offsets(StartAt::Offset(700), 2), [700, 701]);
    assert!(world.offsets(StartAt::Latest, 2).is_empty());
    for (millis, offset) in [(0, 0), (1_010, 0), (1_011, 1), (6_000, 499), (6_001, 500), (11_000, 999)] {
        assert_eq!(world.offsets(StartAt::Time(Time::from_millis(millis)), 1), [offset], "at {millis}");
    }
    assert!(world.offsets(StartAt::Time(Time::from_millis(11_001)), 1).is_empty());
}

#[tokio::test]
async fn a_restart_finds_the_same_index() {
    let world = World::open(Memory::default(), None).await;
    world.append(600).await;
    let before = world.stream.stats();
    let again = World::open(world.engine.crash(), None).await;
    let after = again.stream.stats();
    assert_eq!((after.bytes, after.tail, after.oldest), (before.bytes, before.tail, before.oldest));
    assert_eq!(again.offsets(StartAt::Time(Time::from_millis(6_000)), 1), [499]);
}

#[tokio::test]
async fn old_records_go_by_bytes_and_by_age() {
    for options in [
        StreamOptions { bytes_max: 50_000, age_ms_max: 0 },
        StreamOptions { bytes_max: 0, age_ms_max: 5_000 },
    ] {
        let world = World::open(Memory::default(), Some(options.clone())).await;
        world.append(3_000).await;
        let stats = world.stream.stats();
        assert!(stats.head > 1_500 && stats.head < 2_800, "{options:?}: {stats:?}");
        assert_eq!(world.offsets(StartAt::Earliest, 1), [stats.head]);
        let again = World::open(world.engine.crash(), None).await;
        assert_eq!(again.stream.stats().bytes, stats.bytes);
        assert_eq!(again.stream.index.lock().options, options);
    }
}

#[tokio::test]
async fn a_follower_waits_at_the_end() {
    let world = World::open(Memory::default(), None).await;
    let mut follower = Follower::new(Arc::clone(&world.stream), StartAt::Latest).unwrap();
    let append = async {
        tokio::task::yield_now().await;
        world.append(2).await;
    };
    let (records, ()) = tokio::join!(follower.next(1, Duration::from_secs(10)), append);
    assert_eq!(records.unwrap()[0].offset, 0);
    assert_eq!(follower.next(10, Duration::from_secs(10)).await.unwrap()[0].offset, 1);
    assert!(follower.next(10, Duration::from_millis(1)).await.unwrap().is_empty());
    assert_eq!(follower.position(), 2);
}

// Finding: B4
#[tokio::test]
async fn setting_the_clock_lets_nothing_go_and_keeps_nothing_longer() {
    let options = StreamOptions { bytes_max: 0, age_ms_max: 3_600_000 };
    let hour = Duration::from_secs(3_600);
    for set in [Time::later as fn(Time, Duration) -> Time, Time::earlier] {
        let world = World::open(Memory::default(), Some(options.clone())).await;
        world.clock.set(Time::from_millis(1 << 40));
        world.append(600).await;
        world.clock.set(set(world.clock.now(), 2 * hour));
        world.append(600).await;
        assert_eq!(world.stream.stats().head, 0, "no hour has passed");
        world.clock.advance(2 * hour);
        world.append(600).await;
        assert!(world.stream.stats().head >= 1_000, "two hours have passed: {:?}", world.stream.stats());
    }
}
