//! Reading an upstream's HTTP answers: whole ones, streams of events, and what a status says when there is nothing else.
//! What is asked, and what comes of an answer, is `web`'s.

use super::{Failure, Outcome};
use crate::json::Fields;
use crate::rpc::{self, Message};
use crate::sse::{Decoder, Frame};
use http::Response;
use http::header::CONTENT_TYPE;
use message::{Code, Fault};
use net::http::Body;
use std::time::Duration;

/// An answer that arrives event by event.
pub(super) struct Stream {
    body: Body,
    decoder: Decoder,
    /// The id of the last event, where the server gives ids.
    pub(super) last: Option<String>,
    /// The pause that the server asks for before the stream is taken up again.
    pub(super) retry: Option<Duration>,
}

impl Stream {
    pub(super) fn new(answer: Response<Body>, most: usize) -> Stream {
        Stream { body: answer.into_body(), decoder: Decoder::new(most), last: None, retry: None }
    }

    /// The next event with data; `None` at the end. Cancel safe: a piece is decoded as soon as it has arrived.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Fault> {
        loop {
            while let Some(frame) = self.decoder.next() {
                if let Some(id) = &frame.id {
                    self.last = Some(id.clone());
                }
                self.retry = frame.retry.map(Duration::from_millis).or(self.retry);
                if !frame.data.is_empty() {
                    return Ok(Some(frame));
                }
            }
            let Some(piece) = self.body.next().await else { return Ok(None) };
            if !self.decoder.push(&piece?) {
                return Err(Fault::new(
                    Code::TooLarge,
                    "an event of the upstream is larger than its `message` allows",
                ));
            }
        }
    }
}

pub(super) fn own(outcome: Result<&str, &str>) -> Outcome {
    outcome.map(str::to_owned).map_err(|error| Failure::Rpc(rpc::Error::read(error)))
}

/// A whole answer: the response, or what the status says when there is none.
pub(super) fn read_whole(bytes: &[u8], status: http::StatusCode, id: &str) -> Outcome {
    match Message::parse(bytes) {
        // Servers exist that give errors an id of their own, so only results are held to it.
        Ok(Message::Response { id: theirs, outcome: Ok(_) }) if theirs != id && status.is_success() => {
            Err(Fault::new(Code::UpstreamProtocol, "it answered another request than the one it was asked")
                .into())
        }
        Ok(Message::Response { outcome, .. }) if outcome.is_err() || status.is_success() => own(outcome),
        Err(_)
            if Fields::parse_bytes(bytes)
                .is_ok_and(|fields| fields.get("error").is_some_and(|e| e.starts_with('{'))) =>
        {
            let fields = Fields::parse_bytes(bytes).unwrap_or_default();
            Err(Failure::Rpc(rpc::Error::read(fields.get("error").unwrap_or("{}"))))
        }
        _ if status.is_success() => {
            Err(Fault::new(Code::UpstreamProtocol, "its answer is no JSON-RPC response").into())
        }
        _ => {
            let text = String::from_utf8_lossy(bytes.get(..200).unwrap_or(bytes)).into_owned();
            Err(refusal(status, &text).into())
        }
    }
}

pub(super) fn refusal(status: http::StatusCode, text: &str) -> Fault {
    let code = match status.as_u16() {
        408 | 429 | 500.. => Code::UpstreamFailed,
        400.. => Code::UpstreamRefused,
        _ => Code::UpstreamProtocol,
    };
    Fault::new(code, format!("it answered {status} {text}").trim_end().to_owned())
        .with_status(status.as_u16())
}

pub(super) fn silent(wait: Duration) -> Fault {
    Fault::new(Code::DeadlinePassed, format!("the upstream was silent for {} ms", wait.as_millis()))
}

pub(super) async fn within<T>(wait: Duration, work: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::time::timeout(wait, work).await.map_err(|_| silent(wait))
}

pub(super) fn is_stream(answer: &Response<Body>) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    answer.status().is_success() && kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream")
}
