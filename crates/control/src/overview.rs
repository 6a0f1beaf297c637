//! The overview, health and readiness: whether the program is well, at a glance.

use crate::pages::{Page, paged};
use crate::{Asked, State, endpoint, open_endpoint, put};
use message::{Address, Code, Fault, Verb};
use net::http::{Call, Method, Routes, StatusCode, handler, json};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    endpoint(state, routes, Method::GET, "/admin/overview", Verb::Inspect, |asked| async move {
        overview(&asked).await
    });
    endpoint(
        state,
        routes,
        Method::GET,
        "/admin/series",
        Verb::Inspect,
        |asked| async move { series(&asked) },
    );
    endpoint(state, routes, Method::GET, "/admin/addresses", Verb::Inspect, |asked| async move {
        addresses(&asked)
    });
    let healthy = handler(|_: Call| async { json(StatusCode::OK, &json!({ "status": "ok" })) });
    open_endpoint(state, routes, "/healthz", healthy);
    let ready = Arc::clone(state);
    open_endpoint(
        state,
        routes,
        "/readyz",
        handler(move |_: Call| {
            let ready = Arc::clone(&ready);
            async move { readiness(&ready) }
        }),
    );
}

/// Ready means: new work is taken. Load balancers stop sending while it says otherwise.
fn readiness(state: &State) -> net::http::Response {
    let hub = &state.console.hub;
    let mut reasons = Vec::new();
    if hub.tasks().is_draining() {
        reasons.push(Fault::new(Code::Draining, "the program is stopping"));
    }
    let store = hub.engine().health();
    if let Some(why) = store.poisoned {
        reasons.push(Fault::new(Code::StoreUnavailable, why));
    } else if store.full {
        let why =
            "the disk is full: what is durable is refused until something is acknowledged, dropped or purged";
        reasons.push(Fault::new(Code::StoreUnavailable, why));
    }
    let list: Vec<Value> =
        reasons.iter().map(|fault| json!({ "code": fault.code().id(), "detail": fault.detail() })).collect();
    let status = if list.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &json!({ "ready": list.is_empty(), "reasons": list }))
}

async fn overview(asked: &Asked) -> Result<Value, Fault> {
    let state = &asked.state;
    let hub = asked.hub();
    let now = hub.clock().both();
    let counters = hub.counters();
    let queues = hub.broker().queues().await;
    let connections = &state.console.connections;
    let net = connections.metrics();
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let faults: Vec<Value> = counters
        .faults()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| json!({ "code": code.id(), "title": code.entry().title, "count": count }))
        .collect();
    let (memory_bytes, cpu_ms) = process();
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": state.started.time.to_string(),
        "now": now.time.to_string(),
        "uptime_ms": millis(now.moment.since(state.started.moment)),
        "messages": {
            "published": load(&counters.published),
            "published_bytes": load(&counters.published_bytes),
            "called": load(&counters.called),
        },
        "connections": {
            "open": connections.len(), "max": connections.max(),
            "accepted": load(&net.accepted), "refused": load(&net.refused),
        },
        "subscriptions": hub.broker().subscriptions(),
        "queues": {
            "count": queues.len(),
            "depth": queues.iter().map(|row| row.stats.depth).sum::<u64>(),
            "dead": queues.iter().map(|row| row.stats.dead).sum::<u64>(),
        },
        "streams": { "count": hub.broker().streams().len() },
        "store": store(asked),
        "faults": faults,
        "memory_bytes": memory_bytes,
        "cpu_ms": cpu_ms,
        "tasks": hub.tasks().running(),
        "panics": hub.tasks().panics(),
        "draining": hub.tasks().is_draining(),
    }))
}

fn store(asked: &Asked) -> Value {
    let health = asked.hub().engine().health();
    let state = match (&health.poisoned, health.damage.is_empty()) {
        (Some(_), _) => "poisoned",
        (None, false) => "damaged",
        (None, true) => "ok",
    };
    let damage: Vec<Value> = health
        .damage
        .iter()
        .map(|damage| {
            json!({
                "file": damage.file.display().to_string(), "from": damage.from, "to": damage.to,
                "records": damage.records, "lanes": damage.lanes, "what": damage.what,
            })
        })
        .collect();
    json!({
        "state": state, "detail": health.poisoned, "full": health.full, "damage": damage, "segments": health.segments,
        "bytes": health.bytes, "waiting_bytes": health.waiting_bytes, "commits": health.commits, "records": health.records,
    })
}

fn series(asked: &Asked) -> Result<Value, Fault> {
    let step_ms = crate::sampler::STEP.as_millis();
    let Some(text) = asked.call.query("address") else {
        let (published, called, faults) = asked.state.sampler.totals();
        return Ok(json!({ "step_ms": step_ms, "published": published, "called": called, "faults": faults }));
    };
    let address = message::Address::parse(&text)?;
    asked.session.allow(Verb::Inspect, &address)?;
    let (came, went) = asked.state.sampler.series(&address);
    Ok(json!({ "step_ms": step_ms, "in": came, "out": went }))
}

/// Every address that was used, with its rates; for `history=N` also the last N seconds of what came in.
/// What is called (tools, models) counts its calls as what came in.
fn addresses(asked: &Asked) -> Result<Page, Fault> {
    let kind = asked.call.query("kind");
    let history = asked.number("history", 0, 300)?;
    let mut rows: Vec<(Option<Address>, u64, u64)> = Vec::new();
    let rates = asked.hub().broker().rates().into_iter();
    rows.extend(rates.map(|rate| (rate.address, rate.messages_in, rate.messages_out)));
    let calls = asked.hub().counters().calls().into_iter();
    rows.extend(calls.map(|(address, counts)| (Some(address), counts.calls.load(Ordering::Relaxed), 0)));
    rows.retain(|(address, ..)| match address {
        Some(address) => {
            let wanted = kind.as_deref().is_none_or(|kind| kind == address.kind().as_str());
            wanted && asked.session.may(Verb::Inspect, address)
        }
        // The sum of those that found no place of their own.
        None => true,
    });
    let row = |(address, total_in, total_out): &(Option<Address>, u64, u64)| {
        let Some(address) = address else {
            return json!({ "address": null, "in": total_in, "out": total_out });
        };
        let (came, went) = asked.state.sampler.rate(address);
        let mut row = json!({
            "address": address.to_string(), "in": total_in, "out": total_out, "rate_in": came, "rate_out": went,
        });
        if history > 0 {
            let (came, _) = asked.state.sampler.series(address);
            let recent = came.get(came.len().saturating_sub(history)..).unwrap_or_default();
            put(&mut row, "history", recent);
        }
        row
    };
    let key = |(address, ..): &(Option<Address>, u64, u64)| {
        address.as_ref().map_or_else(String::new, ToString::to_string)
    };
    paged(asked, rows, key, row)
}

/// Resident memory in bytes and CPU time in milliseconds of this process; zeros where `/proc` is not.
pub(crate) fn process() -> (u64, u64) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields are counted behind the name, which may hold spaces and brackets.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    (pages * 4096, ticks * 10)
}

pub(crate) fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
