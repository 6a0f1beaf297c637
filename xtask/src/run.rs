//! Running other programs and talking to the terminal, for all chores.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One line to the standard output.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where peers and judges are kept between runs: `TRUNKLINE_CACHE`, or a folder in the user's cache.
pub(crate) fn cache() -> PathBuf {
    match (std::env::var_os("TRUNKLINE_CACHE"), std::env::var_os("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(".cache/trunkline"),
        (None, None) => std::env::temp_dir().join("trunkline-cache"),
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The release binary; `cargo build --release` makes it.
pub(crate) fn binary() -> PathBuf {
    target().join("release/trunkline")
}

/// Runs cargo in the workspace; fails when it fails.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(Command::new(cargo).args(arguments))
}

/// Runs a command in the workspace with its output passed on; fails when it fails.
pub(crate) fn command(command: &mut Command) -> Result<()> {
    let status = command.current_dir(root()).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}

/// Runs a command and returns what it printed; fails when it fails, with what it complained of.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.current_dir(root()).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program of that name is on the PATH.
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Sends a signal to a process that this program started; whether it was still there.
pub(crate) fn signal(id: u32, signal: rustix::process::Signal) -> bool {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    id.is_some_and(|id| rustix::process::kill_process(id, signal).is_ok())
}
