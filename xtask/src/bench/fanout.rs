//! MQTT 3.1.1 QoS 0 from one publisher to 100 subscribers, against Debian's mosquitto under the same load at the same pace.
//! The load knows only the few packets that it sends; every byte that must arrive is counted.

use super::{Effort, Verdict, figure, median};
use crate::peers::debian;
use crate::run::say;
use crate::server::{KEY, Process, cpu_us, free_port, scratch, trunkline};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SUBSCRIBERS: u64 = 100;
const BODY_BYTES: usize = 128;
/// Messages a second: enough that the broker's work is what is measured, few enough that neither falls behind.
const PACE: u64 = 400;
/// The most messages under way; the publisher waits instead of overrunning anybody.
const WINDOW: u64 = 32;
const TOPIC: &str = "plant/7/temp";
const STACK_BYTES: usize = 128 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    debian(&[("mosquitto", "mosquitto")])?;
    let config = "access: {keys: [{name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [device]}], roles: {device: {allow: [{verbs: [publish, subscribe], \
                  on: ['topic/plant/#']}]}}}\n";
    let (ours, _folder) = trunkline("bench-fanout", config)?;
    let peer = mosquitto(&scratch("bench-fanout-peer")?)?;
    let (our_load, peer_load) = (Load::start(ours.port)?, Load::start(peer.port)?);
    let mut our_load = our_load;
    let mut peer_load = peer_load;
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    our_load.turn(&ours, 1)?;
    peer_load.turn(&peer, 1)?;
    for round in 1..=effort.rounds {
        let we = our_load.turn(&ours, effort.seconds)?;
        let they = peer_load.turn(&peer, effort.seconds)?;
        say(&format!(
            "  round {round}  trunkline {:.2} µs CPU a delivery ({:.0}/s)   mosquitto {:.2} µs ({:.0}/s)   ratio {:.2}",
            we.0,
            we.1,
            they.0,
            they.1,
            we.0 / they.0
        ))?;
        ratios.push(we.0 / they.0);
        costs.push(we.0);
    }
    say(&format!("  median {:.2} µs CPU a delivery", median(costs)))?;
    Ok(vec![Verdict::at_most("MQTT fan-out 1 to 100, CPU against mosquitto", median(ratios), "x", 2.0)])
}

fn mosquitto(folder: &Path) -> Result<Process> {
    let port = free_port()?;
    let file = folder.join("mosquitto.conf");
    std::fs::write(
        &file,
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 10000\nlog_type error\n"
        ),
    )?;
    let program =
        if Path::new("/usr/sbin/mosquitto").is_file() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    Process::start(Command::new(program).arg("-c").arg(&file), port, &folder.join("log"))
}

/// One publisher and its subscribers, connected.
struct Load {
    publisher: TcpStream,
    /// Bytes that all subscribers together have received.
    received: Arc<AtomicU64>,
    packet: Vec<u8>,
    sent: u64,
}

impl Load {
    fn start(port: u16) -> Result<Load> {
        let received = Arc::new(AtomicU64::new(0));
        for number in 0..SUBSCRIBERS {
            let mut stream = connect(port, &format!("sub{number}"))?;
            let mut filter = vec![0, 1];
            put_text(&mut filter, TOPIC)?;
            filter.push(0);
            stream.write_all(&packet(0x82, &filter)?)?;
            expect(&mut stream, &[0x90, 3, 0, 1, 0])?;
            let received = Arc::clone(&received);
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
                let mut buffer = vec![0_u8; 32 << 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    received.fetch_add(count as u64, Ordering::Relaxed);
                }
            })?;
        }
        let mut body = Vec::new();
        put_text(&mut body, TOPIC)?;
        body.resize(body.len() + BODY_BYTES, b'x');
        Ok(Load { publisher: connect(port, "pub")?, received, packet: packet(0x30, &body)?, sent: 0 })
    }

    /// CPU of the broker for each delivered message, and how many were delivered a second.
    fn turn(&mut self, broker: &Process, seconds: u64) -> Result<(f64, f64)> {
        let each = self.packet.len() as u64 * SUBSCRIBERS;
        let (before, began, messages) = (cpu_us(broker.id()), Instant::now(), PACE * seconds);
        for number in 0..messages {
            let due = Duration::from_micros(number * 1_000_000 / PACE);
            while began.elapsed() < due {
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            self.wait(self.sent.saturating_sub(WINDOW) * each)?;
            self.publisher.write_all(&self.packet)?;
            self.sent += 1;
        }
        self.wait(self.sent * each)?;
        let took = began.elapsed();
        let spent = cpu_us(broker.id()) - before;
        let delivered = figure(messages * SUBSCRIBERS);
        Ok((figure(spent) / delivered, delivered / took.as_secs_f64()))
    }

    /// Until that many bytes have arrived.
    fn wait(&self, bytes: u64) -> Result<()> {
        let began = Instant::now();
        while self.received.load(Ordering::Relaxed) < bytes {
            ensure!(
                began.elapsed() < PATIENCE,
                "messages were lost: {} of {bytes} bytes arrived",
                self.received.load(Ordering::Relaxed)
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// A clean MQTT 3.1.1 session with the tests' key as its password.
fn connect(port: u16, id: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut body = Vec::new();
    put_text(&mut body, "MQTT")?;
    // Level 4; user, password, clean session; no keep-alive.
    body.extend([4, 0xC2, 0, 0]);
    for text in [id, "tester", KEY] {
        put_text(&mut body, text)?;
    }
    stream.write_all(&packet(0x10, &body)?)?;
    expect(&mut stream, &[0x20, 2, 0, 0])?;
    stream.set_read_timeout(None)?;
    Ok(stream)
}

fn expect(stream: &mut TcpStream, wanted: &[u8]) -> Result<()> {
    let mut answer = vec![0; wanted.len()];
    stream.read_exact(&mut answer)?;
    ensure!(answer == wanted, "the broker answered {answer:?}, not {wanted:?}");
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend(u16::try_from(text.len())?.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// The first byte, the remaining length (at most two bytes are needed here), the rest.
fn packet(first: u8, body: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(body.len())?;
    ensure!(length < 1 << 14, "a packet of the load is small");
    let mut out = vec![first];
    let low = u8::try_from(length & 0x7F)?;
    if length < 1 << 7 {
        out.push(low);
    } else {
        out.extend([low | 0x80, u8::try_from(length >> 7)?]);
    }
    out.extend(body);
    Ok(out)
}
