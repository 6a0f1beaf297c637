//! A start after SIGKILL with 100,000 messages of 1 KiB in one queue, until the first of them can be leased.
//! Nothing is flushed or closed before: the log is read as the kill left it.

use super::enqueue::body;
use super::load::{Ask, turn};
use super::{Effort, Verdict, figure, median};
use crate::run::say;
use crate::server::{ACCESS, http, restart, trunkline};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const MESSAGES: u64 = 100_000;

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    let config =
        format!("{ACCESS}queues: {{work: {{dedupe: 0s, messages: 1000000, bytes: 10GiB, hold: 1h}}}}\n");
    let (mut server, folder) = trunkline("bench-start", &config)?;
    let port = server.port;
    let body = body();
    let mut ask = Ask::new("/api/queues/work", &body);
    ask.connections = 64;
    let began = Instant::now();
    while depth(port)? < MESSAGES {
        turn(&ask, &server, &folder, 1)?;
        ensure!(began.elapsed() < Duration::from_secs(300), "the queue does not fill");
    }
    let stored = depth(port)?;
    let mut times = Vec::new();
    for round in 1..=effort.rounds {
        server.kill()?;
        drop(server);
        let began = Instant::now();
        server = restart(&folder, port)?;
        let listening = began.elapsed();
        while http(port, "GET", "/readyz", "").is_err() {
            ensure!(began.elapsed() < Duration::from_secs(60), "it does not become ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        let leased = http(port, "POST", "/api/queues/work/lease", r#"{"max":1}"#)?;
        let took = began.elapsed();
        ensure!(leased.contains("\"token\""), "nothing was leased: {leased}");
        let after = depth(port)?;
        ensure!(after == stored, "{stored} messages were stored and {after} are there");
        say(&format!(
            "  round {round}  listening after {listening:.0?}, first lease after {took:.0?}, {stored} messages"
        ))?;
        times.push(figure(u64::try_from(took.as_millis())?));
    }
    drop(server);
    std::fs::remove_dir_all(folder)?;
    Ok(vec![Verdict::at_most("start with 100,000 messages after SIGKILL", median(times), "ms", 1000.0)])
}

fn depth(port: u16) -> Result<u64> {
    let overview: serde_json::Value = serde_json::from_str(&http(port, "GET", "/admin/overview", "")?)?;
    Ok(overview["queues"]["depth"].as_u64().unwrap_or(0))
}
