//! What a path below `/v1` means to the gateway: whether it stays there, and whether a model in the body decides where it goes.
//! What it means to a provider is the provider's.

use http::Method;
use message::{Code, Fault};

/// What a path does with a model in its body.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Asks {
    /// Nothing goes without one.
    Must,
    /// Goes without one as well, to what the provider takes then.
    May,
    /// Is about something else. Deleting a file or training is the provider's own, and a `model` in the body must not
    /// stand for it.
    No,
}

const MUST: [&str; 6] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
];
const MAY: [&str; 5] = ["/responses", "/moderations", "/rerank", "/score", "/videos"];

impl Asks {
    /// Of a path behind the version, without its query.
    pub(crate) fn of(method: &Method, rest: &str) -> Asks {
        if method != Method::POST {
            return Asks::No;
        }
        let plain = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte))
        };
        let family =
            ["/images/", "/audio/"].iter().any(|family| rest.strip_prefix(family).is_some_and(plain));
        if MUST.contains(&rest) {
            Asks::Must
        } else if family || MAY.contains(&rest) {
            Asks::May
        } else {
            Asks::No
        }
    }
}

/// Why a request that looks like one for a model is none, so that it went to a provider as a whole; None: it does not look
/// like one. `plain`: its body is not compressed.
pub(crate) fn slip(method: &Method, path: &str, plain: bool) -> Option<Fault> {
    let rest = path.strip_prefix("/v1").unwrap_or(path);
    let bare = rest.trim_end_matches('/');
    if Asks::of(&Method::POST, bare) == Asks::No {
        return None;
    }
    if bare.len() < rest.len() {
        let what = format!("there is no {path}; leave out the slash at its end");
        return Some(Fault::new(Code::UnknownAddress, what));
    }
    if *method == Method::PUT || *method == Method::PATCH {
        return Some(Fault::new(Code::MethodNotAllowed, format!("{path} takes POST and not {method}")));
    }
    let what = "the body is compressed (content-encoding), so its \"model\" cannot be read; send it as it is";
    (*method == Method::POST && !plain).then(|| Fault::new(Code::BadRequest, what))
}

/// What is said at paths that are OpenAI's elsewhere, or somebody else's.
pub(crate) fn elsewhere(path: &str) -> Fault {
    let here = "OpenAI's API is at /v1 here: let the client's base URL end with /v1";
    let what = if path.starts_with("/openai/deployments/") {
        format!("Azure's paths are not served; {here}, and name the deployment as \"model\" in the body")
    } else if path.starts_with("/v1beta/") {
        format!("Gemini's paths are not served; {here}")
    } else {
        format!("there is nothing at {path}; {here}")
    };
    Fault::new(Code::UnknownAddress, what)
}

/// Paths for which [`elsewhere`] answers.
pub(crate) const ELSEWHERE: [&str; 10] = [
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/models",
    "/moderations",
    "/audio/{*rest}",
    "/images/{*rest}",
    "/openai/{*rest}",
    "/v1beta/{*rest}",
];

/// What follows `/v1` in a path with its query. None for a path that is not below it, or that climbs out of it.
pub(crate) fn strip_version(path_and_query: &str) -> Option<&str> {
    let rest = path_and_query.strip_prefix("/v1")?;
    let path = without_query(rest);
    (path.starts_with('/') && !climbs(path)).then_some(rest)
}

/// The path alone.
pub(crate) fn without_query(path_and_query: &str) -> &str {
    path_and_query.split('?').next().unwrap_or_default()
}

/// Whether some server could read a level of this path as `.` or `..`: escapes undone as often as it goes, overlong UTF-8
/// too, `\` taken for `/`, and a level cut where a server may cut it (matrix parameters, a query or fragment that was
/// escaped, NUL) and trimmed of what Windows trims.
fn climbs(path: &str) -> bool {
    // Nothing climbs without a dot, and every way to write one that is not itself has an escape.
    if !path.bytes().any(|byte| byte == b'.' || byte == b'%') {
        return false;
    }
    bare(path.as_bytes()).split(|byte| matches!(byte, b'/' | b'\\')).any(|level| {
        let end = level.iter().position(|byte| matches!(byte, b';' | b'?' | b'#' | 0)).unwrap_or(level.len());
        let level = level.get(..end).unwrap_or_default();
        let odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
        let mut dots = level.iter().filter(|byte| !odd(byte));
        let count = dots.clone().count();
        (1..=2).contains(&count) && dots.all(|byte| *byte == b'.')
    })
}

/// With escapes undone until there are none, in one pass: an escape is undone as soon as its last digit is there, so that
/// what it becomes can be part of another. Overlong UTF-8 of two bytes becomes the byte that it stands for.
fn bare(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text {
        let mut byte = *byte;
        loop {
            let overlong = match out.last() {
                Some(lead @ (0xc0 | 0xc1)) if byte & 0xc0 == 0x80 => Some((lead & 1) << 6 | byte & 0x3f),
                _ => None,
            };
            if let Some(plain) = overlong {
                out.pop();
                byte = plain;
                continue;
            }
            let escape = match out.as_slice() {
                [.., b'%', high] => hex(*high).zip(hex(byte)).map(|(high, low)| high * 16 + low),
                _ => None,
            };
            let Some(plain) = escape else { break };
            out.truncate(out.len() - 2);
            byte = plain;
        }
        out.push(byte);
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests;
