//! What the broker costs above the store: durable enqueues of 1 KiB from 64 producers against the log alone, fan-out from
//! 1 to 100, a queue's whole life, and opening 100,000 messages. It measures no protocol.
//!
//! `cargo bench -p broker -- [directory] [messages] [rounds]`; the directory's disk is what is measured.

use broker::{Broker, Lease, MailboxOptions, Message, QueueOptions, Settings, Settlement, SubscribeOptions};
use bytes::Bytes;
use message::{Address, Clock, Dice, Envelope, Pattern};
use net::Tasks;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use store::{Embedded, Engine, Options};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PRODUCERS: u64 = 64;
const BODY_BYTES: usize = 1024;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let dir = words.first().map_or_else(std::env::temp_dir, PathBuf::from).join("broker-bench");
    let messages: u64 = words.get(1).map_or(Ok(100_000), |word| word.parse())?;
    let rounds: u64 = words.get(2).map_or(Ok(3), |word| word.parse())?;
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..rounds {
            fan_out(messages / 10).await?;
            durable(&dir, messages).await?;
        }
        opening(&dir).await
    })?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn open(dir: &Path) -> Result<(Arc<dyn Engine>, Arc<Broker>), Failure> {
    let engine: Arc<dyn Engine> = Arc::new(Embedded::open(dir.join("store"), Options::default())?);
    let broker = Broker::open(
        Arc::clone(&engine),
        Settings::default(),
        Clock::system(),
        Dice::from_system(),
        Tasks::new(),
    );
    Ok((engine, broker.await?))
}

/// 64 producers that each wait for their receipt; the same records through the log alone; then lease and ack all.
async fn durable(dir: &Path, messages: u64) -> Result<(), Failure> {
    let (engine, broker) = open(dir).await?;
    let address = Address::parse("queue/bench")?;
    broker.declare(&address, Some(QueueOptions::default())).await?;
    let body: Bytes = vec![7_u8; BODY_BYTES].into();
    let dice = Dice::from_system();
    let meter = Meter::start()?;
    producers(|| {
        let (broker, address, body, dice) =
            (Arc::clone(&broker), address.clone(), body.clone(), dice.clone());
        async move {
            for _ in 0..messages / PRODUCERS {
                let envelope = Envelope::new(address.clone(), body.clone(), &Clock::system(), &dice);
                broker.enqueue(&address, Arc::new(envelope)).await?;
            }
            Ok(())
        }
    })
    .await?;
    meter.stop("enqueue, broker", messages)?;

    let log = engine.log("plain")?;
    let record: Bytes = vec![7_u8; BODY_BYTES + 180].into();
    let meter = Meter::start()?;
    producers(|| {
        let (log, record) = (Arc::clone(&log), record.clone());
        async move {
            for _ in 0..messages / PRODUCERS {
                log.append(vec![record.clone()]).await?;
            }
            Ok(())
        }
    })
    .await?;
    meter.stop("append, log alone", messages)?;
    log.trim(log.tail())?;

    let meter = Meter::start()?;
    producers(|| {
        let (broker, address) = (Arc::clone(&broker), address.clone());
        async move {
            loop {
                let got = broker.lease(&address, Lease::new("bench", 16)).await?;
                if got.is_empty() {
                    return Ok(());
                }
                let acks = got.iter().map(|one| broker.settle(&address, one.token, Settlement::Ack));
                for settled in futures_util::future::join_all(acks).await {
                    settled?;
                }
            }
        }
    })
    .await?;
    meter.stop("lease 16, ack each", messages)?;
    broker.remove(&address).await?;
    engine.remove_log("plain").await?;
    drop(broker);
    Ok(engine.close()?)
}

async fn producers<F>(make: impl Fn() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..PRODUCERS {
        all.spawn(make());
    }
    while let Some(joined) = all.join_next().await {
        joined??;
    }
    Ok(())
}

/// One publisher, a hundred subscribers that each read from a task of their own.
async fn fan_out(messages: u64) -> Result<(), Failure> {
    const SUBSCRIBERS: u64 = 100;
    let engine: Arc<dyn Engine> = Arc::new(store::Memory::default());
    let broker =
        Broker::open(engine, Settings::default(), Clock::system(), Dice::from_system(), Tasks::new()).await?;
    let (address, pattern) = (Address::parse("topic/plant/7/temp")?, Pattern::parse("topic/plant/+/temp")?);
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..SUBSCRIBERS {
        let mailbox = broker.mailbox(MailboxOptions::default());
        broker.subscribe(&mailbox, &pattern, &SubscribeOptions::default())?;
        readers.spawn(async move {
            let (mut batch, mut count) = (Vec::new(), 0);
            while count + mailbox.dropped() < messages {
                count += mailbox.recv_many(&mut batch, 64).await as u64;
                batch.clear();
            }
            count
        });
    }
    let dice = Dice::from_system();
    let meter = Meter::start()?;
    for number in 0..messages {
        let envelope = Envelope::new(address.clone(), &b"21.5"[..], &Clock::system(), &dice);
        broker.publish(&Message::new(envelope));
        if number % 16 == 15 {
            tokio::task::yield_now().await;
        }
    }
    let mut delivered = 0;
    while let Some(count) = readers.join_next().await {
        delivered += count?;
    }
    meter.stop("fan-out 1 to 100, per delivery", messages * SUBSCRIBERS)?;
    writeln!(std::io::stdout(), "  of {} deliveries {delivered} were read", messages * SUBSCRIBERS)?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement is of the machine's own time")]
async fn opening(dir: &Path) -> Result<(), Failure> {
    let address = Address::parse("queue/opening")?;
    let (engine, broker) = open(dir).await?;
    broker.declare(&address, None).await?;
    let body: Bytes = vec![7_u8; BODY_BYTES].into();
    for _ in 0..100 {
        let envelope =
            || Arc::new(Envelope::new(address.clone(), body.clone(), &Clock::system(), &Dice::from_system()));
        let puts = (0..1_000).map(|_| broker.enqueue(&address, envelope()));
        for put in futures_util::future::join_all(puts).await {
            put?;
        }
    }
    drop(broker);
    engine.close()?;
    drop(engine);
    let start = Instant::now();
    let (_engine, broker) = open(dir).await?;
    let took = start.elapsed();
    let depth = broker.stats(&address).await?.depth;
    writeln!(std::io::stdout(), "store and broker open with {depth} messages in {took:?}")?;
    Ok(())
}

struct Meter {
    start: Instant,
    ticks: u64,
}

impl Meter {
    #[expect(clippy::disallowed_methods, reason = "a measurement is of the machine's own time")]
    fn start() -> Result<Meter, Failure> {
        Ok(Meter { start: Instant::now(), ticks: cpu_ticks()? })
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn stop(self, what: &str, count: u64) -> Result<(), Failure> {
        const TICK_US: f64 = 10_000.0;
        let cpu_us = (cpu_ticks()? - self.ticks) as f64 * TICK_US;
        let per_second = count as f64 / self.start.elapsed().as_secs_f64();
        let each = cpu_us / count as f64;
        writeln!(std::io::stdout(), "{what:<32} {per_second:>10.0}/s {each:>8.3} µs CPU each")?;
        Ok(())
    }
}

/// User and system time of all threads, in hundredths of a second.
fn cpu_ticks() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let mut ticks = fields.skip(11).take(2).map(str::parse::<u64>);
    match (ticks.next(), ticks.next()) {
        (Some(user), Some(system)) => Ok(user? + system?),
        _ => Err("/proc/self/stat has no times".into()),
    }
}
