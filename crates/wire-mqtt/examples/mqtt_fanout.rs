//! What a broker's process spends per delivered message: one publisher, many subscribers, QoS 0, MQTT 3.1.1.
//! `mqtt_fanout ADDRESS PID SUBSCRIBERS MESSAGES BYTES IN_A_ROW [USER KEY]`, for any broker; the load's own CPU does not count.
#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use wire_mqtt::codec::{
    Connect, Filter, Packet, Properties, PublishHead, Qos, Subscribe, Version, encode, put_publish_head,
};

const TOPIC: &str = "bench/fanout/topic";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [at, pid, subscribers, messages, bytes, in_a_row, key @ ..] = &args[..] else {
        bail!("mqtt_fanout ADDRESS PID SUBSCRIBERS MESSAGES BYTES IN_A_ROW [USER KEY]");
    };
    let (subscribers, messages): (u64, u64) = (subscribers.parse()?, messages.parse()?);
    let (bytes, in_a_row): (usize, u64) = (bytes.parse()?, in_a_row.parse()?);
    let head =
        PublishHead { dup: false, qos: Qos::Zero, retain: false, topic: TOPIC, id: 0, properties: None };
    let mut burst = BytesMut::new();
    for _ in 0..in_a_row {
        put_publish_head(&mut burst, &head, bytes);
        burst.resize(burst.len() + bytes, b'x');
    }
    let received = Arc::new(AtomicU64::new(0));
    let tasks = net::Tasks::default();
    for number in 0..subscribers {
        let mut stream = connect(at, &format!("sub{number}"), key).await?;
        let filter = Filter {
            filter: TOPIC.into(),
            qos: Qos::Zero,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        let subscribe = Subscribe { id: 1, properties: Properties::default(), filters: vec![filter] };
        say(&mut stream, &Packet::Subscribe(subscribe), 5).await?;
        let received = Arc::clone(&received);
        tasks.background("subscriber", async move {
            let mut read = vec![0_u8; 64 << 10];
            while let Ok(count @ 1..) = stream.read(&mut read).await {
                received.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
    }
    let mut publisher = connect(at, "pub", key).await?;
    let before = cpu_us(pid)?;
    let began = Instant::now();
    let burst_bytes = burst.len() as u64 * subscribers;
    let rounds = messages / in_a_row;
    for round in 1..=rounds {
        publisher.write_all(&burst).await?;
        let arrived = async {
            while received.load(Ordering::Relaxed) < round * burst_bytes {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
            bail!(
                "messages were lost: {} of {} bytes",
                received.load(Ordering::Relaxed),
                round * burst_bytes
            );
        }
    }
    let took = began.elapsed();
    let spent = cpu_us(pid)? - before;
    let delivered = rounds * in_a_row * subscribers;
    println!(
        "{:.3} us CPU per delivered message ({delivered} of {bytes} bytes, {in_a_row} in a row, {:.0}/s)",
        spent / delivered as f64,
        delivered as f64 / took.as_secs_f64(),
    );
    Ok(())
}

async fn connect(at: &str, id: &str, key: &[String]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let connect = Connect {
        level: 4,
        clean: true,
        keep_alive_s: 0,
        client_id: id.into(),
        will: None,
        username: key.first().map(|user| user.as_str().into()),
        password: key.get(1).map(|key| bytes::Bytes::copy_from_slice(key.as_bytes())),
        properties: Properties::default(),
    };
    say(&mut stream, &Packet::Connect(Box::new(connect)), 4).await?;
    Ok(stream)
}

/// Sends a packet and reads its answer of `len` bytes.
async fn say(stream: &mut TcpStream, packet: &Packet, len: usize) -> anyhow::Result<()> {
    let mut out = BytesMut::new();
    encode(packet, Version::V3, &mut out);
    stream.write_all(&out).await?;
    let mut answer = vec![0_u8; len];
    stream.read_exact(&mut answer).await?;
    if answer.last().is_some_and(|code| *code > 2) {
        bail!("refused: {answer:?}");
    }
    Ok(())
}

/// User and system time of a process in microseconds, from the clock ticks in `/proc/PID/stat` (100 a second).
fn cpu_us(pid: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).context("no such field");
    Ok((ticks(11)? + ticks(12)?) * 10_000.0)
}
