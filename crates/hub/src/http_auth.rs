//! From the headers of an HTTP request to a session, the same for every wing that answers over HTTP.
//! What a wrong key looks like on the wire is each face's own; who holds which key is `access`'s.

use crate::{Hub, Origin, Session};
use access::Credential;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use message::{Code, Fault};
use std::borrow::Cow;
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// Headers whose whole value is an API key, as clients of various model providers send it.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-goog-api-key"];

/// The query parameter for clients that can set no header.
pub const TOKEN_PARAMETER: &str = "access_token";

/// A longer key is nobody's; its digest is not worth computing.
const KEY_BYTES_MAX: usize = 4096;

/// Opens a session for who sent these headers: `Authorization: Bearer KEY`, `Authorization: Basic` with the key as
/// password (or as user, with an empty password), `x-api-key`, `api-key` or `x-goog-api-key`; the first that is there,
/// in this order. Without any, for whoever may come in without a key.
///
/// # Errors
/// `TL0001` when nobody holds that key, the scheme is unknown, or a key is needed and none was shown.
pub fn http_session(
    hub: &Hub,
    headers: &HeaderMap,
    peer: SocketAddr,
    protocol: &'static str,
) -> Result<Session, Fault> {
    http_session_or_query(hub, headers, None, peer, protocol)
}

/// As [`http_session`]; with no credential in the headers the query's `access_token` counts. Only for what browsers
/// open without headers (`EventSource`, `WebSocket`): a query stands in the logs of every proxy.
///
/// # Errors
/// As [`http_session`].
pub fn http_session_or_query(
    hub: &Hub,
    headers: &HeaderMap,
    query: Option<&str>,
    peer: SocketAddr,
    protocol: &'static str,
) -> Result<Session, Fault> {
    let identity = match shown(headers)? {
        Shown::Key(key) => hub.authenticate(Credential::Key(bounded(key)?), peer)?,
        Shown::Basic(pair) => {
            let (user, password) = read_basic(&pair)?;
            hub.authenticate(Credential::Password { user, password: bounded(password.as_bytes())? }, peer)?
        }
        Shown::Nothing => match query.and_then(token) {
            Some(key) => hub.authenticate(Credential::Key(bounded(key.as_bytes())?), peer)?,
            None => hub.authenticate(Credential::None, peer)?,
        },
    };
    Ok(hub.open(identity, Origin { protocol, peer }))
}

enum Shown<'h> {
    Nothing,
    Key(&'h [u8]),
    Basic(Zeroizing<String>),
}

fn shown(headers: &HeaderMap) -> Result<Shown<'_>, Fault> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        return authorization(value);
    }
    let key = KEY_HEADERS.iter().find_map(|name| headers.get(*name));
    Ok(key.map_or(Shown::Nothing, |key| Shown::Key(key.as_bytes().trim_ascii())))
}

/// RFC 9110 §11.6.2: a scheme in any letter case, spaces, the credential.
fn authorization(value: &HeaderValue) -> Result<Shown<'_>, Fault> {
    let value = value.as_bytes().trim_ascii();
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at_checked(end).unwrap_or((value, &[]));
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(Shown::Key(rest));
    }
    if scheme.eq_ignore_ascii_case(b"basic") {
        let decoded = STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest));
        let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        return text.map(|text| Shown::Basic(Zeroizing::new(text))).ok_or_else(|| {
            Fault::new(Code::Unauthenticated, "the Basic credential is no base64 of user:password in UTF-8")
        });
    }
    Err(Fault::new(Code::Unauthenticated, "the Authorization header must say Bearer or Basic"))
}

/// RFC 7617 §2: all behind the first colon is the password. A key in the user's place, as `curl -u KEY:` sends it, is
/// taken for the password.
fn read_basic(pair: &str) -> Result<(&str, &str), Fault> {
    let (user, password) = pair
        .split_once(':')
        .ok_or_else(|| Fault::new(Code::Unauthenticated, "the Basic credential lacks the colon behind the user"))?;
    Ok(if password.is_empty() { ("", user) } else { (user, password) })
}

fn token(query: &str) -> Option<Cow<'_, str>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| *name == TOKEN_PARAMETER)?;
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    // Keys are letters, digits, `-` and `_`; a key in other characters arrives in escapes.
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |place: usize| after.get(place).and_then(|digit| char::from(*digit).to_digit(16));
        if byte == b'%' {
            out.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn bounded(key: &[u8]) -> Result<&[u8], Fault> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(key);
    }
    Err(Fault::new(Code::Unauthenticated, format!("the key is longer than {KEY_BYTES_MAX} bytes")))
}

#[cfg(test)]
mod tests;
