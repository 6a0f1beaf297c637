//! The table of `docs/judges.md`: for each finding of an outside judge, the tests that hold it.
//!
//! A finding is a row of `tests/findings.tsv`: its name, what was wrong, and, where it is not wholly mended, why not or by
//! what. A test says `Finding: B1, B2` in a comment above it; a script says so beside the check. It judges no test.

use crate::run::{output, root};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

const BEGIN: &str = "<!-- findings: made by `cargo xtask docs` from tests/findings.tsv and the tests -->\n";
const END: &str = "<!-- findings: end -->\n";

/// `docs/judges.md` with its table made anew.
pub(crate) fn page() -> Result<String> {
    let text =
        std::fs::read_to_string(root().join("docs/judges.md")).context("cannot read docs/judges.md")?;
    let (Some((before, rest)), Some((_, after))) = (text.split_once(BEGIN), text.split_once(END)) else {
        bail!("docs/judges.md lacks the lines that its table stands between");
    };
    anyhow::ensure!(rest.contains(END), "docs/judges.md ends its table before it begins");
    Ok(format!("{before}{BEGIN}{}{END}{after}", table()?))
}

fn table() -> Result<String> {
    let list =
        std::fs::read_to_string(root().join("tests/findings.tsv")).context("cannot read the findings")?;
    let mut tests = tests()?;
    let mut rows = String::new();
    let (mut held, mut all) = (0, 0);
    for line in list.lines() {
        let mut cells = line.splitn(3, '\t');
        let (Some(name), Some(what)) = (cells.next(), cells.next()) else {
            bail!("tests/findings.tsv: {line:?} is not a name, a tab and a sentence");
        };
        let note = cells.next().unwrap_or_default();
        let found = tests.remove(name).unwrap_or_default();
        all += 1;
        held += usize::from(!found.is_empty());
        let by = if found.is_empty() { "none".to_owned() } else { found.join("<br>") };
        let open = if found.is_empty() && note.is_empty() { "**open**" } else { note };
        writeln!(rows, "| {name} | {what} | {by} | {open} |")?;
    }
    if let Some((unknown, places)) = tests.first_key_value() {
        bail!("{} names the finding {unknown}, which tests/findings.tsv lacks", places.join(", "));
    }
    Ok(format!(
        "\n{held} of {all} have a test that fails when they come back.\n\n\
         | finding | what was wrong | the tests that hold it | what is missing, and why |\n| --- | --- | --- | --- |\n{rows}\n"
    ))
}

/// The tests by the findings that they name.
fn tests() -> Result<BTreeMap<String, Vec<String>>> {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = output(git.args(["--", "crates", "tests", "xtask", "fuzz"]))?;
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let named = |name: &&str| [".rs", ".sh", ".py", ".mjs"].iter().any(|ending| name.ends_with(ending));
    for name in listed.lines().filter(named).filter(|name| *name != "xtask/src/findings.rs") {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        for (place, line) in text.lines().enumerate() {
            let comment = line.trim_start().trim_start_matches(['/', '#']).trim_start();
            let Some(ids) = comment.strip_prefix("Finding: ").filter(|_| comment.len() < line.len()) else {
                continue;
            };
            let test = match name.ends_with(".rs") {
                true => function(&text, place).map(|function| format!("`{name}` {function}")),
                false => None,
            };
            let test = test.unwrap_or_else(|| format!("`{name}`"));
            // What follows a colon or a full stop is for the reader of the test.
            let ids = ids.split([':', ';', '(']).next().unwrap_or_default();
            for id in ids.split(',').map(|id| id.trim().trim_end_matches('.')).filter(|id| !id.is_empty()) {
                let tests = tests.entry(id.to_owned()).or_default();
                if !tests.contains(&test) {
                    tests.push(test.clone());
                }
            }
        }
    }
    Ok(tests)
}

/// The name of the first function at or after a line.
fn function(text: &str, place: usize) -> Option<&str> {
    text.lines().skip(place).find_map(|line| {
        let (_, rest) = line.trim_start().split_once("fn ").filter(|(before, _)| !before.contains("//"))?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    })
}
