//! What is made from the command line itself: completions for shells and manual pages. It says nothing that `--help` does not.

use super::Line;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

/// The completions of one shell, to the standard output.
pub(super) fn completion(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "trunkline", &mut script);
    print(&script)
}

/// The manual page of the program to the standard output, or those of all its commands into a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<()> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Line::command()).render(&mut page)?;
        return print(&page);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Line::command(), folder))
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
