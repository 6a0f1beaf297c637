//! `cargo xtask bench`: each benchmark against a peer in the same run, as a ratio.

use crate::run::say;
use anyhow::Result;

pub(crate) fn run(_names: &[&str]) -> Result<()> {
    say("being written")
}
