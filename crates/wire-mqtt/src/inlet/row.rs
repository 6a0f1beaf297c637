//! What of a session is on disk beside its messages, as bytes in the broker's shelf: a versioned form, total to read.
//! When it is written is the session's business.
//!
//! ```text
//!   name     mqtt NUL tenant NUL principal NUL client id
//!   state    1 │ expiry u32 │ away until, ms since 1970, u64; 0 while its client is here │ sent before, u64
//!   filter   options as in SUBSCRIBE (QoS, retain as published) u8 │ subscription identifier u32, 0 for none
//! ```
//!
//! Numbers are big endian.

use super::session::{How, Key};
use crate::codec::Qos;
use bytes::{Buf, BufMut, Bytes};
use message::Time;

/// Before the names of this wing's mailboxes.
pub(super) const PREFIX: &str = "mqtt\0";

const VERSION: u8 = 1;
const RETAIN_AS_PUBLISHED: u8 = 8;

/// A session's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub expiry_s: u32,
    /// When it is over; `None` while its client is here.
    pub until: Option<Time>,
    /// Messages with a smaller number may have been sent already.
    pub sent_before: u64,
}

impl Row {
    pub(super) fn write(&self) -> Bytes {
        let mut out = Vec::with_capacity(21);
        out.put_u8(VERSION);
        out.put_u32(self.expiry_s);
        out.put_u64(self.until.map_or(0, Time::as_millis));
        out.put_u64(self.sent_before);
        out.into()
    }

    pub(super) fn read(mut from: &[u8]) -> Option<Row> {
        if from.try_get_u8().ok()? != VERSION {
            return None;
        }
        let expiry_s = from.try_get_u32().ok()?;
        let until = Some(from.try_get_u64().ok()?).filter(|until| *until > 0).map(Time::from_millis);
        Some(Row { expiry_s, until, sent_before: from.try_get_u64().ok()? })
    }
}

pub(super) fn write_how(how: How) -> Bytes {
    let mut out = Vec::with_capacity(5);
    out.put_u8(how.qos.bits() | if how.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 });
    out.put_u32(how.number.unwrap_or(0));
    out.into()
}

pub(super) fn read_how(mut from: &[u8]) -> Option<How> {
    let options = from.try_get_u8().ok()?;
    let number = Some(from.try_get_u32().ok()?).filter(|number| *number > 0);
    let retain_as_published = options & RETAIN_AS_PUBLISHED != 0;
    Some(How { qos: Qos::from_bits(options & 3)?, retain_as_published, number })
}

pub(super) fn write_key(key: &Key) -> String {
    format!("{PREFIX}{}\0{}\0{}", key.tenant, key.principal, key.client_id)
}

pub(super) fn read_key(name: &str) -> Option<Key> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '\0').map(std::sync::Arc::from);
    Some(Key { tenant: parts.next()?, principal: parts.next()?, client_id: parts.next()? })
}

#[cfg(test)]
mod tests;
