//! The heads of HTTP/1.1 as a client writes and reads them (RFC 9112), and where the body of an answer ends (§6.3).
//! It does no I/O and keeps nothing between two messages.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::uri::Uri;
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use smallvec::SmallVec;

use crate::http::h1::chunked::{Decoder, Piece};
use crate::http::h1::fields::{Place, has_token};
use crate::http::{Body, Request};

/// The most headers of an answer.
const HEADERS_MAX: usize = 256;

/// What is to be remembered of a request while its answer comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask {
    /// It is a HEAD: its answer has no body whatever it announces.
    pub(super) head: bool,
    /// It asks for another protocol, so that 101 is an answer.
    pub(super) upgrade: bool,
    /// It says that the connection ends with it.
    pub(super) close: bool,
    /// Sending it twice is as good as once (RFC 9110 §9.2.2).
    pub(super) idempotent: bool,
}

/// How the body of a request goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// So many bytes; 0: there is none.
    Exact(u64),
    /// In chunks.
    Chunked,
}

/// Puts the head of a request. `Host` is made from the URL when it is missing; what frames the body is ours to say.
pub(super) fn put(out: &mut BytesMut, request: &Request) -> (Ask, Length) {
    let (method, headers) = (request.method(), request.headers());
    let mut ask = Ask { head: *method == Method::HEAD, idempotent: method.is_idempotent(), ..Ask::default() };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if !headers.contains_key(header::HOST) {
        put_host(out, request.uri());
    }
    let mut announced = None;
    for (name, value) in headers {
        if name == header::CONTENT_LENGTH {
            announced = value.to_str().ok().and_then(|value| value.parse().ok());
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            continue;
        }
        if name == header::CONNECTION {
            ask.close |= has_token(value, "close");
            ask.upgrade |= has_token(value, "upgrade");
        }
        put_field(out, name.as_str(), value.as_bytes());
    }
    let length = length_of(request.body(), announced);
    match length {
        // Said only where a body would mean something: some servers refuse a POST that says nothing (RFC 9110 §8.6).
        Length::Exact(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
        Length::Exact(bytes) => put_length(out, bytes),
        Length::Chunked => put_field(out, "transfer-encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
    (ask, length)
}

fn length_of(body: &Body, announced: Option<u64>) -> Length {
    match body.size_hint().exact() {
        Some(bytes) => Length::Exact(bytes),
        None => announced.map_or(Length::Chunked, Length::Exact),
    }
}

fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_length(out: &mut BytesMut, bytes: u64) {
    let mut digits = SmallVec::<[u8; 20]>::new();
    let mut left = bytes;
    while left > 0 || digits.is_empty() {
        digits.push(b'0' + u8::try_from(left % 10).unwrap_or_default());
        left /= 10;
    }
    digits.reverse();
    put_field(out, "content-length", &digits);
}

fn put_host(out: &mut BytesMut, uri: &Uri) {
    let host = uri.host().unwrap_or_default();
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    match uri.port().filter(|port| port.as_u16() != usual) {
        None => put_field(out, "host", host.as_bytes()),
        Some(port) => put_field(out, "host", format!("{host}:{port}").as_bytes()),
    }
}

/// Where the body of an answer ends, and how far it has come.
#[derive(Debug, Default)]
pub(super) enum Framing {
    /// There is none, or it has ended.
    #[default]
    Done,
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Decoder),
    /// When the connection closes.
    Close,
    /// The connection is no longer HTTP.
    Upgrade,
}

impl Framing {
    /// Takes what belongs to the body from the front of `read`.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Piece, &'static str> {
        match self {
            Framing::Done | Framing::Length(0) => Ok(Piece::End(None)),
            Framing::Upgrade => Ok(Piece::More),
            Framing::Chunked(decoder) => decoder.decode(read),
            _ if read.is_empty() => Ok(Piece::More),
            Framing::Close => Ok(Piece::Data(read.split().freeze())),
            Framing::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= take as u64;
                Ok(Piece::Data(read.split_to(take).freeze()))
            }
        }
    }
}

/// The head of an answer and what it says about what follows.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: http::Response<()>,
    pub(super) framing: Framing,
    /// The connection may be used again after this answer.
    pub(super) keep: bool,
}

/// Takes a head from the front of `read` if it is there whole.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn take(read: &mut BytesMut, ask: Ask) -> Result<Option<Head>, String> {
    let mut places = SmallVec::<[Place; 24]>::new();
    let mut fields = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut parsed, read, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("no status")?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    places.extend(parsed.headers.iter().map(|field| Place::of(read, field)));
    let bytes = read.split_to(length).freeze();
    let headers = headers_of(&bytes, &places)?;
    let (framing, keep) = frame(ask, version, status, &headers)?;
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    Ok(Some(Head { response, framing, keep }))
}

fn headers_of(bytes: &Bytes, places: &[Place]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(places.len());
    for place in places {
        let (name, value) = place.read(bytes)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 §6.3 and §9.3.
fn frame(
    ask: Ask,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<(Framing, bool), &'static str> {
    let says = |token| headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, token));
    let keep = !ask.close && if version == Version::HTTP_10 { says("keep-alive") } else { !says("close") };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return if ask.upgrade { Ok((Framing::Upgrade, false)) } else { Err("101, which nobody asked for") };
    }
    if ask.head || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        return Ok((Framing::Done, keep));
    }
    let length = content_length(headers)?;
    let mut codings = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if version == Version::HTTP_10 {
            return Err("a transfer coding in HTTP/1.0");
        }
        return match (codings.next(), codings.next()) {
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                // With both, somebody on the way may have understood it otherwise.
                Ok((Framing::Chunked(Decoder::default()), keep && length.is_none()))
            }
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"identity") => Ok((Framing::Close, false)),
            // Nothing but chunked was offered (RFC 9112 §7.4), so that nobody could take it apart.
            _ => Err("a transfer coding that was not asked for"),
        };
    }
    Ok(match length {
        Some(0) => (Framing::Done, keep),
        Some(length) => (Framing::Length(length), keep),
        None => (Framing::Close, false),
    })
}

/// Several are one if they say the same (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(part).ok().filter(|_| digits).and_then(|part| part.parse().ok());
            let number: u64 = number.ok_or("a Content-Length that is no number")?;
            if length.is_some_and(|before| before != number) {
                return Err("two different Content-Lengths");
            }
            length = Some(number);
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
