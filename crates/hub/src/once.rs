//! A request with an `Idempotency-Key` is done once, however often it is sent and however early its client leaves.
//! How it is done is the face's; how answers are kept is `answers`.

use crate::answers::{Begun, Kept};
use crate::session::{Session, draining};
use http::{HeaderMap, HeaderValue, StatusCode};
use message::{Address, Code, Fault, Fingerprint, Verb};
use net::http::{Body, Response, problem};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The header, in lower case.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that an answer is that of an earlier request with the same key.
const REPLAYED: &str = "idempotency-replayed";
/// The longest key.
const KEY_BYTES_MAX: usize = 256;

/// The key of a request: what the draft says, a structured string in quotation marks, or bare, as most senders write it.
///
/// # Errors
/// `BadRequest` for one that is empty, over 256 bytes or not visible ASCII, or when there are two.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(first), None) = (all.next(), all.next()) else {
        return match headers.contains_key(IDEMPOTENCY_KEY) {
            true => Err(Fault::new(Code::BadRequest, "the header idempotency-key came twice")),
            false => Ok(None),
        };
    };
    let key = first.to_str().map(|text| text.trim_matches('"')).unwrap_or_default();
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("an idempotency-key has 1 to {KEY_BYTES_MAX} bytes of visible ASCII");
        return Err(Fault::new(Code::BadRequest, detail));
    }
    Ok(Some(key))
}

/// What tells one request from another.
pub struct Asked<'a> {
    /// What is done there.
    pub verb: Verb,
    /// Where.
    pub address: &'a Address,
    /// The head of the request.
    pub headers: &'a HeaderMap,
    /// Everything else that counts: query and body.
    pub question: &'a [&'a [u8]],
}

impl Session {
    /// Does `work` unless a request with the same `Idempotency-Key` was done, or is under way: then that one's answer, or
    /// [`Code::RequestRepeated`]; [`Code::KeyReused`] when that one asked something else. Without a key it is just done. The
    /// key is the principal's own, for this verb and address. With one, the answer comes whole, and the work goes on to its
    /// end when the client leaves.
    pub async fn once(
        &self,
        asked: Asked<'_>,
        work: impl Future<Output = Result<Response, Fault>> + Send + 'static,
    ) -> Result<Response, Fault> {
        let Some(key) = idempotency_key(asked.headers)? else { return work.await };
        let config = self.hub().compiled().config.idempotency.clone();
        if config.keep.0.is_zero() {
            return work.await;
        }
        self.allow(asked.verb, asked.address)?;
        let (principal, place) = (self.principal(), asked.address.to_string());
        let owner: Arc<str> = format!("{}\0{}", principal.tenant, principal.name).into();
        let verb = asked.verb.as_str();
        let key = Fingerprint::of(&[owner.as_bytes(), verb.as_bytes(), place.as_bytes(), key.as_bytes()]);
        let hub = self.hub().clone();
        let begun = hub.answers().begin(
            hub.clock().moment(),
            &config,
            &owner,
            (key, Fingerprint::of(asked.question)),
        );
        let ticket =
            match begun.inspect_err(|fault| self.record_text(asked.verb, place.clone().into(), fault))? {
                Begun::Again(kept) => return Ok(response(kept, true)),
                Begun::First(ticket) => ticket,
            };
        let (tell, told) = oneshot::channel();
        let (most, calls) = (hub.limits().reply_bytes, asked.verb == Verb::Call);
        let tasks = hub.tasks().clone();
        tasks.spawn("idempotent request", async move {
            let done = match work.await {
                Ok(answer) => whole(answer, most).await,
                Err(fault) => Err(fault),
            };
            let kept = match done {
                Ok(kept) => kept,
                // Whoever sends it again must not have it done again when it may have been done.
                Err(fault) if calls && may_have_happened(&fault) => {
                    match whole(problem(&fault), most).await {
                        Ok(kept) => kept,
                        Err(fault) => return drop(tell.send(Err(fault))),
                    }
                }
                Err(fault) => {
                    drop(ticket);
                    return drop(tell.send(Err(fault)));
                }
            };
            if is_final(calls, kept.status) {
                ticket.keep(hub.clock().moment(), &config, kept.clone());
            }
            drop(tell.send(Ok(response(kept, false))));
        });
        told.await.unwrap_or_else(|_| Err(draining()))
    }
}

/// Whether an answer says what became of the request, rather than to come later. A publish that was refused left nothing, or
/// is recognised.
fn is_final(calls: bool, status: StatusCode) -> bool {
    let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if calls { !later } else { status.is_success() }
}

/// Whether what was asked may have been done although it failed: it was on its way to whoever does it.
fn may_have_happened(fault: &Fault) -> bool {
    matches!(
        fault.code(),
        Code::DeadlinePassed
            | Code::UpstreamFailed
            | Code::UpstreamRefused
            | Code::UpstreamProtocol
            | Code::UpstreamDown
            | Code::Internal
    )
}

async fn whole(answer: Response, most: usize) -> Result<Kept, Fault> {
    let (head, body) = answer.into_parts();
    let body = body.collect(most).await.map_err(|fault| {
        // It was done, and only its answer did not come whole.
        Fault::new(Code::UpstreamFailed, format!("the answer did not come whole: {}", fault.detail()))
    })?;
    Ok(Kept { status: head.status, headers: head.headers, body })
}

fn response(kept: Kept, again: bool) -> Response {
    let mut response = Response::new(Body::full(kept.body));
    *response.status_mut() = kept.status;
    *response.headers_mut() = kept.headers;
    response.headers_mut().remove(http::header::TRANSFER_ENCODING);
    if again {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
