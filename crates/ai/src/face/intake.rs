//! Taking a body in: whole when it is small, else its beginning and the rest as it arrives, counted and watched.
//! Nothing is written to disk.

use crate::scan::{Guard, NO_JSON};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use message::{Code, Fault};
use net::http::Body;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A request's body as far as it is here.
pub(super) enum Intake {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and what is still arriving.
    Arriving(Bytes, Body),
}

impl Intake {
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Intake::Whole(_))
    }
}

/// How much of a body is held while its model is looked for.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// A body of at most so many bytes is taken whole.
    pub(super) whole: usize,
    /// A form is held up to so many bytes until its model has come.
    pub(super) form: usize,
}

/// Reads a body until its end, or until there is no room or no need for more. `guard` sees what is here.
///
/// # Errors
/// What the body or the guard says; [`Code::TooLarge`] for a form whose model has not come by then.
pub(super) async fn read(body: Body, room: Room, guard: &mut Guard) -> Result<Intake, Fault> {
    let mut body = match body.at_hand() {
        Ok(bytes) => return whole(bytes, room, guard),
        Err(body) => body,
    };
    let Some(first) = body.next().await.transpose()? else { return whole(Bytes::new(), room, guard) };
    if http_body::Body::is_end_stream(&body) {
        return whole(first, room, guard);
    }
    let announced = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(room.whole);
    let mut seen = BytesMut::with_capacity(first.len() + announced.min(room.whole));
    seen.extend_from_slice(&first);
    let mut looked = 0;
    loop {
        if seen.len() > room.whole {
            guard.feed(seen.get(looked..).unwrap_or_default())?;
            looked = seen.len();
            if !guard.is_form() || guard.has_form_model() {
                return Ok(Intake::Arriving(seen.freeze(), body));
            }
            if seen.len() > room.form {
                let what = format!(
                    "no part \"model\" stands within the first {} bytes of the form (models.form_bytes); put it before the files",
                    room.form
                );
                return Err(Fault::new(Code::TooLarge, what));
            }
        }
        match body.next().await.transpose()? {
            Some(bytes) => seen.extend_from_slice(&bytes),
            None => break,
        }
    }
    guard.feed(seen.get(looked..).unwrap_or_default())?;
    guard.end()?;
    Ok(sorted(seen.freeze(), room))
}

fn whole(bytes: Bytes, room: Room, guard: &mut Guard) -> Result<Intake, Fault> {
    guard.feed(&bytes).map_err(|fault| in_words(fault, &bytes))?;
    if bytes.len() <= room.whole {
        guard.end().map_err(|fault| in_words(fault, &bytes))?;
    }
    Ok(sorted(bytes, room))
}

/// A body that is here, but larger than what is sent twice if need be, counts as one that arrives.
fn sorted(bytes: Bytes, room: Room) -> Intake {
    if bytes.len() <= room.whole { Intake::Whole(bytes) } else { Intake::Arriving(bytes, Body::empty()) }
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
pub(super) fn guarded(body: Body, guard: Guard, before: u64, limit: u64) -> Result<Body, Fault> {
    if before.saturating_add(http_body::Body::size_hint(&body).lower()) > limit {
        return Err(too_large(limit));
    }
    if http_body::Body::is_end_stream(&body) {
        return Ok(body);
    }
    Ok(Body::boxed(Guarded { body, guard, count: before, limit }))
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
