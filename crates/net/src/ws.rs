//! WebSocket (RFC 6455) on the server side: the upgrade of a request, messages, and a WebSocket as a byte stream.
//! No extensions: messages are never compressed, so none can grow when it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use message::{Code, Fault};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message as Raw};

use crate::conn::Conn;
use crate::http::h1::{Switch, Switching, fields};
use crate::http::{Call, Response, empty};
use crate::registry::ConnInfo;

/// How long the switch of protocols may take once our 101 is on its way.
const UPGRADE: Duration = Duration::from_secs(10);

/// What a goodbye without a code counts as (RFC 6455 §7.4.1).
const NO_STATUS: u16 = 1005;

type Stream = WebSocketStream<Conn>;

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// UTF-8, checked.
    Text(String),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// The bytes of either kind.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// The switch of protocols under way: await it in a task of its own, after the response was returned.
#[derive(Debug)]
pub struct Upgrading {
    switch: Switch,
    protocol: Option<String>,
    message_bytes: usize,
    info: Arc<ConnInfo>,
}

/// Accepts a request for a WebSocket. `protocols` are the subprotocols offered here, the preferred first; the client
/// gets the first of ours that it asked for, or none when it asked for none. `message_bytes` bounds a message and a frame.
///
/// # Errors
/// `BadRequest` when the request is no proper upgrade or asks only for subprotocols that are not offered;
/// `UnsupportedVersion` for another version than 13.
pub fn upgrade(
    call: &mut Call,
    protocols: &[&str],
    message_bytes: usize,
) -> Result<(Response, Upgrading), Fault> {
    let bad = |why: &str| Fault::new(Code::BadRequest, format!("websocket: {why}"));
    let headers = call.request.headers();
    if call.request.method() != Method::GET || !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(bad("not a GET with `Connection: Upgrade`"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(bad("no `Upgrade: websocket`"));
    }
    if call.header(header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Fault::new(Code::UnsupportedVersion, "websocket: only version 13 is spoken"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("no Sec-WebSocket-Key"))?;
    let accept = derive_accept_key(key.as_bytes());
    let asked: Vec<&str> = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).collect();
    let protocol = protocols.iter().find(|ours| asked.iter().any(|theirs| theirs.eq_ignore_ascii_case(ours)));
    if protocol.is_none() && !asked.is_empty() && !protocols.is_empty() {
        return Err(bad(&format!("only these subprotocols are spoken here: {}", protocols.join(", "))));
    }
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(accept).map_err(|_| bad("a bad Sec-WebSocket-Key"))?;
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = protocol
        && let Ok(value) = HeaderValue::from_str(name)
    {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let protocol = protocol.map(|name| (*name).to_owned());
    let switching = call.request.extensions_mut().remove::<Switching>();
    let switch = switching.and_then(|switching| switching.lock().take());
    let switch = switch.ok_or_else(|| bad("this connection cannot change its protocol"))?;
    Ok((response, Upgrading { switch, protocol, message_bytes, info: Arc::clone(&call.conn) }))
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers.get_all(name).into_iter().any(|value| fields::has_token(value, token))
}

impl Upgrading {
    /// Waits until the connection is ours.
    ///
    /// # Errors
    /// `Malformed` when the client left instead; `DeadlinePassed` after ten seconds.
    pub async fn socket(self) -> Result<Socket, Fault> {
        let conn = match tokio::time::timeout(UPGRADE, self.switch.0).await {
            Ok(Ok(conn)) => conn,
            Ok(Err(_)) => {
                return Err(Fault::new(Code::Malformed, "websocket: the client left before the switch"));
            }
            Err(_) => return Err(Fault::new(Code::DeadlinePassed, "websocket: no switch of protocols")),
        };
        self.info.set_protocol("websocket");
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            // Written as far as the socket takes it with each message; the rest waits in the buffer and makes the
            // sender wait.
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(self.message_bytes))
            .max_frame_size(Some(self.message_bytes));
        let inner = WebSocketStream::from_raw_socket(conn, Role::Server, Some(config)).await;
        Ok(Socket {
            inner: Mutex::new(inner),
            protocol: self.protocol,
            info: self.info,
            closed: None,
            broken: None,
        })
    }
}

/// A WebSocket of a client. Pings are answered while it is read from.
#[derive(Debug)]
pub struct Socket {
    // Never locked, only asked for its content by `get_mut`: it makes what is not `Sync` so.
    inner: Mutex<Stream>,
    protocol: Option<String>,
    info: Arc<ConnInfo>,
    /// What the client said when it closed.
    closed: Option<(u16, String)>,
    /// How it broke the protocol, as a code of RFC 6455 §7.4.1.
    broken: Option<u16>,
}

impl Socket {
    /// The connection.
    pub fn info(&self) -> &Arc<ConnInfo> {
        &self.info
    }

    /// The subprotocol that was agreed on.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Code and reason of the client's goodbye, once `recv` has given None for it: 1005 and nothing when it gave
    /// none (RFC 6455 §7.1.5). None while it has not said goodbye, or left without.
    pub fn closed(&self) -> Option<(u16, &str)> {
        self.closed.as_ref().map(|(code, reason)| (*code, reason.as_str()))
    }

    /// The next message; None when the client has closed. Cancel safe.
    ///
    /// # Errors
    /// `TooLarge` for a message over the limit, `Malformed` for a broken frame or connection; the socket is over then.
    pub async fn recv(&mut self) -> Option<Result<Message, Fault>> {
        loop {
            return match self.inner.get_mut().next().await? {
                Ok(Raw::Text(text)) => Some(Ok(Message::Text(text.as_str().to_owned()))),
                Ok(Raw::Binary(bytes)) => Some(Ok(Message::Binary(bytes))),
                Ok(Raw::Close(frame)) => {
                    let said = frame.map(|frame| (u16::from(frame.code), frame.reason.as_str().to_owned()));
                    self.closed = Some(said.unwrap_or((NO_STATUS, String::new())));
                    None
                }
                Ok(Raw::Ping(_) | Raw::Pong(_) | Raw::Frame(_)) => continue,
                Err(error) => {
                    self.broken = broken(&error);
                    fault(error).map(Err)
                }
            };
        }
    }

    /// Sends one message; waits while the client does not read.
    ///
    /// # Errors
    /// `Malformed` when the connection is over.
    pub async fn send(&mut self, message: Message) -> Result<(), Fault> {
        let raw = match message {
            Message::Text(text) => Raw::text(text),
            Message::Binary(bytes) => Raw::binary(bytes),
        };
        self.inner.get_mut().send(raw).await.map_err(gone)
    }

    /// Asks whether the client lives; its answer is dealt with inside `recv`.
    ///
    /// # Errors
    /// `Malformed` when the connection is over.
    pub async fn ping(&mut self) -> Result<(), Fault> {
        self.inner.get_mut().send(Raw::Ping(Bytes::new())).await.map_err(gone)
    }

    /// Says goodbye with a code of RFC 6455 §7.4 and a reason of at most 123 bytes, and waits at most two seconds for
    /// the client's goodbye. A client that broke the protocol is told so by the code for that: 1002, 1007 or 1009.
    pub async fn close(mut self, code: u16, reason: &str) {
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        let frame = CloseFrame { code: self.broken.unwrap_or(code).into(), reason: reason.into() };
        let goodbye = async {
            if self.inner.get_mut().close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.inner.get_mut().next().await {}
            }
        };
        // A client that says nothing is left all the same.
        drop(tokio::time::timeout(Duration::from_secs(2), goodbye).await);
    }
}

/// RFC 6455 §7.4.1: what the client did wrong; None when the connection broke.
fn broken(error: &tungstenite::Error) -> Option<u16> {
    match error {
        tungstenite::Error::Protocol(_) => Some(1002),
        tungstenite::Error::Utf8(_) => Some(1007),
        tungstenite::Error::Capacity(_) => Some(1009),
        _ => None,
    }
}

/// None: an end that is none of anybody's faults.
fn fault(error: tungstenite::Error) -> Option<Fault> {
    match error {
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => None,
        tungstenite::Error::Capacity(error) => {
            Some(Fault::new(Code::TooLarge, format!("websocket: {error}")))
        }
        other => Some(Fault::new(Code::Malformed, format!("websocket: {other}"))),
    }
}

fn gone(error: tungstenite::Error) -> Fault {
    fault(error).unwrap_or_else(|| Fault::new(Code::Malformed, "websocket: the client has closed"))
}

fn io_error(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            io::Error::from(io::ErrorKind::BrokenPipe)
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// A WebSocket whose binary messages, end to end, are a stream of bytes: how MQTT (§6.0) and AMQP run over it.
///
/// Message boundaries carry no meaning in either direction; each write becomes one message. A text message is an error.
#[derive(Debug)]
pub struct ByteStream {
    inner: Mutex<Stream>,
    left: Bytes,
}

impl ByteStream {
    /// The bytes of `socket`.
    pub fn new(socket: Socket) -> ByteStream {
        ByteStream { inner: socket.inner, left: Bytes::new() }
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.left.is_empty() {
                let take = self.left.len().min(buf.remaining());
                buf.put_slice(self.left.get(..take).unwrap_or_default());
                self.left.advance(take);
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(self.inner.get_mut()).poll_next(cx)) {
                None | Some(Ok(Raw::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Raw::Binary(bytes))) => self.left = bytes,
                Some(Ok(Raw::Text(_))) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "a text message in a byte stream");
                    return Poll::Ready(Err(error));
                }
                Some(Ok(Raw::Ping(_) | Raw::Pong(_) | Raw::Frame(_))) => {}
                Some(Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(self.inner.get_mut()).poll_ready(cx)).map_err(io_error)?;
        let message = Raw::binary(Bytes::copy_from_slice(buf));
        Pin::new(self.inner.get_mut()).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(self.inner.get_mut()).poll_close(cx)) {
            Ok(()) | Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }
}

#[cfg(test)]
mod tests;
