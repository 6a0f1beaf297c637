//! An upstream over Streamable HTTP, in both eras: requests answered by JSON or by a stream, questions on the way, and the
//! standing streams. Which era is spoken, and when to try again, is the upstream's to decide.

use super::answers::{Stream, is_stream, own, read_whole, refusal, silent, within};
use super::{
    Asked, Attribution, Audience, Call, Ear, Failure, OURSELVES, Outcome, Standing, Whose, response, standing,
};
use crate::exchange::{Answer, Exchange, META_CAPABILITIES, META_CLIENT, META_VERSION, MODERN};
use crate::json::{Fields, Object};
use crate::rpc::{self, Message};
use crate::session::Session;
use crate::sse::Frame;
use crate::tasks::{self, Notes};
use crate::{exchange, mirror};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use message::{Code, Fault};
use net::http::Body;
use net::{CancellationToken, Client, Tasks};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// How often a broken answer stream is taken up again where an upstream allows it.
const RESUMES: usize = 8;
/// The longest pause before that which an upstream may ask for.
const RESUME_PAUSE: Duration = Duration::from_secs(5);

/// The connection to one server.
pub(crate) struct Web {
    /// The upstream's name.
    pub(crate) name: Arc<str>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) client: Client,
    pub(crate) tasks: Tasks,
    pub(crate) url: Uri,
    /// Sent with every request: the credential.
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) connect: Duration,
    /// The largest message.
    pub(crate) most: usize,
    pub(crate) next: AtomicU64,
}

/// A session at an upstream.
pub(crate) struct Seat {
    id: Option<HeaderValue>,
    version: HeaderValue,
    /// The upstream's answer to `initialize`.
    pub(crate) welcome: String,
    level: Mutex<Option<String>>,
    pub(crate) running: Arc<Attribution>,
    /// The client session that it was opened for.
    owner: Option<Weak<Session>>,
    pub(crate) used: AtomicU64,
    pub(crate) gone: CancellationToken,
}

/// How a request to an upstream with sessions ended without an answer: its session is not known any more.
pub(crate) fn session_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(fault) if fault.code() == Code::UnknownSession)
}

impl Web {
    /// Asks a stateless server.
    pub(crate) async fn modern(&self, exchange: Option<&Arc<Exchange>>, call: &Call<'_>) -> Outcome {
        let id = self.id();
        let meta = exchange.map_or_else(own_meta, |exchange| exchange.meta_modern(call.trace, None));
        let body = rpc::request(&id, call.method, Some(&call.params(Some(&meta), true)));
        let mut headers = self.headers.clone();
        headers.insert(VERSION, HeaderValue::from_static(MODERN));
        put(&mut headers, "mcp-method", call.method)?;
        if let Some(name) = call.name {
            put(&mut headers, "mcp-name", &mirror::encode(name))?;
        }
        for (name, value) in &call.mirror {
            put(&mut headers, name, &mirror::encode(value))?;
        }
        trace_header(&mut headers, call)?;
        let wait = if exchange.is_some() { self.timeout } else { self.connect };
        let answer = self.send(Method::POST, headers, body, wait).await?;
        self.converse(answer, &id, exchange, None, wait).await
    }

    /// Asks a server with sessions, in that session.
    pub(crate) async fn legacy(
        self: &Arc<Self>,
        seat: &Arc<Seat>,
        exchange: Option<&Arc<Exchange>>,
        call: &Call<'_>,
    ) -> Outcome {
        let id = self.id();
        let meta = exchange.and_then(|exchange| exchange.meta_legacy(call.trace, None));
        let body = rpc::request(&id, call.method, Some(&call.params(meta.as_deref(), false)));
        let mut headers = self.seated(seat);
        trace_header(&mut headers, call)?;
        let wait = if exchange.is_some() { self.timeout } else { self.connect };
        let wait = call.wait(wait);
        let noted = exchange.map(|exchange| Noted::new(seat, &id, exchange));
        let mut cancel = Cancel { web: self.clone(), seat: seat.clone(), id: Some(id.clone()) };
        let answer = self.send(Method::POST, headers, body, wait).await?;
        let outcome = if answer.status() == http::StatusCode::NOT_FOUND && seat.id.is_some() {
            Err(Fault::new(Code::UnknownSession, "the upstream does not know our session any more").into())
        } else {
            self.converse(answer, &id, exchange, Some(seat), wait).await
        };
        cancel.id = None;
        drop(noted);
        outcome
    }

    /// Opens a session.
    pub(crate) async fn open(
        &self,
        capabilities: &str,
        client: Option<&str>,
        owner: Option<&Arc<Session>>,
    ) -> Result<Seat, Failure> {
        let id = self.id();
        let body = rpc::request(&id, "initialize", Some(&super::initialize(capabilities, client)));
        let answer = self.send(Method::POST, self.headers.clone(), body, self.connect).await?;
        let session = answer.headers().get(SESSION).cloned();
        let welcome = self.converse(answer, &id, None, None, self.connect).await?;
        let version = Fields::parse(&welcome)
            .ok()
            .and_then(|fields| fields.string("protocolVersion"))
            .unwrap_or_default();
        if !exchange::LEGACY.contains(&&*version) && version != "2024-11-05" {
            return Err(Fault::new(
                Code::UpstreamProtocol,
                format!("it speaks revision {version:?}, which we do not"),
            )
            .into());
        }
        let seat = Seat {
            id: session,
            version: HeaderValue::from_str(&version).unwrap_or(HeaderValue::from_static("2025-03-26")),
            welcome,
            level: Mutex::new(None),
            running: Arc::default(),
            owner: owner.map(Arc::downgrade),
            used: AtomicU64::new(0),
            gone: CancellationToken::new(),
        };
        self.tell(&seat, rpc::notification("notifications/initialized", None)).await?;
        Ok(seat)
    }

    /// Ends a session as far as the server lets us.
    pub(crate) async fn close(&self, seat: &Seat) {
        seat.gone.cancel();
        if seat.id.is_some()
            && let Err(failure) =
                self.send(Method::DELETE, self.seated(seat), Bytes::new(), self.connect).await
        {
            tracing::debug!(error = %failure, "a session at an upstream could not be ended");
        }
    }

    /// Sets a session's log level when it differs from what was set last.
    pub(crate) async fn set_level(self: &Arc<Self>, seat: &Arc<Seat>, level: &str) -> Result<(), Failure> {
        let has_logs = Fields::parse(&seat.welcome).is_ok_and(|fields| {
            Fields::of(fields.get("capabilities"))
                .is_ok_and(|capabilities| capabilities.get("logging").is_some())
        });
        if !has_logs || seat.level.lock().as_deref() == Some(level) {
            return Ok(());
        }
        let members = Object::new().text("level", level).done();
        let call = Call::new("logging/setLevel", members.trim_start_matches('{').trim_end_matches('}'));
        self.legacy(seat, None, &call).await?;
        *seat.level.lock() = Some(level.to_owned());
        Ok(())
    }

    /// Sends a notification or a response.
    pub(crate) async fn tell(&self, seat: &Seat, message: Bytes) -> Result<(), Fault> {
        let answer = self.send(Method::POST, self.seated(seat), message, self.connect).await?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(refusal(status, "")) }
    }

    /// Follows a stateless server's changes; ends with the stream. `filter` is the value of `notifications`.
    pub(crate) async fn listen(&self, filter: &str, ear: &Ear) -> Result<(), Fault> {
        let id = self.id();
        let params = Object::new().raw("notifications", filter).raw("_meta", &own_meta()).done();
        let mut headers = self.headers.clone();
        headers.insert(VERSION, HeaderValue::from_static(MODERN));
        put(&mut headers, "mcp-method", "subscriptions/listen")?;
        let body = rpc::request(&id, "subscriptions/listen", Some(&params));
        let answer = self.send(Method::POST, headers, body, self.connect).await?;
        if !is_stream(&answer) {
            return Err(refusal(answer.status(), "subscriptions/listen was not answered by a stream"));
        }
        let mut stream = Stream::new(answer, self.most);
        while let Some(frame) = stream.next().await? {
            match Message::parse(frame.data.as_bytes()) {
                Ok(Message::Notification { method, params }) => ear(standing(&method, params)),
                Ok(Message::Response { .. }) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Follows a session's standing stream; ends with it. False when the server has none.
    pub(crate) async fn stand(self: &Arc<Self>, seat: &Arc<Seat>, ear: Option<&Ear>) -> Result<bool, Fault> {
        let mut headers = self.seated(seat);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let answer = self.send(Method::GET, headers, Bytes::new(), self.connect).await?;
        if !is_stream(&answer) {
            return if answer.status().is_client_error() {
                Ok(false)
            } else {
                Err(refusal(answer.status(), ""))
            };
        }
        if let Some(ear) = ear {
            ear(Standing::Opened { accepted: String::new() });
        }
        let mut stream = Stream::new(answer, self.most);
        while let Some(frame) = stream.next().await? {
            self.hear(seat, ear, frame);
        }
        Ok(true)
    }

    fn hear(self: &Arc<Self>, seat: &Arc<Seat>, ear: Option<&Ear>, frame: Frame) {
        let audience = seat.owner.as_ref().and_then(Weak::upgrade).map_or(Audience::Shared, Audience::Of);
        match Message::parse(frame.data.as_bytes()) {
            Ok(Message::Notification { method, params }) if method == tasks::STATUS => {
                self.notes.status(&self.name, params, &audience)
            }
            Ok(Message::Notification { method, params }) => match (standing(&method, params), ear) {
                (Standing::Other, _) => {
                    let message = Bytes::copy_from_slice(frame.data.as_bytes());
                    match (seat.running.sole(), audience) {
                        (Whose::Call(exchange), _) => exchange.notify(&method, message),
                        (_, Audience::Of(session)) => session.post(message),
                        _ => {}
                    }
                }
                (change, Some(ear)) => ear(change),
                (_, None) => {}
            },
            Ok(Message::Request { id, method, params }) => {
                let asked = Asked::whom(&self.notes, &self.name, &seat.running, (&method, params), &audience);
                let (web, seat) = (self.clone(), seat.clone());
                let (id, method, params) = (id.to_owned(), method.into_owned(), params.map(str::to_owned));
                self.tasks.spawn("mcp answer", async move {
                    let answer = tokio::select! {
                        answer = asked.answer(&method, params.as_deref()) => answer,
                        () = seat.gone.cancelled() => return,
                    };
                    web.answer(&seat, &id, &answer).await;
                });
            }
            _ => {}
        }
    }

    /// Reads the answer to request `id`, passing on and asking what comes before it.
    async fn converse(
        &self,
        answer: Response<Body>,
        id: &str,
        exchange: Option<&Arc<Exchange>>,
        seat: Option<&Arc<Seat>>,
        wait: Duration,
    ) -> Outcome {
        let status = answer.status();
        if !is_stream(&answer) {
            let bytes = within(wait, answer.into_body().collect(self.most)).await??;
            return read_whole(&bytes, status, id);
        }
        let mut stream = Stream::new(answer, self.most);
        let mut asked = FuturesUnordered::new();
        let mut resumes = 0;
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(wait, stream.next()) => frame,
                Some((question, answer)) = asked.next(), if !asked.is_empty() => {
                    if let Some(seat) = seat {
                        self.answer(seat, question, &answer).await;
                    }
                    continue;
                }
            };
            let frame = match frame {
                Err(_) if exchange.is_some_and(|exchange| exchange.is_asking()) => continue,
                Err(_) => return Err(silent(wait).into()),
                Ok(Ok(Some(frame))) => frame,
                Ok(ended) => {
                    resumes += 1;
                    stream = self.resume(stream, seat, ended.err(), resumes).await?;
                    continue;
                }
            };
            match Message::parse(frame.data.as_bytes()) {
                Ok(Message::Response { id: theirs, outcome }) if theirs == id => return own(outcome),
                Ok(Message::Notification { method, .. }) => {
                    if let Some(exchange) = exchange {
                        exchange.notify(&method, Bytes::copy_from_slice(frame.data.as_bytes()));
                    }
                }
                Ok(Message::Request { id: question, method, params }) if seat.is_some() => {
                    let (question, method, params) =
                        (question.to_owned(), method.into_owned(), params.map(str::to_owned));
                    asked.push(async move { (question, ask(exchange, &method, params.as_deref()).await) });
                }
                _ => {}
            }
        }
    }

    /// Takes a stream up again that broke before its answer, where the server gave its events ids.
    async fn resume(
        &self,
        stream: Stream,
        seat: Option<&Arc<Seat>>,
        error: Option<Fault>,
        count: usize,
    ) -> Result<Stream, Fault> {
        let broken = || {
            error.unwrap_or_else(|| Fault::new(Code::UpstreamProtocol, "its stream ended before the answer"))
        };
        let (Some(seat), Some(last)) = (seat, &stream.last) else { return Err(broken()) };
        let Ok(last) = HeaderValue::from_str(last) else { return Err(broken()) };
        if count > RESUMES {
            return Err(broken());
        }
        tokio::time::sleep(stream.retry.unwrap_or(Duration::from_millis(500)).min(RESUME_PAUSE)).await;
        let mut headers = self.seated(seat);
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(LAST_EVENT, last);
        let answer = self.send(Method::GET, headers, Bytes::new(), self.connect).await?;
        if is_stream(&answer) { Ok(Stream::new(answer, self.most)) } else { Err(broken()) }
    }

    async fn answer(&self, seat: &Seat, question: impl AsRef<str>, answer: &Answer) {
        if let Err(fault) = self.tell(seat, response(question.as_ref(), answer)).await {
            tracing::debug!(error = %fault, "an upstream did not take an answer");
        }
    }

    fn seated(&self, seat: &Seat) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(id) = &seat.id {
            headers.insert(SESSION, id.clone());
        }
        headers.insert(VERSION, seat.version.clone());
        headers
    }

    fn id(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        wait: Duration,
    ) -> Result<Response<Body>, Fault> {
        let mut request = Request::new(Body::full(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json, text/event-stream"));
        // Silence is watched where it is known what is waited for.
        let options = net::Options { deadline: Some(wait), silence: None, whole: None, repeat: false };
        self.client.request(request, options).await
    }
}

/// A call as it stands in its session's attribution until this is dropped: whose stream is cut cannot be asked any more, and
/// nobody else has calls in that session.
struct Noted(Arc<Seat>, u64);

impl Noted {
    fn new(seat: &Arc<Seat>, id: &str, exchange: &Arc<Exchange>) -> Noted {
        let number = id.parse().unwrap_or_default();
        seat.running.enter(number, exchange);
        Noted(seat.clone(), number)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.running.leave(self.1);
    }
}

/// Says that a call was given up, unless it was answered.
struct Cancel {
    web: Arc<Web>,
    seat: Arc<Seat>,
    id: Option<String>,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (web, seat) = (self.web.clone(), self.seat.clone());
        self.web.tasks.spawn("mcp cancel", async move {
            let params =
                Object::new().raw("requestId", &id).text("reason", "the client gave the call up").done();
            if let Err(fault) =
                web.tell(&seat, rpc::notification("notifications/cancelled", Some(&params))).await
            {
                tracing::debug!(error = %fault, "an upstream could not be told of a cancellation");
            }
        });
    }
}

async fn ask(exchange: Option<&Arc<Exchange>>, method: &str, params: Option<&str>) -> Answer {
    match exchange {
        _ if method == "ping" => Ok("{}".into()),
        Some(exchange) => exchange.ask(method, params).await,
        None if method == "roots/list" => Ok(r#"{"roots":[]}"#.into()),
        None => Err(rpc::Error::new(rpc::METHOD_NOT_FOUND, format!("nobody can be asked for {method} here"))),
    }
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Fault> {
    let bad = || Fault::new(Code::BadRequest, format!("{value:?} cannot stand in the header {name}"));
    let name = HeaderName::try_from(name).map_err(|_| bad())?;
    headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    Ok(())
}

fn trace_header(headers: &mut HeaderMap, call: &Call<'_>) -> Result<(), Fault> {
    let Some(trace) = call.trace else { return Ok(()) };
    put(headers, "traceparent", &trace.to_string())?;
    trace.state.as_ref().map_or(Ok(()), |state| put(headers, "tracestate", state))
}

/// `_meta` of what we ask for ourselves.
fn own_meta() -> String {
    Object::new().text(META_VERSION, MODERN).raw(META_CLIENT, OURSELVES).raw(META_CAPABILITIES, "{}").done()
}
