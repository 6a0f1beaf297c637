//! `subscriptions/listen` of revision 2026-07-28: a stream of the changes that the client asked for, and of no others.
//! Progress and log messages never stand on it.

use super::{Refusal, Visit, asking, stream};
use crate::catalogue::List;
use crate::exchange::{Era, META_SUBSCRIPTION};
use crate::gateway::{Change, Inner, changed};
use crate::json::{Fields, Object, quote};
use crate::link::server_meta;
use crate::rpc;
use crate::sse;
use crate::tasks;
use crate::upstream::{Topic, Upstream};
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

/// The resources and tasks that are followed for one stream; they are let go when it ends, however it ends.
struct Followed {
    spawn: net::Tasks,
    topics: Vec<(Arc<Upstream>, Topic)>,
    /// The client's URIs of the resources, by upstream and its own URI.
    uris: Vec<(Arc<str>, String, String)>,
    /// Our ids of the tasks, by upstream and its own id.
    ours: Vec<(Arc<str>, String, String)>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        let topics = std::mem::take(&mut self.topics);
        if topics.is_empty() {
            return;
        }
        self.spawn.spawn("mcp unwatch", async move {
            for (upstream, topic) in topics {
                upstream.unwatch(&topic).await;
            }
        });
    }
}

/// Opens the stream: the acknowledgement first, with what will be told.
pub(crate) async fn open(
    visit: &Visit,
    id: &str,
    fields: &Fields<'_>,
    meta: &Fields<'_>,
) -> Result<Response, Refusal> {
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
    let strings = |key: &str| match filter.get(key) {
        Some(raw) => serde_json::from_str(raw)
            .map_err(|_| Refusal::bad(rpc::INVALID_PARAMS, format!("{key} must be a list of strings"))),
        None => Ok(Vec::new()),
    };
    let (uris, ids): (Vec<String>, Vec<String>) = (strings("resourceSubscriptions")?, strings("taskIds")?);
    if filter.get("taskIds").is_some() && tasks::declared(&gateway.catalogue.load().stateless) {
        super::modern::need_tasks(meta)?;
    }
    let most = gateway.hub.limits().subscriptions;
    if uris.len() + ids.len() > most {
        let why = format!("one stream may follow {most} resources and tasks");
        return Err(Refusal::bad(rpc::INVALID_PARAMS, why));
    }
    let mut followed = Followed {
        spawn: gateway.hub.tasks().clone(),
        topics: Vec::new(),
        uris: Vec::new(),
        ours: Vec::new(),
    };
    if !uris.is_empty() {
        let uris = followed.resources(visit, uris).await;
        accepted = accepted.raw("resourceSubscriptions", &format!("[{}]", uris.join(",")));
    }
    if !ids.is_empty() {
        let ids = followed.tasks(visit, ids).await;
        accepted = accepted.raw("taskIds", &format!("[{}]", ids.join(",")));
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

impl Followed {
    /// Follows what of these can be followed; says which, as JSON strings.
    async fn resources(&mut self, visit: &Visit, uris: Vec<String>) -> Vec<String> {
        let mut accepted = Vec::new();
        for uri in uris {
            if let Some((upstream, theirs)) = follow(visit, &uri).await {
                accepted.push(quote(&uri));
                self.uris.push((upstream.name.clone(), theirs.clone(), uri));
                self.topics.push((upstream, Topic::Resource(theirs)));
            }
        }
        accepted
    }

    /// The same for tasks, which must be the caller's own and made by tools that the caller may still call.
    async fn tasks(&mut self, visit: &Visit, ids: Vec<String>) -> Vec<String> {
        let mut accepted = Vec::new();
        for ours in ids {
            let tickets = visit.gateway.tickets.load_full();
            let Some(ticket) = tickets.read((&visit.session).into(), Era::Modern, &ours) else { continue };
            let owner = ticket.address.name().split('/').next().unwrap_or_default();
            let Some(upstream) = visit.gateway.upstream(owner) else { continue };
            if !visit.session.may(Verb::Call, &ticket.address) {
                continue;
            }
            let topic = Topic::Task(ticket.theirs.clone());
            match upstream.watch(&topic).await {
                Ok(()) => {
                    accepted.push(quote(&ours));
                    self.ours.push((upstream.name.clone(), ticket.theirs, ours));
                    self.topics.push((upstream, topic));
                }
                Err(failure) => {
                    tracing::debug!(upstream = %upstream.name, error = failure.text(), "a task cannot be followed");
                }
            }
        }
        accepted
    }
}

/// Follows one resource that the caller may read, at whose it is.
pub(crate) async fn follow(visit: &Visit, uri: &str) -> Option<(Arc<Upstream>, String)> {
    let found = asking::resource(visit, uri).ok()?;
    let upstream = visit.gateway.upstream(&found.upstream)?;
    match upstream.watch(&Topic::Resource(found.theirs.clone())).await {
        Ok(()) => Some((upstream, found.theirs)),
        Err(failure) => {
            tracing::debug!(upstream = %upstream.name, error = failure.text(), "a resource cannot be followed");
            None
        }
    }
}

/// How a task stands, with our id of it and of the stream in place of the upstream's.
fn task_update(id: &str, ours: &str, params: &str) -> Bytes {
    let fields = Fields::parse(params).unwrap_or_default();
    let meta = Fields::of(fields.get("_meta")).unwrap_or_default();
    let meta = Object::new().raw(META_SUBSCRIPTION, id).all_but(&meta, &[META_SUBSCRIPTION]).done();
    let params = Object::with_capacity(params.len() + ours.len())
        .raw("_meta", &meta)
        .text("taskId", ours)
        .all_but(&fields, &["_meta", "taskId"])
        .done();
    rpc::notification(tasks::UPDATE, Some(&params))
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
                    let mine = |(owner, theirs, _): &&(Arc<str>, String, String)| {
                        **theirs == *uri && *owner == upstream
                    };
                    if let Some((_, _, uri)) = self.followed.uris.iter().find(mine) {
                        let params = Object::new().raw("_meta", &tag(&self.id)).text("uri", uri).done();
                        let message = rpc::notification("notifications/resources/updated", Some(&params));
                        return Some((Ok(sse::frame(&message)), self));
                    }
                }
                Ok(Change::Task { upstream, theirs, params }) => {
                    let mine = |(owner, have, _): &&(Arc<str>, String, String)| {
                        **have == *theirs && *owner == upstream
                    };
                    if let Some((_, _, ours)) = self.followed.ours.iter().find(mine) {
                        return Some((Ok(sse::frame(&task_update(&self.id, ours, &params))), self));
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
