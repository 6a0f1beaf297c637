//! A clean debug build of everything with its tests, in a target folder of its own, in CPU time of cargo and all that it starts.
//! Takes minutes and the whole machine; runs only when it is named.

use super::{Effort, Verdict, figure};
use crate::run::{command, say};
use crate::server::scratch;
use anyhow::Result;
use std::process::Command;

pub(super) fn run(_effort: Effort) -> Result<Vec<Verdict>> {
    let folder = scratch("bench-build")?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Sources are there before anything counts.
    command(Command::new(&cargo).args(["fetch", "--locked"]))?;
    let before = children_us();
    let mut build = Command::new(&cargo);
    // As CI builds: what is built once needs no notes for the next time.
    build.env("CARGO_INCREMENTAL", "0");
    build.args(["test", "--quiet", "--locked", "--workspace", "--no-run"]).env("CARGO_TARGET_DIR", &folder);
    command(build.env_remove("RUSTC_WRAPPER"))?;
    let minutes = figure(children_us() - before) / 60e6;
    std::fs::remove_dir_all(folder)?;
    say(&format!("  {minutes:.2} CPU minutes"))?;
    Ok(vec![Verdict::at_most("clean debug build with tests, CPU", minutes, "min", 4.0)])
}

/// CPU time of children that have ended and were waited for, theirs included.
fn children_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * 10_000
}
