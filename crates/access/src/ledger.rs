//! The record of what was done: one line per call, refusal and change, with what it cost.
//! It keeps the newest in memory and hands all to whoever writes them down; it never writes itself.

use message::{Fault, Time, Verb};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the newest records are kept in memory for the dashboard.
const RECENT_MAX: usize = 1_000;
/// How many records may wait to be written down; beyond it the oldest is let go and counted in `lost`.
pub const WAITING_MAX: usize = 65_536;
/// How many pairs of principal and model are summed up apart; further ones are summed under `other`.
const SUMS_MAX: usize = 10_000;

/// What somebody did, to what, and how it ended.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it began.
    pub time: Time,
    /// Who did it.
    pub principal: Arc<str>,
    /// By which protocol they came.
    pub protocol: &'static str,
    /// What they did.
    pub verb: Verb,
    /// To which address, as text, for a refused one may be none.
    pub address: Arc<str>,
    /// The message's or request's identity.
    pub id: Option<message::Id>,
    /// The trace it belongs to.
    pub trace_id: Option<u128>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What it cost, when it was a model call.
    pub usage: Option<Usage>,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Not, and this is why.
    Failed(Fault),
    /// Nobody was let in: a credential that nobody holds, or none where one is needed. Never what was shown.
    Barred {
        /// Why, as the other side was told.
        fault: Fault,
        /// From where it was tried; nothing when the record sums up several places.
        peer: Option<SocketAddr>,
        /// How many attempts this record stands for, from 1.
        times: u64,
    },
}

impl Outcome {
    /// Why it ended otherwise than asked.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Outcome::Done => None,
            Outcome::Failed(fault) | Outcome::Barred { fault, .. } => Some(fault),
        }
    }
}

/// What a model call used and cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// The model as the provider calls it.
    pub model: Arc<str>,
    /// The provider that answered.
    pub provider: Arc<str>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Of those, tokens that the provider had cached.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Cost in billionths of the currency (10⁻⁹ USD), exact: prices are per million tokens in millionths.
    pub cost_nano: u64,
    /// Whether the counts were estimated because the provider sent none.
    pub estimated: bool,
}

/// The sums of one principal on one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    /// How many calls.
    pub calls: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Cost in billionths of the currency.
    pub cost_nano: u64,
}

/// The newest records, those that wait to be written down, and the sums of usage.
#[derive(Debug, Default)]
pub struct Ledger {
    books: Mutex<Books>,
    written: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Books {
    recent: VecDeque<Arc<Record>>,
    faults: VecDeque<Arc<Record>>,
    waiting: VecDeque<Arc<Record>>,
    sums: BTreeMap<(Arc<str>, Arc<str>), Sum>,
}

impl Ledger {
    /// Takes one record down; its number, from 1, in the order in which records are drained.
    pub fn write(&self, record: Record) -> u64 {
        let record = Arc::new(record);
        let mut books = self.books.lock();
        let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        push_bounded(&mut books.recent, Arc::clone(&record), RECENT_MAX);
        if record.outcome.fault().is_some() {
            push_bounded(&mut books.faults, Arc::clone(&record), RECENT_MAX);
        }
        if let Some(usage) = &record.usage {
            add_up(&mut books.sums, &record, usage);
        }
        if push_bounded(&mut books.waiting, record, WAITING_MAX) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    /// Takes out what waits to be written down with its numbers, at most `max` records, oldest first.
    pub fn drain(&self, max: usize) -> Vec<(u64, Arc<Record>)> {
        let mut books = self.books.lock();
        let count = books.waiting.len().min(max);
        let first = self.written.load(Ordering::Relaxed) + 1 - books.waiting.len() as u64;
        (first..).zip(books.waiting.drain(..count)).collect()
    }

    /// So many records that were taken out could not be written down.
    pub fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// How many records wait to be written down; at most [`WAITING_MAX`].
    pub fn waiting(&self) -> usize {
        self.books.lock().waiting.len()
    }

    /// The newest records, newest first.
    pub fn recent(&self, max: usize) -> Vec<Arc<Record>> {
        self.books.lock().recent.iter().rev().take(max).cloned().collect()
    }

    /// The newest failures, newest first.
    pub fn faults(&self, max: usize) -> Vec<Arc<Record>> {
        self.books.lock().faults.iter().rev().take(max).cloned().collect()
    }

    /// What each principal used of each model, by principal and model.
    pub fn sums(&self) -> Vec<(Arc<str>, Arc<str>, Sum)> {
        let books = self.books.lock();
        books.sums.iter().map(|((who, model), sum)| (who.clone(), model.clone(), sum.clone())).collect()
    }

    /// How many records were taken down, and how many were lost before they were written to disk.
    pub fn counts(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

/// Whether the oldest had to go.
fn push_bounded(list: &mut VecDeque<Arc<Record>>, record: Arc<Record>, max: usize) -> bool {
    let full = list.len() >= max;
    if full {
        list.pop_front();
    }
    list.push_back(record);
    full
}

fn add_up(sums: &mut BTreeMap<(Arc<str>, Arc<str>), Sum>, record: &Record, usage: &Usage) {
    let mut who = (Arc::clone(&record.principal), Arc::clone(&usage.model));
    if sums.len() >= SUMS_MAX && !sums.contains_key(&who) {
        who = ("other".into(), "other".into());
    }
    let sum = sums.entry(who).or_default();
    sum.calls += 1;
    sum.failed += u64::from(record.outcome != Outcome::Done);
    sum.input_tokens += usage.input_tokens;
    sum.output_tokens += usage.output_tokens;
    sum.cost_nano = sum.cost_nano.saturating_add(usage.cost_nano);
}

#[cfg(test)]
mod tests;
