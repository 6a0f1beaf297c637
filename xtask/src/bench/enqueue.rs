//! Durable enqueue over HTTP against a plain preallocated file that is appended with the same batches and synced once for each.
//! The file is what the disk can do at best: no protocol, no check sum, no index, no queue.

use super::load::{Ask, turn};
use super::{Effort, Verdict, figure, median};
use crate::run::{output, root, say};
use crate::server::{ACCESS, http, scratch, trunkline};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 1024;
const PRODUCERS: u32 = 64;

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    let config = format!("{ACCESS}queues: {{work: {{dedupe: 0s, messages: 100000000, bytes: 100GiB}}}}\n");
    let (server, folder) = trunkline("bench-enqueue", &config)?;
    let body = body();
    let mut ask = Ask::new("/api/queues/work", &body);
    ask.connections = PRODUCERS;
    let mut ratios = Vec::new();
    turn(&ask, &server, &folder, 1)?;
    for round in 1..=effort.rounds {
        let before = stored(server.port)?;
        let ours = turn(&ask, &server, &folder, effort.seconds)?;
        let after = stored(server.port)?;
        let batch = figure(after.1 - before.1) / figure(after.0 - before.0).max(1.0);
        let plain = plain_file(&folder, batch, Duration::from_secs(effort.seconds))?;
        let ratio = ours.per_second / plain;
        say(&format!(
            "  round {round}  trunkline {ours}, {batch:.1} records a commit   plain file {plain:>6.0}/s   ratio {ratio:.2}"
        ))?;
        ratios.push(ratio);
        // What was measured is let go, so that the next round does not meet a fuller store.
        http(server.port, "POST", "/admin/queues/work/purge", "{}")?;
    }
    drop(server);
    std::fs::remove_dir_all(folder)?;
    Ok(vec![Verdict::at_least(
        "durable enqueue of 1 KiB, throughput against a plain file",
        median(ratios),
        "x",
        0.7,
    )])
}

/// The store's own benchmark, whose last line is the ratio.
pub(super) fn log(effort: Effort) -> Result<Vec<Verdict>> {
    let folder = scratch("bench-log")?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let rounds = effort.rounds.to_string();
    let mut bench = Command::new(cargo);
    bench.args(["bench", "--quiet", "-p", "store", "--bench", "commit", "--"]).arg(&folder);
    let printed = output(bench.args(["300000", &rounds]).current_dir(root()))?;
    printed.lines().try_for_each(|line| say(&format!("  {line}")))?;
    let ratio = printed.lines().find_map(|line| line.split_once(": CPU ")).context("no ratio")?.1;
    let ratio = ratio.split(',').next().unwrap_or_default().trim().parse()?;
    Ok(vec![Verdict::at_most("the log alone, CPU against a plain file", ratio, "x", 1.5)])
}

/// Commits and records so far.
pub(super) fn stored(port: u16) -> Result<(u64, u64)> {
    let overview: serde_json::Value = serde_json::from_str(&http(port, "GET", "/admin/overview", "")?)?;
    let store = &overview["store"];
    let of = |field: &str| store[field].as_u64().with_context(|| format!("no {field} in {store}"));
    Ok((of("commits")?, of("records")?))
}

/// Appends batches of that many records, one sync each; records a second.
fn plain_file(folder: &Path, batch: f64, time: Duration) -> Result<f64> {
    const SIZE: u64 = 256 << 20;
    let path = folder.join("plain");
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..SIZE >> 20 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    // Batches of a whole number of records, now one more and now one less, so that their mean is the measured one.
    let bytes = body().repeat(10_000);
    let (mut at, mut owed, mut records) = (0_u64, 0.0, 0_u64);
    let began = Instant::now();
    while began.elapsed() < time {
        owed += batch;
        let mut now = 0_usize;
        while owed >= 1.0 && now < 10_000 {
            owed -= 1.0;
            now += 1;
        }
        let part = bytes.get(..now * BODY_BYTES).context("a batch is not that large")?;
        if at + part.len() as u64 > SIZE {
            at = 0;
        }
        file.write_all_at(part.as_bytes(), at)?;
        file.sync_data()?;
        at += part.len() as u64;
        records += now as u64;
    }
    let rate = figure(records) / began.elapsed().as_secs_f64();
    ensure!(records > 0, "nothing was written");
    drop(file);
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// 1 KiB of JSON that does not repeat itself.
pub(super) fn body() -> String {
    let mut state = 1_u32;
    let mut text = String::from("{\"body\":\"");
    while text.len() < BODY_BYTES - 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap_or(0)));
    }
    text.push_str("\"}");
    text
}
