//! What the two WebSocket faces share: frames in JSON, numbered by the client, each answered by an ack or a fault.
//! What a frame asks for is each face's own.

use super::shapes;
use crate::strict::{bad, explain};
use http::Uri;
use message::{Code, Fault};
use net::http::Call;
use net::ws::{Message, Socket};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// How long one frame may take to be written to a client that does not read; then it is let go.
const SEND_MAX: Duration = Duration::from_secs(30);
/// How often a client is asked whether it lives.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
/// Frames up to these bytes do not count against the memory of answers: one a connection is little.
const UNCOUNTED: usize = 16 << 10;
/// The longest id of a frame, for it is sent back.
const ID_BYTES_MAX: usize = 256;

/// RFC 6455 §7.4.1: the server is going away.
pub(crate) const GOING_AWAY: u16 = 1001;
/// RFC 6455 §7.4.1: a message that breaks our rules.
pub(crate) const POLICY: u16 = 1008;

/// A frame that a client sent: its number, if it wants an answer, as the JSON it wrote.
pub(crate) type FrameId = Option<Box<str>>;

/// Sends one frame.
pub(crate) async fn send(socket: &mut Socket, frame: Vec<u8>) -> Result<(), Fault> {
    let share = match frame.len() {
        0..UNCOUNTED => None,
        bytes => {
            let mut share = socket.info().share().await?;
            share.resize(bytes);
            Some(share)
        }
    };
    let text =
        String::from_utf8(frame).map_err(|_| Fault::new(Code::Internal, "a frame that is not UTF-8"))?;
    let sent = tokio::time::timeout(SEND_MAX, socket.send(Message::Text(text))).await;
    drop(share);
    match sent {
        Ok(sent) => sent,
        Err(_) => Err(Fault::new(
            Code::IdleTimeout,
            format!("the client read nothing for {} s", SEND_MAX.as_secs()),
        )),
    }
}

/// `{"type":KIND,"id":ID`, to be gone on with.
pub(crate) fn open<'o>(out: &'o mut Vec<u8>, kind: &str, id: &FrameId) -> shapes::Object<'o> {
    let mut object = shapes::Object::open(out);
    object.text("type", kind);
    if let Some(id) = id {
        object.member("id").extend_from_slice(id.as_bytes());
    }
    object
}

/// A frame that says what went wrong with the frame `id`.
pub(crate) fn fault_frame(id: &FrameId, fault: &Fault) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut object = open(&mut out, "fault", id);
    shapes::fault(object.member("fault"), fault);
    object.close();
    out
}

/// Reads a frame in JSON; a fault comes with the frame's id as far as that can be read.
pub(crate) fn read<'f, T: Deserialize<'f>>(frame: &'f Message) -> Result<(FrameId, T), (FrameId, Fault)> {
    #[derive(Deserialize)]
    struct Head<'f> {
        #[serde(borrow)]
        id: Option<&'f RawValue>,
    }
    let Message::Text(text) = frame else {
        return Err((None, bad("frames are JSON in text messages, not binary ones")));
    };
    let head: Head<'f> = serde_json::from_str(text).map_err(|error| (None, bad(error.to_string())))?;
    let id: FrameId = head.id.map(|id| id.get().into());
    if id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err((None, bad(format!("the id of a frame has at most {ID_BYTES_MAX} bytes"))));
    }
    match serde_json::from_str(text) {
        Ok(frame) => Ok((id, frame)),
        Err(error) => Err((id, bad(explain(&error.to_string())))),
    }
}

/// How large a frame may be so that a message of the allowed size fits in base64.
pub(crate) fn frame_bytes(message_bytes: usize) -> usize {
    message_bytes / 3 * 4 + (64 << 10)
}

/// The query of the request that became a socket.
pub(crate) fn uri(call: &Call) -> &Uri {
    call.request.uri()
}
