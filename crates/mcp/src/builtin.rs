//! Tools made of our own addresses: `publish`, `enqueue`, `lease` and `settle`. Each acts as its caller, through the caller's
//! session, so that it can do nothing the caller could not do by another protocol.

use crate::catalogue::Entry;
use crate::config::BuiltIn;
use crate::json::{Object, quote};
use broker::{Delivery, Lease, Settled, Settlement, Token};
use hub::Session;
use message::{Address, Code, Fault, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that `lease` waits for a message: longer, and clients give the call up.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The most messages of one `lease`, because all of them stand in one answer.
const LEASE_MAX: usize = 100;

/// Their names, which no upstream can have, whether or not they are offered.
pub(crate) const NAMES: [&str; 4] = ["publish", "enqueue", "lease", "settle"];

/// The descriptions of those that are offered.
pub(crate) fn entries(offered: &BuiltIn) -> Vec<Entry> {
    let all = [
        (offered.publish, publish_tool as fn() -> Value),
        (offered.enqueue, enqueue_tool),
        (offered.lease, lease_tool),
        (offered.settle, settle_tool),
    ];
    let wanted = all.into_iter().filter(|(offered, _)| *offered).map(|(_, tool)| tool().to_string());
    wanted.filter_map(|raw| Entry::read(&raw, "name").ok()).collect()
}

fn body_schema() -> Value {
    let any = ["string", "object", "array", "number", "boolean"];
    json!({ "type": any, "description": "The message: a text is sent as it is, any other JSON value as JSON." })
}

fn headers_schema() -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": "Headers of the message." })
}

fn publish_tool() -> Value {
    json!({
        "name": "publish",
        "title": "Publish a message",
        "description": "Puts a message on a topic such as topic/plant/7/temp, or on any other address that takes messages.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "address": { "type": "string", "description": "Kind and name: topic/NAME, queue/NAME or stream/NAME." },
                "body": body_schema(),
                "key": { "type": "string", "description": "Messages with the same key keep their order." },
                "headers": headers_schema(),
                "retain": { "type": "boolean", "description": "Whether a topic keeps it as its last value." },
            },
            "required": ["address", "body"],
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": false, "openWorldHint": false },
    })
}

fn enqueue_tool() -> Value {
    json!({
        "name": "enqueue",
        "title": "Put a message on a queue",
        "description": "Puts a message on a queue. When this answers, the message is durable and will be delivered.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "queue": { "type": "string", "description": "The queue's name." },
                "body": body_schema(),
                "key": { "type": "string", "description": "Messages with the same key keep their order." },
                "headers": headers_schema(),
                "priority": { "type": "integer", "minimum": 0, "maximum": 9, "description": "0 (lowest) to 9; 4 is usual." },
            },
            "required": ["queue", "body"],
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": false, "openWorldHint": false },
    })
}

fn lease_tool() -> Value {
    json!({
        "name": "lease",
        "title": "Take messages from a queue",
        "description": "Takes messages from a queue for a while. Each comes with a token: call settle with it when the work is \
            done or has failed, or the message is delivered again when the lease runs out.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "queue": { "type": "string", "description": "The queue's name." },
                "max": { "type": "integer", "minimum": 1, "maximum": LEASE_MAX, "description": "The most messages. Default 1." },
                "waitMs": { "type": "integer", "minimum": 0, "maximum": 30_000, "description": "How long to wait for one. Default 0." },
                "holdMs": { "type": "integer", "minimum": 1, "description": "How long the lease holds. Default the queue's." },
            },
            "required": ["queue"],
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": false, "openWorldHint": false },
    })
}

fn settle_tool() -> Value {
    json!({
        "name": "settle",
        "title": "Settle a leased message",
        "description": "Says what became of a leased message: ack (done), retry (failed, deliver again later), reject (never \
            deliver again, make it a dead letter), extend (still working) or release (not begun, deliver again at once).",
        "inputSchema": {
            "type": "object",
            "properties": {
                "queue": { "type": "string", "description": "The queue's name." },
                "token": { "type": "string", "description": "The token that came with the message." },
                "outcome": { "type": "string", "enum": ["ack", "retry", "reject", "extend", "release"] },
                "error": { "type": "string", "description": "Why it failed, for retry and reject." },
                "delayMs": { "type": "integer", "minimum": 0, "description": "The pause before a retry. Default the queue's." },
                "holdMs": { "type": "integer", "minimum": 1, "description": "How much longer to hold, for extend." },
            },
            "required": ["queue", "token", "outcome"],
            "additionalProperties": false,
        },
        "annotations": { "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": false },
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Put {
    address: Option<String>,
    queue: Option<String>,
    body: Box<RawValue>,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    retain: bool,
    priority: Option<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Take {
    queue: String,
    #[serde(default = "one")]
    max: usize,
    #[serde(default)]
    wait_ms: u64,
    hold_ms: Option<u64>,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settle {
    queue: String,
    token: String,
    outcome: String,
    error: Option<String>,
    delay_ms: Option<u64>,
    hold_ms: Option<u64>,
}

/// Calls one of our tools as this session. A refusal is a result that says so, because a model can read that and do better;
/// only arguments that do not fit are an error.
pub(crate) async fn call(session: &Session, name: &str, arguments: &[u8]) -> Result<String, Fault> {
    let arguments = if arguments.is_empty() { b"{}" } else { arguments };
    let outcome = match name {
        "publish" | "enqueue" => put(session, name, read(arguments)?).await,
        "lease" => take(session, read(arguments)?).await,
        "settle" => settle(session, read(arguments)?).await,
        _ => return Err(Fault::new(Code::UnknownTool, format!("there is no tool {name:?}"))),
    };
    Ok(match outcome {
        Ok(value) => result(&value, false),
        Err(fault) => {
            let entry = fault.code().entry();
            let value = json!({ "fault": entry.id, "title": entry.title, "detail": fault.detail(), "retry": entry.retry.as_str() });
            result(&value, true)
        }
    })
}

fn result(value: &Value, failed: bool) -> String {
    let structured = value.to_string();
    let content = format!("[{{\"type\":\"text\",\"text\":{}}}]", quote(&structured));
    Object::with_capacity(structured.len() * 2 + 64)
        .raw("content", &content)
        .raw("structuredContent", &structured)
        .raw("isError", if failed { "true" } else { "false" })
        .done()
}

fn read<'a, T: Deserialize<'a>>(arguments: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(arguments)
        .map_err(|error| Fault::new(Code::BadRequest, format!("the arguments do not fit: {error}")))
}

fn queue(name: &str) -> Result<Address, Fault> {
    Address::new(Kind::Queue, name.strip_prefix("queue/").unwrap_or(name))
}

async fn put(session: &Session, tool: &str, put: Put) -> Result<Value, Fault> {
    let missing = |what: &str| Fault::new(Code::BadRequest, format!("{tool} needs {what:?}"));
    let address = if tool == "enqueue" {
        queue(put.queue.as_deref().ok_or_else(|| missing("queue"))?)?
    } else {
        Address::parse(put.address.as_deref().ok_or_else(|| missing("address"))?)?
    };
    let text = crate::json::string(put.body.get());
    let content_type = if text.is_some() { "text/plain" } else { "application/json" };
    let body = text.map_or_else(|| put.body.get().to_owned(), Into::into);
    let mut envelope = session.envelope(address, body);
    envelope.content_type = Some(content_type.into());
    envelope.key = put.key.map(Into::into);
    envelope.retain = put.retain;
    if let Some(priority) = put.priority {
        if priority > 9 {
            return Err(Fault::new(Code::BadRequest, "the priority is 0 to 9"));
        }
        envelope.priority = priority;
    }
    for (name, value) in &put.headers {
        envelope.headers.push(name, value);
    }
    let receipt = session.publish(envelope).await?;
    Ok(
        json!({ "id": receipt.id.to_string(), "durable": receipt.durable, "live": receipt.live, "routes": receipt.routes, "duplicate": receipt.duplicate }),
    )
}

async fn take(session: &Session, take: Take) -> Result<Value, Fault> {
    let queue = queue(&take.queue)?;
    let mut lease = Lease::new(session.principal().name.clone(), take.max.clamp(1, LEASE_MAX))
        .waiting(Duration::from_millis(take.wait_ms).min(WAIT_MAX));
    if let Some(hold) = take.hold_ms {
        lease = lease.holding(Duration::from_millis(hold));
    }
    let deliveries = session.lease(&queue, lease).await?;
    Ok(json!({ "messages": deliveries.iter().map(delivered).collect::<Vec<_>>() }))
}

fn delivered(delivery: &Delivery) -> Value {
    use base64::Engine as _;
    let envelope = &delivery.envelope;
    let headers: BTreeMap<&str, &str> = envelope.headers.iter().collect();
    let mut value = json!({
        "token": delivery.token.to_string(),
        "attempt": delivery.attempt,
        "until": delivery.until.to_string(),
        "id": envelope.id.to_string(),
        "time": envelope.time.to_string(),
        "contentType": envelope.content_type.as_deref(),
        "key": envelope.key.as_deref(),
        "headers": headers,
    });
    let is_json = envelope.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    let parsed = is_json.then(|| serde_json::from_slice::<Value>(&envelope.body).ok()).flatten();
    let (key, body) = match (parsed, std::str::from_utf8(&envelope.body)) {
        (Some(body), _) => ("body", body),
        (None, Ok(text)) => ("body", text.into()),
        (None, Err(_)) => {
            ("bodyBase64", base64::engine::general_purpose::STANDARD.encode(&envelope.body).into())
        }
    };
    if let Value::Object(members) = &mut value {
        members.insert(key.into(), body);
    }
    value
}

async fn settle(session: &Session, settle: Settle) -> Result<Value, Fault> {
    let queue = queue(&settle.queue)?;
    let token: Token = settle.token.parse()?;
    let error = || {
        Fault::new(
            Code::UpstreamFailed,
            settle.error.clone().unwrap_or_else(|| "the consumer gave no reason".into()),
        )
    };
    let settlement = match settle.outcome.as_str() {
        "ack" => Settlement::Ack,
        "retry" => Settlement::Retry {
            delay: settle.delay_ms.map(Duration::from_millis),
            error: error(),
            took: None,
        },
        "reject" => Settlement::Reject { error: error() },
        "extend" => Settlement::Extend { hold: settle.hold_ms.map(Duration::from_millis) },
        "release" => Settlement::Release,
        other => {
            return Err(Fault::new(
                Code::BadRequest,
                format!("{other:?} is none of ack, retry, reject, extend and release"),
            ));
        }
    };
    Ok(match session.settle(&queue, token, settlement).await? {
        Settled::Acked => json!({ "state": "acked" }),
        Settled::Retrying(at) => json!({ "state": "retrying", "at": at.to_string() }),
        Settled::Dead => json!({ "state": "dead" }),
        Settled::Held(until) => json!({ "state": "held", "until": until.to_string() }),
        Settled::Released => json!({ "state": "released" }),
    })
}
