//! `subscriptions/listen` of revision 2026-07-28: a stream of the changes that the client asked for, and of no others.
//! Progress and log messages never stand on it.

use super::{Refusal, Visit, asking, stream};
use crate::catalogue::List;
use crate::exchange::META_SUBSCRIPTION;
use crate::gateway::{Change, Inner, changed};
use crate::json::{Fields, Object, quote};
use crate::link::server_meta;
use crate::rpc;
use crate::sse;
use crate::upstream::Upstream;
use bytes::Bytes;
use message::{Fault, Verb};
use net::CancellationToken;
use net::http::{Body, Response};
use std::sync::Arc;
use tokio::sync::broadcast;

/// One open stream.
struct Listening {
    gateway: Arc<Inner>,
    id: String,
    wanted: Vec<List>,
    followed: Followed,
    changes: broadcast::Receiver<Change>,
    draining: CancellationToken,
    first: Option<Bytes>,
    ended: bool,
    /// Missed changes, told one by one.
    owed: Vec<List>,
}

/// The resources that are followed for one stream; they are let go when it ends, however it ends.
struct Followed {
    tasks: net::Tasks,
    resources: Vec<(Arc<Upstream>, String)>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let resources = std::mem::take(&mut self.resources);
        if resources.is_empty() {
            return;
        }
        self.tasks.spawn("mcp unwatch", async move {
            for (upstream, uri) in resources {
                upstream.unwatch(&uri).await;
            }
        });
    }
}

/// Opens the stream: the acknowledgement first, with what will be told.
pub(crate) async fn open(visit: &Visit, id: &str, fields: &Fields<'_>) -> Result<Response, Refusal> {
    let bad = |why: &'static str| Refusal::bad(rpc::INVALID_PARAMS, why);
    let filter = fields
        .get("notifications")
        .filter(|raw| raw.starts_with('{'))
        .ok_or_else(|| bad("notifications must be an object"))?;
    let filter = Fields::parse(filter).map_err(|_| bad("notifications must be an object"))?;
    let gateway = visit.gateway.clone();
    gateway.settled().await;
    // Listening begins before the acknowledgement is written, so that nothing is missed between them.
    let changes = gateway.changes();
    let mut accepted = Object::new();
    let mut wanted = Vec::new();
    for (key, list) in [
        ("toolsListChanged", List::Tools),
        ("promptsListChanged", List::Prompts),
        ("resourcesListChanged", List::Resources),
    ] {
        let known = Fields::parse(&gateway.catalogue.load().capabilities)
            .is_ok_and(|all| all.get(list.capability()).is_some());
        if filter.get(key) == Some("true") && known {
            accepted = accepted.raw(key, "true");
            wanted.push(list);
        }
    }
    let uris: Vec<String> = match filter.get("resourceSubscriptions") {
        Some(raw) => {
            serde_json::from_str(raw).map_err(|_| bad("resourceSubscriptions must be a list of strings"))?
        }
        None => Vec::new(),
    };
    let most = gateway.hub.limits().subscriptions;
    if uris.len() > most {
        return Err(Refusal::bad(rpc::INVALID_PARAMS, format!("one stream may follow {most} resources")));
    }
    let asked = !uris.is_empty();
    let mut followed = Followed { tasks: gateway.hub.tasks().clone(), resources: Vec::new() };
    for uri in uris {
        if let Some(upstream) = follow(visit, &uri).await {
            followed.resources.push((upstream, uri));
        }
    }
    if asked {
        let uris: Vec<String> = followed.resources.iter().map(|(_, uri)| quote(uri)).collect();
        accepted = accepted.raw("resourceSubscriptions", &format!("[{}]", uris.join(",")));
    }
    let params = Object::new().raw("_meta", &tag(id)).raw("notifications", &accepted.done()).done();
    let first = sse::frame(&rpc::notification("notifications/subscriptions/acknowledged", Some(&params)));
    let draining = gateway.hub.tasks().draining();
    let state = Listening {
        gateway,
        id: id.to_owned(),
        wanted,
        followed,
        changes,
        draining,
        first: Some(first),
        ended: false,
        owed: Vec::new(),
    };
    Ok(stream(Body::stream(futures_util::stream::unfold(state, Listening::next))))
}

/// Follows one resource that the caller may read, at whose it is.
pub(crate) async fn follow(visit: &Visit, uri: &str) -> Option<Arc<Upstream>> {
    let (address, _) = asking::resource(&visit.gateway, uri).ok()?;
    if !visit.session.may(Verb::Call, &address) {
        return None;
    }
    let owner = visit.gateway.catalogue.load().reader(uri)?;
    let upstream = visit.gateway.upstream(&owner)?;
    match upstream.watch(uri).await {
        Ok(()) => Some(upstream),
        Err(failure) => {
            tracing::debug!(upstream = %upstream.name, error = failure.text(), "a resource cannot be followed");
            None
        }
    }
}

fn tag(id: &str) -> String {
    Object::new().raw(META_SUBSCRIPTION, id).done()
}

impl Listening {
    async fn next(mut self) -> Option<(Result<Bytes, Fault>, Listening)> {
        if self.ended {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        loop {
            if let Some(list) = self.owed.pop() {
                let params = Object::new().raw("_meta", &tag(&self.id)).done();
                return Some((Ok(sse::frame(&rpc::notification(changed(list), Some(&params)))), self));
            }
            let change = tokio::select! {
                change = self.changes.recv() => change,
                () = self.draining.cancelled() => {
                    self.ended = true;
                    return Some((Ok(self.farewell()), self));
                }
                () = tokio::time::sleep(super::KEEP_ALIVE) => {
                    return Some((Ok(Bytes::from_static(sse::KEEP_ALIVE)), self));
                }
            };
            match change {
                Ok(Change::List(list)) => {
                    let list = if list == List::Templates { List::Resources } else { list };
                    if self.wanted.contains(&list) {
                        self.owed.push(list);
                    }
                }
                Ok(Change::Resource { upstream, uri }) => {
                    let mine =
                        |(owner, have): &(Arc<Upstream>, String)| **have == *uri && owner.name == upstream;
                    if self.followed.resources.iter().any(mine) {
                        let params = Object::new().raw("_meta", &tag(&self.id)).text("uri", &uri).done();
                        let message = rpc::notification("notifications/resources/updated", Some(&params));
                        return Some((Ok(sse::frame(&message)), self));
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.owed.clone_from(&self.wanted),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The response that says that the stream ends by our own doing.
    fn farewell(&self) -> Bytes {
        let meta = format!("{{\"{META_SUBSCRIPTION}\":{},{}", self.id, server_meta().trim_start_matches('{'));
        let result = Object::new().text("resultType", "complete").raw("_meta", &meta).done();
        tracing::debug!(readers = self.gateway.catalogue.load().readers.len(), "a listening stream ends");
        sse::frame(&rpc::result(&self.id, &result))
    }
}
