//! `trunkline tools`: what agents see, and calling it as they do.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::api::{Api, escaped};
use super::{Reach, say, table};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `trunkline tools`.
#[derive(Args)]
pub(super) struct Tools {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Subcommand)]
enum Command {
    /// List the tools.
    Ls,
    /// Call a tool.
    Call {
        /// Its name.
        name: String,
        /// Its arguments as a JSON object.
        #[arg(default_value = "{}")]
        arguments: String,
    },
}

impl Tools {
    pub(super) async fn run(self) -> Result<()> {
        let api = Api::new(&self.reach)?;
        match self.command {
            Command::Ls => {
                let found = api.items("/admin/tools", usize::MAX).await?;
                if api.json {
                    return say(&json!({ "items": found }).to_string());
                }
                let text = |row: &Value, key: &str| {
                    row[key].as_str().unwrap_or("-").lines().next().unwrap_or("").to_owned()
                };
                let row =
                    |row: &Value| vec![text(row, "name"), text(row, "upstream"), text(row, "description")];
                let rows: Vec<_> = found.iter().map(row).collect();
                table(&["TOOL", "FROM", "DESCRIPTION"], &rows)
            }
            Command::Call { name, arguments } => {
                let arguments: Value =
                    serde_json::from_str(&arguments).context("the arguments are no JSON")?;
                if !arguments.is_object() {
                    bail!("the arguments must be a JSON object, such as '{{\"message\":\"hello\"}}'");
                }
                let name = name.strip_prefix("tool/").unwrap_or(&name);
                let path = format!("/admin/tools/{}/call", escaped(name));
                let result = api.post(&path, &json!({ "arguments": arguments })).await?;
                let texts: Vec<&str> = result["content"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|part| part["text"].as_str())
                    .collect();
                if api.json || texts.is_empty() {
                    say(&result.to_string())?
                } else {
                    say(&texts.join("\n"))?
                }
                if result["isError"] == true { bail!("the tool says that it failed") } else { Ok(()) }
            }
        }
    }
}
