//! `cargo xtask fuzz`: coverage-guided fuzzing of everything that reads foreign bytes, with the toolchain that is there. Targets and
//! what must hold in each are in `fuzz/`; nothing here runs in CI, because a fuzzer is done when somebody stops it.

use crate::run::{cache, command, found, root, say, target};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// How long a target runs when nobody says.
const SECONDS: u64 = 60;

const HELP: &str = "cargo xtask fuzz NAME [SECONDS]   one target, or `all`; a minute each unless told
cargo xtask fuzz NAME FILE        once, on what a former run found
cargo xtask fuzz --list           the targets";

/// Builds the fuzzer and runs the target that is named.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let source = std::fs::read_to_string(root().join("fuzz/src/main.rs")).context("the targets")?;
    let names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\", ").map(|(name, _)| name))
        .collect();
    let (name, more) = match *arguments {
        ["--list"] => return names.iter().try_for_each(|name| say(name)),
        [name] => (name, None),
        [name, more] => (name, Some(more)),
        _ => return say(HELP),
    };
    let chosen: Vec<&str> = names.iter().copied().filter(|known| name == "all" || name == *known).collect();
    if chosen.is_empty() {
        bail!("there is no target {name:?}\n\n{HELP}");
    }
    let program = build()?;
    let mut found = Vec::new();
    for name in chosen {
        say(&format!("\n== {name}"))?;
        if one(&program, name, more).is_err() {
            found.push(name);
        }
    }
    if found.is_empty() {
        return say("\nnothing was found");
    }
    bail!(
        "found something in: {}; it lies in fuzz/found, and `cargo xtask fuzz NAME FILE` repeats it. Once mended it becomes a \
         named example in the tests beside the code",
        found.join(", ")
    )
}

/// Compiles with coverage counters, which stable compilers can put in; the target is named so that build scripts and
/// macros stay without them.
fn build() -> Result<std::path::PathBuf> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let counters = ["level=4", "inline-8bit-counters", "pc-table", "trace-compares"];
    let counters = counters.map(|what| format!("-Cllvm-args=-sanitizer-coverage-{what}")).join(" ");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &triple]);
    cargo.arg("--target-dir").arg(target().join("fuzz"));
    cargo.env("RUSTFLAGS", format!("--cfg fuzzing -Cpasses=sancov-module {counters}"));
    if !found("c++") {
        bail!("libFuzzer is compiled from C++ and there is no compiler for it; as root: apt-get install g++");
    }
    command(&mut cargo)?;
    Ok(target().join("fuzz").join(triple).join("release/fuzz"))
}

fn one(program: &Path, name: &str, more: Option<&str>) -> Result<()> {
    let mut run = Command::new(program);
    run.env("FUZZ_TARGET", name).args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=0"]);
    if let Some(file) = more.filter(|more| more.parse::<u64>().is_err()) {
        return command(run.arg(std::path::absolute(file)?));
    }
    let seconds = more.and_then(|more| more.parse().ok()).unwrap_or(SECONDS);
    let (corpus, found) = (cache().join("corpus").join(name), root().join("fuzz/found"));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&found)?;
    run.arg(format!("-max_total_time={seconds}")).args(["-max_len=4096", "-verbosity=0"]);
    run.arg(format!("-artifact_prefix={}/{name}-", found.display())).arg(corpus);
    let seeds = root().join("fuzz/seeds").join(name);
    if seeds.is_dir() {
        run.arg(seeds);
    }
    command(&mut run)
}
