//! The state of the memory engine: what is durable, what is under way, and what a crash leaves.
//! It never waits: whoever polls a completion moves it on.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use message::Dice;

use super::Faults;
use crate::{Damage, Error, Health, Write};

/// Logs and tables become durable independently of each other, as they do on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Logs,
    Tables,
}

#[derive(Debug)]
pub(super) enum Job {
    Append { log: Arc<str>, generation: u64, first: u64, records: Vec<Bytes> },
    Commit { table: Arc<str>, generation: u64, writes: Vec<Write> },
}

/// Jobs under way, in the order of the calls. Ticket n is durable when n < `done`.
#[derive(Debug, Default)]
struct Lineup {
    pending: VecDeque<Job>,
    done: u64,
}

#[derive(Debug, Default)]
pub(super) struct LogState {
    generation: u64,
    pub(super) head: u64,
    /// What a crash would bring the head back to.
    head_durable: u64,
    pub(super) tail: u64,
    /// The offset that the next append is given.
    next: u64,
    pub(super) records: VecDeque<(u64, Bytes)>,
}

#[derive(Debug, Default)]
pub(super) struct TableState {
    generation: u64,
    pairs: BTreeMap<Bytes, Bytes>,
}

pub(super) struct World {
    pub(super) logs: BTreeMap<Arc<str>, LogState>,
    pub(super) tables: BTreeMap<Arc<str>, TableState>,
    logs_lineup: Lineup,
    tables_lineup: Lineup,
    generations: u64,
    faults: Faults,
    dice: Dice,
    poisoned: Option<Arc<str>>,
    pub(super) closed: bool,
    full: bool,
    /// Bytes of all records, durable or under way.
    bytes: u64,
    damage: Vec<Damage>,
    torn_bytes: u64,
    commits: u64,
    records: u64,
}

impl World {
    pub(super) fn new(faults: Faults) -> World {
        World {
            logs: BTreeMap::new(),
            tables: BTreeMap::new(),
            logs_lineup: Lineup::default(),
            tables_lineup: Lineup::default(),
            generations: 0,
            dice: Dice::seeded(faults.seed),
            faults,
            poisoned: None,
            closed: false,
            full: false,
            bytes: 0,
            damage: Vec::new(),
            torn_bytes: 0,
            commits: 0,
            records: 0,
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.dice = Dice::seeded(faults.seed);
        self.faults = faults;
    }

    pub(super) fn log(&mut self, name: &str) -> Result<u64, Error> {
        self.check_open()?;
        if let Some(log) = self.logs.get(name) {
            return Ok(log.generation);
        }
        self.generations += 1;
        let state = LogState { generation: self.generations, ..LogState::default() };
        self.logs.insert(name.into(), state);
        Ok(self.generations)
    }

    pub(super) fn table(&mut self, name: &str) -> Result<u64, Error> {
        self.check_open()?;
        if let Some(table) = self.tables.get(name) {
            return Ok(table.generation);
        }
        self.generations += 1;
        let state = TableState { generation: self.generations, ..TableState::default() };
        self.tables.insert(name.into(), state);
        Ok(self.generations)
    }

    pub(super) fn live_log(&self, name: &str, generation: u64) -> Result<&LogState, Error> {
        self.check_open()?;
        self.logs.get(name).filter(|log| log.generation == generation).ok_or(Error::Closed)
    }

    pub(super) fn live_table(&self, name: &str, generation: u64) -> Result<&BTreeMap<Bytes, Bytes>, Error> {
        self.check_open()?;
        let table = self.tables.get(name).filter(|table| table.generation == generation);
        table.map(|table| &table.pairs).ok_or(Error::Closed)
    }

    /// Gives the records their offsets and takes them, in one step, so that offsets rise in the order of the calls.
    pub(super) fn append(
        &mut self,
        name: &Arc<str>,
        generation: u64,
        at: Option<u64>,
        records: Vec<Bytes>,
    ) -> Result<(u64, Range<u64>), Error> {
        let next = self.live_log(name, generation)?.next;
        self.check_sound()?;
        if let Some(expected) = at.filter(|at| *at != next) {
            return Err(Error::Moved { expected, next });
        }
        let size: u64 = records.iter().map(|record| record.len() as u64).sum();
        if self.faults.bytes_max.is_some_and(|limit| self.bytes.saturating_add(size) > limit) {
            self.full = true;
            return Err(Error::DiskFull { path: PathBuf::from("memory") });
        }
        self.full = false;
        self.bytes += size;
        let log = self.logs.get_mut(name).ok_or(Error::Closed)?;
        let first = log.next;
        log.next += records.len() as u64;
        let range = first..log.next;
        let job = Job::Append { log: name.clone(), generation, first, records };
        Ok((self.hand_in(Side::Logs, job)?, range))
    }

    /// Whether so many bytes more leave the reserve alone.
    pub(super) fn room(&mut self, bytes: u64) -> Result<(), Error> {
        self.check_open()?;
        self.check_sound()?;
        self.full = self.faults.bytes_max.is_some_and(|limit| self.bytes + bytes > limit - limit / 4);
        if self.full { Err(Error::DiskFull { path: PathBuf::from("memory") }) } else { Ok(()) }
    }

    /// Takes a job and gives its ticket; whether it is durable already is in `state`.
    pub(super) fn hand_in(&mut self, side: Side, job: Job) -> Result<u64, Error> {
        if let Job::Commit { table, generation, .. } = &job {
            self.live_table(table, *generation)?;
            self.check_sound()?;
        }
        let lineup = self.lineup(side);
        lineup.pending.push_back(job);
        let ticket = lineup.done + lineup.pending.len() as u64 - 1;
        if !self.chance(self.faults.late) {
            self.sync(side);
        }
        Ok(ticket)
    }

    /// What became of a ticket; `None` while it is under way.
    pub(super) fn state(&self, side: Side, ticket: u64) -> Option<Result<(), Error>> {
        let lineup = match side {
            Side::Logs => &self.logs_lineup,
            Side::Tables => &self.tables_lineup,
        };
        if ticket < lineup.done {
            return Some(Ok(()));
        }
        self.check_open().and_then(|()| self.check_sound()).err().map(Err)
    }

    /// Polls after which a late job becomes durable.
    pub(super) fn polls(&mut self) -> u64 {
        self.dice.below(u64::from(self.faults.late_polls_max))
    }

    /// Makes everything under way on that side durable, or fails and poisons.
    pub(super) fn sync(&mut self, side: Side) {
        if self.closed || self.poisoned.is_some() {
            return;
        }
        if self.chance(self.faults.sync_fails) {
            self.poisoned = Some("a sync failed (injected)".into());
            return;
        }
        while let Some(job) = self.lineup(side).pending.pop_front() {
            self.lineup(side).done += 1;
            self.apply(job);
        }
        self.commits += 1;
        if side == Side::Logs {
            self.settle_trims();
        }
    }

    fn apply(&mut self, job: Job) {
        match job {
            Job::Append { log, generation, first, records } => {
                let Some(log) = self.logs.get_mut(&log).filter(|log| log.generation == generation) else {
                    return;
                };
                self.records += records.len() as u64;
                log.tail = log.tail.max(first + records.len() as u64);
                log.records.extend((first..).zip(records));
            }
            Job::Commit { table, generation, writes } => {
                let table = self.tables.get_mut(&table).filter(|table| table.generation == generation);
                let Some(table) = table else { return };
                for write in writes {
                    match write {
                        Write::Put { key, value } => drop(table.pairs.insert(key, value)),
                        Write::Remove { key } => drop(table.pairs.remove(&key)),
                    }
                }
            }
        }
    }

    fn settle_trims(&mut self) {
        for log in self.logs.values_mut() {
            log.head_durable = log.head;
            while log.records.front().is_some_and(|(offset, _)| *offset < log.head) {
                if let Some((_, record)) = log.records.pop_front() {
                    self.bytes = self.bytes.saturating_sub(record.len() as u64);
                }
            }
        }
    }

    pub(super) fn trim(&mut self, name: &str, generation: u64, before: u64) -> Result<(), Error> {
        self.live_log(name, generation)?;
        self.check_sound()?;
        let log = self.logs.get_mut(name).ok_or(Error::Closed)?;
        log.head = log.head.max(before.min(log.tail));
        if !self.chance(self.faults.late) {
            self.settle_trims();
        }
        Ok(())
    }

    pub(super) fn remove_log(&mut self, name: &str) -> Result<(), Error> {
        self.check_open()?;
        self.check_sound()?;
        self.sync(Side::Logs);
        self.check_sound()?;
        if let Some(log) = self.logs.remove(name) {
            self.bytes -= log.records.iter().map(|(_, record)| record.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    pub(super) fn remove_table(&mut self, name: &str) -> Result<(), Error> {
        self.check_open()?;
        self.check_sound()?;
        self.sync(Side::Tables);
        self.check_sound()?;
        self.tables.remove(name);
        Ok(())
    }

    /// What the machine comes back with. Durable data is whole, except where `flipped` says otherwise; of what was under
    /// way a prefix is kept, since an engine cuts at the first hole.
    pub(super) fn crash(&mut self) -> World {
        self.closed = true;
        let mut next = World::new(self.faults.clone());
        next.dice = Dice::seeded(self.dice.roll());
        next.generations = self.generations;
        next.logs = std::mem::take(&mut self.logs);
        next.tables = std::mem::take(&mut self.tables);
        for side in [Side::Logs, Side::Tables] {
            let mut pending = std::mem::take(&mut self.lineup(side).pending).into_iter();
            for job in pending.by_ref() {
                if self.chance(self.faults.lost) {
                    if side == Side::Logs && self.chance(self.faults.torn) {
                        next.torn_bytes += 1 + self.dice.below(4096);
                    }
                    break;
                }
                next.apply(job);
            }
        }
        for (name, log) in &mut next.logs {
            log.next = log.tail;
            if self.chance(self.faults.lost) {
                log.head = log.head_durable;
            }
            if !log.records.is_empty() && self.chance(self.faults.flipped) {
                let place = usize::try_from(self.dice.below(log.records.len() as u64)).unwrap_or(0);
                if let Some((offset, record)) = log.records.remove(place) {
                    next.damage.push(flipped(name, offset, record.len()));
                }
            }
        }
        next.settle_trims();
        next.bytes =
            next.logs.values().flat_map(|log| &log.records).map(|(_, record)| record.len() as u64).sum();
        next.records = 0;
        next
    }

    pub(super) fn health(&self) -> Health {
        let under_way = self.logs_lineup.pending.iter().map(|job| match job {
            Job::Append { records, .. } => records.iter().map(|record| record.len() as u64).sum(),
            Job::Commit { .. } => 0,
        });
        Health {
            poisoned: self.poisoned.as_deref().map(str::to_owned),
            full: self.full,
            damage: self.damage.clone(),
            segments: 0,
            bytes: self.bytes,
            waiting_bytes: under_way.sum(),
            commits: self.commits,
            records: self.records,
            torn_bytes: self.torn_bytes,
        }
    }

    fn lineup(&mut self, side: Side) -> &mut Lineup {
        match side {
            Side::Logs => &mut self.logs_lineup,
            Side::Tables => &mut self.tables_lineup,
        }
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closed { Err(Error::Closed) } else { Ok(()) }
    }

    fn check_sound(&self) -> Result<(), Error> {
        self.poisoned.clone().map_or(Ok(()), |why| Err(Error::Poisoned { why }))
    }

    /// Rolls only when there is something to decide, so that a perfect disk costs no dice.
    #[expect(clippy::cast_precision_loss, reason = "a chance needs no more than 32 bits")]
    fn chance(&self, chance: f64) -> bool {
        chance > 0.0 && (self.dice.roll() >> 32) as f64 / (1u64 << 32) as f64 <= chance
    }
}

fn flipped(name: &str, offset: u64, size: usize) -> Damage {
    Damage {
        file: PathBuf::from("memory"),
        from: offset,
        to: offset + size as u64,
        records: Some(1),
        lanes: vec![name.to_owned()],
        what: "a bit flipped (injected)".to_owned(),
    }
}
