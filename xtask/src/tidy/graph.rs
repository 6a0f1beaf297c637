//! Rules about crates: the floors, and what `deny.toml` says of licences, bans and sources, read from `cargo metadata`.

use super::Rules;
use crate::run::{output, root};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

pub(super) fn check(rules: &Rules, wrong: &mut Vec<String>) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let text = output(Command::new(cargo).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--all-features",
    ]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    floors(rules, &packages, wrong);
    // `cargo metadata` and Cargo.lock also name optional dependencies that nobody switched on; the tree is what is built.
    let mut ask = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    ask.args(["tree", "--workspace", "--all-features", "--locked", "--prefix", "none", "--format", "{p}"]);
    ask.args(["--target", "x86_64-unknown-linux-gnu"]);
    let tree = output(&mut ask)?;
    let built: BTreeSet<(&str, &str)> = tree.lines().filter_map(|line| line.split_once(" v")).collect();
    let is_built = |package: &&Value| {
        let (name, version) =
            (package["name"].as_str().unwrap_or(""), package["version"].as_str().unwrap_or(""));
        built.iter().any(|(built, rest)| *built == name && rest.split(' ').next() == Some(version))
    };
    let packages: Vec<&Value> = packages.into_iter().filter(is_built).collect();
    deny(&packages, wrong)
}

fn floors(rules: &Rules, packages: &[&Value], wrong: &mut Vec<String>) {
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or("");
        let Some(floor) = rules.floors.get(name) else {
            wrong.push(format!("crate {name} is on no floor of xtask/tidy.toml"));
            continue;
        };
        if package["description"].as_str().is_none_or(str::is_empty) {
            wrong.push(format!("crate {name} does not say in one sentence what it is"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or("");
            let Some(below) = rules.floors.get(used) else { continue };
            // What tests use does not ship; only the wings' and the program's tests may reach the dev crates.
            let dev = dependency["kind"] == "dev";
            if below >= floor && !(dev && *below == 9) {
                wrong.push(format!(
                    "crate {name} (floor {floor}) uses {used} (floor {below}); only lower floors may be used"
                ));
            }
        }
    }
}

fn deny(packages: &[&Value], wrong: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules: toml::Table = toml::from_str(&text).context("deny.toml")?;
    let list = |section: &str, key: &str| {
        rules.get(section).and_then(|s| s.get(key)).and_then(toml::Value::as_array).cloned()
    };
    let allowed: BTreeSet<String> = list("licenses", "allow")
        .unwrap_or_default()
        .iter()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    let banned: BTreeSet<String> = list("bans", "deny")
        .unwrap_or_default()
        .iter()
        .filter_map(|one| one.get("crate").and_then(toml::Value::as_str).map(str::to_owned))
        .collect();
    for package in packages.iter().filter(|package| !package["source"].is_null()) {
        let (name, version) =
            (package["name"].as_str().unwrap_or(""), package["version"].as_str().unwrap_or(""));
        if banned.contains(name) {
            wrong.push(format!("{name} {version} is banned by deny.toml"));
        }
        let licence = package["license"].as_str().unwrap_or("");
        if !acceptable(licence, &allowed) {
            wrong.push(format!(
                "{name} {version} has the licence {licence:?}, which deny.toml does not allow"
            ));
        }
        if !package["source"]
            .as_str()
            .is_some_and(|source| source.starts_with("registry+https://github.com/rust-lang/crates.io-index"))
        {
            wrong.push(format!("{name} {version} comes from {}, not from crates.io", package["source"]));
        }
    }
    Ok(())
}

/// Whether a licence expression can be satisfied: one side of every OR, all sides of every AND.
fn acceptable(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], " ");
    !expression.is_empty()
        && plain.split(" AND ").all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim())))
}
