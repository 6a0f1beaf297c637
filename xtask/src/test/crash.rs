//! SIGKILL under load: producers that note what was acknowledged, a kill in the middle, and a count of what is left. Many rounds on one
//! store, so that each start also proves the recovery of the one before.

use crate::run::say;
use crate::server::{ACCESS, KEY, http, restart, trunkline};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How many times the process is killed.
const ROUNDS: u32 = 50;
/// How many producers there are.
const PRODUCERS: u32 = 16;
/// How long they run before each kill, in milliseconds; varied so that kills fall everywhere.
const RUN_MS: u64 = 120;

pub(super) fn run() -> Result<()> {
    let (mut server, folder) = trunkline("crash", &format!("{ACCESS}queues: {{work: {{dedupe: 0s}}}}\n"))?;
    let port = server.port;
    let mut acknowledged: HashSet<String> = HashSet::new();
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || produce(port, round, producer, &stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(RUN_MS + u64::from(round * 7 % 90)));
        server.kill()?;
        stop.store(true, Ordering::Relaxed);
        for producer in producers {
            acknowledged.extend(producer.join().unwrap_or_default());
        }
        server = restart(&folder, port)?;
        let overview = http(port, "GET", "/admin/overview", "")?;
        ensure!(overview.contains("\"state\":\"ok\""), "round {round}: the store is not sound: {overview}");
    }
    let found = drain(port)?;
    let lost = acknowledged.iter().filter(|id| !found.contains(*id)).count();
    say(&format!(
        "{ROUNDS} kills, {} acknowledged, {} found, {lost} acknowledged messages lost, 0 corrupt stores",
        acknowledged.len(),
        found.len()
    ))?;
    ensure!(lost == 0, "{lost} acknowledged messages were lost");
    ensure!(
        acknowledged.len() > usize::try_from(ROUNDS * 10)?,
        "too few messages were sent to mean anything"
    );
    Ok(())
}

/// Enqueues until the connection breaks; the bodies of what was acknowledged.
fn produce(port: u16, round: u32, producer: u32, stop: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return acknowledged };
    drop(stream.set_read_timeout(Some(Duration::from_secs(5))));
    let Ok(reading) = stream.try_clone() else { return acknowledged };
    let mut answers = BufReader::new(reading);
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{round}-{producer}-{number}");
        let request = format!(
            "POST /api/queues/work HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{id}",
            id.len()
        );
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
        match answer(&mut answers) {
            Ok(status) if (200..300).contains(&status) => acknowledged.push(id),
            _ => break,
        }
    }
    acknowledged
}

/// The status of one answer, whose body is read and let go.
fn answer(reader: &mut BufReader<TcpStream>) -> Result<u16> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((_, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(status)
}

/// Everything that the queue still holds, read page by page.
fn drain(port: u16) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    let mut after = String::new();
    loop {
        let page = http(port, "GET", &format!("/admin/queues/work/messages?max=1000{after}"), "")?;
        let page: serde_json::Value = serde_json::from_str(page.trim()).context("the list of messages")?;
        for item in page["items"].as_array().into_iter().flatten() {
            found.extend(item["envelope"]["body"].as_str().map(str::to_owned));
        }
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(found),
        }
    }
}
