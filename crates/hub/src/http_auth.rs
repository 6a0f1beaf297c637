//! From the headers of an HTTP request to a session, the same for every wing that answers over HTTP.
//! What a wrong key looks like on the wire is each face's own; who holds which key is `access`'s.
//!
//! Who shows no key is let in for where it connects from, and a browser connects from its user's machine for every page
//! it shows. So without a key two more things count: which page asks, and by which name it reached us ([`Keyless`]).

use crate::{Hub, Origin, Session};
use access::{Credential, Identity};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use message::{Code, Fault};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
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
    session(hub, headers, None, peer, protocol, Page::Unjudged)
}

/// As [`http_session`], for a face that has judged the request's `Origin` by a rule of its own before.
///
/// # Errors
/// As [`http_session`].
pub fn http_session_of_judged_page(
    hub: &Hub,
    headers: &HeaderMap,
    peer: SocketAddr,
    protocol: &'static str,
) -> Result<Session, Fault> {
    session(hub, headers, None, peer, protocol, Page::Judged)
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
    session(hub, headers, query, peer, protocol, Page::Unjudged)
}

fn session(
    hub: &Hub,
    headers: &HeaderMap,
    query: Option<&str>,
    peer: SocketAddr,
    protocol: &'static str,
    page: Page,
) -> Result<Session, Fault> {
    let origin = Origin { protocol, peer };
    let identity = match read(headers, query).inspect_err(|fault| hub.barred(origin, fault))? {
        Read::Key(key) => hub.authenticate(Credential::Key(&key), origin)?,
        Read::Pair(pair) => {
            let (user, password) = read_basic(&pair).inspect_err(|fault| hub.barred(origin, fault))?;
            hub.authenticate(Credential::Password { user, password: password.as_bytes() }, origin)?
        }
        Read::Nothing => match Keyless::of(headers) {
            Keyless::Page if page == Page::Judged && is_for_this_machine(headers) => Keyless::Plain,
            Keyless::Page if page == Page::Judged => Keyless::Stranger,
            keyless => keyless,
        }
        .identity(hub, origin)?,
    };
    Ok(hub.open(identity, origin))
}

/// How far somebody that shows no key is trusted for where it connects from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyless {
    /// Its address says it: no browser, or a page of ours.
    Plain,
    /// It only passed through its address: a proxy, or a page under a name that was pointed at this machine.
    Stranger,
    /// The page of another site.
    Page,
}

impl Keyless {
    /// Reads it from a request's headers.
    pub fn of(headers: &HeaderMap) -> Keyless {
        if is_foreign_page(headers) {
            Keyless::Page
        } else if is_for_this_machine(headers) {
            Keyless::Plain
        } else {
            Keyless::Stranger
        }
    }

    /// Who that is: what `trust_loopback` and `anonymous` give to it.
    ///
    /// # Errors
    /// `TL0002` for the page of another site, `TL0001` when a key is needed.
    pub fn identity(self, hub: &Hub, origin: Origin) -> Result<Arc<Identity>, Fault> {
        let result = match self {
            Keyless::Plain => return hub.authenticate(Credential::None, origin),
            Keyless::Page => {
                let detail = "a page of another site may do nothing here without an API key";
                Err(Fault::new(Code::Forbidden, detail))
            }
            Keyless::Stranger => hub.authenticate_stranger().map_err(|fault| {
                if !origin.peer.ip().to_canonical().is_loopback() {
                    return fault;
                }
                let detail = "no credential was shown; send an API key (this machine is trusted without one only \
                              under the names localhost, 127.0.0.1 and [::1], and not through a proxy)";
                Fault::new(Code::Unauthenticated, detail)
            }),
        };
        result.inspect_err(|fault| hub.barred(origin, fault))
    }
}

/// Whether the page of another site had a browser send this. Browsers say where a request comes from in `sec-fetch-site`
/// or `origin`; other programs send neither.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    // A WebSocket, or a request under a plain name, may come without the first, so each counts for itself.
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
        || headers.get(ORIGIN).is_some_and(|origin| !is_of_host(origin, headers.get(HOST)))
}

/// Whether an `Origin` (RFC 6454 §7) names the host and port that the request was sent to.
fn is_of_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let Some((scheme, site)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let Some(host) = host.and_then(|host| host.to_str().ok()) else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    plain(site) == plain(host)
}

/// Whether a request that came over loopback was meant for this machine: sent to an address or to `localhost`, and by no
/// proxy. A page whose name its owner points at 127.0.0.1 (DNS rebinding) is of one site with us; its host gives it away.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    if headers.keys().any(is_of_proxy) {
        return false;
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return headers.get(HOST).is_none() };
    let Ok(host) = host.to_str() else { return false };
    let bare = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => host.split(':').next().unwrap_or(host),
    };
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Whether only a proxy sends a header of this name.
fn is_of_proxy(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-real-ip",
    ];
    const FAMILIES: [&str; 6] = ["cdn-", "cf-", "x-amzn-trace-id", "x-envoy-", "x-forwarded-", "x-original-"];
    let name = name.as_str();
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Unjudged,
    Judged,
}

/// What was shown, bounded.
enum Read<'h> {
    Nothing,
    Key(Cow<'h, [u8]>),
    Pair(Zeroizing<String>),
}

/// The credential of the headers or, without one there, of the query.
fn read<'h>(headers: &'h HeaderMap, query: Option<&'h str>) -> Result<Read<'h>, Fault> {
    Ok(match shown(headers)? {
        Shown::Key(key) => Read::Key(Cow::Borrowed(bounded(key)?)),
        Shown::Basic(pair) => {
            bounded(pair.as_bytes())?;
            Read::Pair(pair)
        }
        Shown::Nothing => match query.and_then(token) {
            Some(Cow::Borrowed(key)) => Read::Key(Cow::Borrowed(bounded(key.as_bytes())?)),
            Some(Cow::Owned(key)) => {
                bounded(key.as_bytes())?;
                Read::Key(Cow::Owned(key.into_bytes()))
            }
            None => Read::Nothing,
        },
    })
}

enum Shown<'h> {
    Nothing,
    Key(&'h [u8]),
    Basic(Zeroizing<String>),
}

fn shown(headers: &HeaderMap) -> Result<Shown<'_>, Fault> {
    if let Some(value) = only(headers, AUTHORIZATION.as_str())? {
        return authorization(value);
    }
    let mut key = None;
    for name in KEY_HEADERS {
        key = key.or(only(headers, name)?);
    }
    Ok(key.map_or(Shown::Nothing, |key| Shown::Key(key.as_bytes().trim_ascii())))
}

/// A header that stands once: of two, the next reader could take the other.
fn only<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h HeaderValue>, Fault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Fault::new(Code::Unauthenticated, format!("the header {name} stands twice"))),
        (value, None) => Ok(value),
    }
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
    let (user, password) = pair.split_once(':').ok_or_else(|| {
        Fault::new(Code::Unauthenticated, "the Basic credential lacks the colon behind the user")
    })?;
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
