//! What a durable append costs: 64 producers of 1 KiB through the log, against a plain preallocated file that is appended
//! with batches of the same size and synced once for each. It measures no protocol and no broker.
//!
//! `cargo bench -p store --bench commit -- [directory] [records] [rounds] [threads]`; the directory's disk is what is measured.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use store::{Embedded, Engine, Log, Options};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PRODUCERS: u64 = 64;
const RECORD_BYTES: usize = 1024;

/// Wall and processor time of one run, and how many records shared a commit.
struct Cost {
    records_per_second: f64,
    cpu_us_per_record: f64,
    records_per_commit: f64,
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let dir = words.first().map_or_else(std::env::temp_dir, PathBuf::from).join("store-bench-commit");
    let records: u64 = words.get(1).map_or(Ok(150_000), |word| word.parse())?;
    let rounds: usize = words.get(2).map_or(Ok(5), |word| word.parse())?;
    let threads: u64 = words.get(3).map_or(Ok(2), |word| word.parse())?;
    let mut out = std::io::stdout();
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;

    let engine = Embedded::open(dir.join("store"), Options::default())?;
    let log = engine.log("bench")?;
    // The life of a queue: what was consumed is trimmed, and segments are used again.
    through_the_log(&engine, &log, records, threads)?;
    let (mut cpu, mut throughput) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let ours = through_the_log(&engine, &log, records, threads)?;
        let plain = plain_file(&dir.join("plain"), records, ours.records_per_commit)?;
        cpu.push(ours.cpu_us_per_record / plain.cpu_us_per_record);
        throughput.push(ours.records_per_second / plain.records_per_second);
        for (name, cost) in [("log", &ours), ("plain file", &plain)] {
            writeln!(
                out,
                "round {round}  {name:<10} {:>9.0} records/s  {:>6.2} µs CPU/record  {:>5.1} records/commit",
                cost.records_per_second, cost.cpu_us_per_record, cost.records_per_commit
            )?;
        }
    }
    writeln!(
        out,
        "log / plain file, median of {rounds}: CPU {:.2}, throughput {:.2}",
        median(cpu),
        median(throughput)
    )?;
    drop(log);
    engine.close()?;
    opening(&dir, &mut out)?;
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// The producers live as connections of the server do: on a runtime of their own for each thread.
fn through_the_log(
    engine: &Embedded,
    log: &Arc<dyn Log>,
    records: u64,
    threads: u64,
) -> Result<Cost, Failure> {
    let commits = engine.health().commits;
    let meter = Meter::start()?;
    let threads: Vec<_> = (0..threads)
        .map(|number| {
            let log = log.clone();
            let producers = (number..PRODUCERS).step_by(usize::try_from(threads).unwrap_or(1)).count();
            std::thread::spawn(move || produce(&log, producers, records / PRODUCERS))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a producer panicked")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let batch = records as f64 / (engine.health().commits - commits) as f64;
    meter.stop(records, batch)
}

fn produce(log: &Arc<dyn Log>, producers: usize, each: u64) -> Result<(), Failure> {
    let payload = payload();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..producers {
            let (log, payload) = (log.clone(), payload.clone());
            all.spawn(async move {
                for _ in 0..each {
                    let range = log.append(vec![payload.clone()]).await?;
                    if range.start % 4096 == 0 {
                        log.trim(range.start)?;
                    }
                }
                Ok::<(), store::Error>(())
            });
        }
        while let Some(joined) = all.join_next().await {
            joined??;
        }
        Ok(())
    })
}

fn plain_file(path: &Path, records: u64, batch: f64) -> Result<Cost, Failure> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a batch is small and positive"
    )]
    let batch_records = (batch.round() as u64).max(1);
    let bytes = payload().repeat(usize::try_from(batch_records)?);
    let mut file = File::options().create(true).read(true).write(true).truncate(true).open(path)?;
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..=(records + batch_records) * RECORD_BYTES as u64 / (1 << 20) {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    let meter = Meter::start()?;
    let (mut at, mut written) = (0, 0);
    while written < records {
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        written += batch_records;
    }
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    meter.stop(written, batch_records as f64)
}

/// How long it takes to open a store with 100,000 records that nobody trimmed.
#[expect(clippy::disallowed_methods, reason = "a measurement is of the machine's own time")]
fn opening(dir: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let dir = dir.join("opening");
    let engine = Embedded::open(&dir, Options::default())?;
    let log = engine.log("bench")?;
    for _ in 0..1000 {
        log.append(vec![payload(); 100]).wait()?;
    }
    drop(log);
    engine.close()?;
    let start = Instant::now();
    let engine = Embedded::open(&dir, Options::default())?;
    let log = engine.log("bench")?;
    writeln!(out, "open with {} records of {RECORD_BYTES} bytes: {:?}", log.tail(), start.elapsed())?;
    let start = Instant::now();
    let (mut from, mut read) = (0, 0);
    while let batch = log.read(from, 1000, 1 << 20)?
        && let Some((last, _)) = batch.last()
    {
        from = last + 1;
        read += batch.len();
    }
    writeln!(out, "read {read} records: {:?}", start.elapsed())?;
    Ok(())
}

fn payload() -> Bytes {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes().first().copied().unwrap_or(0)
    };
    std::iter::repeat_with(next).take(RECORD_BYTES).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
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
    fn stop(self, records: u64, records_per_commit: f64) -> Result<Cost, Failure> {
        const TICK_US: f64 = 10_000.0;
        let cpu_us = (cpu_ticks()? - self.ticks) as f64 * TICK_US;
        Ok(Cost {
            records_per_second: records as f64 / self.start.elapsed().as_secs_f64(),
            cpu_us_per_record: cpu_us / records as f64,
            records_per_commit,
        })
    }
}

/// User and system time of all threads, in hundredths of a second.
fn cpu_ticks() -> Result<u64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let mut ticks = fields.skip(11).take(2).map(str::parse::<u64>);
    let (Some(user), Some(system)) = (ticks.next(), ticks.next()) else {
        return Err("/proc/self/stat".into());
    };
    Ok(user? + system?)
}
