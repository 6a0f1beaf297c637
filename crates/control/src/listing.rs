//! Lists of what there is: streams, retained topics, connections, routes, outlets, protocols, keys, usage, audit.

use crate::overview::millis;
use crate::pages::{Page, bounds, end, paged, write_row};
use crate::queues::envelope;
use crate::{Asked, State, admin, bad, endpoint, put};
use broker::{Bounds, Message};
use bytes::Bytes;
use hub::pages::{self, List};
use hub::{Hub, Session};
use message::{Address, Code, Fault, Kind, Pattern, Verb};
use net::http::{Method, Response, Routes};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn mount(state: &Arc<State>, routes: &mut Routes) {
    let get = |routes: &mut Routes, path: &str, list: fn(&Asked) -> Result<Page, Fault>| {
        endpoint(state, routes, Method::GET, path, Verb::Inspect, move |asked| async move { list(&asked) });
    };
    get(routes, "/admin/streams", streams);
    get(routes, "/admin/connections", connections);
    get(routes, "/admin/routes", routing);
    get(routes, "/admin/outlets", outlets);
    get(routes, "/admin/protocols", protocols);
    get(routes, "/admin/keys", keys);
    get(routes, "/admin/usage", usage);
    endpoint(state, routes, Method::GET, "/admin/topics", Verb::Inspect, |asked| async move {
        topics(&asked).await
    });
    endpoint(state, routes, Method::GET, "/admin/audit", Verb::Inspect, |asked| async move {
        audit(&asked).await
    });
    endpoint(state, routes, Method::DELETE, "/admin/connections/{id}", Verb::Manage, |asked| async move {
        close(&asked).await
    });
}

fn streams(asked: &Asked) -> Result<Page, Fault> {
    let now = asked.hub().clock().now();
    let all = asked.hub().broker().streams();
    let mine = all.iter().filter(|row| asked.session.may(Verb::Inspect, &row.address));
    let row = |row: &&broker::StreamRow| {
        let (came, went) = asked.state.sampler.rate(&row.address);
        json!({
            "name": row.address.name(), "address": row.address.to_string(), "head": row.stats.head, "tail": row.stats.tail,
            "depth": row.stats.tail.saturating_sub(row.stats.head), "bytes": row.stats.bytes,
            "oldest_ms": row.stats.oldest.map(|time| millis(now.since(time))), "in": row.stats.messages_in,
            "out": row.stats.messages_out, "consumers": row.stats.followers, "rate_in": came, "rate_out": went,
        })
    };
    paged(asked, mine, |row| row.address.name().to_owned(), row)
}

async fn topics(asked: &Asked) -> Result<Response, Fault> {
    let filter = asked.call.query("filter").unwrap_or_else(|| "#".into());
    let pattern = Pattern::new(Kind::Topic, &filter)?;
    let after = asked.call.query("after").map(|after| Arc::from(&*after));
    let list =
        Topics { hub: asked.hub().clone(), session: asked.session.clone(), pattern, after, ended: false };
    pages::page(&asked.call.conn, "application/json", "{\"items\":[", list, bounds(asked, 100)?).await
}

/// Retained values, by topic.
struct Topics {
    hub: Hub,
    session: Session,
    pattern: Pattern,
    after: Option<Arc<str>>,
    ended: bool,
}

impl List for Topics {
    type Element = Arc<Message>;

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<Arc<Message>>, Fault> {
        while !self.ended {
            let after = self.after.as_deref();
            let (mut found, next) = self.hub.broker().retained_matching(&self.pattern, after, max);
            self.ended = next.is_none();
            self.after = next.or_else(|| found.last().map(|last| last.address.shared_name()));
            found.retain(|message| self.session.may(Verb::Inspect, &message.address));
            if !found.is_empty() {
                return Ok(found);
            }
            // There may be very many that are not shown.
            tokio::task::yield_now().await;
        }
        Ok(Vec::new())
    }

    fn weigh(message: &Arc<Message>) -> usize {
        message.weight()
    }

    fn write(&mut self, message: &Arc<Message>, out: &mut Vec<u8>) {
        write_row(out, &envelope(message.envelope()));
    }

    fn close(&mut self, more: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        end(out, self.after.as_deref().filter(|_| more && !self.ended), &[]);
        Ok(())
    }
}

fn connections(asked: &Asked) -> Result<Page, Fault> {
    let row = |state: &net::ConnState| {
        json!({
            "id": state.id, "peer": state.peer.to_string(), "local": state.local.to_string(), "protocol": state.protocol,
            "principal": state.principal.as_deref(), "since": state.since.to_string(),
            "bytes_in": state.bytes_in, "bytes_out": state.bytes_out,
            "tls": state.tls.as_ref().map(|tls| json!({ "version": tls.version, "key_exchange": tls.key_exchange })),
        })
    };
    let all = asked.state.console.connections.list();
    paged(asked, &all, |state| format!("{:020}", state.id), |state| row(state))
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

fn routing(asked: &Asked) -> Result<Page, Fault> {
    let row = |route: &hub::RouteStats| {
        json!({
            "name": &*route.name, "from": route.from, "to": route.to, "steps": route.steps, "taken": route.taken,
            "filtered": route.filtered, "failed": route.failed, "delivered": route.delivered,
        })
    };
    paged(asked, &asked.hub().routes(), |route| route.name.to_string(), |route| row(route))
}

fn outlets(asked: &Asked) -> Result<Page, Fault> {
    let row = |outlet: &hub::OutletStats| {
        json!({
            "name": &*outlet.name, "address": format!("out/{}", outlet.name), "kind": outlet.kind, "target": outlet.target,
            "breaker": outlet.breaker.as_str(), "failures": outlet.failures, "opened": outlet.opened,
            "delivered": outlet.delivered, "failed": outlet.failed,
        })
    };
    paged(asked, &asked.hub().outlets(), |outlet| outlet.name.to_string(), |outlet| row(outlet))
}

fn protocols(asked: &Asked) -> Result<Page, Fault> {
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
    paged(
        asked,
        &asked.state.console.protocols,
        |protocol| protocol.name.to_owned(),
        |protocol| row(protocol),
    )
}

/// Whether a connection with this label came in by the protocol: HTTP's say their version, `http/1.1`.
pub(crate) fn speaks(protocol: &str, label: &str) -> bool {
    let version = label.strip_prefix(protocol);
    version.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || (protocol == "http" && label == "websocket")
}

fn keys(asked: &Asked) -> Result<Page, Fault> {
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
    let all = asked.hub().identities();
    paged(asked, &all, |identity| identity.principal.name.to_string(), |identity| row(identity))
}

fn usage(asked: &Asked) -> Result<Page, Fault> {
    let row = |(principal, model, sum): &(Arc<str>, Arc<str>, access::Sum)| {
        json!({
            "principal": &**principal, "model": &**model, "calls": sum.calls, "failed": sum.failed,
            "input_tokens": sum.input_tokens, "output_tokens": sum.output_tokens, "cost_usd": usd(sum.cost_nano),
        })
    };
    let all = asked.hub().ledger().sums();
    paged(asked, &all, |(principal, model, _)| format!("{principal} {model}"), |sum| row(sum))
}

/// Billionths of a dollar as an exact decimal text: money is never a floating-point number.
pub(crate) fn usd(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let trimmed = text.trim_end_matches('0');
    trimmed.strip_suffix('.').unwrap_or(trimmed).to_owned()
}

/// From an offset on, or the newest; either way the oldest comes first, and `next` is where to read on.
async fn audit(asked: &Asked) -> Result<Response, Fault> {
    let bounds = bounds(asked, 100)?;
    let tail = hub::audit::tail(asked.hub())?;
    let newest = tail.saturating_sub(u64::try_from(bounds.messages).unwrap_or(u64::MAX));
    let from = match asked.call.query("from") {
        Some(text) => text.parse().map_err(|_| bad(format!("from={text} is no offset")))?,
        None => newest,
    };
    let list = Trail { hub: asked.hub().clone(), next: from.min(tail), tail };
    pages::page(&asked.call.conn, "application/json", "{\"items\":[", list, bounds).await
}

/// The audit trail, as far as it went when it was asked for.
struct Trail {
    hub: Hub,
    next: u64,
    tail: u64,
}

impl List for Trail {
    type Element = (u64, Bytes);

    async fn fetch(&mut self, max: Bounds) -> Result<Vec<(u64, Bytes)>, Fault> {
        if self.next >= self.tail {
            return Ok(Vec::new());
        }
        let lines = hub::audit::read(&self.hub, self.next, max)?;
        self.next = lines.last().map_or(self.tail, |(offset, _)| offset + 1);
        Ok(lines)
    }

    fn weigh((_, line): &(u64, Bytes)) -> usize {
        line.len()
    }

    fn write(&mut self, (offset, line): &(u64, Bytes), out: &mut Vec<u8>) {
        let mut row: Value = serde_json::from_slice(line).unwrap_or_else(|_| json!({}));
        put(&mut row, "offset", *offset);
        write_row(out, &row);
    }

    fn close(&mut self, _: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        end(out, self.next, &[("tail", self.tail)]);
        Ok(())
    }
}

/// Whether whoever asks may look at `address`, for rows that name one.
pub(crate) fn visible(asked: &Asked, address: &Address) -> bool {
    asked.session.may(Verb::Inspect, address) || asked.session.may(Verb::Call, address)
}
