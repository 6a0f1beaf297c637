//! `trunkline config`: a commented default file, a check with file, line and column, the JSON schema.

use super::{Reach, complain, say};
use crate::config::reference;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// `trunkline config`.
#[derive(Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    _reach: Reach,
}

#[derive(Subcommand)]
enum Command {
    /// Print a configuration file with every field, its meaning and its default.
    Default,
    /// Check a file without applying it.
    Check {
        /// The file.
        #[arg(default_value = "trunkline.yaml")]
        file: PathBuf,
    },
    /// Print the manual's page on the configuration.
    #[command(hide = true)]
    Manual,
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
}

impl Config {
    pub(super) async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Default => say(reference::default_file().trim_end())?,
            Command::Manual => say(reference::manual().trim_end())?,
            Command::Schema => say(&serde_json::to_string_pretty(&reference::schema())?)?,
            Command::Check { file } => {
                let problems = crate::check::file(&file).await;
                if !problems.is_empty() {
                    complain(&crate::check::report(&problems));
                    return Ok(ExitCode::FAILURE);
                }
                say(&format!("{} is fine", file.display()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
