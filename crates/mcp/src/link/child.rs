//! An upstream on the standard streams of a child process, in both eras: one message a line, everything on one channel.
//! When to start it again, and whose calls it gets, is the upstream's to decide.

use super::lines::{self, Line, Lines};
use super::{
    ALL_CAPABILITIES, Asked, Attribution, Audience, Call, Ear, Failure, OURSELVES, Outcome, Standing, Whose,
    response, standing,
};
use crate::exchange::{
    Exchange, META_CAPABILITIES, META_CLIENT, META_SUBSCRIPTION, META_VERSION, MODERN, Party,
};
use crate::json::{Fields, Object};
use crate::rpc::{self, Message};
use crate::tasks::{self, Notes};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use message::{Code, Fault};
use net::{CancellationToken, Tasks};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec};

/// Messages that wait for the child to read them; then calls wait.
const OUTGOING: usize = 256;
/// Questions of the child that are being answered at once; further ones are refused.
const QUESTIONS: usize = 16;
/// How long a child may take to end after its input was closed, and again after it was told to.
const GRACE: Duration = Duration::from_secs(2);
/// Longer lines on its error output are cut.
const STDERR_LINE: usize = 4096;

/// How to start the program.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) notes: Arc<Notes>,
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) connect: Duration,
    /// The largest message.
    pub(crate) most: usize,
    /// How long it may work on a call that was given up before it is replaced, if it asks in between what cannot be attributed.
    pub(crate) grace: Duration,
    /// What it said that could not be attributed to one client, and was not passed on.
    pub(crate) unclear: Arc<AtomicU64>,
}

/// One running child.
pub(crate) struct Child {
    name: Arc<str>,
    notes: Arc<Notes>,
    timeout: Duration,
    connect: Duration,
    tasks: Tasks,
    input: mpsc::Sender<String>,
    pending: Mutex<HashMap<u64, Pending>>,
    pub(crate) running: Attribution,
    grace: Duration,
    unclear: Arc<AtomicU64>,
    audience: Audience,
    questions: Arc<Semaphore>,
    /// Listening requests that are not acknowledged yet.
    opening: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    next: AtomicU64,
    modern: std::sync::atomic::AtomicBool,
    level: Mutex<Option<String>>,
    /// Cancelled when it is to be replaced: it works on calls that nobody waits for, so that what it says is nobody's for sure.
    pub(crate) spent: CancellationToken,
    /// Cancelled when it was replaced and shall end with its last call.
    last: CancellationToken,
    /// Cancelled when it has ended.
    pub(crate) ended: CancellationToken,
    /// Cancelled to end it.
    stop: CancellationToken,
}

struct Pending {
    answer: oneshot::Sender<Outcome>,
    exchange: Option<Arc<Exchange>>,
    /// The client's own progress token.
    token: Option<String>,
}

impl Child {
    /// Starts the program and what reads and writes its streams.
    pub(crate) fn start(
        name: &Arc<str>,
        program: &Program,
        tasks: &Tasks,
        ear: Ear,
        whose: Option<Party>,
    ) -> Result<Arc<Child>, Fault> {
        let mut command = Command::new(&program.command);
        command.args(&program.args).env_clear().envs(&program.env);
        for key in ["PATH", "HOME", "LANG", "TMPDIR", "USER"] {
            if let (Some(value), false) = (std::env::var_os(key), program.env.contains_key(key)) {
                command.env(key, value);
            }
        }
        if let Some(cwd) = &program.cwd {
            command.current_dir(cwd);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let failed = |why: String| {
            Fault::new(Code::UpstreamDown, format!("{:?} did not start: {why}", program.command))
        };
        let mut process = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(failed("it has no standard streams".into()));
        };
        let (input, outgoing) = mpsc::channel(OUTGOING);
        let child = Arc::new(Child {
            name: name.clone(),
            notes: program.notes.clone(),
            timeout: program.timeout,
            connect: program.connect,
            tasks: tasks.clone(),
            input,
            pending: Mutex::new(HashMap::new()),
            running: Attribution::default(),
            grace: program.grace,
            unclear: program.unclear.clone(),
            audience: whose.map_or(Audience::Shared, Audience::For),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            opening: Mutex::default(),
            next: AtomicU64::new(1),
            modern: false.into(),
            level: Mutex::new(None),
            spent: CancellationToken::new(),
            last: CancellationToken::new(),
            ended: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        tasks.spawn("mcp child log", log(name.clone(), stderr));
        tasks.spawn("mcp child reader", child.clone().read(stdout, program.most, ear));
        tasks.spawn("mcp child", child.clone().keep(process, stdin, outgoing));
        Ok(child)
    }

    /// Agrees on the era: `server/discover` first, then `initialize`. Returns what the child said of itself.
    pub(crate) async fn greet(self: &Arc<Self>) -> Outcome {
        let params = Call::new("server/discover", "").params(Some(&own_meta()), false);
        if let Ok(welcome) = self.ask("server/discover", &params, None, self.connect / 3).await
            && Fields::parse(&welcome)
                .is_ok_and(|fields| fields.get("supportedVersions").is_some_and(|v| v.contains(MODERN)))
        {
            self.modern.store(true, Ordering::Relaxed);
            return Ok(welcome);
        }
        let welcome =
            self.ask("initialize", &super::initialize(ALL_CAPABILITIES, None), None, self.connect).await?;
        self.tell(rpc::notification("notifications/initialized", None)).await?;
        Ok(welcome)
    }

    /// Whether it speaks the stateless revision.
    pub(crate) fn is_modern(&self) -> bool {
        self.modern.load(Ordering::Relaxed)
    }

    /// Asks the child on behalf of a client, or of ourselves.
    pub(crate) async fn call(self: &Arc<Self>, exchange: Option<&Arc<Exchange>>, call: &Call<'_>) -> Outcome {
        let modern = self.is_modern();
        let Some(exchange) = exchange else {
            let meta = modern.then(own_meta);
            return self.ask(call.method, &call.params(meta.as_deref(), modern), None, self.connect).await;
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.enter(id, exchange);
        let waiting = Waiting { child: self.clone(), id, sent: false };
        if let (false, Some(level)) = (modern, exchange.level())
            && self.level.lock().replace(level.clone()).as_ref() != Some(&level)
        {
            let params = Object::new().text("level", &level).done();
            if let Err(failure) = self.ask("logging/setLevel", &params, None, self.connect).await {
                tracing::debug!(upstream = %self.name, error = failure.text(), "the log level was not taken");
            }
        }
        let token = exchange.progress_token().map(|_| id.to_string());
        let meta = if modern {
            Some(exchange.meta_modern(call.trace, token.as_deref()))
        } else {
            exchange.meta_legacy(call.trace, token.as_deref())
        };
        let params = call.params(meta.as_deref(), modern);
        self.ask_as(waiting, call.method, &params, Some(exchange), call.wait(self.timeout)).await
    }

    async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: &str,
        exchange: Option<&Arc<Exchange>>,
        wait: Duration,
    ) -> Outcome {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting { child: self.clone(), id, sent: false };
        self.ask_as(waiting, method, params, exchange, wait).await
    }

    async fn ask_as(
        self: &Arc<Self>,
        mut waiting: Waiting,
        method: &str,
        params: &str,
        exchange: Option<&Arc<Exchange>>,
        wait: Duration,
    ) -> Outcome {
        let id = waiting.id;
        let (answer, mut answered) = oneshot::channel();
        let token = exchange.and_then(|exchange| exchange.progress_token());
        self.pending.lock().insert(id, Pending { answer, exchange: exchange.cloned(), token });
        self.tell(rpc::request(&id.to_string(), method, Some(params))).await?;
        waiting.sent = true;
        loop {
            tokio::select! {
                answer = tokio::time::timeout(wait, &mut answered) => match answer {
                    Ok(Ok(outcome)) => return outcome,
                    Ok(Err(_)) => return Err(self.gone().into()),
                    Err(_) if exchange.is_some_and(|exchange| exchange.is_asking()) => {}
                    Err(_) => {
                        drop(waiting);
                        let why = format!("the upstream was silent for {} ms", wait.as_millis());
                        return Err(Fault::new(Code::DeadlinePassed, why).into());
                    }
                },
                () = self.ended.cancelled() => return Err(self.gone().into()),
            }
        }
    }

    async fn tell(&self, message: Bytes) -> Result<(), Fault> {
        let line = String::from_utf8(message.into())
            .map_err(|_| Fault::new(Code::Internal, "a message is no UTF-8"))?;
        let line = crate::json::one_line(&line).into_owned();
        tokio::select! {
            sent = self.input.send(line) => sent.map_err(|_| self.gone()),
            () = self.ended.cancelled() => Err(self.gone()),
        }
    }

    fn gone(&self) -> Fault {
        Fault::new(Code::UpstreamDown, "its program has ended")
    }

    /// Ends it: its input is closed, then its process group is told to end, then killed.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends it as soon as nobody waits for any of its calls; it gets no new ones.
    pub(crate) fn retire(&self) {
        self.last.cancel();
        self.rest();
    }

    fn rest(&self) {
        if self.last.is_cancelled() && self.running.is_idle() {
            self.stop();
        }
    }

    /// Counts what is passed on to nobody. Once a call that was given up keeps the child from being understood for longer than
    /// its grace, the child is to be replaced.
    fn note_unclear(&self, method: &str) {
        self.unclear.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(upstream = %self.name, method, "it cannot be said which client is meant, so nobody is told");
        if self.running.has_waited(self.grace) && !self.spent.is_cancelled() {
            tracing::warn!(upstream = %self.name, "its program works on calls that were given up, and is replaced");
            self.spent.cancel();
        }
    }

    async fn read(self: Arc<Self>, stdout: ChildStdout, most: usize, ear: Ear) {
        let mut lines = Lines::new(stdout, most);
        loop {
            match lines.next().await {
                Ok(Some(Line::Text(line))) if line.trim().is_empty() => {}
                Ok(Some(Line::Text(line))) => self.hear(&line, &ear),
                Ok(Some(Line::Broken(line))) => {
                    let id = match Message::parse(line.as_bytes()) {
                        Ok(Message::Response { id, .. }) => id.parse().ok(),
                        _ => None,
                    };
                    self.fail(id, &Fault::new(Code::UpstreamProtocol, "its answer is no UTF-8"));
                }
                Ok(Some(Line::TooLong(head, tail))) => {
                    let why = format!("its answer is larger than the {most} bytes that its `message` allows");
                    self.fail(lines::answered(&head, &tail), &Fault::new(Code::TooLarge, why));
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(upstream = %self.name, %error, "its output cannot be read");
                    break;
                }
            }
        }
        self.ended.cancel();
    }

    /// Ends the call that a line answers which cannot be used; the others go on.
    fn fail(&self, id: Option<u64>, fault: &Fault) {
        tracing::warn!(upstream = %self.name, call = id, error = %fault, "a line of its output is passed over");
        let Some(id) = id else { return };
        let pending = self.pending.lock().remove(&id);
        self.running.leave(id);
        if let Some(pending) = pending {
            drop(pending.answer.send(Err(fault.clone().into())));
        }
        self.rest();
    }

    fn hear(self: &Arc<Self>, line: &str, ear: &Ear) {
        match Message::parse(line.as_bytes()) {
            Ok(Message::Response { id, outcome }) => {
                let Ok(id) = id.parse::<u64>() else { return };
                let pending = self.pending.lock().remove(&id);
                self.running.leave(id);
                if let Some(pending) = pending {
                    // Nobody waits any more when the call was given up meanwhile.
                    drop(pending.answer.send(
                        outcome.map(str::to_owned).map_err(|error| Failure::Rpc(rpc::Error::read(error))),
                    ));
                }
                self.rest();
            }
            Ok(Message::Notification { method, params }) if method == "notifications/progress" => {
                self.progress(params)
            }
            Ok(Message::Notification { method, params }) if method == tasks::STATUS => {
                self.notes.status(&self.name, params, &self.audience)
            }
            Ok(Message::Notification { method, params }) => match standing(&method, params) {
                Standing::Other => match self.running.sole() {
                    Whose::Call(exchange) => {
                        exchange.notify(&method, Bytes::copy_from_slice(line.as_bytes()));
                    }
                    Whose::Unclear => self.note_unclear(&method),
                    Whose::Nobody => {}
                },
                Standing::Opened { .. } => self.opened(params),
                change => ear(change),
            },
            Ok(Message::Request { id, method, params }) => self.question(id, &method, params),
            Err((_, error)) => {
                tracing::warn!(upstream = %self.name, error = %error.message, "a line of its output is no message");
            }
        }
    }

    /// Follows a stateless child's changes, from when this returns until it ends or [`Child::unlisten`] is told the number.
    pub(crate) async fn listen(&self, filter: &str) -> Result<u64, Fault> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (opened, open) = oneshot::channel();
        self.opening.lock().insert(id, opened);
        let params = Object::new().raw("notifications", filter).raw("_meta", &own_meta()).done();
        self.tell(rpc::request(&id.to_string(), "subscriptions/listen", Some(&params))).await?;
        let acknowledged = tokio::time::timeout(self.connect, open).await;
        self.opening.lock().remove(&id);
        match acknowledged {
            Ok(Ok(())) => Ok(id),
            _ => Err(Fault::new(Code::UpstreamFailed, "it did not acknowledge subscriptions/listen")),
        }
    }

    /// Ends what [`Child::listen`] began.
    pub(crate) async fn unlisten(&self, id: u64) {
        let params = Object::new().raw("requestId", &id.to_string()).done();
        if let Err(fault) = self.tell(rpc::notification("notifications/cancelled", Some(&params))).await {
            tracing::debug!(upstream = %self.name, error = %fault, "it could not be told to stop listening");
        }
    }

    fn opened(&self, params: Option<&str>) {
        let fields = Fields::of(params).unwrap_or_default();
        let meta = Fields::of(fields.get("_meta")).unwrap_or_default();
        let id = meta.get(META_SUBSCRIPTION).and_then(|id| id.parse().ok());
        if let Some(opening) = id.and_then(|id: u64| self.opening.lock().remove(&id))
            && opening.send(()).is_err()
        {
            tracing::debug!(upstream = %self.name, "it acknowledged a listening request too late");
        }
    }

    /// Gives a notification its client's own token back.
    fn progress(&self, params: Option<&str>) {
        let Ok(fields) = Fields::of(params) else { return };
        let id = fields.get("progressToken").and_then(|token| token.trim_matches('"').parse::<u64>().ok());
        let found = id.and_then(|id| {
            let pending = self.pending.lock();
            let pending = pending.get(&id)?;
            Some((pending.exchange.clone()?, pending.token.clone()?))
        });
        if let Some((exchange, token)) = found {
            let params =
                Object::new().raw("progressToken", &token).all_but(&fields, &["progressToken"]).done();
            exchange
                .notify("notifications/progress", rpc::notification("notifications/progress", Some(&params)));
        }
    }

    fn question(self: &Arc<Self>, id: &str, method: &str, params: Option<&str>) {
        let Ok(place) = self.questions.clone().try_acquire_owned() else {
            tracing::warn!(upstream = %self.name, "it asks more than {QUESTIONS} questions at once");
            return;
        };
        let asked = Asked::whom(&self.notes, &self.name, &self.running, (method, params), &self.audience);
        if matches!(asked, Asked::Unclear) {
            self.note_unclear(method);
        }
        let (child, id, method) = (self.clone(), id.to_owned(), method.to_owned());
        let params = params.map(str::to_owned);
        self.tasks.spawn("mcp answer", async move {
            let answer = tokio::select! {
                answer = asked.answer(&method, params.as_deref()) => answer,
                () = child.ended.cancelled() => return,
            };
            if let Err(fault) = child.tell(response(&id, &answer)).await {
                tracing::debug!(upstream = %child.name, error = %fault, "an answer was not taken");
            }
            drop(place);
        });
    }

    /// Writes what is sent, until the child ends or is to end; then sees to it that its whole group is gone.
    async fn keep(
        self: Arc<Self>,
        mut process: tokio::process::Child,
        stdin: ChildStdin,
        mut outgoing: mpsc::Receiver<String>,
    ) {
        let group = process.id();
        let mut input = FramedWrite::new(stdin, LinesCodec::new());
        let draining = self.tasks.draining();
        loop {
            tokio::select! {
                line = outgoing.recv() => match line {
                    Some(line) => {
                        if let Err(error) = input.send(line).await {
                            tracing::debug!(upstream = %self.name, %error, "its input is closed");
                            break;
                        }
                    }
                    None => break,
                },
                () = self.stop.cancelled() => break,
                () = draining.cancelled() => break,
                () = self.ended.cancelled() => break,
                status = process.wait() => {
                    tracing::warn!(upstream = %self.name, ?status, "its program has ended");
                    break;
                }
            }
        }
        self.ended.cancel();
        drop(input);
        if tokio::time::timeout(GRACE, process.wait()).await.is_err() {
            signal(group, rustix::process::Signal::TERM);
            if tokio::time::timeout(GRACE, process.wait()).await.is_err() {
                tracing::warn!(upstream = %self.name, "its program did not end and is killed");
            }
        }
        // What the program started itself must not outlive it.
        signal(group, rustix::process::Signal::KILL);
        if let Err(error) = process.wait().await {
            tracing::warn!(upstream = %self.name, %error, "its end could not be waited for");
        }
        self.pending.lock().clear();
    }
}

fn signal(group: Option<u32>, signal: rustix::process::Signal) {
    let pid = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process_group(pid, signal)
    {
        tracing::trace!(%error, "nobody is left in the process group");
    }
}

/// A call that waits; when it is given up the child is told.
struct Waiting {
    child: Arc<Child>,
    id: u64,
    /// Whether the child may have got it.
    sent: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waited = self.child.pending.lock().remove(&self.id).is_some();
        if !self.sent {
            self.child.running.leave(self.id);
        } else if waited && !self.child.running.give_up(self.id) {
            self.child.spent.cancel();
        }
        self.child.rest();
        if !waited || !self.sent {
            return;
        }
        let params = Object::new()
            .raw("requestId", &self.id.to_string())
            .text("reason", "the client gave the call up")
            .done();
        let line = rpc::notification("notifications/cancelled", Some(&params));
        let line = String::from_utf8_lossy(&line).into_owned();
        if self.child.input.try_send(line).is_err() {
            tracing::debug!(upstream = %self.child.name, "it could not be told of a cancellation");
        }
    }
}

async fn log(name: Arc<str>, stderr: ChildStderr) {
    let mut lines = FramedRead::new(stderr, LinesCodec::new_with_max_length(STDERR_LINE));
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => tracing::info!(upstream = %name, line, "upstream says"),
            Err(tokio_util::codec::LinesCodecError::MaxLineLengthExceeded) => {}
            Err(_) => break,
        }
    }
}

fn own_meta() -> String {
    Object::new().text(META_VERSION, MODERN).raw(META_CLIENT, OURSELVES).raw(META_CAPABILITIES, "{}").done()
}
