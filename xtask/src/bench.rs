//! `cargo xtask bench`: each benchmark against a peer in the same run, as a ratio; what is judged is CPU time, which noise moves least.
//! It measures the release binary as it lies there and builds nothing; how the figures are read is in `docs/benchmarks.md`.

mod build;
mod enqueue;
mod fanout;
mod load;
mod mcp;
mod model;
mod peer_mcp;
mod size;
mod start;

use crate::run::{binary, say};
use anyhow::{Result, bail};

/// How long and how often each benchmark measures.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Ours and the peer's turn are one round; the median of all rounds counts.
    pub(crate) rounds: usize,
    /// How long one turn lasts.
    pub(crate) seconds: u64,
}

const FULL: Effort = Effort { rounds: 5, seconds: 4 };
const QUICK: Effort = Effort { rounds: 1, seconds: 2 };

/// One number that has a target.
pub(crate) struct Verdict {
    what: String,
    figure: f64,
    unit: &'static str,
    target: Target,
}

enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// There was nothing to compare with; the reason.
    Open(String),
}

impl Verdict {
    pub(crate) fn at_most(what: &str, figure: f64, unit: &'static str, limit: f64) -> Verdict {
        Verdict { what: what.to_owned(), figure, unit, target: Target::AtMost(limit) }
    }

    pub(crate) fn at_least(what: &str, figure: f64, unit: &'static str, limit: f64) -> Verdict {
        Verdict { what: what.to_owned(), figure, unit, target: Target::AtLeast(limit) }
    }

    pub(crate) fn open(what: &str, why: String) -> Verdict {
        Verdict { what: what.to_owned(), figure: f64::NAN, unit: "", target: Target::Open(why) }
    }

    fn missed(&self) -> bool {
        match self.target {
            Target::AtMost(limit) => self.figure.is_nan() || self.figure > limit,
            Target::AtLeast(limit) => self.figure.is_nan() || self.figure < limit,
            Target::Open(_) => false,
        }
    }

    fn line(&self) -> String {
        let (limit, word) = match &self.target {
            Target::AtMost(limit) => {
                (format!("at most {limit}"), if self.missed() { "over" } else { "PASS" })
            }
            Target::AtLeast(limit) => {
                (format!("at least {limit}"), if self.missed() { "under" } else { "PASS" })
            }
            Target::Open(why) => return format!("{:<66} not measured: {why}", self.what),
        };
        format!("{:<66} {:>9.2} {:<3} {limit:<14} {word}", self.what, self.figure, self.unit)
    }
}

type Bench = (&'static str, &'static str, fn(Effort) -> Result<Vec<Verdict>>);

const BENCHES: &[Bench] = &[
    ("model", "a model call through, with key check and usage record, against nginx proxy_pass", model::run),
    ("mcp", "an MCP tools/call through, with policy and audit, against ContextForge", mcp::run),
    ("enqueue", "durable enqueue of 1 KiB by 64 producers over HTTP, against a plain file", enqueue::run),
    ("log", "the log alone, against a plain file", enqueue::log),
    ("fanout", "MQTT QoS 0 from one to 100 subscribers, against mosquitto", fanout::run),
    ("start", "a start after SIGKILL with 100,000 stored messages", start::run),
    ("size", "the binary, the resident memory idle, the packages", size::run),
    ("build", "a clean debug build with tests; only when named", build::run),
];

/// Runs the benchmarks that are named, or all but `build`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    if arguments.contains(&"--list") {
        return BENCHES.iter().try_for_each(|(name, what, _)| say(&format!("{name:10} {what}")));
    }
    let effort = if arguments.contains(&"--quick") { QUICK } else { FULL };
    let names: Vec<&str> = arguments.iter().copied().filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = names.iter().find(|name| !BENCHES.iter().any(|(known, ..)| known == *name)) {
        bail!("there is no benchmark {unknown:?}; `cargo xtask bench --list` names them");
    }
    if !binary().is_file() {
        bail!(
            "{} is not there; build it with `cargo build --release -p trunkline -p fixtures`",
            binary().display()
        );
    }
    let chosen = BENCHES
        .iter()
        .filter(|(name, ..)| if names.is_empty() { *name != "build" } else { names.contains(name) });
    let (mut verdicts, mut failed) = (Vec::new(), Vec::new());
    for (name, what, bench) in chosen {
        say(&format!("\n{name}: {what}"))?;
        match bench(effort) {
            Ok(found) => verdicts.extend(found),
            Err(error) => {
                say(&format!("{name} failed: {error:#}"))?;
                failed.push(*name);
            }
        }
    }
    say("")?;
    verdicts.iter().try_for_each(|verdict| say(&verdict.line()))?;
    let missed = verdicts.iter().filter(|verdict| verdict.missed()).count();
    if missed > 0 || !failed.is_empty() {
        bail!("{missed} numbers miss their targets; failed: {}", failed.join(" "));
    }
    Ok(())
}

/// The middle one; of an even count the upper of the two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "figures for people; none comes near 2^52")]
pub(crate) fn figure(count: u64) -> f64 {
    count as f64
}
