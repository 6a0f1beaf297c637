//! Taking a body in: whole when it is small, else its beginning and the rest as it arrives, counted and watched.
//! Nothing is written to disk.

use crate::scan::Guard;
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
    /// What is here.
    pub(super) fn seen(&self) -> &[u8] {
        match self {
            Intake::Whole(bytes) | Intake::Arriving(bytes, _) => bytes,
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Intake::Whole(_))
    }
}

/// Reads a body until its end or until `limit` bytes are here.
pub(super) async fn read(body: Body, limit: usize) -> Result<Intake, Fault> {
    let mut body = match body.at_hand() {
        Ok(bytes) => return Ok(Intake::Whole(bytes)),
        Err(body) => body,
    };
    let Some(first) = body.next().await.transpose()? else { return Ok(Intake::Whole(Bytes::new())) };
    if http_body::Body::is_end_stream(&body) && first.len() <= limit {
        return Ok(Intake::Whole(first));
    }
    let announced = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(limit).min(limit);
    let mut seen = BytesMut::with_capacity(first.len() + announced);
    seen.extend_from_slice(&first);
    while seen.len() <= limit {
        match body.next().await.transpose()? {
            Some(bytes) => seen.extend_from_slice(&bytes),
            None => return Ok(Intake::Whole(seen.freeze())),
        }
    }
    Ok(Intake::Arriving(seen.freeze(), body))
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
    // Only JSON has been looked at before; anything else is the provider's alone.
    let guard = (before > 0).then_some(guard);
    Ok(Body::boxed(Guarded { body, guard, count: before, limit }))
}

fn too_large(limit: u64) -> Fault {
    Fault::new(Code::TooLarge, format!("the body is larger than {limit} bytes (models.body_bytes)"))
}

struct Guarded {
    body: Body,
    guard: Option<Guard>,
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
            if let Some(Err(fault)) = this.guard.as_mut().map(|guard| guard.feed(bytes)) {
                return Poll::Ready(Some(Err(fault)));
            }
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
