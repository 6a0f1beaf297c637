//! The shelf's records as bytes on disk, and its rows in the table. No serde; whoever reads them must be total.
//! What they mean is the state's business; integrity is the store's (checksums).
//!
//! ```text
//!   M │ seq │ n × (mailbox u64, ticket, tag, phase) │ envelope       a message, and who must have it
//!   A │ n × (mailbox u64, ticket, seq)                               those are done with it
//!   R │ mailbox u64 │ ticket │ seq                                   it has arrived, but is not done (QoS 2)
//!   N │ mailbox u64 │ id                                             the owner noted a number
//!   U │ mailbox u64 │ id                                             and no longer needs it
//!
//!   table:  m, mailbox u64            -> 1 │ name │ state
//!           f, mailbox u64, name      -> 1 │ pattern │ tag │ rank │ flags │ [group] │ data
//! ```
//!
//! Numbers are LEB128 unless said otherwise; `u64` is eight bytes, little endian, in keys big endian. A message that
//! comes again with the same `seq` stands for what is left of the first.

use super::{KeptFilter, Phase, Ref, Settled};
use crate::codec::{self, Reader};
use crate::{Retained, SubscribeOptions};
use bytes::Bytes;
use message::{Envelope, Moment, Now, Pattern};

const MESSAGE: u8 = b'M';
const SETTLED: u8 = b'A';
const ARRIVED: u8 = b'R';
const NOTED: u8 = b'N';
const UNNOTED: u8 = b'U';

const ROW_VERSION: u8 = 1;
pub(super) const MAILBOX_ROW: u8 = b'm';
pub(super) const FILTER_ROW: u8 = b'f';

const NO_LOCAL: u8 = 1;
const KEEP: u8 = 1 << 1;
const GROUP: u8 = 1 << 2;

/// One record, read.
pub(super) enum Record {
    Message { seq: u64, refs: Vec<Ref>, envelope: Box<Envelope> },
    Settled(Vec<Settled>),
    Arrived(Settled),
    Noted { mailbox: u64, id: u16 },
    Unnoted { mailbox: u64, id: u16 },
}

pub(super) fn message(now: Moment, seq: u64, refs: &[Ref], envelope: &Envelope) -> Bytes {
    let mut out = Vec::with_capacity(envelope.weight() + 80 + refs.len() * 16);
    out.push(MESSAGE);
    codec::number(&mut out, seq);
    let left = || refs.iter().filter(|one| one.phase != Phase::Settled);
    codec::number(&mut out, left().count() as u64);
    for one in left() {
        out.extend_from_slice(&one.mailbox.to_le_bytes());
        codec::number(&mut out, u64::from(one.ticket));
        codec::number(&mut out, u64::from(one.tag));
        out.push(u8::from(one.phase == Phase::Arrived));
    }
    codec::encode_into(&mut out, now, envelope);
    out.into()
}

pub(super) fn settled(all: &[Settled]) -> Bytes {
    let mut out = Vec::with_capacity(16 + all.len() * 16);
    out.push(SETTLED);
    codec::number(&mut out, all.len() as u64);
    all.iter().for_each(|one| put_settled(&mut out, one));
    out.into()
}

pub(super) fn arrived(one: &Settled) -> Bytes {
    let mut out = vec![ARRIVED];
    put_settled(&mut out, one);
    out.into()
}

pub(super) fn note(mailbox: u64, id: u16, on: bool) -> Bytes {
    let mut out = vec![if on { NOTED } else { UNNOTED }];
    out.extend_from_slice(&mailbox.to_le_bytes());
    codec::number(&mut out, u64::from(id));
    out.into()
}

fn put_settled(out: &mut Vec<u8>, one: &Settled) {
    out.extend_from_slice(&one.mailbox.to_le_bytes());
    codec::number(out, u64::from(one.ticket));
    codec::number(out, one.seq);
}

/// Reads a record; `None` for anything that this file does not write.
pub(super) fn read(bytes: &Bytes, now: Now) -> Option<Record> {
    let mut reader = Reader::new(bytes);
    Some(match reader.byte()? {
        MESSAGE => {
            let seq = reader.number()?;
            let count = reader.number()?;
            let refs = (0..count).map(|_| read_ref(&mut reader)).collect::<Option<Vec<Ref>>>()?;
            Record::Message { seq, refs, envelope: Box::new(codec::decode_from(&mut reader, now)?) }
        }
        SETTLED => {
            let count = reader.number()?;
            Record::Settled((0..count).map(|_| read_settled(&mut reader)).collect::<Option<_>>()?)
        }
        ARRIVED => Record::Arrived(read_settled(&mut reader)?),
        NOTED => Record::Noted { mailbox: mailbox(&mut reader)?, id: short(&mut reader)? },
        UNNOTED => Record::Unnoted { mailbox: mailbox(&mut reader)?, id: short(&mut reader)? },
        _ => return None,
    })
}

fn mailbox(reader: &mut Reader<'_>) -> Option<u64> {
    reader.array().map(u64::from_le_bytes)
}

fn short(reader: &mut Reader<'_>) -> Option<u16> {
    u16::try_from(reader.number()?).ok()
}

fn read_ref(reader: &mut Reader<'_>) -> Option<Ref> {
    let (mailbox, ticket, tag) = (mailbox(reader)?, short(reader)?, reader.small()?);
    let phase = if reader.byte()? == 0 { Phase::Waiting } else { Phase::Arrived };
    Some(Ref { mailbox, ticket, tag, phase })
}

fn read_settled(reader: &mut Reader<'_>) -> Option<Settled> {
    Some(Settled { mailbox: mailbox(reader)?, ticket: short(reader)?, seq: reader.number()? })
}

/// The key of a row: its kind, the mailbox, and for filters their name.
pub(super) fn key(kind: u8, mailbox: u64, name: &str) -> Vec<u8> {
    [&[kind], &mailbox.to_be_bytes()[..], name.as_bytes()].concat()
}

/// The mailbox and the name in a key.
pub(super) fn read_key(key: &Bytes) -> Option<(u64, String)> {
    let number = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((number, String::from_utf8(key.get(9..)?.to_vec()).ok()?))
}

pub(super) fn mailbox_row(name: &str, state: &[u8]) -> Vec<u8> {
    let mut out = vec![ROW_VERSION];
    codec::text(&mut out, name);
    out.extend_from_slice(state);
    out
}

/// Name and state of a mailbox.
pub(super) fn read_mailbox_row(row: &Bytes) -> Option<(String, Bytes)> {
    let mut reader = Reader::new(row);
    (reader.byte()? == ROW_VERSION).then_some(())?;
    Some((reader.text()?.to_owned(), reader.rest()))
}

pub(super) fn filter_row(filter: &KeptFilter) -> Vec<u8> {
    let KeptFilter { pattern, options, data } = filter;
    let mut out = vec![ROW_VERSION];
    codec::text(&mut out, &pattern.to_string());
    codec::number(&mut out, u64::from(options.tag));
    out.push(options.rank);
    let flags = [(options.no_local, NO_LOCAL), (options.keep, KEEP), (options.group.is_some(), GROUP)];
    out.push(flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag));
    if let Some(group) = &options.group {
        codec::text(&mut out, group);
    }
    out.extend_from_slice(data);
    out
}

pub(super) fn read_filter_row(row: &Bytes) -> Option<KeptFilter> {
    let mut reader = Reader::new(row);
    (reader.byte()? == ROW_VERSION).then_some(())?;
    let pattern = Pattern::parse(reader.text()?).ok()?;
    let (tag, rank, flags) = (reader.small()?, reader.byte()?, reader.byte()?);
    let group = if flags & GROUP == 0 { None } else { Some(reader.text()?.into()) };
    let (no_local, keep) = (flags & NO_LOCAL != 0, flags & KEEP != 0);
    let options = SubscribeOptions { tag, rank, group, no_local, keep, retained: Retained::Never };
    Some(KeptFilter { pattern, options, data: reader.rest() })
}
