//! What the shelf holds, as a fold over its log: messages, who must still have them, and where they lie.
//! A plain value without I/O: the shell appends the records and says where they came to lie.

use super::record::Record;
use super::{Kept, Phase, Ref, Settled};
use crate::Message;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// About what a note takes on disk.
const NOTE_BYTES: usize = 16;

/// What a place in the log is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Message(u64),
    Note(u64, u16),
}

/// One message.
struct Held {
    message: Arc<Message>,
    /// Sorted by mailbox and ticket, so that one of ten thousand is found quickly.
    refs: Vec<Ref>,
    left: usize,
    place: Option<u64>,
}

/// Invariants: `of` has a pair for each ref that is not settled; `places` has an entry for each thing that is needed
/// and on disk, and no other; `bytes` is the sum of the weights of `messages`.
#[derive(Default)]
pub(super) struct State {
    next: u64,
    messages: BTreeMap<u64, Held>,
    of: BTreeSet<(u64, u64)>,
    notes: BTreeMap<(u64, u16), Option<u64>>,
    places: BTreeMap<u64, Place>,
    bytes: usize,
}

/// What a mailbox finds when it is opened again.
#[derive(Default)]
pub(crate) struct Left {
    /// Messages in their order, with the tags of their filters.
    pub waiting: Vec<(Kept, u32, Arc<Message>)>,
    /// Those of which only the ticket is still in use.
    pub arrived: Vec<Kept>,
    pub notes: Vec<u16>,
}

impl State {
    /// The number that the next message gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// No message gets a smaller number than this.
    pub(super) fn begin_at(&mut self, seq: u64) {
        self.next = self.next.max(seq);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes a message that is on its way to the log; its number.
    pub(super) fn add(&mut self, message: Arc<Message>, refs: Vec<Ref>) -> u64 {
        let seq = self.next;
        self.put(seq, message, refs);
        seq
    }

    fn put(&mut self, seq: u64, message: Arc<Message>, mut refs: Vec<Ref>) {
        refs.sort_unstable_by_key(|one| (one.mailbox, one.ticket));
        self.next = self.next.max(seq + 1);
        self.bytes += message.weight();
        self.of.extend(refs.iter().map(|one| (one.mailbox, seq)));
        let left = refs.len();
        self.messages.insert(seq, Held { message, refs, left, place: None });
    }

    /// The message as it must be written: those who are done with it are left out.
    pub(super) fn to_write(&self, seq: u64) -> Option<(Arc<Message>, Vec<Ref>)> {
        let held = self.messages.get(&seq)?;
        let left = held.refs.iter().filter(|one| one.phase != Phase::Settled);
        Some((Arc::clone(&held.message), left.cloned().collect()))
    }

    /// The message lies there now, and nowhere else.
    pub(super) fn placed(&mut self, seq: u64, offset: u64) {
        if let Some(held) = self.messages.get_mut(&seq) {
            if let Some(old) = held.place.replace(offset) {
                self.places.remove(&old);
            }
            self.places.insert(offset, Place::Message(seq));
        }
    }

    pub(super) fn placed_note(&mut self, mailbox: u64, id: u16, offset: u64) {
        if let Some(place) = self.notes.get_mut(&(mailbox, id)) {
            if let Some(old) = place.replace(offset) {
                self.places.remove(&old);
            }
            self.places.insert(offset, Place::Note(mailbox, id));
        }
    }

    /// One mailbox is done with a message; false when it was before.
    pub(super) fn settle(&mut self, one: &Settled) -> bool {
        let Some(held) = self.messages.get_mut(&one.seq) else { return false };
        let found = held.refs.binary_search_by_key(&(one.mailbox, one.ticket), |it| (it.mailbox, it.ticket));
        let Some(entry) = found.ok().and_then(|place| held.refs.get_mut(place)) else { return false };
        if entry.phase == Phase::Settled {
            return false;
        }
        entry.phase = Phase::Settled;
        held.left -= 1;
        // A mailbox can have two: one of its own filter, one of a group's.
        if !held.refs.iter().any(|it| it.mailbox == one.mailbox && it.phase != Phase::Settled) {
            self.of.remove(&(one.mailbox, one.seq));
        }
        if held.left == 0 {
            self.drop_message(one.seq);
        }
        true
    }

    /// The message has arrived at one mailbox's client, which still owns its ticket.
    pub(super) fn arrive(&mut self, one: &Settled) -> bool {
        let Some(held) = self.messages.get_mut(&one.seq) else { return false };
        let found = held.refs.binary_search_by_key(&(one.mailbox, one.ticket), |it| (it.mailbox, it.ticket));
        match found.ok().and_then(|place| held.refs.get_mut(place)) {
            Some(entry) if entry.phase == Phase::Waiting => {
                entry.phase = Phase::Arrived;
                true
            }
            _ => false,
        }
    }

    pub(super) fn note(&mut self, mailbox: u64, id: u16) {
        self.notes.entry((mailbox, id)).or_insert(None);
    }

    pub(super) fn unnote(&mut self, mailbox: u64, id: u16) {
        if let Some(Some(place)) = self.notes.remove(&(mailbox, id)) {
            self.places.remove(&place);
        }
    }

    pub(super) fn is_noted(&self, mailbox: u64, id: u16) -> bool {
        self.notes.contains_key(&(mailbox, id))
    }

    /// A message that could not be written.
    pub(super) fn withdraw(&mut self, seq: u64) {
        if let Some(held) = self.messages.get(&seq) {
            held.refs.iter().for_each(|one| {
                self.of.remove(&(one.mailbox, seq));
            });
            self.drop_message(seq);
        }
    }

    /// Everything of one mailbox is over.
    pub(super) fn forget(&mut self, mailbox: u64) {
        let own: Vec<u64> = self.of.range((mailbox, 0)..=(mailbox, u64::MAX)).map(|(_, seq)| *seq).collect();
        for seq in own {
            let Some(held) = self.messages.get(&seq) else { continue };
            let mine = held.refs.iter().filter(|one| one.mailbox == mailbox);
            let all: Vec<Settled> = mine.map(|one| Settled { mailbox, ticket: one.ticket, seq }).collect();
            for one in all {
                self.settle(&one);
            }
        }
        let ids: Vec<u16> =
            self.notes.range((mailbox, 0)..=(mailbox, u16::MAX)).map(|((_, id), _)| *id).collect();
        for id in ids {
            self.unnote(mailbox, id);
        }
    }

    fn drop_message(&mut self, seq: u64) {
        if let Some(held) = self.messages.remove(&seq) {
            self.bytes = self.bytes.saturating_sub(held.message.weight());
            if let Some(place) = held.place {
                self.places.remove(&place);
            }
        }
    }

    /// How many records are needed, and about how many bytes they have.
    pub(super) fn keeps(&self) -> (u64, u64) {
        (self.places.len() as u64, (self.bytes + self.notes.len() * NOTE_BYTES) as u64)
    }

    /// The lowest offset that is needed.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.places.keys().next().copied()
    }

    /// What is needed below `before`, oldest first, until it weighs `bytes_max`.
    pub(super) fn below(&self, before: u64, bytes_max: u64) -> Vec<Place> {
        let mut bytes = 0;
        let mut all = Vec::new();
        for (_, place) in self.places.range(..before) {
            let weight = match place {
                Place::Message(seq) => self.messages.get(seq).map_or(0, |held| held.message.weight() as u64),
                Place::Note(..) => NOTE_BYTES as u64,
            };
            if bytes > 0 && bytes + weight > bytes_max {
                break;
            }
            bytes += weight;
            all.push(*place);
        }
        all
    }

    /// Takes in a record that was read at `offset`. `known` says which mailboxes there still are.
    pub(super) fn fold(&mut self, record: Record, offset: u64, known: &impl Fn(u64) -> bool) {
        match record {
            Record::Message { seq, mut refs, mut envelope } => {
                // A copy, so that a small message does not keep the buffer alive that was read with it.
                envelope.body = Bytes::copy_from_slice(&envelope.body);
                self.next = self.next.max(seq + 1);
                // A copy stands for what is left of the first.
                self.withdraw(seq);
                refs.retain(|one| known(one.mailbox));
                if !refs.is_empty() {
                    self.put(seq, Message::new(*envelope), refs);
                    self.placed(seq, offset);
                }
            }
            Record::Settled(all) => all.iter().for_each(|one| {
                self.settle(one);
            }),
            Record::Arrived(one) => {
                self.arrive(&one);
            }
            Record::Noted { mailbox, id } if known(mailbox) => {
                self.note(mailbox, id);
                self.placed_note(mailbox, id, offset);
            }
            Record::Noted { .. } => {}
            Record::Unnoted { mailbox, id } => self.unnote(mailbox, id),
        }
    }

    /// What the mailbox `number` has here.
    pub(super) fn left(&self, number: u64) -> Left {
        let mut left = Left::default();
        for (_, seq) in self.of.range((number, 0)..=(number, u64::MAX)) {
            let Some(held) = self.messages.get(seq) else { continue };
            for one in held.refs.iter().filter(|one| one.mailbox == number) {
                let kept = Kept { seq: *seq, ticket: one.ticket, again: true };
                match one.phase {
                    Phase::Waiting => left.waiting.push((kept, one.tag, Arc::clone(&held.message))),
                    Phase::Arrived => left.arrived.push(kept),
                    Phase::Settled => {}
                }
            }
        }
        left.notes = self.notes.range((number, 0)..=(number, u16::MAX)).map(|((_, id), _)| *id).collect();
        left
    }
}
