//! `trunkline models`: which models there are, and asking one over the same API that applications use.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::api::Api;
use super::{Reach, say, table};
use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use net::http::Method;
use net::sse::Reader;
use serde_json::{Value, json};
use std::io::Write;

/// `trunkline models`.
#[derive(Args)]
pub(super) struct Models {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Subcommand)]
enum Command {
    /// List the models.
    Ls,
    /// Ask a model and print its answer as it arrives.
    Ask {
        /// The model.
        model: String,
        /// The question.
        prompt: String,
    },
}

impl Models {
    pub(super) async fn run(self) -> Result<()> {
        let api = Api::new(&self.reach)?;
        match self.command {
            Command::Ls => {
                let found = api.get("/v1/models").await?;
                if api.json {
                    return say(&found.to_string());
                }
                let text = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
                let row = |row: &Value| vec![text(row, "id"), text(row, "owned_by")];
                let rows: Vec<_> =
                    found["data"].as_array().map(|all| all.iter().map(row).collect()).unwrap_or_default();
                table(&["MODEL", "FROM"], &rows)
            }
            Command::Ask { model, prompt } => {
                ask(&api, model.strip_prefix("model/").unwrap_or(&model), &prompt).await
            }
        }
    }
}

async fn ask(api: &Api, model: &str, prompt: &str) -> Result<()> {
    let body = json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": prompt }] });
    let path = "/v1/chat/completions";
    let response =
        api.send(Method::POST, path, Some("application/json"), &[], body.to_string().into()).await?;
    let mut events = Reader::new(response.into_body(), 16 << 20);
    while let Some(event) = events.next().await {
        let event = event.map_err(|fault| anyhow!("{fault}"))?;
        let Ok(chunk) = serde_json::from_str::<Value>(&event.data) else { continue };
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    say("")
}
