//! Lists of what there is: streams, retained topics, connections, routes, outlets, protocols, keys, usage, audit.

use crate::overview::millis;
use crate::queues::envelope;
use crate::{Asked, State, admin, bad, endpoint, items, put};
use message::{Address, Code, Fault, Kind, Pattern, Verb};
use net::http::{Method, Routes};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    let get = |routes: &mut Routes, path: &str, list: fn(&Asked) -> Result<Value, Fault>| {
        endpoint(state, routes, Method::GET, path, Verb::Inspect, move |asked| async move { list(&asked) });
    };
    get(routes, "/admin/streams", streams);
    get(routes, "/admin/topics", topics);
    get(routes, "/admin/connections", connections);
    get(routes, "/admin/routes", routing);
    get(routes, "/admin/outlets", outlets);
    get(routes, "/admin/protocols", protocols);
    get(routes, "/admin/keys", keys);
    get(routes, "/admin/usage", usage);
    get(routes, "/admin/audit", audit);
    endpoint(state, routes, Method::DELETE, "/admin/connections/{id}", Verb::Manage, |asked| async move {
        close(&asked).await
    });
}

fn streams(asked: &Asked) -> Result<Value, Fault> {
    let now = asked.hub().clock().now();
    let mut list = Vec::new();
    for row in asked.hub().broker().streams() {
        if !asked.session.may(Verb::Inspect, &row.address) {
            continue;
        }
        let (came, went) = asked.state.sampler.rate(&row.address);
        list.push(json!({
            "name": row.address.name(), "address": row.address.to_string(), "head": row.stats.head, "tail": row.stats.tail,
            "depth": row.stats.tail.saturating_sub(row.stats.head), "bytes": row.stats.bytes,
            "oldest_ms": row.stats.oldest.map(|time| millis(now.since(time))), "in": row.stats.messages_in,
            "out": row.stats.messages_out, "consumers": row.stats.followers, "rate_in": came, "rate_out": went,
        }));
    }
    Ok(items(list))
}

fn topics(asked: &Asked) -> Result<Value, Fault> {
    let filter = asked.call.query("filter").unwrap_or_else(|| "#".into());
    let pattern = Pattern::new(Kind::Topic, &filter)?;
    let max = asked.number("max", 100, 1_000)?;
    let found = asked.hub().broker().retained_matching(&pattern, max);
    let mine = found.iter().filter(|message| asked.session.may(Verb::Inspect, &message.address));
    Ok(items(mine.map(|message| envelope(message.envelope())).collect()))
}

fn connections(asked: &Asked) -> Result<Value, Fault> {
    let row = |state: &net::ConnState| {
        json!({
            "id": state.id, "peer": state.peer.to_string(), "local": state.local.to_string(), "protocol": state.protocol,
            "principal": state.principal.as_deref(), "since": state.since.to_string(),
            "bytes_in": state.bytes_in, "bytes_out": state.bytes_out,
            "tls": state.tls.as_ref().map(|tls| json!({ "version": tls.version, "key_exchange": tls.key_exchange })),
        })
    };
    Ok(items(asked.state.console.connections.list().iter().map(row).collect()))
}

async fn close(asked: &Asked) -> Result<Value, Fault> {
    let text = asked.call.param("id");
    let id: u64 = text.parse().map_err(|_| bad(format!("{text:?} is no connection's number")))?;
    if !asked.state.console.connections.close(id) {
        return Err(Fault::new(Code::UnknownAddress, format!("there is no connection {id}")));
    }
    asked.session.record_change(&admin("connections")?).await?;
    Ok(json!({ "closed": id }))
}

fn routing(asked: &Asked) -> Result<Value, Fault> {
    let row = |route: &hub::RouteStats| {
        json!({
            "name": &*route.name, "from": route.from, "to": route.to, "steps": route.steps, "taken": route.taken,
            "filtered": route.filtered, "failed": route.failed, "delivered": route.delivered,
        })
    };
    Ok(items(asked.hub().routes().iter().map(row).collect()))
}

fn outlets(asked: &Asked) -> Result<Value, Fault> {
    let row = |outlet: &hub::OutletStats| {
        json!({
            "name": &*outlet.name, "address": format!("out/{}", outlet.name), "kind": outlet.kind, "target": outlet.target,
            "breaker": outlet.breaker.as_str(), "failures": outlet.failures, "opened": outlet.opened,
            "delivered": outlet.delivered, "failed": outlet.failed,
        })
    };
    Ok(items(asked.hub().outlets().iter().map(row).collect()))
}

fn protocols(asked: &Asked) -> Result<Value, Fault> {
    let counts = asked.state.console.connections.protocols();
    let row = |protocol: &&'static hub::Protocol| {
        let mine = counts.iter().filter(|(label, _)| speaks(protocol.name, label));
        let (open, accepted) =
            mine.fold((0, 0), |(open, accepted), (_, count)| (open + count.open, accepted + count.accepted));
        json!({
            "name": protocol.name, "title": protocol.title, "manual": protocol.manual, "port": protocol.port,
            "open": open, "accepted": accepted,
        })
    };
    Ok(items(asked.state.console.protocols.iter().map(row).collect()))
}

/// Whether a connection with this label came in by the protocol: HTTP's say their version, `http/1.1`.
pub(crate) fn speaks(protocol: &str, label: &str) -> bool {
    let version = label.strip_prefix(protocol);
    version.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || (protocol == "http" && label == "websocket")
}

fn keys(asked: &Asked) -> Result<Value, Fault> {
    let row = |identity: &Arc<access::Identity>| {
        let allowed: serde_json::Map<String, Value> = Verb::ALL
            .iter()
            .map(|verb| {
                let patterns =
                    identity.grants.patterns(*verb).iter().map(|pattern| pattern.to_string().into());
                (verb.as_str().to_owned(), patterns.collect::<Vec<Value>>().into())
            })
            .collect();
        json!({
            "name": &*identity.principal.name, "tenant": &*identity.principal.tenant,
            "roles": identity.principal.roles.iter().map(|role| &**role).collect::<Vec<_>>(), "allow": allowed,
        })
    };
    Ok(items(asked.hub().identities().iter().map(row).collect()))
}

fn usage(asked: &Asked) -> Result<Value, Fault> {
    let row = |(principal, model, sum): &(Arc<str>, Arc<str>, access::Sum)| {
        json!({
            "principal": &**principal, "model": &**model, "calls": sum.calls, "failed": sum.failed,
            "input_tokens": sum.input_tokens, "output_tokens": sum.output_tokens, "cost_usd": usd(sum.cost_nano),
        })
    };
    Ok(items(asked.hub().ledger().sums().iter().map(row).collect()))
}

/// Billionths of a dollar as an exact decimal text: money is never a floating-point number.
pub(crate) fn usd(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let trimmed = text.trim_end_matches('0');
    trimmed.strip_suffix('.').unwrap_or(trimmed).to_owned()
}

/// From an offset on, or the newest; either way the oldest comes first, and `next` is where to read on.
fn audit(asked: &Asked) -> Result<Value, Fault> {
    let max = asked.number("max", 100, 1_000)?;
    let tail = hub::audit::tail(asked.hub())?;
    let newest = tail.saturating_sub(u64::try_from(max).unwrap_or(u64::MAX));
    let from = match asked.call.query("from") {
        Some(text) => text.parse().map_err(|_| bad(format!("from={text} is no offset")))?,
        None => newest,
    };
    let lines = hub::audit::read(asked.hub(), from, max)?;
    let next = lines.last().map_or(from.min(tail), |(offset, _)| offset + 1);
    let rows = lines.iter().filter_map(|(offset, line)| {
        let mut row: Value = serde_json::from_slice(line).ok()?;
        put(&mut row, "offset", *offset);
        Some(row)
    });
    Ok(json!({ "items": rows.collect::<Vec<_>>(), "next": next, "tail": tail }))
}

/// Whether whoever asks may look at `address`, for rows that name one.
pub(crate) fn visible(asked: &Asked, address: &Address) -> bool {
    asked.session.may(Verb::Inspect, address) || asked.session.may(Verb::Call, address)
}
