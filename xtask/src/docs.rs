//! The manual's generated pages: the configuration from the types' comments, the faults from their pages;
//! and the table of findings from the tests.

use crate::run::{command, output, root, say};
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::process::Command;

/// Makes the pages, or only says whether they are fresh.
pub(crate) fn run(check: bool) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(Command::new(&cargo).args(["build", "--quiet", "--package", "trunkline"]))?;
    let binary = crate::run::target().join("debug/trunkline");
    let print = |arguments: &[&str]| output(Command::new(&binary).args(arguments));
    let pages = [
        ("docs/manual/configuration.md", print(&["config", "manual"])?),
        ("docs/manual/trunkline.schema.json", print(&["config", "schema"])?),
        ("docs/manual/faults.md", faults()?),
        ("docs/judges.md", crate::findings::page()?),
    ];
    for (name, text) in pages {
        let file = root().join(name);
        let have = std::fs::read_to_string(&file).unwrap_or_default();
        if have == text {
            continue;
        }
        if check {
            bail!("{name} is stale; run `cargo xtask docs`");
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {name}"))?;
        say(&format!("wrote {name}"))?;
    }
    Ok(())
}

/// All fault pages as one, in the order of their codes.
fn faults() -> Result<String> {
    let folder = root().join("crates/message/faults");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut out = String::from(
        "# Faults\n\nEvery refusal and failure that leaves the process has one of these codes. This page is made from\n\
         `crates/message/faults` by `cargo xtask docs`; do not edit it. `trunkline explain CODE` prints one.\n",
    );
    for file in files {
        let page = std::fs::read_to_string(file.path())?;
        // One level deeper, below this page's own title.
        for line in page.lines() {
            writeln!(out, "{}{line}", if line.starts_with('#') { "#" } else { "" })?;
        }
        out.push('\n');
    }
    Ok(out.trim_end().to_owned() + "\n")
}
