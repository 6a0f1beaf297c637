//! Rules about single files: their first line, their length, who may open a socket, and copies that must stay as they came.

use super::Rules;
use crate::run::{output, root};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::process::Command;

pub(super) fn check(rules: &Rules, wrong: &mut Vec<String>) -> Result<()> {
    // The clone may belong to somebody else than who builds it, to which git objects unless told.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = output(&mut git).context("tidy reads the files of a git clone; is git installed?")?;
    for name in listed.lines().filter(|name| name.ends_with(".rs")) {
        // A file that was removed but not yet committed is still listed.
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        first_line(name, &text, wrong);
        length(rules, name, &text, wrong);
        sockets(rules, name, &text, wrong);
        unfinished(name, &text, wrong);
    }
    for name in rules.size.longer.keys().chain(rules.sockets.allowed.keys()) {
        if !root().join(name).exists() {
            wrong.push(format!("xtask/tidy.toml names {name}, which is not there"));
        }
    }
    vendored(rules, wrong)
}

fn first_line(name: &str, text: &str, wrong: &mut Vec<String>) {
    if !text.starts_with("//!") {
        wrong.push(format!("{name}:1: a file opens with `//!`: what it is for and what it does not do"));
    }
}

fn length(rules: &Rules, name: &str, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    match rules.size.longer.get(name) {
        None if lines > rules.size.lines => {
            wrong.push(format!("{name}: {lines} lines; at most {} hold one idea", rules.size.lines));
        }
        Some(longer) if lines > longer.lines => {
            wrong.push(format!(
                "{name}: {lines} lines, {} were agreed ({}); it may only shrink",
                longer.lines, longer.reason
            ));
        }
        Some(_) if lines <= rules.size.lines => {
            wrong.push(format!("{name}: short enough now; take it out of xtask/tidy.toml"));
        }
        _ => {}
    }
}

fn sockets(rules: &Rules, name: &str, text: &str, wrong: &mut Vec<String>) {
    let owner = format!("crates/{}/", rules.sockets.owner);
    let shipped =
        name.starts_with("crates/") && name.contains("/src/") && !name.starts_with("crates/fixtures/");
    let test = name.ends_with("/tests.rs") || name.ends_with("/testing.rs") || name.contains("/tests/");
    if !shipped || test || name.starts_with(&owner) || rules.sockets.allowed.contains_key(name) {
        return;
    }
    for (place, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        if let Some(word) = rules.sockets.words.iter().find(|word| code.contains(word.as_str())) {
            wrong.push(format!(
                "{name}:{}: only `{}` opens sockets, and here stands {word}",
                place + 1,
                rules.sockets.owner
            ));
        }
    }
}

/// Words are put together here so that this file does not name them itself.
fn unfinished(name: &str, text: &str, wrong: &mut Vec<String>) {
    let words = [
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[", "ignore"].concat(),
        ["should_", "panic"].concat(),
    ];
    for (place, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        if let Some(word) = words.iter().find(|word| code.contains(word.as_str())) {
            wrong.push(format!("{name}:{}: `{word}` is unfinished work", place + 1));
        }
    }
}

fn vendored(rules: &Rules, wrong: &mut Vec<String>) -> Result<()> {
    for (name, expected) in &rules.vendored {
        let bytes = std::fs::read(root().join(name)).with_context(|| format!("the vendored file {name}"))?;
        let mut hash = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            write!(hash, "{byte:02x}")?;
        }
        if hash != *expected {
            wrong.push(format!(
                "{name}: its SHA-256 is {hash}, not {expected}: a vendored file is not edited here"
            ));
        }
    }
    Ok(())
}
