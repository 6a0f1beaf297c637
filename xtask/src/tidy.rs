//! What the compiler does not check: floors, sizes, first lines, registries, licences, vendored files.
//! The rules are in `xtask/tidy.toml` and `deny.toml`; here is only how they are checked.

mod files;
mod graph;
mod registries;

use crate::run::{root, say};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

/// `xtask/tidy.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    floors: BTreeMap<String, u32>,
    size: Size,
    sockets: Sockets,
    vendored: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Size {
    lines: usize,
    longer: BTreeMap<String, Longer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Longer {
    lines: usize,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sockets {
    #[serde(rename = "crate")]
    owner: String,
    words: Vec<String>,
    allowed: BTreeMap<String, String>,
}

/// Checks everything and says all that is wrong, not only the first.
pub(crate) fn run() -> Result<()> {
    let text =
        std::fs::read_to_string(root().join("xtask/tidy.toml")).context("cannot read xtask/tidy.toml")?;
    let rules: Rules = toml::from_str(&text).context("xtask/tidy.toml")?;
    let mut wrong = Vec::new();
    files::check(&rules, &mut wrong)?;
    graph::check(&rules, &mut wrong)?;
    registries::check(&mut wrong)?;
    if wrong.is_empty() {
        return say("tidy: clean");
    }
    for line in &wrong {
        say(line)?;
    }
    bail!("tidy: {} things are wrong", wrong.len())
}
