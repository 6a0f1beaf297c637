//! A disk of 64 MiB that is filled, drained by acknowledgements alone, killed while it is full, and filled again.
//! It needs to mount a file system; where that is not allowed it says so and passes.

use crate::run::{binary, command};
use anyhow::Result;
use std::process::Command;

/// The size of the disk.
const MIB: &str = "64";
/// How long it goes on, unless `TRUNKLINE_FULL_DISK_SECONDS` says otherwise.
const SECONDS: &str = "60";

pub(super) fn run() -> Result<()> {
    let seconds = std::env::var("TRUNKLINE_FULL_DISK_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    command(Command::new("python3").arg("tests/clients/full_disk.py").arg(binary()).args([MIB, &seconds]))
}
