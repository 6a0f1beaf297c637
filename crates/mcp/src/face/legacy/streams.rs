//! Streams of sessions: those on which calls are answered that have something to say first or take long, and the standing one.
//! A call does not end with the connection that reads its stream; the client may come back for the rest (`Last-Event-ID`).

use super::super::asking::{self, Running, Step};
use super::super::{KEEP_ALIVE, Refusal, SESSION, Visit, json, stream};
use super::{Place, asker, session};
use crate::json::Fields;
use crate::replay::{Replay, Stale};
use crate::rpc;
use crate::session::{Run, Session};
use crate::sse;
use bytes::Bytes;
use http::StatusCode;
use message::{Clock, Code, Fault};
use net::CancellationToken;
use net::http::{Body, Response};
use std::sync::Arc;
use std::time::Duration;

/// How long an answer is waited for before it becomes a stream, which shows that the call goes on and can be taken up again.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn ask(
    visit: Visit,
    place: Place,
    id: &str,
    method: &'static str,
    fields: &Fields<'_>,
) -> Result<Response, Refusal> {
    let Place { session, resumable } = place;
    let prepared = asking::prepare(&visit, asker(&session), method, fields)
        .map_err(|error| Refusal(StatusCode::OK, error))?;
    let run = session.run(id);
    let mut call =
        Answering { running: Some(Running::start(&visit, prepared)), run, session, id: id.to_owned() };
    let first = match tokio::time::timeout(PATIENCE, call.step()).await {
        // A cancelled call gets no answer, but HTTP wants one.
        Ok(None) => return Ok(net::http::empty(StatusCode::ACCEPTED)),
        Ok(Some(Step::Done(outcome))) => return Ok(finish(id, outcome)),
        Ok(Some(step)) => Some(step),
        Err(_) => None,
    };
    let clock = visit.gateway.hub.clock();
    let (session, token) = (call.session.clone(), call.run.token.clone());
    let replay = session.open_stream(clock.moment(), token.clone());
    let ticket = replay.take(None).unwrap_or_default();
    visit.gateway.hub.tasks().spawn("mcp call", call.pump(replay.clone(), first));
    let cancel = (!resumable).then_some(token);
    Ok(Reader { session, replay, ticket, clock: clock.clone(), greeted: !resumable, cancel }.answer())
}

fn finish(id: &str, outcome: Result<String, (rpc::Error, Option<Code>)>) -> Response {
    match outcome {
        Ok(result) => json(StatusCode::OK, rpc::result(id, &result)),
        Err((error, code)) => {
            let status = match code {
                Some(Code::Forbidden) => StatusCode::FORBIDDEN,
                Some(Code::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
                Some(Code::Draining) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::OK,
            };
            json(status, rpc::error(Some(id), &error))
        }
    }
}

/// A call whose answer becomes a stream.
struct Answering {
    /// Nothing when the answer was written.
    running: Option<Running>,
    run: Run,
    session: Arc<Session>,
    id: String,
}

impl Answering {
    /// What comes next; nothing when the client cancelled the call or the session ended.
    async fn step(&mut self) -> Option<Step> {
        let running = self.running.as_mut()?;
        let step = tokio::select! {
            step = running.next() => Some(step),
            () = self.run.token.cancelled() => None,
        };
        if matches!(step, None | Some(Step::Done(_))) {
            self.running = None;
        }
        step
    }

    fn write(&self, step: Step) -> Option<Bytes> {
        Some(match step {
            Step::Notify(message) => message,
            Step::Done(Ok(result)) => rpc::result(&self.id, &result),
            Step::Done(Err((error, _))) => rpc::error(Some(&self.id), &error),
            Step::Ask(question) => {
                let (method, params) = (question.method, question.params);
                match self.session.question(question.answer) {
                    Ok(id) => rpc::request(&id, &method, params.as_deref()),
                    // The asker's side was dropped with the refusal, so that it learns of it.
                    Err(_) => return None,
                }
            }
        })
    }

    /// Writes what comes until the answer, whether or not somebody reads it now.
    async fn pump(mut self, replay: Arc<Replay>, first: Option<Step>) {
        let mut step = first;
        loop {
            if let Some(message) = step.take().and_then(|step| self.write(step))
                && !replay.offer(message).await
            {
                break;
            }
            step = self.step().await;
            if step.is_none() {
                break;
            }
        }
        replay.end();
    }
}

/// GET: the standing stream, or the rest of the stream that `Last-Event-ID` names. Whoever read it before is displaced.
pub(crate) fn standing(visit: &Visit) -> Response {
    match open(visit) {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(None),
    }
}

fn open(visit: &Visit) -> Result<Response, Refusal> {
    if visit.header(SESSION).is_none() {
        // What a stateless server answers, which has no such stream.
        return Err(
            Fault::new(Code::MethodNotAllowed, "GET is for sessions only: begin with initialize").into()
        );
    }
    let accepts = visit.header(http::header::ACCEPT).unwrap_or_default();
    if !accepts.contains("text/event-stream") && !accepts.contains("*/*") {
        let error = rpc::Error::new(rpc::INVALID_REQUEST, "the Accept header must list text/event-stream");
        return Err(Refusal(StatusCode::NOT_ACCEPTABLE, error));
    }
    let session = session(visit)?;
    let (number, after) = match visit.header("last-event-id") {
        None => (0, None),
        Some(id) => event(id).map(|(number, after)| (number, Some(after))).ok_or_else(|| stale(id))?,
    };
    let id = visit.header("last-event-id").unwrap_or_default();
    let replay = session.stream(number).ok_or_else(|| stale(id))?;
    let ticket = replay.take(after).map_err(|Stale| stale(id))?;
    let clock = visit.gateway.hub.clock().clone();
    Ok(Reader { session, replay, ticket, clock, greeted: false, cancel: None }.answer())
}

/// An event id that we gave: the number of the stream, and of the event on it.
fn event(id: &str) -> Option<(u64, u64)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

fn stale(id: &str) -> Refusal {
    let id: String = id.chars().take(64).collect();
    let why = format!(
        "what followed event {id:?} is no longer kept, or never was: ask anew what is still wanted, read lists again, and open the standing stream without Last-Event-ID"
    );
    Fault::new(Code::BadRequest, why).into()
}

/// Reads a stream onto one connection.
struct Reader {
    session: Arc<Session>,
    replay: Arc<Replay>,
    ticket: u64,
    clock: Clock,
    greeted: bool,
    /// Ends the call with the connection: of a stream that cannot be taken up again.
    cancel: Option<CancellationToken>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let now = self.clock.moment();
        self.replay.leave(self.ticket, now);
        self.session.touch(now);
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

impl Reader {
    fn answer(self) -> Response {
        stream(Body::stream(futures_util::stream::unfold(self, Reader::next)))
    }

    async fn next(mut self) -> Option<(Result<Bytes, Fault>, Reader)> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Sends the head of the answer at once; some clients wait for it. Events without data came with 2025-11-25.
            let primed = self.session.version == "2025-11-25";
            return Some((Ok(sse::opening(self.replay.number, self.replay.last(), primed)), self));
        }
        match tokio::time::timeout(KEEP_ALIVE, self.replay.read(self.ticket)).await {
            Err(_) => Some((Ok(Bytes::from_static(sse::KEEP_ALIVE)), self)),
            Ok(event) => {
                let (number, message) = event?;
                let piece = match self.cancel {
                    None => sse::numbered(self.replay.number, number, &message),
                    Some(_) => sse::frame(&message),
                };
                Some((Ok(piece), self))
            }
        }
    }
}
