//! Answers kept by idempotency key, so that a request that is sent again has no second effect and gets the first answer
//! (draft-ietf-httpapi-idempotency-key-header). Bounded by time, number and bytes; it does not outlive the process.
//! Which requests have a key, and which outcomes are kept, is the face's (`once`).

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use message::{ByteCount, Code, Fault, Fingerprint, Moment, Span};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What an answer weighs beside its bytes.
const ENTRY_BYTES: usize = 512;

/// Requests with an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdempotencyConfig {
    /// How long an answer is kept for a request that is sent again with the same `Idempotency-Key`. 0s keeps none, and a key
    /// is then no more than a message's id. Default 10m.
    pub keep: Span,
    /// The most bytes of kept answers, 512 for each and its own. Beyond it the oldest answer of the principal that has most
    /// goes before its time, which `trunkline_idempotency_forgotten_total` counts; one of more than a quarter is not kept at
    /// all, and a repetition is refused with TL0040. Default 32MiB.
    pub bytes: ByteCount,
    /// How many requests with a key one principal may have under way: they go on when their client leaves. One more is refused
    /// with TL0022. Default 256.
    pub under_way: usize,
}

impl Default for IdempotencyConfig {
    fn default() -> IdempotencyConfig {
        IdempotencyConfig { keep: Span::secs(600), bytes: ByteCount(32 << 20), under_way: 256 }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Kept {
    fn weight(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
        self.body.len() + headers.sum::<usize>()
    }
}

/// What a request with a key is to do.
pub(crate) enum Begun {
    /// It is the first: do it, and say what came of it.
    First(Ticket),
    /// It was done: this was the answer.
    Again(Kept),
}

/// The kept answers. Cloning gives another handle on the same.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Inner>>);

/// Invariant: `finished` and each `owners[…].order` hold exactly the entries that have an answer, oldest first, and the
/// sums of their weights; `under_way` counts those that have none; nobody's share is empty.
#[derive(Default)]
struct Inner {
    entries: HashMap<Fingerprint, Entry>,
    finished: BTreeMap<u64, (Moment, Fingerprint)>,
    owners: HashMap<Arc<str>, Share>,
    next: u64,
    bytes: usize,
    replayed: u64,
    forgotten: u64,
}

struct Entry {
    owner: Arc<str>,
    /// What was asked: another question with the same key is a mistake.
    question: Fingerprint,
    state: State,
}

enum State {
    UnderWay,
    /// With its weight; no answer when it was too large.
    Done(usize, Option<Kept>),
}

#[derive(Default)]
struct Share {
    under_way: usize,
    bytes: usize,
    order: BTreeMap<u64, Fingerprint>,
}

/// How the kept answers are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerStats {
    /// Bytes that they take now.
    pub bytes: usize,
    /// Requests that got the answer of an earlier one, since the start.
    pub replayed: u64,
    /// Answers that went before their time for want of room, since the start.
    pub forgotten: u64,
}

impl Answers {
    /// Looks a key up, or takes it. `key` says whose it is and where it was sent.
    pub(crate) fn begin(
        &self,
        now: Moment,
        config: &IdempotencyConfig,
        owner: &Arc<str>,
        (key, question): (Fingerprint, Fingerprint),
    ) -> Result<Begun, Fault> {
        let mut inner = self.0.lock();
        inner.expire(now, config);
        if let Some(entry) = inner.entries.get(&key) {
            if entry.question != question {
                let detail =
                    "this Idempotency-Key came with another request before; a new request needs a new key";
                return Err(Fault::new(Code::KeyReused, detail));
            }
            return match &entry.state {
                State::UnderWay => Err(Fault::new(
                    Code::RequestRepeated,
                    "the first request with this Idempotency-Key is under way",
                )
                .retry_after(std::time::Duration::from_secs(1))),
                State::Done(_, Some(kept)) => {
                    let kept = kept.clone();
                    inner.replayed += 1;
                    Ok(Begun::Again(kept))
                }
                State::Done(_, None) => Err(Fault::new(
                    Code::RequestRepeated,
                    "the request with this Idempotency-Key was done; its answer was too large to be kept",
                )),
            };
        }
        let share = inner.owners.entry(Arc::clone(owner)).or_default();
        if share.under_way >= config.under_way {
            let detail = format!("{} requests with an Idempotency-Key are under way", share.under_way);
            return Err(Fault::new(Code::TooManyRequests, detail));
        }
        share.under_way += 1;
        let entry = Entry { owner: Arc::clone(owner), question, state: State::UnderWay };
        inner.entries.insert(key, entry);
        drop(inner);
        Ok(Begun::First(Ticket { answers: self.clone(), key, over: false }))
    }

    pub(crate) fn stats(&self) -> AnswerStats {
        let inner = self.0.lock();
        AnswerStats { bytes: inner.bytes, replayed: inner.replayed, forgotten: inner.forgotten }
    }
}

impl Inner {
    /// Lets go of what is older than the time that answers are kept, and of the oldest beyond the bytes.
    fn expire(&mut self, now: Moment, config: &IdempotencyConfig) {
        while let Some((number, (since, key))) = self.finished.first_key_value().map(|(n, at)| (*n, *at)) {
            if now.since(since) < config.keep.0 {
                break;
            }
            self.remove(number, key);
        }
        let most = usize::try_from(config.bytes.0).unwrap_or(usize::MAX);
        while self.bytes > most {
            // Who keeps most loses first, so that nobody's answers are pushed out by those of another.
            let heaviest = self.owners.values().max_by_key(|share| share.bytes);
            let oldest = heaviest.and_then(|share| share.order.first_key_value());
            let Some((number, key)) = oldest.map(|(number, key)| (*number, *key)) else { break };
            self.forgotten += 1;
            self.remove(number, key);
        }
    }

    fn remove(&mut self, number: u64, key: Fingerprint) {
        self.finished.remove(&number);
        let Some(Entry { owner, state: State::Done(weight, _), .. }) = self.entries.remove(&key) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(weight);
        self.share(&owner, |share| {
            share.order.remove(&number);
            share.bytes = share.bytes.saturating_sub(weight);
        });
    }

    /// Forgets a request that was not done, or that nobody may ask for again.
    fn withdraw(&mut self, key: Fingerprint) {
        if let Some(entry) = self.entries.remove(&key) {
            self.share(&entry.owner, |share| share.under_way = share.under_way.saturating_sub(1));
        }
    }

    fn share(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Share)) {
        let Some(share) = self.owners.get_mut(owner) else { return };
        change(share);
        if share.order.is_empty() && share.under_way == 0 {
            self.owners.remove(owner);
        }
    }
}

/// The right to do what was asked. Dropped, nothing was done, and the next who comes with this key does it.
pub(crate) struct Ticket {
    answers: Answers,
    key: Fingerprint,
    over: bool,
}

impl Ticket {
    /// What the request came to, for those who send it again.
    pub(crate) fn keep(mut self, now: Moment, config: &IdempotencyConfig, kept: Kept) {
        self.over = true;
        if config.keep.0.is_zero() {
            self.answers.0.lock().withdraw(self.key);
            return;
        }
        let most = usize::try_from(config.bytes.0).unwrap_or(usize::MAX);
        let kept = Some(kept).filter(|kept| kept.weight() <= most / 4);
        let weight = ENTRY_BYTES + kept.as_ref().map_or(0, Kept::weight);
        let mut inner = self.answers.0.lock();
        let number = inner.next;
        let Some(entry) = inner.entries.get_mut(&self.key) else { return };
        entry.state = State::Done(weight, kept);
        let owner = Arc::clone(&entry.owner);
        inner.next += 1;
        inner.bytes += weight;
        inner.finished.insert(number, (now, self.key));
        let share = inner.owners.entry(owner).or_default();
        share.under_way = share.under_way.saturating_sub(1);
        share.bytes += weight;
        share.order.insert(number, self.key);
        inner.expire(now, config);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.over {
            self.answers.0.lock().withdraw(self.key);
        }
    }
}

#[cfg(test)]
mod tests;
