//! Queues: how they are doing, what is in them, their dead letters, putting those back.

use crate::overview::millis;
use crate::pages::{Page, bounds, end, paged, write_row};
use crate::{Asked, State, bad, endpoint, member, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{Bounds, Broker, DeadLetter, Peeked, QueueStats, Selection};
use hub::pages::{self, List};
use message::{Address, Envelope, Fault, Kind, Verb};
use net::http::{Method, Response, Routes};
use serde_json::{Value, json};
use std::sync::Arc;

/// What stands before the first row of a page.
const OPEN: &str = "{\"items\":[";

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(state, routes, Method::DELETE, "/admin/queues/{name}", Verb::Inspect, |asked| async move {
        remove(&asked).await
    });
    let get = Method::GET;
    let post = Method::POST;
    endpoint(state, routes, get.clone(), "/admin/queues", Verb::Inspect, |asked| async move {
        list(&asked).await
    });
    endpoint(state, routes, get.clone(), "/admin/queues/{name}", Verb::Inspect, |asked| async move {
        let queue = queue(&asked, Verb::Inspect)?;
        let stats = asked.hub().broker().stats(&queue).await?;
        Ok(row(&asked, &queue, &stats))
    });
    endpoint(
        state,
        routes,
        get.clone(),
        "/admin/queues/{name}/messages",
        Verb::Inspect,
        |asked| async move { peek(&asked).await },
    );
    endpoint(state, routes, get, "/admin/queues/{name}/dead", Verb::Inspect, |asked| async move {
        dead(&asked).await
    });
    endpoint(
        state,
        routes,
        post.clone(),
        "/admin/queues/{name}/replay",
        Verb::Inspect,
        |mut asked| async move {
            let queue = queue(&asked, Verb::Manage)?;
            let selection = selection(&asked.body().await?)?;
            let count = asked.hub().broker().replay(&queue, selection).await?;
            asked.session.record_change(&queue).await?;
            Ok(json!({ "replayed": count }))
        },
    );
    endpoint(
        state,
        routes,
        post.clone(),
        "/admin/queues/{name}/dead/drop",
        Verb::Inspect,
        |mut asked| async move {
            let queue = queue(&asked, Verb::Manage)?;
            let selection = selection(&asked.body().await?)?;
            let count = asked.hub().broker().drop_dead(&queue, selection).await?;
            asked.session.record_change(&queue).await?;
            Ok(json!({ "dropped": count }))
        },
    );
    endpoint(state, routes, post, "/admin/queues/{name}/purge", Verb::Inspect, |asked| async move {
        let queue = queue(&asked, Verb::Manage)?;
        let count = asked.hub().broker().purge(&queue).await?;
        asked.session.record_change(&queue).await?;
        Ok(json!({ "purged": count }))
    });
}

/// The queue that the path names, when whoever asks may do this to it.
/// Takes a queue away that no configuration names any more. What it holds goes with it, so that is asked about.
async fn remove(asked: &Asked) -> Result<Value, Fault> {
    let queue = queue(asked, Verb::Manage)?;
    let config = asked.hub().config();
    let declared = match queue.name().strip_prefix("$out/") {
        Some(outlet) => config.outlets.contains_key(outlet),
        None => config.queues.contains_key(queue.name()),
    };
    if declared {
        return Err(bad(format!("{queue} is in the configuration; take it out there first")));
    }
    let stats = asked.hub().broker().stats(&queue).await?;
    if (stats.depth > 0 || stats.dead > 0) && !asked.flag("force")? {
        return Err(bad(format!(
            "{queue} holds {} messages and {} dead letters; say `force=true` to drop them with it",
            stats.depth, stats.dead
        )));
    }
    asked.hub().broker().remove(&queue).await?;
    asked.session.record_change(&queue).await?;
    Ok(json!({ "removed": queue.to_string(), "messages": stats.depth, "dead": stats.dead }))
}

fn queue(asked: &Asked, verb: Verb) -> Result<Address, Fault> {
    let address = Address::new(Kind::Queue, asked.call.param("name"))?;
    asked.session.allow(verb, &address)?;
    if !asked.hub().broker().exists(&address) {
        return Err(asked.session.unknown(&address));
    }
    Ok(address)
}

async fn list(asked: &Asked) -> Result<Page, Fault> {
    let rows = asked.hub().broker().queues().await;
    let mine = rows.iter().filter(|row| asked.session.may(Verb::Inspect, &row.address));
    paged(asked, mine, |row| row.address.name().to_owned(), |found| row(asked, &found.address, &found.stats))
}

fn row(asked: &Asked, address: &Address, stats: &QueueStats) -> Value {
    let now = asked.hub().clock().now();
    let (came, went) = asked.state.sampler.rate(address);
    json!({
        "name": address.name(), "address": address.to_string(),
        "depth": stats.depth, "bytes": stats.bytes, "ready": stats.ready, "leased": stats.leased,
        "delayed": stats.delayed, "dead": stats.dead,
        "oldest_ms": stats.oldest.map(|time| millis(now.since(time))),
        "waiting": stats.waiting, "consumers": stats.consumers.iter().map(|name| &**name).collect::<Vec<_>>(),
        "in": stats.enqueued, "out": stats.delivered, "acked": stats.acked, "retried": stats.retried, "lost": stats.lost,
        "died": stats.died, "refused": stats.refused, "duplicates": stats.duplicates, "known": stats.known, "forgotten": stats.forgotten, "expired": stats.expired,
        "rate_in": came, "rate_out": went,
    })
}

async fn peek(asked: &Asked) -> Result<Response, Fault> {
    let queue = queue(asked, Verb::Inspect)?;
    let (after, bounds) = page(asked)?;
    let list = Waiting { broker: Arc::clone(asked.hub().broker()), queue, after };
    pages::page(&asked.call.conn, "application/json", OPEN, list, bounds).await
}

async fn dead(asked: &Asked) -> Result<Response, Fault> {
    let queue = queue(asked, Verb::Inspect)?;
    let (after, bounds) = page(asked)?;
    let list = Dead(Waiting { broker: Arc::clone(asked.hub().broker()), queue, after });
    pages::page(&asked.call.conn, "application/json", OPEN, list, bounds).await
}

/// The messages of a queue, oldest first.
struct Waiting {
    broker: Arc<Broker>,
    queue: Address,
    after: Option<u64>,
}

impl List for Waiting {
    type Element = Peeked;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<Peeked>, Fault> {
        self.broker.peek(&self.queue, self.after, max).await
    }

    fn weigh(peeked: &Peeked) -> usize {
        peeked.envelope.as_ref().map_or(0, |envelope| envelope.weight())
    }

    fn write(&mut self, peeked: &Peeked, out: &mut Vec<u8>) {
        self.after = Some(peeked.number);
        let (state, until) = match peeked.state {
            broker::State::Ready => ("ready", None),
            broker::State::Leased(time) => ("leased", Some(time.to_string())),
            broker::State::Delayed(time) => ("delayed", Some(time.to_string())),
            broker::State::Blocked => ("blocked", None),
        };
        let row = json!({
            "number": peeked.number, "state": state, "until": until, "deliveries": peeked.deliveries,
            "envelope": peeked.envelope.as_deref().map(envelope),
        });
        write_row(out, &row);
    }

    fn close(&mut self, more: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        end(out, self.after.filter(|_| more), &[]);
        Ok(())
    }
}

/// Its dead letters.
struct Dead(Waiting);

impl List for Dead {
    type Element = DeadLetter;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<DeadLetter>, Fault> {
        self.0.broker.dead(&self.0.queue, self.0.after, max).await
    }

    fn weigh(letter: &DeadLetter) -> usize {
        let attempts: usize = letter.attempts.iter().map(|attempt| 100 + attempt.text.len()).sum();
        letter.envelope.as_ref().map_or(0, |envelope| envelope.weight()) + attempts
    }

    fn write(&mut self, dead: &DeadLetter, out: &mut Vec<u8>) {
        self.0.after = Some(dead.number);
        write_row(out, &letter(dead));
    }

    fn close(&mut self, more: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.0.close(more, out)
    }
}

fn letter(letter: &DeadLetter) -> Value {
    let attempts: Vec<Value> = letter
        .attempts
        .iter()
        .map(|attempt| {
            json!({
                "time": attempt.time.to_string(), "took_ms": millis(attempt.took), "code": attempt.code.id(),
                "detail": &*attempt.text, "consumer": &*attempt.consumer,
            })
        })
        .collect();
    json!({
        "number": letter.number, "id": letter.envelope.as_ref().map(|envelope| envelope.id.to_string()), "reason": letter.reason.id(),
        "title": letter.reason.entry().title, "detail": &*letter.text, "died": letter.died.to_string(),
        "deliveries": letter.deliveries, "attempts": attempts,
        "envelope": letter.envelope.as_deref().map(envelope),
    })
}

/// An envelope for people: text bodies as text, others in Base64.
pub(crate) fn envelope(envelope: &Envelope) -> Value {
    let headers: Vec<Value> = envelope.headers.iter().map(|(name, value)| json!([name, value])).collect();
    let mut out = json!({
        "id": envelope.id.to_string(), "address": envelope.address.to_string(), "time": envelope.time.to_string(),
        "key": envelope.key.as_deref(), "content_type": envelope.content_type.as_deref(), "headers": headers,
        "principal": &*envelope.principal, "source": envelope.source.as_deref(), "type": envelope.event_type.as_deref(),
        "priority": envelope.priority, "deadline": envelope.deadline.map(|due| due.to_string()),
        "traceparent": envelope.trace.as_ref().map(ToString::to_string), "bytes": envelope.body.len(),
    });
    match std::str::from_utf8(&envelope.body) {
        Ok(text) => put(&mut out, "body", text),
        Err(_) => put(&mut out, "body_base64", STANDARD.encode(&envelope.body)),
    }
    out
}

fn page(asked: &Asked) -> Result<(Option<u64>, Bounds), Fault> {
    let after = match asked.call.query("after") {
        Some(text) => Some(text.parse().map_err(|_| bad(format!("after={text} is no number")))?),
        None => None,
    };
    Ok((after, bounds(asked, 50)?))
}

fn selection(body: &Value) -> Result<Selection, Fault> {
    if *member(body, "all") == true {
        return Ok(Selection::All);
    }
    if let Some(count) = member(body, "oldest").as_u64() {
        return Ok(Selection::Oldest(usize::try_from(count).unwrap_or(usize::MAX)));
    }
    let numbers = member(body, "numbers")
        .as_array()
        .map(|all| all.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
    match numbers {
        Some(Some(numbers)) => Ok(Selection::Numbers(numbers)),
        _ => Err(bad("say which: {\"numbers\":[1,2]}, {\"oldest\":10} or {\"all\":true}")),
    }
}
