//! The hub's configuration: limits, access, queues, streams, routes, outlets, audit. The doc comments are the manual.
//! Reading files and saying line and column is the binary's business; here a misfit is named by its path.

use crate::answers::IdempotencyConfig;
use crate::breaker::BreakerConfig;
use crate::retry::RetryConfig;
use crate::steps::StepConfig;
use message::{ByteCount, Limits, Misfit, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the hub enforces and does.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Limits on what one client, one message and the whole program may take.
    pub limits: Limits,
    /// Who may come in, and what they may do.
    pub access: access::Config,
    /// The queues, by name. A queue that was never listed is refused with TL0010, unless `queues_on_demand` is set; one
    /// that is taken out of the list keeps its messages and its consumers.
    pub queues: BTreeMap<String, QueueConfig>,
    /// The streams, by name.
    pub streams: BTreeMap<String, StreamConfig>,
    /// Whether the first message to a queue that is not listed makes it, with the default options. Convenient for
    /// a demo; in production a slip of the finger would make a queue that nobody reads. Default false.
    pub queues_on_demand: bool,
    /// Where messages go from where they arrive, and what happens to them on the way.
    pub routes: Vec<RouteConfig>,
    /// The foreign servers that we deliver to, by name; each is the address `out/NAME`.
    pub outlets: BTreeMap<String, OutletConfig>,
    /// What is written down of what people and programs do.
    pub audit: AuditConfig,
    /// Answers that are kept for requests which are sent again.
    pub idempotency: IdempotencyConfig,
    /// The folder that file names in steps are relative to: that of the configuration file.
    #[serde(skip)]
    #[schemars(skip)]
    pub base: PathBuf,
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// The most messages that may wait, leased and delayed ones included; a further one is refused with TL0007.
    /// Default 1,000,000.
    pub messages: u64,
    /// The most bytes that may wait; beyond it a message is refused with TL0007. Default 4GiB.
    pub bytes: ByteCount,
    /// How often a message may be delivered before it becomes a dead letter. Default 16.
    pub deliveries: u32,
    /// How long a consumer holds a message that it leased without naming a time, at most 12h, which is also the longest that
    /// one may ask for. Default 30s.
    pub hold: Span,
    /// Whether messages with the same key are delivered in their order, one at a time. Default false.
    pub ordered: bool,
    /// How long a message whose sender chose its id is remembered, so that the same message sent again is not stored again.
    /// The same is what one key sends with one id (`tl-id`, `Idempotency-Key`) to one address, or, for CloudEvents, with one
    /// `source` and `id`; over MLLP, what one sender sends with one MSH-10 and the same bytes. 0s switches it off. Default 2m.
    pub dedupe: Span,
    /// The most messages that are remembered for that, about 70 bytes of memory each. Beyond it the oldest is forgotten
    /// before its time, which `trunkline_queue_forgotten_total` counts. Default 1,000,000: 8,300 a second for 2m.
    pub dedupe_messages: u64,
    /// The most dead letters that are kept; beyond it the oldest is dropped and counted. Default 100,000.
    pub dead_letters: u64,
    /// The most bytes of those dead letters; beyond it as with `dead_letters`, but the newest always stays. Default 1GiB.
    pub dead_letter_bytes: ByteCount,
}

impl QueueConfig {
    /// The broker's form of it.
    pub(crate) fn options(&self) -> broker::QueueOptions {
        let millis = |span: Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        broker::QueueOptions {
            messages_max: self.messages,
            bytes_max: self.bytes.0,
            deliveries_max: self.deliveries,
            hold_ms: millis(self.hold),
            ordered: self.ordered,
            dedupe_ms: millis(self.dedupe),
            dedupe_max: usize::try_from(self.dedupe_messages).unwrap_or(usize::MAX),
            dead_max: usize::try_from(self.dead_letters).unwrap_or(usize::MAX),
            dead_bytes_max: self.dead_letter_bytes.0,
            ..broker::QueueOptions::default()
        }
    }
}

impl StreamConfig {
    /// The broker's form of it.
    pub(crate) fn options(&self) -> broker::StreamOptions {
        broker::StreamOptions {
            bytes_max: self.bytes.0,
            age_ms_max: u64::try_from(self.age.0.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            messages: 1_000_000,
            bytes: ByteCount(4 << 30),
            deliveries: 16,
            hold: Span::secs(30),
            ordered: false,
            dedupe: Span::secs(120),
            dedupe_messages: 1_000_000,
            dead_letters: 100_000,
            dead_letter_bytes: ByteCount(1 << 30),
        }
    }
}

/// A durable, replayable stream.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// How many bytes are kept at least, once there are as many: the oldest go 256 records at a time, so that up to 256 more
    /// are there. Default 1GiB.
    pub bytes: ByteCount,
    /// How long messages are kept. Default 7d.
    pub age: Span,
}

impl Default for StreamConfig {
    fn default() -> StreamConfig {
        StreamConfig { bytes: ByteCount(1 << 30), age: Span::secs(7 * 86_400) }
    }
}

/// A way from one place to others.
///
/// A route from a topic or stream address runs while the message is being published: the publisher is answered when every
/// durable target has it, and is told when a step refuses it; then nothing of the message is kept anywhere. A route from
/// a queue leases, delivers and settles: to one outlet directly, so that `retry` and `timeout` here hold and what fails
/// is a dead letter of that queue; with several targets each outlet gets it by its own queue, under the outlet's `retry`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// By which name metrics, faults and the dashboard know it.
    pub name: String,
    /// Where its messages come from: `topic/plant/+/temp`, `topic/hl7/in`, or one queue, `queue/orders`.
    pub from: String,
    /// What happens to each message, in order.
    #[serde(default)]
    pub steps: Vec<StepConfig>,
    /// Where it goes: addresses, or entries with conditions. Two outcomes of one message on one queue are two messages.
    pub to: Vec<TargetConfig>,
    /// From a queue: when and how often a failed delivery is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// From a queue: how many messages are under way at once, 1 to 256. Default 8.
    #[serde(default = "eight")]
    pub concurrency: u32,
    /// From a queue: how long one delivery may take. Default 30s.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
    /// From a topic or stream: what happens to a message that a step or target refuses. Default `refuse`.
    #[serde(default)]
    pub on_error: OnError,
    /// What a message that a filter, or the conditions of all targets, let go is to its sender: `accept` or `refuse`.
    /// Default `accept`.
    #[serde(default)]
    pub filtered: Filtered,
}

fn eight() -> u32 {
    8
}

fn thirty_seconds() -> Span {
    Span::secs(30)
}

/// What a message that nobody wanted is to its sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filtered {
    /// Not wanted, and nothing wrong with it: the sender is answered as if it had been taken, over MLLP with AA.
    #[default]
    Accept,
    /// The sender chose the wrong place: it is refused with TL0013, and `on_error` holds; from a queue it is a dead letter.
    Refuse,
}

/// What becomes of a message that a route cannot take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The publisher is told, and nothing of the message is kept. One that cannot be told (MQTT 3.1.1, QoS 0, a will) is
    /// as with `skip` when sending again would not help: it would send for ever.
    #[default]
    Refuse,
    /// The route lets it go, counts it in `failed` and goes on; subscribers and other routes still get it. The log says so
    /// with the reason, at most every ten seconds for a route.
    Skip,
    /// The original goes to this queue with the headers `tl-fault` and `tl-route`.
    Queue(String),
}

/// One target of a route: an address, or an entry with a condition and steps of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetConfig {
    /// The address.
    pub to: String,
    /// Only messages for which this jq expression is true.
    pub when: Option<String>,
    /// Steps for this target alone.
    pub steps: Vec<StepConfig>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetEntry {
    /// The address: `queue/orders`, `topic/alarms`, `out/webhook`.
    to: String,
    /// Only messages for which this jq expression is true.
    #[serde(default)]
    when: Option<String>,
    /// Steps for this target alone.
    #[serde(default)]
    steps: Vec<StepConfig>,
}

impl<'de> Deserialize<'de> for TargetConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TargetConfig, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(to) => Ok(TargetConfig { to, when: None, steps: Vec::new() }),
            other => {
                let entry: TargetEntry = serde_json::from_value(other).map_err(D::Error::custom)?;
                Ok(TargetConfig { to: entry.to, when: entry.when, steps: entry.steps })
            }
        }
    }
}

impl JsonSchema for TargetConfig {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<TargetEntry>();
        json_schema!({ "anyOf": [{ "type": "string", "description": "an address" }, entry] })
    }
}

/// A foreign server that we deliver to: one protocol's section, with a breaker and a retry policy.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct OutletConfig {
    /// When to leave it alone.
    #[serde(default)]
    pub breaker: BreakerConfig,
    /// For messages that are published to it directly: when and how often a failed delivery is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// The protocol and its section: `http: {url: …}` or `mllp: {address: …}`. Exactly one.
    #[serde(flatten)]
    pub section: BTreeMap<String, serde_json::Value>,
}

/// What is written down.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Whether each publish is recorded, not only calls, refusals and changes. Costs a record per message. Default false.
    pub publishes: bool,
    /// How many records are kept on disk; the oldest go first. Default 1,000,000.
    pub records: u64,
    /// How many bytes of them are kept on disk; the oldest go first. Default 256 MiB, which a million records take about.
    pub bytes: ByteCount,
}

impl Default for AuditConfig {
    fn default() -> AuditConfig {
        AuditConfig { publishes: false, records: 1_000_000, bytes: ByteCount(256 << 20) }
    }
}

impl Config {
    /// Numbers with which nothing could work.
    fn check_numbers(&self) -> Result<(), Misfit> {
        let limits = &self.limits;
        let request_ms = usize::try_from(limits.request_ms).unwrap_or(usize::MAX);
        for (name, value) in [
            ("message_bytes", limits.message_bytes),
            ("connections", limits.connections),
            ("peer_connections", limits.peer_connections),
            ("mailbox", limits.mailbox),
            ("in_flight", limits.in_flight),
            ("depth", limits.depth),
            ("jq_steps", limits.jq_steps),
            ("fan_out", limits.fan_out),
            ("request_ms", request_ms),
            ("reply_bytes", limits.reply_bytes),
        ] {
            if value == 0 {
                return Err(Misfit::new("with 0 nothing would pass; it is at least 1").at(name).at("limits"));
            }
        }
        for (name, queue) in &self.queues {
            let zero = if queue.hold.0.is_zero() {
                "hold"
            } else if queue.deliveries == 0 {
                "deliveries"
            } else {
                continue;
            };
            return Err(Misfit::new("with 0 nothing would be delivered").at(zero).at(name).at("queues"));
        }
        for (name, outlet) in &self.outlets {
            outlet.retry.check().map_err(|misfit| misfit.at("retry").at(name).at("outlets"))?;
        }
        for (place, route) in self.routes.iter().enumerate() {
            let checked = route.retry.check().map_err(|misfit| misfit.at("retry"));
            let checked = checked.and_then(|()| match route.concurrency {
                1..=256 => Ok(()),
                _ => Err(Misfit::new("from 1 to 256 messages may be under way at once").at("concurrency")),
            });
            checked.map_err(|misfit| misfit.at(place).at("routes"))?;
        }
        Ok(())
    }

    /// What can be checked without opening anything: names, addresses, doubles.
    pub(crate) fn check_names(&self) -> Result<(), Misfit> {
        let named = |kind: message::Kind, names: Vec<&String>, key: &str| {
            names.into_iter().try_for_each(|name| {
                if name.starts_with('$') {
                    let what = "names that begin with `$` are the program's own";
                    return Err(Misfit::new(what).at(name).at(key));
                }
                let fine = message::Address::new(kind, name);
                fine.map(drop).map_err(|fault| Misfit::new(fault.detail()).at(name).at(key))
            })
        };
        self.check_numbers()?;
        named(message::Kind::Queue, self.queues.keys().collect(), "queues")?;
        named(message::Kind::Stream, self.streams.keys().collect(), "streams")?;
        named(message::Kind::Out, self.outlets.keys().collect(), "outlets")?;
        let mut seen = std::collections::HashSet::with_capacity(self.routes.len());
        for (place, route) in self.routes.iter().enumerate() {
            if !seen.insert(&route.name) {
                let what = format!("two routes have the name {:?}", route.name);
                return Err(Misfit::new(what).at("name").at(place).at("routes"));
            }
        }
        Ok(())
    }
}
