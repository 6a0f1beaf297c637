//! The life of a server's HTTP/1.1 connection: head, handler, answer, and again, until one side wants no more.
//! Paths and what happens behind them are the handlers'; bytes and framing are beside this file.

use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, StatusCode, Version, header};
use http_body::{Body as _, Frame};
use message::{Code, Fault};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::answer::{Connection, Length, Out, length_of};
use super::fields::has_token;
use super::head::{self, Head, Refusal};
use super::link::{Link, Moved};
use super::{Switch, Switching};
use crate::conn::Conn;
use crate::http::guard::Guard;
use crate::http::problem::problem_as;
use crate::http::serve::{name_host, panicked};
use crate::http::{Answering, Body, Response, Routes, Settings};
use crate::registry::{ConnInfo, Metrics};
use crate::tasks::Tasks;

/// What happens after a request.
enum Then {
    /// The next one.
    Next,
    /// The end, after what was written has reached the client.
    Close,
    /// The connection belongs to another protocol.
    Switch(oneshot::Sender<Conn>),
}

/// What of a request its answer depends on.
struct Asked {
    version: Version,
    head_only: bool,
    connect: bool,
    keep: bool,
    switch: Option<oneshot::Sender<Conn>>,
}

struct Server {
    link: Link,
    routes: Arc<Routes>,
    settings: Arc<Settings>,
    info: Arc<ConnInfo>,
    metrics: Option<Arc<Metrics>>,
    guard: Guard,
    tasks: Tasks,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How much of the input was found to be no whole head.
    seen: usize,
    /// Since when the next head is waited for, and whether nothing of it was there yet.
    since: Option<(Instant, bool)>,
}

/// What came of waiting for a head.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once, to where it is used; a box would be an allocation per request"
)]
enum Heading {
    Head(Head),
    Refused(Refusal),
    End,
}

/// Serves the connection until it ends. When the program drains, the request under way is finished first.
///
/// # Errors
/// That of the socket.
pub(crate) async fn serve(
    conn: Conn,
    routes: Arc<Routes>,
    settings: Arc<Settings>,
    tasks: Tasks,
) -> io::Result<()> {
    let info = Arc::clone(conn.info());
    let mut server = Server {
        link: Link::new(conn, Duration::from_millis(settings.body_ms)),
        guard: Guard::new(&settings, &info),
        routes,
        settings,
        metrics: info.metrics(),
        info,
        drained: Box::pin(tasks.draining().cancelled_owned()),
        tasks,
        seen: 0,
        since: None,
    };
    loop {
        match server.turn().await? {
            Then::Next => {}
            Then::Switch(switch) => {
                let Link { mut conn, input, .. } = server.link;
                conn.give_back(input.freeze());
                // A handler that agreed and then left the connection has closed it.
                drop(switch.send(conn));
                return Ok(());
            }
            Then::Close => return server.link.conn.shutdown().await,
        }
    }
}

impl Server {
    async fn turn(&mut self) -> io::Result<Then> {
        (self.seen, self.since) = (0, None);
        let head = match poll_fn(|cx| self.poll_head(cx)).await? {
            Heading::End => return Ok(Then::Close),
            Heading::Head(head) => head,
            Heading::Refused(refusal) => return self.refuse(refusal).await,
        };
        if let Some(metrics) = &self.metrics {
            metrics.http_requests.fetch_add(1, Ordering::Relaxed);
        }
        let (asked, answering) = self.begin(head);
        let Some(response) = self.answered(answering).await else { return Ok(Then::Close) };
        self.respond(asked, response).await
    }

    /// The next head; None at the end of the connection.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Heading>> {
        let link = &mut self.link;
        loop {
            if may_be_whole(&link.input, self.seen) {
                match head::take(&mut link.input, &self.settings) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Heading::Head(head))),
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Ok(Heading::Refused(refusal))),
                }
            }
            self.seen = link.input.len();
            match link.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Heading::End)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let idle = link.input.is_empty();
        if idle && self.drained.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Heading::End));
        }
        // The time for a head begins with its first byte.
        let since = match self.since {
            Some((since, still)) if still == idle => since,
            _ => self.since.insert((Instant::now(), idle)).0,
        };
        let wait = if idle { self.settings.idle_ms } else { self.settings.head_ms };
        ready!(link.poll_until(since + Duration::from_millis(wait), cx));
        if idle {
            return Poll::Ready(Ok(Heading::End));
        }
        let fault = Fault::new(Code::IdleTimeout, format!("no whole head within {wait} ms"));
        Poll::Ready(Ok(Heading::Refused(Refusal { status: StatusCode::REQUEST_TIMEOUT, fault })))
    }

    fn begin(&mut self, head: Head) -> (Asked, Answering) {
        let Head { mut request, framing, keep, expects, switches } = head;
        let body = match self.link.at_hand(framing) {
            Some(bytes) => Body::full(bytes),
            None => Body::arriving(self.link.arriving(framing, expects)),
        };
        let switch = switches.then(|| {
            let (sender, receiver) = oneshot::channel();
            let switching: Switching = Arc::new(Mutex::new(Some(Switch(receiver))));
            request.extensions_mut().insert(switching);
            sender
        });
        let asked = Asked {
            version: request.version(),
            head_only: request.method() == Method::HEAD,
            connect: request.method() == Method::CONNECT,
            keep,
            switch,
        };
        name_host(&mut request);
        *request.body_mut() = body;
        (asked, self.routes.call(request, &self.info))
    }

    /// Polls the handler, and between its polls what its request still brings. None: the client has gone.
    async fn answered(&mut self, answering: Answering) -> Option<Response> {
        let mut answering = AssertUnwindSafe(answering).catch_unwind();
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(answer) = answering.poll_unpin(cx) {
                    return Poll::Ready(Some(answer.unwrap_or_else(|panic| panicked(&self.info, &*panic))));
                }
                if ready!(self.link.poll_input(cx)) == Moved::Gone {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }

    async fn respond(&mut self, asked: Asked, response: Response) -> io::Result<Then> {
        let (parts, mut body) = response.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        let date = self.info.date();
        if let Some(switch) = asked.switch
            && (status == StatusCode::SWITCHING_PROTOCOLS || (asked.connect && status.is_success()))
        {
            self.link.out.head(status, &headers, Length::None, Connection::Usual, date, None);
            poll_fn(|cx| self.link.poll_flush(cx)).await?;
            return Ok(Then::Switch(switch));
        }
        let exact = body.size_hint().exact();
        let length = length_of(status, asked.head_only, asked.version, &headers, exact);
        let skippable = !self.link.is_unwanted() || self.link.can_skip();
        let keep = asked.keep
            && skippable
            && !self.link.over
            && length != Length::Close
            && !says_close(&headers)
            && !self.tasks.is_draining();
        let connection = match keep {
            false => Connection::Close,
            true if asked.version < Version::HTTP_11 => Connection::Keep,
            true => Connection::Usual,
        };
        self.link.out.head(status, &headers, length, connection, date, Some(&self.guard));
        let mut sending = Sending::new(length);
        let bodiless = asked.head_only || length == Length::None || status == StatusCode::NOT_MODIFIED;
        if bodiless {
            body = Body::empty();
            sending.ended = true;
        }
        match body.at_hand() {
            Ok(bytes) if sending.ended || sending.left == Some(bytes.len() as u64) => {
                self.link.out.piece(bytes, false);
                poll_fn(|cx| self.link.poll_flush(cx)).await?;
            }
            Ok(bytes) => self.stream(Body::full(bytes), sending).await?,
            Err(body) => self.stream(body, sending).await?,
        }
        Ok(self.after(keep).await)
    }

    /// What the connection is good for now that the answer is written.
    async fn after(&mut self, keep: bool) -> Then {
        if self.link.inbound.is_some() {
            if keep && self.link.can_skip() && poll_fn(|cx| self.link.poll_skip(cx)).await {
                return Then::Next;
            }
            // The client must get the answer although it is still sending.
            self.info.linger();
            return Then::Close;
        }
        if keep && !self.link.over { Then::Next } else { Then::Close }
    }

    async fn stream(&mut self, mut body: Body, mut sending: Sending) -> io::Result<()> {
        poll_fn(|cx| self.poll_stream(&mut body, &mut sending, cx)).await
    }

    fn poll_stream(
        &mut self,
        body: &mut Body,
        sending: &mut Sending,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut waits = false;
            while !sending.ended && !waits && self.link.out.has_room() {
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(frame) => {
                        // What came before the break is still the client's.
                        if let Err(error) = sending.take(frame, &mut self.link.out) {
                            sending.ended = true;
                            sending.failed = Some(error);
                        }
                    }
                }
            }
            let written = self.link.poll_flush(cx)?;
            if written.is_ready() && sending.ended {
                return Poll::Ready(sending.failed.take().map_or(Ok(()), Err));
            }
            if written.is_ready() && !waits {
                continue;
            }
            // The body waits or the client does: whatever the handler still reads of the request moves on meanwhile.
            match ready!(self.link.poll_input(cx)) {
                Moved::Gone => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                Moved::Yes if written.is_pending() => return Poll::Pending,
                Moved::Yes => {}
            }
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<Then> {
        tracing::debug!(peer = %self.info.peer(), fault = %refusal.fault, "no request that can be served");
        let (parts, body) = problem_as(refusal.status, &refusal.fault).into_parts();
        let bytes = body.at_hand().unwrap_or_default();
        let length = Length::Exact(bytes.len() as u64);
        let date = self.info.date();
        let guard = Some(&self.guard);
        self.link.out.head(parts.status, &parts.headers, length, Connection::Close, date, guard);
        self.link.out.piece(bytes, false);
        poll_fn(|cx| self.link.poll_flush(cx)).await?;
        self.info.linger();
        Ok(Then::Close)
    }
}

/// How far the body of an answer has come.
struct Sending {
    chunked: bool,
    /// Bytes that were announced and not sent yet.
    left: Option<u64>,
    ended: bool,
    failed: Option<io::Error>,
}

impl Sending {
    fn new(length: Length) -> Sending {
        let left = if let Length::Exact(length) = length { Some(length) } else { None };
        Sending { chunked: length == Length::Chunked, left, ended: false, failed: None }
    }

    /// Puts out what the body gave. Trailers are left out: nobody said that the client wants them (RFC 9110 §6.5.1).
    fn take(&mut self, frame: Option<Result<Frame<Bytes>, Fault>>, out: &mut Out) -> io::Result<()> {
        let Some(frame) = frame else {
            if self.left.is_some_and(|left| left > 0) {
                return Err(io::Error::other("the answer is shorter than its Content-Length"));
            }
            self.ended = true;
            if self.chunked {
                out.end_chunks();
            }
            return Ok(());
        };
        let Ok(bytes) = frame.map_err(io::Error::other)?.into_data() else { return Ok(()) };
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| io::Error::other("the answer is longer than its Content-Length"))?;
        }
        out.piece(bytes, self.chunked);
        Ok(())
    }
}

/// Whether the bytes after the first `seen` can end a head, so that one that comes byte by byte is not parsed each time.
fn may_be_whole(input: &[u8], seen: usize) -> bool {
    if seen == 0 {
        return !input.is_empty();
    }
    let fresh = input.get(seen.saturating_sub(3)..).unwrap_or_default();
    fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n")
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONNECTION).into_iter();
    values.any(|value| has_token(value, "close"))
}

#[cfg(test)]
mod tests;
