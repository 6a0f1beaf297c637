//! Queues: how they are doing, what is in them, their dead letters, putting those back.

use crate::overview::millis;
use crate::{Asked, State, bad, endpoint, items, member, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use broker::{DeadLetter, QueueStats, Selection};
use message::{Address, Envelope, Fault, Kind, Time, Verb};
use net::http::{Method, Routes};
use serde_json::{Value, json};
use std::sync::Arc;

/// How many messages one request lists at most.
const LISTED_MAX: usize = 1_000;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
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
fn queue(asked: &Asked, verb: Verb) -> Result<Address, Fault> {
    let address = Address::new(Kind::Queue, asked.call.param("name"))?;
    asked.session.allow(verb, &address)?;
    if !asked.hub().broker().exists(&address) {
        return Err(asked.session.unknown(&address));
    }
    Ok(address)
}

async fn list(asked: &Asked) -> Result<Value, Fault> {
    let rows = asked.hub().broker().queues().await;
    let mine = rows.iter().filter(|row| asked.session.may(Verb::Inspect, &row.address));
    Ok(items(mine.map(|found| row(asked, &found.address, &found.stats)).collect()))
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

async fn peek(asked: &Asked) -> Result<Value, Fault> {
    let queue = queue(asked, Verb::Inspect)?;
    let (after, max) = page(asked)?;
    let found = asked.hub().broker().peek(&queue, after, max).await?;
    let until = |time: Time| time.to_string();
    let row = |peeked: &broker::Peeked| {
        let (state, since) = match peeked.state {
            broker::State::Ready => ("ready", None),
            broker::State::Leased(time) => ("leased", Some(until(time))),
            broker::State::Delayed(time) => ("delayed", Some(until(time))),
            broker::State::Blocked => ("blocked", None),
        };
        json!({
            "number": peeked.number, "state": state, "until": since, "deliveries": peeked.deliveries,
            "envelope": peeked.envelope.as_deref().map(envelope),
        })
    };
    let next = found.last().filter(|_| found.len() == max).map(|last| last.number);
    Ok(json!({ "items": found.iter().map(row).collect::<Vec<_>>(), "next": next }))
}

async fn dead(asked: &Asked) -> Result<Value, Fault> {
    let queue = queue(asked, Verb::Inspect)?;
    let (after, max) = page(asked)?;
    let found = asked.hub().broker().dead(&queue, after, max).await?;
    let next = found.last().filter(|_| found.len() == max).map(|last| last.number);
    Ok(json!({ "items": found.iter().map(letter).collect::<Vec<_>>(), "next": next }))
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

fn page(asked: &Asked) -> Result<(Option<u64>, usize), Fault> {
    let after = match asked.call.query("after") {
        Some(text) => Some(text.parse().map_err(|_| bad(format!("after={text} is no number")))?),
        None => None,
    };
    Ok((after, asked.number("max", 50, LISTED_MAX)?))
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
