//! Registries are whole: every fault has its page and its line in the manual, every crate its place in ARCHITECTURE.md, every dependency
//! its reason, every Cargo.lock package counted.

use crate::run::root;
use anyhow::{Context, Result};

/// Cargo.lock stays near this; above it the reason belongs into docs/dependencies.md together with this number.
const PACKAGES_MAX: usize = 400;

pub(super) fn check(wrong: &mut Vec<String>) -> Result<()> {
    faults(wrong)?;
    dependencies(wrong)?;
    architecture(wrong)?;
    changes(wrong)
}

fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(root().join(name)).with_context(|| format!("cannot read {name}"))
}

fn faults(wrong: &mut Vec<String>) -> Result<()> {
    let catalogue = read("crates/message/src/fault.rs")?;
    for entry in std::fs::read_dir(root().join("crates/message/faults"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let code = name.trim_end_matches(".md");
        if !catalogue.contains(&format!("\"{code}\"")) {
            wrong.push(format!("crates/message/faults/{name} is the page of no code"));
        }
    }
    Ok(())
}

fn dependencies(wrong: &mut Vec<String>) -> Result<()> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")?).context("Cargo.toml")?;
    let reasons = read("docs/dependencies.md")?;
    let all = manifest.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    for (name, value) in all.into_iter().flatten() {
        if value.get("path").is_none() && !reasons.contains(&format!("| `{name}` |")) {
            wrong.push(format!("docs/dependencies.md gives no reason for {name}"));
        }
    }
    let packages = read("Cargo.lock")?.lines().filter(|line| line.starts_with("name = ")).count();
    if packages > PACKAGES_MAX {
        wrong.push(format!("Cargo.lock has {packages} packages; at most {PACKAGES_MAX} were agreed"));
    }
    Ok(())
}

fn architecture(wrong: &mut Vec<String>) -> Result<()> {
    let map = read("ARCHITECTURE.md")?;
    for entry in std::fs::read_dir(root().join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !map.contains(&format!("`{name}`")) {
            wrong.push(format!("ARCHITECTURE.md does not name the crate `{name}`"));
        }
    }
    Ok(())
}

/// A change that users can notice says so in `changes/`, in one paragraph.
fn changes(wrong: &mut Vec<String>) -> Result<()> {
    let folder = root().join("changes");
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".md") || std::fs::read_to_string(entry.path())?.trim().len() < 20 {
            wrong.push(format!("changes/{name} is no paragraph in Markdown"));
        }
    }
    Ok(())
}
