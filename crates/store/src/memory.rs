//! The memory engine: the promises of `Engine` without a disk, and with the faults of one, drawn from a seed.
//! It keeps nothing on disk; `crash` gives the engine that a machine would come back with.

mod faults;
mod world;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use parking_lot::Mutex;

pub use faults::Faults;
use world::{Job, Side, World};

use crate::{Appending, Bell, Committing, Completion, Engine, Error, Health, Log, Table, Write};

/// An engine in memory. Clones are handles on the same engine.
///
/// With [`Faults::none`] an append is durable when the call returns, which makes it the engine of `durability:
/// memory`. With faults it is the adversary of simulations: the same seed and calls give the same faults.
#[derive(Clone)]
pub struct Memory {
    world: Arc<Mutex<World>>,
}

impl Memory {
    /// An empty engine that fails as `faults` says.
    pub fn new(faults: Faults) -> Memory {
        Memory { world: Arc::new(Mutex::new(World::new(faults))) }
    }

    /// Stops the machine at this moment and starts it again: the new engine holds what was durable, and perhaps
    /// a part of what was not. This one and all handles on it answer `Closed` from now on.
    #[must_use]
    pub fn crash(&self) -> Memory {
        Memory { world: Arc::new(Mutex::new(self.world.lock().crash())) }
    }

    /// Makes everything handed in durable now, as if the disk had caught up.
    pub fn settle(&self) {
        let mut world = self.world.lock();
        world.sync(Side::Logs);
        world.sync(Side::Tables);
    }

    /// Replaces the faults from here on; the dice go on from `faults.seed`.
    pub fn set_faults(&self, faults: Faults) {
        self.world.lock().set_faults(faults);
    }

    fn completion<T: Send + 'static>(
        &self,
        side: Side,
        ticket: Result<u64, Error>,
        outcome: T,
    ) -> Completion<T> {
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(error) => return Completion::ready(Err(error)),
        };
        let (state, mut polls_left) = {
            let mut world = self.world.lock();
            (world.state(side, ticket), world.polls())
        };
        let mut outcome = Some(outcome);
        if let Some(result) = state {
            return Completion::ready(result.and_then(|()| outcome.take().ok_or(Error::Closed)));
        }
        let world = self.world.clone();
        Completion::polled(move |context| {
            let mut world = world.lock();
            if polls_left == 0 {
                world.sync(side);
            }
            if let Some(result) = world.state(side, ticket) {
                return Poll::Ready(result.and_then(|()| outcome.take().ok_or(Error::Closed)));
            }
            polls_left = polls_left.saturating_sub(1);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new(Faults::none())
    }
}

impl Engine for Memory {
    fn log(&self, name: &str) -> Result<Arc<dyn Log>, Error> {
        Error::check_name(name)?;
        let generation = self.world.lock().log(name)?;
        Ok(Arc::new(MemoryLog { engine: self.clone(), name: name.into(), generation }))
    }

    fn table(&self, name: &str) -> Result<Arc<dyn Table>, Error> {
        Error::check_name(name)?;
        let generation = self.world.lock().table(name)?;
        Ok(Arc::new(MemoryTable { engine: self.clone(), name: name.into(), generation }))
    }

    fn logs(&self) -> Vec<String> {
        self.world.lock().logs.keys().map(|name| name.to_string()).collect()
    }

    fn tables(&self) -> Vec<String> {
        self.world.lock().tables.keys().map(|name| name.to_string()).collect()
    }

    fn remove_log(&self, name: &str) -> Committing {
        Completion::ready(self.world.lock().remove_log(name))
    }

    fn remove_table(&self, name: &str) -> Committing {
        Completion::ready(self.world.lock().remove_table(name))
    }

    fn append_bytes_max(&self) -> u64 {
        u64::MAX
    }

    fn ring_when_held_back(&self, _bell: Bell) {}

    fn health(&self) -> Health {
        self.world.lock().health()
    }

    fn close(&self) -> Result<(), Error> {
        self.settle();
        self.world.lock().closed = true;
        Ok(())
    }
}

struct MemoryLog {
    engine: Memory,
    name: Arc<str>,
    generation: u64,
}

impl MemoryLog {
    fn hand_in(&self, at: Option<u64>, records: Vec<Bytes>) -> Appending {
        let handed_in = self.engine.world.lock().append(&self.name, self.generation, at, records);
        match handed_in {
            Ok((ticket, range)) => self.engine.completion(Side::Logs, Ok(ticket), range),
            Err(error) => Completion::ready(Err(error)),
        }
    }
}

impl Log for MemoryLog {
    fn append(&self, records: Vec<Bytes>) -> Appending {
        self.hand_in(None, records)
    }

    fn append_at(&self, first: u64, records: Vec<Bytes>) -> Appending {
        self.hand_in(Some(first), records)
    }

    fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, Error> {
        let world = self.engine.world.lock();
        let log = world.live_log(&self.name, self.generation)?;
        let start = log.records.partition_point(|(offset, _)| *offset < from.max(log.head));
        let mut found = Vec::new();
        let mut bytes = 0usize;
        for (offset, record) in log.records.iter().skip(start).take(records_max) {
            bytes = bytes.saturating_add(record.len());
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push((*offset, record.clone()));
        }
        Ok(found)
    }

    fn head(&self) -> u64 {
        self.engine.world.lock().live_log(&self.name, self.generation).map_or(0, |log| log.head)
    }

    fn tail(&self) -> u64 {
        self.engine.world.lock().live_log(&self.name, self.generation).map_or(0, |log| log.tail)
    }

    fn trim(&self, before: u64) -> Result<(), Error> {
        self.engine.world.lock().trim(&self.name, self.generation, before)
    }

    fn room(&self, bytes: u64) -> Result<Option<Committing>, Error> {
        self.engine.world.lock().room(bytes).map(|()| None)
    }

    fn keeps(&self, _records: u64, _bytes: u64) {}

    fn holds_back(&self) -> Option<u64> {
        None
    }

    fn bytes(&self) -> u64 {
        let world = self.engine.world.lock();
        let Ok(log) = world.live_log(&self.name, self.generation) else { return 0 };
        let live = log.records.iter().rev().take_while(|(offset, _)| *offset >= log.head);
        live.map(|(_, record)| record.len() as u64).sum()
    }
}

struct MemoryTable {
    engine: Memory,
    name: Arc<str>,
    generation: u64,
}

impl Table for MemoryTable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let world = self.engine.world.lock();
        Ok(world.live_table(&self.name, self.generation)?.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let world = self.engine.world.lock();
        let pairs: &BTreeMap<Bytes, Bytes> = world.live_table(&self.name, self.generation)?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = pairs.range::<[u8], _>((start, Bound::Unbounded));
        let matching = range.take_while(|(key, _)| key.starts_with(prefix)).take(max);
        Ok(matching.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, writes: Vec<Write>) -> Committing {
        if let Err(error) = crate::error::check_writes(&writes) {
            return Completion::ready(Err(error));
        }
        let job = Job::Commit { table: self.name.clone(), generation: self.generation, writes };
        let ticket = self.engine.world.lock().hand_in(Side::Tables, job);
        self.engine.completion(Side::Tables, ticket, ())
    }
}

#[cfg(test)]
mod tests;
