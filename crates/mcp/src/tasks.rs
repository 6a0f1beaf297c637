//! Tasks of upstreams as clients see them: ids put in and taken out of what passes, and whose session a task belongs to that an
//! upstream speaks of by itself. The tasks themselves are the upstreams'; none is kept here.

use crate::exchange::{Era, Exchange, Tasking};
use crate::json::{Fields, Object};
use crate::link::Audience;
use crate::rpc::{self, Message};
use crate::session::{Session, TaskKey};
use crate::ticket::{Owner, Tickets};
use bytes::Bytes;
use message::{Address, Code, Fault};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The extension of revision 2026-07-28.
pub(crate) const EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// The key in `_meta` by which revision 2025-11-25 says to which task a message belongs.
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// The notification of revision 2025-11-25.
pub(crate) const STATUS: &str = "notifications/tasks/status";
/// The notification of the extension.
pub(crate) const UPDATE: &str = "notifications/tasks";

/// Whether a stateless client's capabilities hold the extension.
pub(crate) fn declared(capabilities: &str) -> bool {
    capabilities.contains(EXTENSION)
        && Fields::parse(capabilities).is_ok_and(|fields| {
            Fields::of(fields.get("extensions")).is_ok_and(|all| all.get(EXTENSION).is_some())
        })
}

/// Capabilities without the extension, which says nothing in a session.
pub(crate) fn undeclared(capabilities: &str) -> String {
    let Ok(fields) = Fields::parse(capabilities) else { return capabilities.to_owned() };
    let Ok(extensions) = Fields::of(fields.get("extensions")) else { return capabilities.to_owned() };
    let rest = Object::new().all_but(&extensions, &[EXTENSION]).done();
    let object = Object::new().all_but(&fields, &["extensions"]);
    if rest == "{}" { object.done() } else { object.raw("extensions", &rest).done() }
}

/// A result as the client shall see it: the upstream's task id replaced by ours.
pub(crate) fn outward(
    tickets: &Tickets,
    notes: &Notes,
    owner: Owner<'_>,
    exchange: &Exchange,
    address: &Address,
    upstream: &Arc<str>,
    result: String,
) -> Result<String, Fault> {
    match &exchange.tasking {
        Tasking::Never => return Ok(result),
        Tasking::Of { theirs, ours } => return Ok(related(&result, theirs, ours).unwrap_or(result)),
        Tasking::Possible if !result.contains("\"task\"") => return Ok(result),
        Tasking::Possible => {}
    }
    let broken = |why: &'static str| Fault::new(Code::UpstreamProtocol, why);
    let fields = Fields::parse(&result).map_err(|_| broken("its result is no object"))?;
    let issue = |task: &Fields<'_>| {
        let theirs = task.string("taskId").ok_or_else(|| broken("its task has no taskId"))?;
        let ours = tickets.issue(owner, exchange.client, address, &theirs);
        ours.map(|ours| (theirs.into_owned(), ours)).ok_or_else(|| broken("its task id is too long"))
    };
    let put = |task: &Fields<'_>, ours: &str| {
        task.iter().fold(Object::with_capacity(result.len() + ours.len()), |object, (key, value)| match key {
            "taskId" => object.text(key, ours),
            _ => object.raw(key, value),
        })
    };
    if exchange.client == Era::Modern {
        if fields.string("resultType").as_deref() != Some("task") {
            return Ok(result);
        }
        let (_, ours) = issue(&fields)?;
        return Ok(put(&fields, &ours).done());
    }
    let Some(task) = fields.get("task") else { return Ok(result) };
    let task = Fields::parse(task).map_err(|_| broken("its task is no object"))?;
    let (theirs, ours) = issue(&task)?;
    let task = put(&task, &ours).done();
    if let Some(session) = &exchange.session {
        notes.note(upstream, theirs, ours, session);
    }
    Ok(Object::with_capacity(task.len() + 64).raw("task", &task).all_but(&fields, &["task"]).done())
}

/// `object` with our id wherever it names the upstream's: as `taskId`, and in `_meta`. `None` when it names it nowhere.
pub(crate) fn related(object: &str, theirs: &str, ours: &str) -> Option<String> {
    let fields = Fields::parse(object).ok()?;
    let is_theirs = |raw: &str| crate::json::string(raw).as_deref() == Some(theirs);
    let mut changed = false;
    let mut out = Object::with_capacity(object.len() + ours.len());
    for (key, value) in fields.iter() {
        out = match key {
            "taskId" if is_theirs(value) => {
                changed = true;
                out.text(key, ours)
            }
            "_meta" if value.contains(RELATED) => {
                let meta = Fields::parse(value).ok()?;
                let task = Fields::of(meta.get(RELATED)).ok()?;
                if task.get("taskId").is_some_and(is_theirs) {
                    changed = true;
                    let task = Object::new().text("taskId", ours).all_but(&task, &["taskId"]).done();
                    out.raw(key, &Object::new().all_but(&meta, &[RELATED]).raw(RELATED, &task).done())
                } else {
                    out.raw(key, value)
                }
            }
            _ => out.raw(key, value),
        };
    }
    changed.then(|| out.done())
}

/// A notification in which the upstream's id is replaced by ours; `None` when it does not name the task.
pub(crate) fn notification(message: &[u8], theirs: &str, ours: &str) -> Option<Bytes> {
    let Ok(Message::Notification { method, params }) = Message::parse(message) else { return None };
    Some(rpc::notification(&method, Some(&related(params?, theirs, ours)?)))
}

/// The upstream's id that a message of it names, as its own `taskId` or in `_meta`.
fn named(params: Option<&str>) -> Option<String> {
    let fields = Fields::parse(params?).ok()?;
    let meta = Fields::of(fields.get("_meta")).ok()?;
    let task = Fields::of(meta.get(RELATED)).ok()?;
    task.string("taskId").or_else(|| fields.string("taskId")).map(Into::into)
}

/// The task that a question of an upstream belongs to.
pub(crate) fn asked_for(params: Option<&str>) -> Option<String> {
    params.filter(|params| params.contains(RELATED)).and_then(|params| named(Some(params)))
}

/// Which session made which task at which upstream, so that what the upstream says of it by itself finds its way. Each
/// session remembers its latest 256 tasks; of older ones a client hears only when it asks.
#[derive(Default)]
pub(crate) struct Notes(Mutex<HashMap<TaskKey, Vec<Noted>>>);

struct Noted {
    ours: String,
    session: Weak<Session>,
}

impl Notes {
    fn note(&self, upstream: &Arc<str>, theirs: String, ours: String, session: &Arc<Session>) {
        let key = (upstream.clone(), theirs);
        let forgotten = session.remember_task(key.clone(), ours.clone());
        if let Some(forgotten) = forgotten {
            self.drop_of(session, &forgotten);
        }
        let mut all = self.0.lock();
        // Where each client has a session or a process of its own there, two tasks may have one id.
        let noted = all.entry(key).or_default();
        noted.retain(|note| note.session.upgrade().is_some_and(|other| other.id != session.id));
        noted.push(Noted { ours, session: Arc::downgrade(session) });
    }

    fn drop_of(&self, session: &Session, key: &TaskKey) {
        let mut all = self.0.lock();
        let Some(noted) = all.get_mut(key) else { return };
        noted.retain(|note| note.session.upgrade().is_some_and(|other| other.id != session.id));
        if noted.is_empty() {
            all.remove(key);
        }
    }

    /// Forgets the tasks of a session that ends.
    pub(crate) fn forget(&self, session: &Session) {
        for (key, _) in session.take_tasks() {
            self.drop_of(session, &key);
        }
    }

    /// Whose a task is of which that connection speaks, and what they know it as; nobody's when several could be meant.
    fn find(&self, upstream: &Arc<str>, theirs: &str, audience: &Audience) -> Option<(Arc<Session>, String)> {
        let all = self.0.lock();
        let noted = all.get(&(upstream.clone(), theirs.to_owned()))?;
        let session = |note: &Noted| Some((note.session.upgrade()?, note.ours.clone()));
        let mut meant = noted.iter().filter_map(session).filter(|(session, _)| audience.may_mean(session));
        match (meant.next(), meant.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Tells the session that made it how a task stands now.
    pub(crate) fn status(&self, upstream: &Arc<str>, params: Option<&str>, audience: &Audience) {
        let told = named(params).and_then(|theirs| {
            let (session, ours) = self.find(upstream, &theirs, audience)?;
            session.post(rpc::notification(STATUS, Some(&related(params?, &theirs, &ours)?)));
            Some(())
        });
        if told.is_none() {
            tracing::debug!(%upstream, "an upstream speaks of a task that no session made");
        }
    }

    /// The session to which a question belongs that names a task, and the question's parameters with our id.
    pub(crate) fn asked(
        &self,
        upstream: &Arc<str>,
        params: Option<&str>,
        audience: &Audience,
    ) -> Option<(Arc<Session>, String)> {
        let theirs = asked_for(params)?;
        let (session, ours) = self.find(upstream, &theirs, audience)?;
        Some((session, related(params?, &theirs, &ours)?))
    }
}
