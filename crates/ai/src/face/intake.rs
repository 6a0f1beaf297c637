//! Taking a body in: whole when it is small, else its beginning and the rest as it arrives, counted and watched.
//! What is long and does not say where it goes waits on disk, not in memory.

use crate::held::{self, Held, Spool};
use crate::scan::{Guard, NO_JSON};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http_body::{Frame, SizeHint};
use message::{Code, Fault};
use net::http::Body;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A request's body as far as it is here.
pub(super) enum Intake {
    /// All of it, and small.
    Whole(Bytes),
    /// Its beginning, and what is still arriving, if anything.
    Large(Held, Option<Body>),
}

/// How much of a body is held while its model is looked for.
pub(super) struct Room<'a> {
    /// A body of at most so many bytes is taken whole, in memory.
    pub(super) whole: usize,
    /// Of a larger one so much is held until its model has come, with the name of the setting.
    pub(super) held: (u64, &'static str),
    /// How much all larger ones may hold together.
    pub(super) spool: u64,
    pub(super) disk: &'a Arc<held::Room>,
}

/// Reads a body until its end, or until there is no room or no need for more. `guard` sees what is here.
///
/// # Errors
/// What the body or the guard says; [`Code::TooLarge`] for one whose model has not come by then, and what
/// [`Spool::push`] says.
pub(super) async fn read(body: Body, room: Room<'_>, guard: &mut Guard) -> Result<Intake, Fault> {
    let mut body = match body.at_hand() {
        Ok(bytes) => return whole(bytes, &room, guard),
        Err(body) => body,
    };
    let Some(first) = body.next().await.transpose()? else { return whole(Bytes::new(), &room, guard) };
    if http_body::Body::is_end_stream(&body) {
        return whole(first, &room, guard);
    }
    let announced = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(room.whole);
    let mut seen = BytesMut::with_capacity(first.len() + announced.min(room.whole));
    seen.extend_from_slice(&first);
    while seen.len() <= room.whole {
        match body.next().await.transpose()? {
            Some(bytes) => seen.extend_from_slice(&bytes),
            None => {
                guard.feed(&seen)?;
                guard.end()?;
                return Ok(Intake::Whole(seen.freeze()));
            }
        }
    }
    guard.feed(&seen)?;
    if guard.awaits_model() {
        return Box::pin(hold(seen, body, room, guard)).await;
    }
    Ok(Intake::Large(Held::Memory(seen.freeze()), Some(body)))
}

/// Holds a body on disk until its model has come or it ends. Of one that is here whole nothing is left to arrive, so that it
/// can be sent more than once.
async fn hold(seen: BytesMut, mut body: Body, room: Room<'_>, guard: &mut Guard) -> Result<Intake, Fault> {
    let mut spool = Spool::begin(room.disk).await?;
    spool.push(&seen, room.spool).await?;
    let (most, setting) = room.held;
    let mut count = seen.len() as u64;
    drop(seen);
    loop {
        let next = if guard.awaits_model() {
            if count > most {
                let what = format!(
                    "no \"model\" stands within the first {most} bytes of the body ({setting}); write it before what is long"
                );
                return Err(Fault::new(Code::TooLarge, what));
            }
            body.next().await
        } else {
            let at_hand = if count <= most { body.next().now_or_never() } else { None };
            match at_hand {
                Some(next) => next,
                None => return Ok(Intake::Large(spool.done().await?, Some(body))),
            }
        };
        let Some(bytes) = next.transpose()? else { break };
        guard.feed(&bytes)?;
        count += bytes.len() as u64;
        spool.push(&bytes, room.spool).await?;
    }
    guard.end()?;
    Ok(Intake::Large(spool.done().await?, None))
}

fn whole(bytes: Bytes, room: &Room<'_>, guard: &mut Guard) -> Result<Intake, Fault> {
    guard.feed(&bytes).and_then(|()| guard.end()).map_err(|fault| in_words(fault, &bytes))?;
    let small = bytes.len() <= room.whole;
    Ok(if small { Intake::Whole(bytes) } else { Intake::Large(Held::Memory(bytes), None) })
}

/// With line and column and what was expected there, as a parser says it that reads the whole.
fn in_words(fault: Fault, bytes: &[u8]) -> Fault {
    if fault.code() != Code::BadRequest || !fault.detail().starts_with(NO_JSON) {
        return fault;
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        Err(error) => Fault::new(Code::BadRequest, format!("{NO_JSON}: {error}")),
        Ok(_) => fault,
    }
}

/// The rest of a body, of which `before` bytes are here already: at most `limit` bytes in all, and no second model in it.
///
/// # Errors
/// [`Code::TooLarge`] when it is announced as larger than that; the body itself fails with it otherwise.
pub(super) fn guarded(
    rest: Option<Body>,
    guard: Guard,
    before: u64,
    limit: u64,
) -> Result<Option<Body>, Fault> {
    let announced = rest.as_ref().map_or(0, |rest| http_body::Body::size_hint(rest).lower());
    if before.saturating_add(announced) > limit {
        return Err(too_large(limit));
    }
    Ok(rest.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        Body::boxed(Guarded { body, guard, count: before, limit })
    }))
}

fn too_large(limit: u64) -> Fault {
    Fault::new(Code::TooLarge, format!("the body is larger than {limit} bytes (models.body_bytes)"))
}

struct Guarded {
    body: Body,
    guard: Guard,
    count: u64,
    limit: u64,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        let frame = ready!(http_body::Body::poll_frame(Pin::new(&mut this.body), cx));
        if let Some(bytes) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            this.count += bytes.len() as u64;
            if this.count > this.limit {
                return Poll::Ready(Some(Err(too_large(this.limit))));
            }
            if let Err(fault) = this.guard.feed(bytes) {
                return Poll::Ready(Some(Err(fault)));
            }
        }
        if frame.is_none()
            && let Err(fault) = this.guard.end()
        {
            return Poll::Ready(Some(Err(fault)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
