//! `trunkline queue`: list, peek, lease, dead letters, replay, purge.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::api::{Api, escaped};
use super::{Reach, say, table};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `trunkline queue`.
#[derive(Args)]
pub(super) struct Queue {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Subcommand)]
enum Command {
    /// List the queues.
    Ls,
    /// Show the oldest messages without taking them.
    Peek {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 10)]
        max: u32,
    },
    /// Lease messages and print them.
    Lease {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 1)]
        max: u32,
        /// How long to wait for one, such as 5s.
        #[arg(long, default_value = "0s")]
        wait: String,
        /// Acknowledge them at once.
        #[arg(long)]
        ack: bool,
    },
    /// Show the dead letters with their attempts.
    Dead {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// How many at most.
        #[arg(short = 'n', long, default_value_t = 20)]
        max: u32,
    },
    /// Put dead letters back into the queue.
    Replay {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// Their numbers, as `queue dead` shows them.
        numbers: Vec<u64>,
        /// All of them.
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
    },
    /// Take away a queue that is no longer in the configuration.
    Rm {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// Also when it holds messages, which go with it.
        #[arg(long)]
        yes: bool,
    },
    /// Drop everything that waits in a queue.
    Purge {
        /// The queue.
        #[arg(value_parser = bare)]
        name: String,
        /// Yes, really.
        #[arg(long)]
        yes: bool,
    },
}

/// A queue's name, which people also type as its address.
fn bare(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.strip_prefix("queue/").unwrap_or(text).to_owned())
}

impl Queue {
    pub(super) async fn run(self) -> Result<()> {
        let api = Api::new(&self.reach)?;
        match self.command {
            Command::Ls => list(&api).await,
            Command::Peek { name, max } => {
                let path = format!("/admin/queues/{}/messages", escaped(&name));
                let found = api.items(&path, usize::try_from(max).unwrap_or(usize::MAX)).await?;
                lines(&found)
            }
            Command::Lease { name, max, wait, ack } => lease(&api, &name, max, &wait, ack).await,
            Command::Dead { name, max } => dead(&api, &name, max).await,
            Command::Replay { name, numbers, all } => {
                if numbers.is_empty() && !all {
                    bail!(
                        "name the dead letters by number, or say --all; `trunkline queue dead {name}` shows them"
                    );
                }
                let selection = if all { json!({ "all": true }) } else { json!({ "numbers": numbers }) };
                let done = api.post(&format!("/admin/queues/{}/replay", escaped(&name)), &selection).await?;
                say(&format!("{} put back into queue/{name}", done["replayed"]))?;
                let wanted = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
                if done["replayed"].as_u64().is_some_and(|done| done < wanted) {
                    bail!(
                        "not all of these are dead letters of it; `trunkline queue dead {name}` shows them"
                    );
                }
                Ok(())
            }
            Command::Rm { name, yes } => {
                let force = if yes { "?force=true" } else { "" };
                let done = api.delete(&format!("/admin/queues/{}{force}", escaped(&name))).await;
                let done = done.map_err(|error| match error.to_string() {
                    text if text.contains("force=true") => {
                        error.context("--yes takes it away with all that is in it")
                    }
                    _ => error,
                })?;
                say(&format!("queue/{name} is gone, and with it {} messages", done["messages"]))
            }
            Command::Purge { name, yes } => {
                if !yes {
                    bail!("this drops everything in queue/{name}; say --yes if you mean it");
                }
                let done = api.post(&format!("/admin/queues/{}/purge", escaped(&name)), &json!({})).await?;
                say(&format!("{} dropped from queue/{name}", done["purged"]))
            }
        }
    }
}

async fn list(api: &Api) -> Result<()> {
    let found = api.items("/admin/queues", usize::MAX).await?;
    if api.json {
        return say(&json!({ "items": found }).to_string());
    }
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let keys = ["name", "ready", "leased", "delayed", "dead", "oldest_ms", "consumers", "in", "out"];
    let rows: Vec<Vec<String>> =
        found.iter().map(|row| keys.iter().map(|key| cell(row, key)).collect()).collect();
    table(&["QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "OLDEST MS", "CONSUMERS", "IN", "OUT"], &rows)
}

async fn lease(api: &Api, name: &str, max: u32, wait: &str, ack: bool) -> Result<()> {
    let base = format!("/api/queues/{}", escaped(name));
    let found = api.post(&format!("{base}/lease"), &json!({ "max": max, "wait": wait })).await?;
    let deliveries = found["deliveries"].as_array().cloned().unwrap_or_default();
    for delivery in &deliveries {
        say(&delivery.to_string())?;
        if let (true, Some(token)) = (ack, delivery["token"].as_str()) {
            api.post(&format!("{base}/leases/{token}"), &json!({ "action": "ack" })).await?;
        }
    }
    Ok(())
}

async fn dead(api: &Api, name: &str, max: u32) -> Result<()> {
    let path = format!("/admin/queues/{}/dead", escaped(name));
    let found = api.items(&path, usize::try_from(max).unwrap_or(usize::MAX)).await?;
    if api.json {
        return lines(&found);
    }
    for letter in &found {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say(&format!(
            "{}  {}  {}: {}",
            letter["number"],
            text(&letter["died"]),
            text(&letter["reason"]),
            text(&letter["detail"])
        ))?;
        for attempt in letter["attempts"].as_array().into_iter().flatten() {
            let (time, code, detail) =
                (text(&attempt["time"]), text(&attempt["code"]), text(&attempt["detail"]));
            say(&format!("    {time}  {} ms  {code} {detail}", attempt["took_ms"]))?;
        }
    }
    Ok(())
}

/// One item per line.
fn lines(found: &[Value]) -> Result<()> {
    found.iter().try_for_each(|item| say(&item.to_string()))
}
