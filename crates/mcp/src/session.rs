//! A client's session in the eras that have them: who owns it, what it declared, what it is being asked, and the mailbox of
//! its standing stream. It speaks no HTTP and knows no upstream.

use crate::exchange::{Answer, capability_for};
use crate::json::Fields;
use crate::replay::Replay;
use crate::rpc;
use bytes::Bytes;
use message::{Clock, Moment};
use net::CancellationToken;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a client may take to answer a question that belongs to no call.
const ASKED: Duration = Duration::from_secs(600);
/// The most questions that one session has open at its client.
const QUESTIONS: usize = 64;

/// The most tasks that one session remembers; then the oldest is forgotten.
const TASKS: usize = 256;

/// The most streams of calls that one session has; then an ended one is forgotten, or else a call is ended that nobody reads.
const STREAMS: usize = 32;

/// A task of an upstream: its name and its id.
pub(crate) type TaskKey = (Arc<str>, String);

/// One session. Its id is 192 bits of chance in base64url, all visible ASCII.
pub(crate) struct Session {
    pub(crate) id: String,
    /// Whose it is: a request of anybody else does not find it.
    pub(crate) principal: Arc<str>,
    pub(crate) tenant: Arc<str>,
    /// The revision that was agreed on.
    pub(crate) version: &'static str,
    pub(crate) capabilities: Arc<str>,
    pub(crate) client_info: Arc<str>,
    seen: AtomicU64,
    level: Mutex<Option<String>>,
    questions: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    running: Mutex<HashMap<String, CancellationToken>>,
    /// The resources that it follows, by the client's URI: whose each is, and its upstream's URI.
    subscribed: Mutex<HashMap<String, (Arc<str>, String)>>,
    tasks: Mutex<VecDeque<(TaskKey, String)>>,
    standing: Arc<Replay>,
    mail_max: usize,
    streams: Mutex<BTreeMap<u64, Arc<Replay>>>,
    replay: usize,
    next: AtomicU64,
    gone: CancellationToken,
}

/// What a new session is made of.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) principal: Arc<str>,
    pub(crate) tenant: Arc<str>,
    pub(crate) version: &'static str,
    pub(crate) capabilities: Arc<str>,
    pub(crate) client_info: Arc<str>,
    pub(crate) mailbox: usize,
    /// How many bytes of each stream stay.
    pub(crate) replay: usize,
}

impl Session {
    pub(crate) fn open(opening: Opening, id: String, now: Moment) -> Session {
        let gone = CancellationToken::new();
        Session {
            id,
            principal: opening.principal,
            tenant: opening.tenant,
            version: opening.version,
            capabilities: opening.capabilities,
            client_info: opening.client_info,
            seen: AtomicU64::new(now.as_micros()),
            level: Mutex::new(None),
            questions: Mutex::new(HashMap::new()),
            running: Mutex::new(HashMap::new()),
            subscribed: Mutex::new(HashMap::new()),
            tasks: Mutex::new(VecDeque::new()),
            standing: Arc::new(Replay::new(0, opening.replay, now, gone.clone())),
            mail_max: opening.mailbox,
            streams: Mutex::new(BTreeMap::new()),
            replay: opening.replay,
            next: AtomicU64::new(1),
            gone,
        }
    }

    /// The log level that the client set.
    pub(crate) fn level(&self) -> Option<String> {
        self.level.lock().clone()
    }

    pub(crate) fn set_level(&self, level: &str) {
        *self.level.lock() = Some(level.to_owned());
    }

    pub(crate) fn touch(&self, now: Moment) {
        self.seen.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Whether nothing was heard for `idle`; an open stream or a running call counts as being heard.
    fn stale(&self, now: Moment, idle: Duration) -> bool {
        let seen = Moment::from_micros(self.seen.load(Ordering::Relaxed));
        now.since(seen) > idle && self.is_quiet()
    }

    /// Whether no call runs and no stream is open.
    fn is_quiet(&self) -> bool {
        self.running.lock().is_empty() && !self.standing.is_read()
    }

    /// A fresh question for the client: its id as JSON, and where the answer arrives. The asker drops the receiver
    /// when it no longer wants the answer.
    pub(crate) fn question(&self, answer: oneshot::Sender<Answer>) -> Result<String, rpc::Error> {
        let id = format!("\"tl-{}\"", self.next.fetch_add(1, Ordering::Relaxed));
        let mut open = self.questions.lock();
        open.retain(|_, waiting| !waiting.is_closed());
        if open.len() >= QUESTIONS {
            return Err(rpc::Error::new(rpc::INTERNAL, format!("the client has {QUESTIONS} questions open")));
        }
        open.insert(id.clone(), answer);
        Ok(id)
    }

    /// Brings the client's answer to whoever asked; false when nobody did.
    pub(crate) fn answer(&self, id: &str, outcome: Result<&str, &str>) -> bool {
        let Some(waiting) = self.questions.lock().remove(id) else { return false };
        waiting.send(outcome.map(str::to_owned).map_err(rpc::Error::read)).is_ok()
    }

    /// Asks on the standing stream, for questions that belong to no call.
    pub(crate) async fn ask(&self, method: &str, params: Option<&str>) -> Answer {
        let declared = capability_for(method).is_some_and(|capability| {
            Fields::parse(&self.capabilities).is_ok_and(|fields| fields.get(capability).is_some())
        });
        if !declared {
            return Err(rpc::Error::new(
                rpc::METHOD_NOT_FOUND,
                format!("the client does not answer {method}"),
            ));
        }
        let (sender, receiver) = oneshot::channel();
        let id = self.question(sender)?;
        self.post(rpc::request(&id, method, params));
        let late = || rpc::Error::new(rpc::INTERNAL, "the client did not answer in time");
        tokio::select! {
            () = tokio::time::sleep(ASKED) => Err(late()),
            answer = receiver => answer.unwrap_or_else(|_| Err(rpc::Error::new(rpc::INTERNAL, "the question was dropped"))),
            () = self.gone.cancelled() => Err(rpc::Error::new(rpc::INTERNAL, "the session ended")),
        }
    }

    /// Ends its calls and its standing stream.
    fn end(&self) {
        self.gone.cancel();
        self.standing.end();
    }

    /// Notes a call as running, so that the client can cancel it by its id.
    pub(crate) fn run(self: &Arc<Self>, id: &str) -> Run {
        let token = self.gone.child_token();
        self.running.lock().insert(id.to_owned(), token.clone());
        Run { session: self.clone(), id: id.to_owned(), token }
    }

    /// Cancels the running call with that id.
    pub(crate) fn cancel(&self, id: &str) {
        if let Some(token) = self.running.lock().get(id) {
            token.cancel();
        }
    }

    /// Notes an interest in a resource; false when it was there already.
    pub(crate) fn subscribe(&self, uri: &str, upstream: Arc<str>, theirs: String) -> bool {
        let mut subscribed = self.subscribed.lock();
        if subscribed.contains_key(uri) {
            return false;
        }
        subscribed.insert(uri.to_owned(), (upstream, theirs));
        true
    }

    /// Ends an interest; says in what, if there was one.
    pub(crate) fn unsubscribe(&self, uri: &str) -> Option<(Arc<str>, String)> {
        self.subscribed.lock().remove(uri)
    }

    pub(crate) fn is_subscribed(&self, uri: &str) -> bool {
        self.subscribed.lock().contains_key(uri)
    }

    /// The client's URIs of something that it follows.
    pub(crate) fn subscribed_as(&self, upstream: &str, theirs: &str) -> Vec<String> {
        let subscribed = self.subscribed.lock();
        let is_it =
            |(_, (owner, uri)): &(&String, &(Arc<str>, String))| **owner == *upstream && uri == theirs;
        subscribed.iter().filter(is_it).map(|(uri, _)| uri.clone()).collect()
    }

    /// Takes all interests, to end them.
    pub(crate) fn take_subscriptions(&self) -> Vec<(Arc<str>, String)> {
        self.subscribed.lock().drain().map(|(_, followed)| followed).collect()
    }

    /// Remembers a task that was made here by our id; the one that is forgotten for it.
    pub(crate) fn remember_task(&self, task: TaskKey, ours: String) -> Option<TaskKey> {
        let mut tasks = self.tasks.lock();
        tasks.push_back((task, ours));
        if tasks.len() > TASKS { tasks.pop_front().map(|(task, _)| task) } else { None }
    }

    /// Our ids of the tasks that were made here, oldest first.
    pub(crate) fn tasks(&self) -> Vec<String> {
        self.tasks.lock().iter().map(|(_, ours)| ours.clone()).collect()
    }

    /// Takes all tasks, to forget them.
    pub(crate) fn take_tasks(&self) -> VecDeque<(TaskKey, String)> {
        std::mem::take(&mut *self.tasks.lock())
    }

    /// Puts a message for the standing stream; the oldest is dropped when the client does not read.
    pub(crate) fn post(&self, message: Bytes) {
        self.standing.post(message, self.mail_max);
    }

    /// Puts a message unless the same waits already, as for changes of which one notice is enough.
    pub(crate) fn post_once(&self, message: Bytes) {
        if !self.standing.waits(&message) {
            self.post(message);
        }
    }

    /// Ends the standing stream when what waits has been read, and leaves the calls alone.
    pub(crate) fn rest(&self) {
        self.standing.end();
    }

    /// Opens the stream of a call. Streams that have ended make room for it, the oldest first.
    pub(crate) fn open_stream(&self, now: Moment, cancel: CancellationToken) -> Arc<Replay> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(Replay::new(number, self.replay, now, cancel));
        let mut streams = self.streams.lock();
        let mut held: usize = streams.values().filter_map(|stream| stream.holds()).sum();
        let mut count = streams.len();
        streams.retain(|_, stream| match stream.holds() {
            Some(size) if held > self.replay || count >= STREAMS => {
                held = held.saturating_sub(size);
                count = count.saturating_sub(1);
                false
            }
            _ => true,
        });
        if count >= STREAMS
            && let Some(oldest) = streams.values().find(|stream| !stream.is_read())
        {
            oldest.cancel.cancel();
        }
        streams.insert(number, stream.clone());
        stream
    }

    /// The stream of that number: 0 is the standing one.
    pub(crate) fn stream(&self, number: u64) -> Option<Arc<Replay>> {
        if number == 0 { Some(self.standing.clone()) } else { self.streams.lock().get(&number).cloned() }
    }

    /// Forgets streams that nobody came back to, and ends their calls.
    fn sweep(&self, now: Moment, wait: Duration) {
        self.streams.lock().retain(|_, stream| {
            let abandoned = stream.is_abandoned(now, wait);
            if abandoned {
                stream.cancel.cancel();
            }
            !abandoned
        });
    }
}

/// A running call; ends the note when it is dropped.
pub(crate) struct Run {
    session: Arc<Session>,
    id: String,
    pub(crate) token: CancellationToken,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.session.running.lock().remove(&self.id);
    }
}

/// How many sessions there may be: in all, and of one principal.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    pub(crate) most: usize,
    pub(crate) each: usize,
}

/// All sessions.
pub(crate) struct Sessions {
    by_id: Mutex<HashMap<String, Arc<Session>>>,
    clock: Clock,
}

impl Sessions {
    pub(crate) fn new(clock: Clock) -> Sessions {
        Sessions { by_id: Mutex::new(HashMap::new()), clock }
    }

    /// Opens a session, unless there are too many already. When all places are taken, the session that was silent longest of
    /// whoever has the most makes room, so that nobody who has fewer is shut out; it is the second of the two, and has ended.
    pub(crate) fn open(
        &self,
        opening: Opening,
        share: Share,
    ) -> Option<(Arc<Session>, Option<Arc<Session>>)> {
        let id = secret_id()?;
        let mut all = self.by_id.lock();
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for session in all.values() {
            *counts.entry((&session.principal, &session.tenant)).or_default() += 1;
        }
        let mine = counts.get(&(&*opening.principal, &*opening.tenant)).copied().unwrap_or_default();
        if mine >= share.each {
            return None;
        }
        let mut ended = None;
        if all.len() >= share.most {
            let greediest = counts.iter().max_by_key(|(_, count)| **count)?;
            if *greediest.1 <= mine + 1 {
                return None;
            }
            let is_of = |session: &&Arc<Session>| (&*session.principal, &*session.tenant) == *greediest.0;
            let seen = |session: &&Arc<Session>| session.seen.load(Ordering::Relaxed);
            let oldest = all.values().filter(is_of).filter(|session| session.is_quiet()).min_by_key(seen)?;
            let oldest = oldest.id.clone();
            ended = all.remove(&oldest);
        }
        let session = Arc::new(Session::open(opening, id.clone(), self.clock.moment()));
        all.insert(id, session.clone());
        drop(all);
        if let Some(ended) = &ended {
            ended.end();
        }
        Some((session, ended))
    }

    /// The session with that id, if it is that principal's.
    pub(crate) fn find(&self, id: &str, principal: &str, tenant: &str) -> Option<Arc<Session>> {
        let session = self.by_id.lock().get(id).cloned()?;
        if *session.principal != *principal || *session.tenant != *tenant {
            return None;
        }
        session.touch(self.clock.moment());
        Some(session)
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Session) {
        self.by_id.lock().remove(&session.id);
        session.end();
    }

    /// Forgets streams that nobody came back to for `wait`.
    pub(crate) fn sweep_streams(&self, wait: Duration) {
        let now = self.clock.moment();
        for session in self.all() {
            session.sweep(now, wait);
        }
    }

    /// Ends what was silent for too long; says which.
    pub(crate) fn sweep(&self, idle: Duration) -> Vec<Arc<Session>> {
        let now = self.clock.moment();
        let mut ended = Vec::new();
        self.by_id.lock().retain(|_, session| {
            let keep = !session.stale(now, idle);
            if !keep {
                ended.push(session.clone());
            }
            keep
        });
        for session in &ended {
            session.end();
        }
        ended
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.by_id.lock().values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.lock().len()
    }
}

/// 192 bits from the operating system, in base64url; `None` when it gives none.
pub(crate) fn secret_id() -> Option<String> {
    use base64::Engine as _;
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests;
