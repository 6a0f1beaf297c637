//! Answers with many rows, made while the client reads them: a connection that does not read holds one piece.
//! What a row is, and how it looks, its wing knows.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use message::Fault;

use super::{Body, Response, StatusCode, respond};
use crate::budget::Share;
use crate::registry::ConnInfo;

/// Where the pieces of an answer come from.
pub trait Rows: Send + 'static {
    /// Appends about [`crate::PIECE_BYTES`] more of the answer to `out`, or one row that is larger. False when this was all.
    /// It must not wait between making bytes and returning them.
    fn more(&mut self, out: &mut Vec<u8>) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// An answer of rows. The first piece is made before the head is sent, so that its fault has a status; one that comes later
/// breaks the answer off, so that no reader takes it for whole.
///
/// # Errors
/// Those of the first piece; `Overloaded` when there is no room for it.
pub async fn rows<R: Rows>(
    conn: &Arc<ConnInfo>,
    content_type: &'static str,
    mut rows: R,
) -> Result<Response, Fault> {
    let (first, more) = piece(conn, &mut rows).await?;
    if !more {
        return Ok(respond(StatusCode::OK, content_type, first));
    }
    let state = (rows, Arc::clone(conn), Some(first));
    let pieces = futures_util::stream::unfold(Some(state), |state| async move {
        let (mut rows, conn, first) = state?;
        if let Some(first) = first {
            return Some((Ok(first), Some((rows, conn, None))));
        }
        match piece(&conn, &mut rows).await {
            Ok((bytes, more)) => Some((Ok(bytes), more.then_some((rows, conn, None)))),
            Err(fault) => Some((Err(fault), None)),
        }
    });
    let mut response = respond(StatusCode::OK, content_type, Bytes::new());
    *response.body_mut() = Body::stream(pieces);
    Ok(response)
}

async fn piece<R: Rows>(conn: &Arc<ConnInfo>, rows: &mut R) -> Result<(Bytes, bool), Fault> {
    let share: Share = conn.share().await?;
    let mut out = Vec::with_capacity(1 << 10);
    let more = rows.more(&mut out).await?;
    Ok((share.hold(out), more))
}

/// A response whose body, made whole, counts against the memory of answers; `share` was taken before it was made.
pub fn held(share: Share, mut response: Response) -> Response {
    match std::mem::take(response.body_mut()).at_hand() {
        Ok(bytes) => *response.body_mut() = Body::full(share.hold(bytes)),
        Err(body) => *response.body_mut() = body,
    }
    response
}

#[cfg(test)]
mod tests;
