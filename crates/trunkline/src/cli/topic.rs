//! `trunkline publish` and `trunkline subscribe`.

use super::api::{Api, escaped};
use super::{Reach, say};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use message::{Address, Kind};
use net::http::Method;
use net::sse::Reader;
use std::io::Read;

/// `trunkline publish`.
#[derive(Args)]
pub(super) struct Publish {
    /// Where to: `topic/plant/7/temp`, `queue/orders`, `stream/events`.
    address: String,
    /// The body; `-` or nothing reads it from the standard input.
    body: Option<String>,
    /// A header of the message, as NAME=VALUE. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// The media type of the body.
    #[arg(short, long)]
    content_type: Option<String>,
    /// Messages with the same key keep their order.
    #[arg(short = 'k', long = "message-key")]
    message_key: Option<String>,
    /// Let the topic keep it as its last value.
    #[arg(short, long)]
    retain: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Publish {
    pub(super) async fn run(self) -> Result<()> {
        let address = Address::parse(&self.address).map_err(|fault| anyhow!("{fault}"))?;
        let base = match address.kind() {
            Kind::Topic => "/api/topics/",
            Kind::Queue => "/api/queues/",
            Kind::Stream => "/api/streams/",
            Kind::Tool => bail!("{address} is called: trunkline tools call {} '{{…}}'", address.name()),
            Kind::Model => bail!("{address} is asked: trunkline models ask {} '…'", address.name()),
            _ => bail!("{address} cannot be published to from outside; topics, queues and streams can"),
        };
        let body = match self.body.as_deref() {
            None | Some("-") => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).context("the standard input cannot be read")?;
                bytes
            }
            Some(text) => text.as_bytes().to_vec(),
        };
        let mut headers = Vec::new();
        for pair in &self.headers {
            let (name, value) =
                pair.split_once('=').with_context(|| format!("{pair:?} is not NAME=VALUE"))?;
            headers.push((format!("tl-h-{}", name.to_lowercase()), written(value)));
        }
        headers.extend(self.message_key.map(|key| ("tl-key".to_owned(), key)));
        let guessed = if serde_json::from_slice::<serde_json::Value>(&body).is_ok() {
            "application/json"
        } else {
            "text/plain"
        };
        let content_type = self.content_type.as_deref().unwrap_or(guessed);
        let query = if self.retain { "?retain=true" } else { "" };
        let path = format!("{base}{}{query}", escaped(address.name()));
        let api = Api::new(&self.reach)?;
        let response = api.send(Method::POST, &path, Some(content_type), &headers, body.into()).await?;
        let receipt = response.into_body().collect(1 << 20).await.map_err(|fault| anyhow!("{fault}"))?;
        say(&String::from_utf8_lossy(&receipt))
    }
}

/// A value as a header carries it: what is not printable ASCII is percent-encoded, and so is the percent sign.
fn written(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// `trunkline subscribe`.
#[derive(Args)]
pub(super) struct Subscribe {
    /// Which topics: `plant/+/temp`, `topic/plant/#`.
    filter: String,
    /// Stop after so many messages.
    #[arg(short = 'n', long)]
    count: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

impl Subscribe {
    pub(super) async fn run(self) -> Result<()> {
        if let Some(name) = self.filter.strip_prefix("queue/") {
            bail!("only topics can be followed; see into a queue with: trunkline queue peek {name}");
        }
        if self.filter.starts_with("stream/") {
            bail!(
                "only topics can be followed; read a stream with: curl {}/api/{}",
                self.reach.url,
                self.filter.replacen("stream", "streams", 1)
            );
        }
        let filter = self.filter.strip_prefix("topic/").unwrap_or(&self.filter);
        let api = Api::new(&self.reach)?;
        let accept = [("accept".to_owned(), "text/event-stream".to_owned())];
        let path = format!("/api/topics/{}", escaped(filter));
        let response = api.send(Method::GET, &path, None, &accept, Default::default()).await?;
        let mut events = Reader::new(response.into_body(), 64 << 20);
        let mut seen = 0;
        while let Some(event) = events.next().await {
            say(&event.map_err(|fault| anyhow!("{fault}"))?.data)?;
            seen += 1;
            if self.count.is_some_and(|count| seen >= count) {
                return Ok(());
            }
        }
        bail!("the server ended the stream")
    }
}
