//! `cargo xtask test`: installs the peers, builds, and runs every test and judge; says what it does and how long each part took.
//! A part that fails does not keep the others from running; the end says which did.

mod crash;
mod full_disk;
mod judges;
mod memory;
mod packaging;
mod people;
mod trace;

use crate::run::{cargo, command, say};
use crate::{peers, tidy};
use anyhow::{Result, bail};
use std::time::Instant;

type Part = (&'static str, &'static str, fn() -> Result<()>);

const PARTS: &[Part] = &[
    ("peers", "installs other people's clients and judges into a cache folder", peers::install),
    ("build", "builds the release binary and the fixtures", build),
    ("tidy", "floors, sizes, licences, registries", tidy::run),
    ("deny", "cargo-deny: licences, bans and sources of what is built", deny),
    ("unit", "unit, property, simulation and integration tests of the workspace", unit),
    (
        "first-minute",
        "the demo as a newcomer runs it: starts, prints what to do, stops",
        people::first_minute,
    ),
    ("mqtt", "Debian's mosquitto_pub and _sub, PyPI's paho-mqtt, over TCP and WebSocket", people::mqtt),
    ("mqtt-kill", "SIGKILL under PyPI's paho-mqtt: sessions, messages and QoS 2 go on", people::mqtt_kill),
    ("mllp", "PyPI's hl7 mllp_send through a route to a queue and a topic", people::mllp),
    ("http", "curl against the data API", people::services),
    (
        "clock",
        "Debian's faketime sets the clock by an hour and a day; nothing that waits notices",
        people::clock,
    ),
    ("webhook", "retry, breaker, dead letters with attempts, replay by the command line", people::webhook),
    ("trace", "traceparent from MQTT, HTTP and MCP to the servers behind us", trace::run),
    (
        "refusals",
        "wrong key, forbidden, too large, malformed, unknown; a bad configuration",
        people::refusals,
    ),
    ("mcp", "the MCP conformance suite, both revisions, through the gateway", judges::mcp),
    ("inspector", "the MCP Inspector on two merged upstreams and our own tools", judges::inspector),
    ("openai", "the OpenAI SDK's own tests through us, against what Steady scores directly", judges::openai),
    ("jq", "jq in steps against libjq: an everyday list, and jq's own tests", judges::jq),
    ("echo", "the OpenAI SDK against the built-in provider", judges::echo),
    ("dashboard", "headless Chromium clicks through the dashboard", judges::dashboard),
    (
        "packaging",
        "the image's files under chroot, the Debian package, the unit, the Grafana board and the alerts",
        packaging::run,
    ),
    ("memory", "every list asked by clients that never read, in 512 MiB", memory::run),
    ("crash", "SIGKILL under load: nothing acknowledged may be lost", crash::run),
    (
        "full-disk",
        "64 MiB filled, drained by acknowledgements alone, killed while full; 60 s, or TRUNKLINE_FULL_DISK_SECONDS",
        full_disk::run,
    ),
];

/// Run only when named: what they ask is not met yet on a machine with two cores, and `tests/findings.tsv` says so (B3).
const ON_DEMAND: [&str; 1] = ["memory"];

/// Runs the parts that are named, or all but those on demand.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if names == ["--list"] {
        return PARTS.iter().try_for_each(|(name, what, _)| say(&format!("{name:14} {what}")));
    }
    if let Some(unknown) = names.iter().find(|name| !PARTS.iter().any(|(part, ..)| part == *name)) {
        bail!("there is no part {unknown:?}; `cargo xtask test --list` names them");
    }
    let wanted = |part: &&'static str| match names {
        [] => !ON_DEMAND.contains(part),
        names => names.contains(part),
    };
    let chosen: Vec<&Part> = PARTS.iter().filter(|(part, ..)| wanted(part)).collect();
    let mut table = Vec::new();
    for (name, what, part) in &chosen {
        say(&format!("\n== {name}: {what}"))?;
        let began = Instant::now();
        let result = part();
        let took = began.elapsed();
        match &result {
            Ok(()) => say(&format!("== {name}: passed in {:.1} s", took.as_secs_f64()))?,
            Err(error) => say(&format!("== {name}: FAILED in {:.1} s: {error:#}", took.as_secs_f64()))?,
        }
        table.push((*name, result.is_ok(), took));
        // Nothing else can run without these.
        if result.is_err() && ["peers", "build"].contains(name) {
            break;
        }
    }
    say("\npart            result    seconds")?;
    for (name, passed, took) in &table {
        say(&format!(
            "{name:14}  {:8}  {:>7.1}",
            if *passed { "passed" } else { "FAILED" },
            took.as_secs_f64()
        ))?;
    }
    let failed: Vec<&str> = table.iter().filter(|(_, passed, _)| !passed).map(|(name, ..)| *name).collect();
    say(&format!("\n{} passed, {} failed", table.len() - failed.len(), failed.len()))?;
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn build() -> Result<()> {
    cargo(&["build", "--release", "--package", "trunkline", "--package", "fixtures"])
}

/// The rules of `deny.toml` by the program that they were written for; advisories need a database that not everybody can reach.
fn deny() -> Result<()> {
    let mut check = std::process::Command::new(peers::cargo_deny()?);
    command(check.args([
        "--offline",
        "--locked",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}

fn unit() -> Result<()> {
    let nextest = std::process::Command::new("cargo").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"])
    } else {
        cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"])
    }
}
