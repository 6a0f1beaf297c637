//! The head of an HTTP/1.1 request (RFC 9112 §2 to §6): parsed without copies, its framing decided once and strictly.
//! What two readers could understand differently is refused, for behind it requests are smuggled; it reads no sockets.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use message::{Code, Fault};
use smallvec::SmallVec;

use super::fields::{Place, span, tokens};
use crate::http::serve::check_hosts;
use crate::http::{Body, Request, Settings};

/// How many headers fit without an allocation.
const HEADERS_INLINE: usize = 32;

/// A request's head.
#[derive(Debug)]
pub(super) struct Head {
    /// With an empty body.
    pub(super) request: Request,
    pub(super) framing: Framing,
    /// Whether the client wants to go on afterwards.
    pub(super) keep: bool,
    /// Whether it waits for a 100 before it sends the body.
    pub(super) expects: bool,
    /// Whether it asks for another protocol: an `Upgrade`, or CONNECT.
    pub(super) switches: bool,
}

/// How a request's body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// That many bytes, or none.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// A head that is not served: the connection ends after this answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) fault: Fault,
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, fault: Fault::new(Code::Malformed, why.into()) }
}

fn too_large(why: String) -> Refusal {
    Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, fault: Fault::new(Code::TooLarge, why) }
}

/// What the parser found, as places in the input and not as references, so that the input can be taken apart.
struct Found {
    length: usize,
    method: Method,
    target: (usize, usize),
    old: bool,
    headers: SmallVec<[Place; HEADERS_INLINE]>,
}

/// Takes the next head off the front of `input`; None when it is not all there.
///
/// # Errors
/// What to answer when it is no head, or one over the limits.
pub(super) fn take(input: &mut BytesMut, settings: &Settings) -> Result<Option<Head>, Refusal> {
    let found = find(input, settings)?;
    let Some(found) = found.filter(|found| found.length <= settings.head_bytes) else {
        // One read beyond the limit may have come in; that it is over is known from its length alone.
        if input.len() > settings.head_bytes {
            return Err(too_large(format!("the head is larger than {} bytes", settings.head_bytes)));
        }
        return Ok(None);
    };
    let bytes = input.split_to(found.length).freeze();
    build(&bytes, found).map(Some)
}

fn find(input: &[u8], settings: &Settings) -> Result<Option<Found>, Refusal> {
    let mut inline = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; 100];
    let mut many = Vec::new();
    let space = if settings.headers <= inline.len() {
        inline.get_mut(..settings.headers).unwrap_or_default()
    } else {
        many.resize_with(settings.headers, MaybeUninit::uninit);
        many.as_mut_slice()
    };
    let mut parsed = httparse::Request::new(&mut []);
    let length = match httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut parsed,
        input,
        space,
    ) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(too_large(format!("more than {} headers", settings.headers)));
        }
        Err(httparse::Error::Version) => {
            let fault = Fault::new(Code::UnsupportedVersion, "only HTTP/1.1, HTTP/1.0 and HTTP/2 are spoken");
            return Err(Refusal { status: StatusCode::HTTP_VERSION_NOT_SUPPORTED, fault });
        }
        Err(error) => return Err(bad(format!("no HTTP request: {error}"))),
    };
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| bad("no HTTP request: the method is no token"))?;
    Ok(Some(Found {
        length,
        method,
        target: span(input, parsed.path.unwrap_or_default().as_bytes()),
        old: parsed.version == Some(0),
        headers: parsed.headers.iter().map(|field| Place::of(input, field)).collect(),
    }))
}

/// What the headers say about the message itself.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    hosts: u8,
    close: bool,
    keep_alive: bool,
    upgrade_named: bool,
    upgrade: bool,
    expects: bool,
}

fn build(bytes: &Bytes, found: Found) -> Result<Head, Refusal> {
    let mut said = Said::default();
    let mut headers = HeaderMap::with_capacity(found.headers.len());
    for place in &found.headers {
        let (name, value) = place.read(bytes).map_err(bad)?;
        said.hear(&name, &value, found.old)?;
        headers.append(name, value);
    }
    if said.chunked && said.length.is_some() {
        return Err(bad("both Content-Length and Transfer-Encoding"));
    }
    if said.hosts == 0 && !found.old {
        return Err(bad("a request has exactly one Host"));
    }
    check_hosts(&headers).map_err(bad)?;
    let connect = found.method == Method::CONNECT;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = target(bytes.slice(found.target.0..found.target.1), connect)?;
    *request.method_mut() = found.method;
    *request.version_mut() = if found.old { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    let framing = if said.chunked { Framing::Chunked } else { Framing::Length(said.length.unwrap_or(0)) };
    Ok(Head {
        request,
        framing,
        keep: if found.old { said.keep_alive && !said.close } else { !said.close },
        // A 1.0 client knows no 100 (RFC 9110 §10.1.1), and without a body there is nothing to wait for.
        expects: said.expects && !found.old && framing != Framing::Length(0),
        switches: connect || (said.upgrade && said.upgrade_named && !found.old),
    })
}

/// Origin form, absolute form, `*`, or host and port for CONNECT (RFC 9112 §3.2).
fn target(text: Bytes, connect: bool) -> Result<Uri, Refusal> {
    let uri =
        Uri::from_maybe_shared(text).map_err(|error| bad(format!("the target of the request: {error}")))?;
    let authority_only = uri.scheme().is_none() && uri.authority().is_some();
    if authority_only != connect {
        return Err(bad("host and port alone are the target of CONNECT and of nothing else"));
    }
    Ok(uri)
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue, old: bool) -> Result<(), Refusal> {
        if *name == header::CONTENT_LENGTH {
            let length = decimal(value.as_bytes()).ok_or_else(|| bad("Content-Length is no number"))?;
            if self.length.is_some_and(|before| before != length) {
                return Err(bad("two different Content-Length"));
            }
            self.length = Some(length);
        } else if *name == header::TRANSFER_ENCODING {
            self.coded(value, old)?;
        } else if *name == header::HOST {
            self.hosts = self.hosts.saturating_add(1);
        } else if *name == header::CONNECTION {
            for token in tokens(value) {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                self.upgrade_named |= token.eq_ignore_ascii_case(b"upgrade");
            }
        } else if *name == header::UPGRADE {
            self.upgrade = true;
        } else if *name == header::EXPECT {
            if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                let fault = Fault::new(Code::BadRequest, "only `Expect: 100-continue` can be met");
                return Err(Refusal { status: StatusCode::EXPECTATION_FAILED, fault });
            }
            self.expects = true;
        }
        Ok(())
    }

    /// Only chunked, alone and once: any other list is one that the next reader might end elsewhere.
    fn coded(&mut self, value: &HeaderValue, old: bool) -> Result<(), Refusal> {
        if old || self.chunked {
            return Err(bad("Transfer-Encoding twice, or in HTTP/1.0"));
        }
        if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
            let fault =
                Fault::new(Code::BadRequest, "of the transfer codings only chunked, alone, is understood");
            return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, fault });
        }
        self.chunked = true;
        Ok(())
    }
}

/// Digits only: no sign, no space, no list; None over `u64`.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
