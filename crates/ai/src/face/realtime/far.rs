//! The provider's side of a realtime connection: a WebSocket that we dialled, or the built-in `echo`.
//! What is said over it is not its business.

use crate::config::ProviderKind;
use crate::echo::Talk;
use crate::forward::mark;
use crate::gateway::Gateway;
use crate::table::Deployment;
use futures_util::{SinkExt as _, StreamExt as _};
use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, HeaderValue, header};
use hub::Session;
use message::{Code, Fault, Id};
use net::Conn;
use net::http::{Body, Response};
use net::ws::Message;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Raw};

/// How long a provider may take to open a WebSocket, whatever else it may take for an answer.
pub(super) const OPEN_MAX: Duration = Duration::from_secs(60);
/// How long one message may take to be written to somebody who does not read.
pub(super) const SEND_MAX: Duration = Duration::from_secs(30);
/// How long either side may take to say goodbye.
pub(super) const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// The provider's side.
pub(super) enum Far {
    Wire(Box<WebSocketStream<Conn>>, Option<String>),
    Echo(Box<Talk>),
}

/// What came from there.
pub(super) enum Heard {
    Message(Message),
    /// It has closed, with this code and reason.
    Closed(u16, String),
}

/// Opens it. The inner error is an answer that is no WebSocket, for the client.
///
/// # Errors
/// What hinders the connection.
pub(super) async fn open(
    gateway: &Gateway,
    session: &Session,
    to: &Deployment,
    rest: &str,
    headers: HeaderMap,
    bytes_max: usize,
) -> Result<Result<Far, Response>, Fault> {
    let provider = &to.provider;
    if provider.kind == ProviderKind::Echo {
        return Ok(Ok(Far::Echo(Box::new(Talk::new(rest, gateway.hub().clock().now())))));
    }
    let uri = provider.uri(rest)?;
    let id = Id::generate(gateway.hub().clock().now(), gateway.hub().dice());
    let opening = dial(gateway, uri, headers, bytes_max);
    let most = provider.timeout.min(OPEN_MAX);
    let opened = tokio::time::timeout(most, opening).await.unwrap_or_else(|_| {
        let what = format!("{} opened no WebSocket within {} ms", provider.name, most.as_millis());
        Err(Fault::new(Code::DeadlinePassed, what))
    });
    let answer = match opened? {
        Ok(far) => return Ok(Ok(far)),
        Err(answer) => answer,
    };
    let (mut parts, body) = answer.into_parts();
    mark(&mut parts.headers, parts.status, &id);
    for name in [header::CONTENT_LENGTH, header::SEC_WEBSOCKET_ACCEPT] {
        parts.headers.remove(name);
    }
    let fault = Fault::new(Code::UpstreamRefused, format!("{} answered {}", provider.name, parts.status));
    session.record_text(message::Verb::Call, format!("model/{rest}").into(), &fault);
    Ok(Err(Response::from_parts(parts, Body::full(body.unwrap_or_default()))))
}

type Answer = http::Response<Option<Vec<u8>>>;

async fn dial(
    gateway: &Gateway,
    uri: Uri,
    headers: HeaderMap,
    bytes_max: usize,
) -> Result<Result<Far, Answer>, Fault> {
    let odd = |what: String| Fault::new(Code::UpstreamProtocol, what);
    let mut parts = uri.into_parts();
    let tls = parts.scheme == Some(Scheme::HTTPS);
    let authority: Authority =
        parts.authority.clone().ok_or_else(|| odd("a provider without a host".into()))?;
    parts.scheme = Scheme::try_from(if tls { "wss" } else { "ws" }).ok();
    let uri = Uri::from_parts(parts).map_err(|error| odd(error.to_string()))?;
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let mut request = http::Request::new(());
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    let value = |text: &str| HeaderValue::try_from(text).map_err(|error| odd(error.to_string()));
    for (name, text) in [
        (header::HOST, authority.as_str()),
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, &generate_key()),
    ] {
        request.headers_mut().insert(name, value(text)?);
    }
    let conn = gateway.hub().client().dial(host, port, tls).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    match tokio_tungstenite::client_async_with_config(request, conn, Some(config)).await {
        Ok((stream, answer)) => {
            let protocol = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            let protocol = protocol.and_then(|word| word.to_str().ok()).map(str::to_owned);
            Ok(Ok(Far::Wire(Box::new(stream), protocol)))
        }
        Err(Error::Http(answer)) => Ok(Err(*answer)),
        Err(Error::Io(error)) => Err(Fault::new(Code::UpstreamDown, format!("{host}:{port}: {error}"))),
        Err(error) => Err(odd(format!("{host}:{port}: {error}"))),
    }
}

impl Far {
    /// The subprotocol that the provider chose.
    pub(super) fn protocol(&self) -> Option<&str> {
        match self {
            Far::Wire(_, protocol) => protocol.as_deref(),
            Far::Echo(_) => None,
        }
    }

    /// What comes next. Cancel safe.
    pub(super) async fn recv(&mut self) -> Result<Heard, Fault> {
        let stream = match self {
            Far::Wire(stream, _) => stream,
            Far::Echo(talk) => {
                return match talk.say() {
                    Some(Ok(text)) => Ok(Heard::Message(Message::Text(text))),
                    Some(Err(code)) => Ok(Heard::Closed(code, "echo was told to close".to_owned())),
                    None => std::future::pending().await,
                };
            }
        };
        loop {
            return match stream.next().await {
                Some(Ok(Raw::Text(text))) => Ok(Heard::Message(Message::Text(text.as_str().to_owned()))),
                Some(Ok(Raw::Binary(bytes))) => Ok(Heard::Message(Message::Binary(bytes))),
                Some(Ok(Raw::Close(Some(frame)))) => {
                    Ok(Heard::Closed(frame.code.into(), frame.reason.as_str().to_owned()))
                }
                Some(Ok(Raw::Close(None))) => Ok(Heard::Closed(super::relay::NO_CODE, String::new())),
                Some(Ok(Raw::Ping(_) | Raw::Pong(_) | Raw::Frame(_))) => continue,
                Some(Err(Error::Capacity(error))) => Err(Fault::new(Code::TooLarge, error.to_string())),
                Some(Err(error)) => Err(Fault::new(Code::UpstreamFailed, error.to_string())),
                None => Err(Fault::new(Code::UpstreamFailed, "the provider left without a goodbye")),
            };
        }
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), Fault> {
        let raw = match (&mut *self, message) {
            (Far::Echo(talk), Message::Text(text)) => {
                talk.hear(&text);
                return Ok(());
            }
            (Far::Echo(_), Message::Binary(_)) => return Ok(()),
            (Far::Wire(..), Message::Text(text)) => Raw::text(text),
            (Far::Wire(..), Message::Binary(bytes)) => Raw::binary(bytes),
        };
        self.write(raw).await
    }

    /// Asks whether it lives.
    pub(super) async fn ping(&mut self) -> Result<(), Fault> {
        self.write(Raw::Ping(bytes::Bytes::new())).await
    }

    async fn write(&mut self, raw: Raw) -> Result<(), Fault> {
        let Far::Wire(stream, _) = self else { return Ok(()) };
        match tokio::time::timeout(SEND_MAX, stream.send(raw)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Fault::new(Code::UpstreamFailed, error.to_string())),
            Err(_) => Err(Fault::new(
                Code::DeadlinePassed,
                format!("the provider read nothing for {} s", SEND_MAX.as_secs()),
            )),
        }
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let Far::Wire(stream, _) = self else { return };
        let frame = (code != super::relay::NO_CODE)
            .then(|| CloseFrame { code: code.into(), reason: reason.to_owned().into() });
        let goodbye = async {
            // When it has said goodbye first, ours is on its way already and reading sends it off.
            drop(WebSocketStream::close(stream, frame).await);
            while let Some(Ok(_)) = stream.next().await {}
        };
        // Who says nothing is left all the same.
        drop(tokio::time::timeout(GOODBYE_MAX, goodbye).await);
    }
}
