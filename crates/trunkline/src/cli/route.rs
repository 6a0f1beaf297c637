//! `trunkline route`: what routes do, and trying one on a message before real ones meet it.

#![expect(clippy::indexing_slicing, reason = "a key that a JSON value lacks reads as null")]

use super::api::{Api, escaped};
use super::{Reach, say, table};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::process::ExitCode;

/// `trunkline route`.
#[derive(Args)]
pub(super) struct Route {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Subcommand)]
enum Command {
    /// List the routes and what they did.
    Ls,
    /// Try a route on a message: what each step makes of it, and where it would go. Nothing is stored or sent.
    Test {
        /// The route's name.
        name: String,
        /// The body; `-` or nothing reads it from the standard input, `@FILE` from a file.
        body: Option<String>,
        /// Where it would be published; without it an address that the route listens to.
        #[arg(short, long)]
        address: Option<String>,
        /// A header of the message, as NAME=VALUE. May be repeated.
        #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
        headers: Vec<String>,
        /// The media type of the body.
        #[arg(short, long)]
        content_type: Option<String>,
        /// The message's key.
        #[arg(short = 'k', long = "message-key")]
        message_key: Option<String>,
    },
}

impl Route {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let api = Api::new(&self.reach)?;
        match self.command {
            Command::Ls => ls(&api).await.map(|()| ExitCode::SUCCESS),
            Command::Test { name, body, address, headers, content_type, message_key } => {
                let mut members = Map::new();
                for pair in &headers {
                    let (name, value) =
                        pair.split_once('=').with_context(|| format!("{pair:?} is not NAME=VALUE"))?;
                    members.insert(name.to_owned(), value.into());
                }
                let mut sample = json!({
                    "address": address, "headers": members, "content_type": content_type, "key": message_key,
                });
                match String::from_utf8(read(body.as_deref())?) {
                    Ok(text) => sample["body"] = text.into(),
                    Err(error) => {
                        use base64::Engine;
                        let standard = base64::engine::general_purpose::STANDARD;
                        sample["body_base64"] = standard.encode(error.as_bytes()).into();
                    }
                }
                let told = api.post(&format!("/admin/routes/{}/test", escaped(&name)), &sample).await?;
                if api.json {
                    say(&told.to_string())?
                } else {
                    show(&told)?
                }
                Ok(if told["outcome"] == "refused" { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
        }
    }
}

fn read(body: Option<&str>) -> Result<Vec<u8>> {
    match body {
        None | Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).context("the standard input cannot be read")?;
            Ok(bytes)
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => std::fs::read(file).with_context(|| format!("{file} cannot be read")),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

async fn ls(api: &Api) -> Result<()> {
    let routes = api.items("/admin/routes", usize::MAX).await?;
    if api.json {
        return say(&json!({ "items": routes }).to_string());
    }
    let list = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<Vec<String>> = routes
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
            let mut cells = vec![text("name"), text("from"), list(&row["steps"]), list(&row["to"])];
            cells.extend(["taken", "filtered", "failed"].map(|name| row[name].to_string()));
            cells
        })
        .collect();
    table(&["NAME", "FROM", "STEPS", "TO", "TAKEN", "FILTERED", "FAILED"], &rows)
}

/// As people read it: one line for each step, then one for each target with its own steps.
fn show(told: &Value) -> Result<()> {
    stages(&told["steps"], "")?;
    for target in told["targets"].as_array().into_iter().flatten() {
        let to = target["to"].as_str().unwrap_or("?");
        if let Some(detail) = target["fault"]["detail"].as_str() {
            say(&format!("-> {to}: {detail}"))?;
        } else if target["chosen"] == false {
            say(&format!("-> {to}: not chosen by its condition"))?;
        } else {
            say(&format!("-> {to}"))?;
        }
        stages(&target["steps"], "   ")?;
        if target["envelope"].is_object() {
            say(&format!("   {}", body(&target["envelope"])))?;
        }
    }
    match told["outcome"].as_str() {
        Some("refused") => {
            let fault = &told["fault"];
            let word = |name: &str| fault[name].as_str().unwrap_or("");
            say(&format!("refused: {} {}: {}", word("code"), word("title"), word("detail")))
        }
        Some("filtered") => say("filtered: nobody would get it, and its sender is told that it was taken"),
        _ => say("delivered"),
    }
}

fn stages(list: &Value, indent: &str) -> Result<()> {
    for (place, stage) in list.as_array().into_iter().flatten().enumerate() {
        let name = stage["name"].as_str().unwrap_or("?");
        let made = match stage["outcome"].as_str() {
            Some("passed") => body(&stage["envelope"]),
            Some("filtered") => "lets it go".to_owned(),
            _ => format!("refuses it: {}", stage["fault"]["detail"].as_str().unwrap_or("")),
        };
        say(&format!("{indent}{} {name:<9} {made}", place + 1))?;
    }
    Ok(())
}

/// The body on one line, cut.
fn body(envelope: &Value) -> String {
    const SHOWN: usize = 500;
    let Some(text) = envelope["body"].as_str() else {
        return format!("{} bytes that are no text", envelope["bytes"]);
    };
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { " …" } else { "" };
    short.replace('\r', "\\r").replace('\n', "\\n") + more
}
