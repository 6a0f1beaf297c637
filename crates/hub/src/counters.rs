//! What the hub has done, in numbers: per fault code, per called address, in all.
//! Counting only; how numbers are shown is `control`'s.

use message::{Address, Code, Fault};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many called addresses are counted apart.
const CALLED_MAX: usize = 10_000;
/// The upper bounds of the latency buckets of calls, in microseconds; one more bucket has no bound.
pub const LATENCY_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 10_000_000];

/// The hub's counters.
#[derive(Debug)]
pub struct Counters {
    /// Messages taken from clients.
    pub published: AtomicU64,
    /// Of those, the bytes of their bodies.
    pub published_bytes: AtomicU64,
    /// The largest of those bodies.
    pub largest_bytes: AtomicU64,
    /// Requests taken from clients.
    pub called: AtomicU64,
    /// Faults that left the process, by the order of the catalogue.
    faults: Vec<AtomicU64>,
    called_by: RwLock<HashMap<Address, Arc<CallCounts>, foldhash::fast::RandomState>>,
}

/// What was asked of one address.
#[derive(Default, Debug)]
pub struct CallCounts {
    /// How often.
    pub calls: AtomicU64,
    /// How often it failed.
    pub failed: AtomicU64,
    /// The sum of the times, in microseconds.
    pub took_us: AtomicU64,
    /// How many took at most so long as [`LATENCY_BOUNDS_US`] says, the last longer; not cumulated.
    pub buckets: [AtomicU64; LATENCY_BOUNDS_US.len() + 1],
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            published: AtomicU64::new(0),
            published_bytes: AtomicU64::new(0),
            largest_bytes: AtomicU64::new(0),
            called: AtomicU64::new(0),
            faults: Code::all().iter().map(|_| AtomicU64::new(0)).collect(),
            called_by: RwLock::default(),
        }
    }
}

impl Counters {
    /// Counts a fault that a client is told, or that ended a delivery.
    pub fn fault(&self, fault: &Fault) {
        if let Some(count) = self.faults.get(fault.code() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each code left the process.
    pub fn faults(&self) -> Vec<(Code, u64)> {
        Code::all()
            .iter()
            .zip(&self.faults)
            .map(|(entry, count)| (entry.code, count.load(Ordering::Relaxed)))
            .collect()
    }

    /// Counts a call to `address`. One that never reached anybody counts in all only: names that callers make up must not
    /// take the places of those that exist.
    pub(crate) fn call(&self, address: &Address, took_us: u64, fault: Option<&Fault>) {
        self.called.fetch_add(1, Ordering::Relaxed);
        if fault.is_some_and(|fault| never_reached(fault.code())) {
            return;
        }
        let found = self.called_by.read().get(address).cloned();
        let counts = match found {
            Some(counts) => counts,
            None => {
                let mut all = self.called_by.write();
                // Beyond the bound only the total knows them.
                if all.len() >= CALLED_MAX && !all.contains_key(address) {
                    return;
                }
                Arc::clone(all.entry(address.clone()).or_default())
            }
        };
        counts.calls.fetch_add(1, Ordering::Relaxed);
        counts.failed.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        counts.took_us.fetch_add(took_us, Ordering::Relaxed);
        let place = LATENCY_BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = counts.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was asked of each address, in the order of the addresses.
    pub fn calls(&self) -> Vec<(Address, Arc<CallCounts>)> {
        let mut all: Vec<_> = self.called_by.read().iter().map(|(a, c)| (a.clone(), Arc::clone(c))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

fn never_reached(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::Forbidden
            | Code::UnknownAddress
            | Code::UnknownModel
            | Code::UnknownTool
    )
}
