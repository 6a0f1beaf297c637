//! Rates: once a second the counters are read, and kept for five minutes, so that the dashboard can draw lines.
//! The counters themselves belong to the hub and the broker.

use crate::State;
use message::Address;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the counters are read.
pub(crate) const STEP: Duration = Duration::from_secs(1);
/// How many readings are kept.
const KEPT: usize = 300;
/// Over how many readings a rate is taken.
const RATE_OVER: usize = 10;
/// How many addresses have a history of their own; the busiest come first in the broker's list.
const ADDRESSES_MAX: usize = 2_000;

/// The readings.
#[derive(Default)]
pub(crate) struct Sampler(Mutex<Readings>);

#[derive(Default)]
struct Readings {
    totals: VecDeque<Totals>,
    addresses: HashMap<Address, VecDeque<(u64, u64)>>,
}

/// The program's counters at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) published: u64,
    pub(crate) called: u64,
    pub(crate) faults: u64,
}

/// Reads the counters until the program stops.
pub(crate) fn start(state: &Arc<State>) {
    let tasks = state.console.hub.tasks().clone();
    let state = Arc::clone(state);
    tasks.background("sampler", async move {
        let mut ticks = tokio::time::interval(STEP);
        loop {
            ticks.tick().await;
            state.sampler.read(&state);
        }
    });
}

impl Sampler {
    fn read(&self, state: &State) {
        let hub = &state.console.hub;
        let counters = hub.counters();
        let totals = Totals {
            published: counters.published.load(Ordering::Relaxed),
            called: counters.called.load(Ordering::Relaxed),
            faults: counters.faults().iter().map(|(_, count)| count).sum(),
        };
        let rates = hub.broker().rates();
        let calls = hub.counters().calls();
        let mut readings = self.0.lock();
        push(&mut readings.totals, totals);
        let messages =
            rates.into_iter().filter_map(|rate| Some((rate.address?, (rate.messages_in, rate.messages_out))));
        let called =
            calls.into_iter().map(|(address, counts)| (address, (counts.calls.load(Ordering::Relaxed), 0)));
        for (address, counters) in messages.chain(called) {
            let room = readings.addresses.len() < ADDRESSES_MAX;
            if room || readings.addresses.contains_key(&address) {
                push(readings.addresses.entry(address).or_default(), counters);
            }
        }
    }

    /// Messages per second in and out, over the last ten seconds.
    pub(crate) fn rate(&self, address: &Address) -> (f64, f64) {
        let readings = self.0.lock();
        let Some(history) = readings.addresses.get(address) else { return (0.0, 0.0) };
        let (Some(last), Some(first)) =
            (history.back(), history.iter().rev().nth(RATE_OVER).or(history.front()))
        else {
            return (0.0, 0.0);
        };
        let steps = history.len().saturating_sub(1).clamp(1, RATE_OVER);
        let per_second = |now: u64, then: u64| {
            let delta = u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
            f64::from(delta) / f64::from(u32::try_from(steps).unwrap_or(1))
        };
        (per_second(last.0, first.0), per_second(last.1, first.1))
    }

    /// What came in and went out in each second, oldest first.
    pub(crate) fn series(&self, address: &Address) -> (Vec<u64>, Vec<u64>) {
        let readings = self.0.lock();
        let Some(history) = readings.addresses.get(address) else { return (Vec::new(), Vec::new()) };
        (deltas(history.iter().map(|pair| pair.0)), deltas(history.iter().map(|pair| pair.1)))
    }

    /// The same for the whole program: published, called, faults.
    pub(crate) fn totals(&self) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
        let readings = self.0.lock();
        let all = &readings.totals;
        (
            deltas(all.iter().map(|one| one.published)),
            deltas(all.iter().map(|one| one.called)),
            deltas(all.iter().map(|one| one.faults)),
        )
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() > KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

fn deltas(counters: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut last = None;
    let mut out = Vec::new();
    for counter in counters {
        if let Some(last) = last.replace(counter) {
            out.push(counter.saturating_sub(last));
        }
    }
    out
}
