//! What kind of body a request has, by its headers, and who watches it.
//! Bodies are not looked at here.

use crate::paths::Asks;
use crate::scan::{Guard, boundary};
use http::request::Parts;
use http::{HeaderMap, header};
use message::{Code, Fault};

/// What kind of body it is, for us.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Media {
    Json,
    Form,
    /// Nothing that we look into.
    Other,
}

/// The kind of the body, and who watches it.
///
/// # Errors
/// [`Code::BadRequest`] where the body decides which model is called and its kind or letters are in doubt.
pub(super) fn look(parts: &Parts, asks: Asks) -> Result<(Media, Guard), Fault> {
    let headers = &parts.headers;
    let plain = headers.get(header::CONTENT_ENCODING).is_none_or(|how| how == "identity");
    if !plain {
        return Ok((Media::Other, Guard::off()));
    }
    if asks == Asks::No {
        let json = is_json(headers);
        return Ok(if json { (Media::Json, Guard::lenient()) } else { (Media::Other, Guard::off()) });
    }
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next();
    if kinds.next().is_some() {
        return Err(Fault::new(Code::BadRequest, "the request has two headers content-type"));
    }
    if is_json(headers) {
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        return if is_utf8(kind) {
            Ok((Media::Json, Guard::strict()))
        } else {
            Err(Fault::new(Code::BadRequest, format!("JSON is UTF-8 and nothing else, not {kind:?}")))
        };
    }
    if let Some(boundary) = boundary(headers)? {
        return Ok((Media::Form, Guard::form(&boundary)));
    }
    if asks == Asks::Must {
        let said = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("nothing");
        let what = format!("content-type says {said}; it must say application/json or multipart/form-data");
        return Err(Fault::new(Code::BadRequest, what));
    }
    Ok((Media::Other, Guard::off()))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json") || media.ends_with("+json")
}

/// Whether no parameter makes other letters of the bytes, as `charset=utf-7` would.
fn is_utf8(kind: &str) -> bool {
    kind.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
    })
}
