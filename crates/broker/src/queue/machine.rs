//! The rules of a queue as a deterministic state machine: `apply(now, command, effects) -> answer`.
//! It never waits, reads no clock and no body; the lane around it appends the records and passes on the answers.
//!
//! A batch is any number of `apply` and one `finish`. Its records are appended together; its answers may be told
//! when that append is durable; its grants at once, for only what is durable is ever granted.

use super::fold::Folded;
use super::index::{Entry, Index, Place, Timer};
use super::options::{Expired, QueueOptions};
use super::record::{self, Died, Ended, Meta};
use super::types::{Attempt, Enqueued, Number, Settled, Settlement, Token};
use crate::Bounds;
use bytes::Bytes;
use foldhash::HashMap;
use message::{Code, Due, Fault, Moment, Now};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long after a lease its record is written, in milliseconds, unless it is settled first: most leases then cost
/// no record, and a delivery that brings the process down is still counted.
const LEASE_RECORD_MS: u64 = 10;

struct Waiter {
    ticket: u64,
    max: Bounds,
    hold: Option<Duration>,
    until: Moment,
    consumer: Arc<str>,
}

/// Counters since the machine was made.
#[derive(Clone, Copy, Default)]
struct Counts {
    enqueued: u64,
    refused: u64,
    duplicates: u64,
    forgotten: u64,
    delivered: u64,
    acked: u64,
    retried: u64,
    lost: u64,
    died: u64,
    expired: u64,
}

/// One queue.
///
/// Invariants: a message is granted only when its record is durable; `next` is the offset that the log will give to the
/// next record; a token fits only the newest lease of its message, and only until that ends.
pub(crate) struct Machine {
    options: QueueOptions,
    epoch: u32,
    next: u64,
    index: Index,
    broken_off: Vec<Number>,
    /// Messages whose records are not yet durable, in order.
    fresh: VecDeque<Number>,
    /// Copies that are not yet durable, in order: the offset and whose it is.
    moving: VecDeque<(u64, Number)>,
    waiters: VecDeque<Waiter>,
    /// Leases without a record, and when they are to have one.
    unwritten: BTreeMap<Number, Arc<str>>,
    unwritten_due: Option<Moment>,
    /// The list record that is being filled.
    open: Option<(u8, usize, Vec<u8>)>,
    /// Room that is kept for messages which are about to enter: how many, and their bytes.
    booked: (u64, u64),
    counts: Counts,
    consumers: HashMap<Arc<str>, Moment>,
}

impl Machine {
    /// A queue in the state that was folded from its log. `epoch` must be another than that of any token given before.
    pub(crate) fn new(options: QueueOptions, epoch: u32, folded: Folded) -> Machine {
        Machine {
            options,
            epoch,
            next: folded.next,
            index: folded.index,
            broken_off: folded.broken_off,
            fresh: VecDeque::new(),
            moving: VecDeque::new(),
            waiters: VecDeque::new(),
            unwritten: BTreeMap::new(),
            unwritten_due: None,
            open: None,
            booked: (0, 0),
            counts: Counts::default(),
            consumers: HashMap::default(),
        }
    }

    /// Does what `command` asks. `now.moment` must not run backwards.
    pub(crate) fn apply(&mut self, now: Now, command: Command, effects: &mut Effects) -> Answer {
        if !self.broken_off.is_empty() {
            self.write_broken_off(effects);
        }
        match command {
            Command::Enqueue { meta, record } => Answer::Enqueued(self.enqueue(now, meta, record, effects)),
            Command::Settle { token, settlement } => {
                Answer::Settled(self.settle(now, token, settlement, effects))
            }
            Command::Lease { ticket, max, hold, until, consumer } => {
                self.see(now.moment, &consumer);
                self.waiters.push_back(Waiter { ticket, max, hold, until, consumer });
                Answer::Nothing
            }
            Command::Cancel { ticket } => {
                self.waiters.retain(|waiter| waiter.ticket != ticket);
                Answer::Nothing
            }
            Command::Durable { upto } => {
                self.make_durable(now, upto, effects);
                Answer::Nothing
            }
            Command::Tick => {
                self.tick(now, effects);
                Answer::Nothing
            }
            Command::Replay { items } => Answer::Count(self.replay(items, effects)),
            Command::Move { items } => Answer::Count(self.move_forward(now, items, effects)),
            Command::DropDead { selection } => Answer::Count(self.drop_dead(&selection, effects)),
            Command::Purge => Answer::Count(self.purge(effects)),
            Command::Configure { options } => {
                self.options = *options;
                self.prune(now.moment);
                drop(self.index.rebuild(now, &self.options, false));
                Answer::Nothing
            }
        }
    }

    /// Ends a batch: gives what is ready to those who wait, and writes what has to be written.
    pub(crate) fn finish(&mut self, now: Now, effects: &mut Effects) {
        self.serve(now, effects);
        if self.writes_leases(now.moment) {
            self.write_leases(now, effects);
        }
        self.close_list(effects);
    }

    /// When something happens by itself; the lane then sends a `Tick`.
    pub(crate) fn next_timer(&self) -> Option<Moment> {
        let waits = self.waiters.iter().map(|waiter| waiter.until).min();
        [self.index.next_timer(), self.unwritten_due, waits].into_iter().flatten().min()
    }

    /// The offset that the log gives to the next record.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether somebody waits for messages.
    pub(crate) fn waits(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// How many messages are not yet known to be durable.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn options(&self) -> &QueueOptions {
        &self.options
    }

    // ---- entering ----

    fn enqueue(
        &mut self,
        now: Now,
        meta: Meta,
        record: Bytes,
        effects: &mut Effects,
    ) -> Result<Enqueued, Fault> {
        let fingerprint = meta.fingerprint.filter(|_| self.options.dedupe_ms > 0);
        if let Some(fingerprint) = fingerprint {
            self.prune(now.moment);
            if let Some(number) = self.index.known.find(fingerprint) {
                self.counts.duplicates += 1;
                return Ok(Enqueued { number, duplicate: true });
            }
        }
        self.expect_room(record.len() as u64)?;
        let number = self.next;
        if let Some(fingerprint) = fingerprint {
            self.index.known.add(now.moment, fingerprint, number);
            self.prune(now.moment);
        }
        self.index.insert(number, Entry::new(number, record.len(), meta));
        self.fresh.push_back(number);
        self.counts.enqueued += 1;
        self.push(record, effects);
        Ok(Enqueued { number, duplicate: false })
    }

    /// Keeps room for a message that is about to enter, until [`Machine::unbook`]; false when it needs none, for it is known.
    pub(crate) fn book(&mut self, now: Now, meta: &Meta, size: u64) -> Result<bool, Fault> {
        self.prune(now.moment);
        let known = |fingerprint| self.index.known.find(fingerprint).is_some();
        if self.options.dedupe_ms > 0 && meta.fingerprint.is_some_and(known) {
            return Ok(false);
        }
        self.expect_room(size)?;
        self.booked = (self.booked.0 + 1, self.booked.1 + size);
        Ok(true)
    }

    /// Gives back the room that was kept for one message.
    pub(crate) fn unbook(&mut self, size: u64) {
        self.booked = (self.booked.0.saturating_sub(1), self.booked.1.saturating_sub(size));
    }

    /// Takes over the room that another machine of this queue has promised.
    pub(crate) fn keep_bookings(&mut self, of: &Machine) {
        self.booked = of.booked;
    }

    fn prune(&mut self, now: Moment) {
        self.counts.forgotten += self.index.known.prune(now, &self.options);
    }

    fn expect_room(&mut self, size: u64) -> Result<(), Fault> {
        let (depth, bytes) =
            (self.index.entries.len() as u64 + self.booked.0, self.index.bytes + self.booked.1);
        let QueueOptions { messages_max, bytes_max, .. } = self.options;
        if depth < messages_max && bytes + size <= bytes_max {
            return Ok(());
        }
        self.counts.refused += 1;
        Err(Fault::new(
            Code::QueueFull,
            format!("the queue holds {depth} of {messages_max} messages and {bytes} of {bytes_max} bytes"),
        ))
    }

    fn make_durable(&mut self, now: Now, upto: u64, effects: &mut Effects) {
        self.moved(upto);
        while let Some(number) = self.fresh.front().copied().filter(|number| *number < upto) {
            self.fresh.pop_front();
            if self.index.entries.get(&number).is_some_and(|entry| entry.place == Place::Fresh) {
                self.make_available(now, number, effects);
            }
        }
    }

    fn make_available(&mut self, now: Now, number: Number, effects: &mut Effects) {
        let deadline = self.index.entries.get(&number).and_then(|entry| entry.meta.deadline);
        if deadline.is_some_and(|deadline| deadline.is_over(now.moment)) {
            self.expire(now, number, effects);
        } else {
            self.index.offer(number);
        }
    }

    // ---- leaving ----

    fn serve(&mut self, now: Now, effects: &mut Effects) {
        while let Some(waiter) = self.waiters.pop_front() {
            let mut leases = Vec::new();
            let mut bytes = 0_usize;
            let most = waiter.max.messages.clamp(1, Bounds::MESSAGES_MAX);
            while leases.len() < most
                && let Some((number, size)) = self.index.first_ready()
                && (leases.is_empty() || bytes.saturating_add(size) <= waiter.max.bytes)
            {
                match self.lease(now, number, &waiter) {
                    Some(leased) => {
                        leases.push(leased);
                        bytes = bytes.saturating_add(size);
                    }
                    None => self.give_up(now, number, None, effects),
                }
            }
            if leases.is_empty() {
                self.waiters.push_front(waiter);
                break;
            }
            self.counts.delivered += leases.len() as u64;
            effects.grants.push(Grant { ticket: waiter.ticket, leases });
        }
        // Nothing is ready any more: those whose time is up go empty-handed.
        if self.waiters.iter().any(|waiter| waiter.until <= now.moment) {
            self.waiters.retain(|waiter| {
                let stays = waiter.until > now.moment;
                if !stays {
                    effects.grants.push(Grant { ticket: waiter.ticket, leases: Vec::new() });
                }
                stays
            });
        }
    }

    /// `None` when it was delivered as often as allowed: then its last lease ended with the process.
    fn lease(&mut self, now: Now, number: Number, waiter: &Waiter) -> Option<Leased> {
        let until = self.options.held_until(now, waiter.hold);
        let entry = self.index.entries.get_mut(&number)?;
        if self.options.deliveries_max > 0 && entry.deliveries >= self.options.deliveries_max {
            return None;
        }
        entry.leases += 1;
        entry.deliveries += 1;
        let leased = Leased {
            token: Token { number, lease: entry.leases, epoch: self.epoch },
            at: entry.at,
            size: entry.size(),
            attempt: entry.deliveries,
            until,
            deadline: entry.meta.deadline,
            fingerprint: entry.meta.fingerprint,
        };
        let consumer = Arc::clone(&waiter.consumer);
        self.unwritten.insert(number, Arc::clone(&consumer));
        self.unwritten_due.get_or_insert(now.moment.after(Duration::from_millis(LEASE_RECORD_MS)));
        self.index.put(number, Place::Leased { until: until.at, since: now.moment, consumer });
        Some(leased)
    }

    fn settle(
        &mut self,
        now: Now,
        token: Token,
        settlement: Settlement,
        effects: &mut Effects,
    ) -> Result<Settled, Fault> {
        let lost =
            |why: &str| Fault::new(Code::LeaseLost, format!("the lease of message {} {why}", token.number));
        let entry = self.index.entries.get(&token.number);
        let Some(entry) = entry.filter(|entry| entry.leases == token.lease && self.epoch == token.epoch)
        else {
            return Err(lost("is over or was settled before"));
        };
        let Place::Leased { until, since, consumer } = &entry.place else {
            return Err(lost("is over"));
        };
        if *until <= now.moment {
            return Err(lost("ran out"));
        }
        let (number, since, consumer) = (token.number, *since, Arc::clone(consumer));
        let attempt = |error: &Fault, took: Option<Duration>| Attempt {
            time: now.time,
            took: took.unwrap_or_else(|| now.moment.since(since)),
            code: error.code(),
            text: record::cut(error.detail()),
            consumer: Arc::clone(&consumer),
        };
        Ok(match settlement {
            Settlement::Ack => {
                self.index.remove(number);
                self.unwritten.remove(&number);
                self.counts.acked += 1;
                self.list(record::ACKED, effects, |out| crate::codec::number(out, number));
                Settled::Acked
            }
            Settlement::Retry { delay, error, took } => {
                self.retry(now, number, delay, attempt(&error, took), effects)
            }
            Settlement::Reject { error } => {
                let died = Died { time: now.time, code: error.code(), text: record::cut(error.detail()) };
                self.die(number, died, Some(attempt(&error, None)), effects);
                Settled::Dead
            }
            Settlement::Extend { hold } => {
                self.options.check_hold(hold)?;
                let until = self.options.held_until(now, hold);
                self.index.put(number, Place::Leased { until: until.at, since, consumer });
                Settled::Held(until)
            }
            Settlement::Release => {
                self.release(now, number, effects);
                Settled::Released
            }
        })
    }

    fn retry(
        &mut self,
        now: Now,
        number: Number,
        delay: Option<Duration>,
        attempt: Attempt,
        effects: &mut Effects,
    ) -> Settled {
        let deliveries = self.index.entries.get(&number).map_or(0, |entry| entry.deliveries);
        if self.options.deliveries_max > 0 && deliveries >= self.options.deliveries_max {
            self.give_up(now, number, Some(attempt), effects);
            return Settled::Dead;
        }
        self.counts.retried += 1;
        let until = now.due_in(delay.unwrap_or_else(|| self.options.pause(deliveries)));
        self.come_back(now, number, Some(until), Some(attempt), effects);
        Settled::Retrying(until)
    }

    /// Back to the queue after a delivery, at once unless `until` is ahead. What is written rests on this: a pause is
    /// written beside the attempt that it follows, whose time says when it began.
    fn come_back(
        &mut self,
        now: Now,
        number: Number,
        until: Option<Due>,
        attempt: Option<Attempt>,
        effects: &mut Effects,
    ) {
        let later = until.filter(|until| !until.is_over(now.moment));
        let written = self.unwritten.remove(&number).is_none();
        let Some(entry) = self.index.entries.get_mut(&number) else { return };
        let (leases, deliveries) = (entry.leases, entry.deliveries);
        if let Some(attempt) = &attempt {
            entry.remember(attempt.clone());
        }
        if written || attempt.is_some() {
            let until = later.map(|until| until.time);
            let ended = Ended { number, leases, deliveries, until, died: None, attempt };
            self.list(record::RETURNED, effects, |out| record::write_ended(out, &ended));
        }
        match later {
            Some(until) => self.index.put(number, Place::Delayed(until.at)),
            None => self.make_available(now, number, effects),
        }
    }

    fn release(&mut self, now: Now, number: Number, effects: &mut Effects) {
        if let Some(entry) = self.index.entries.get_mut(&number) {
            entry.deliveries = entry.deliveries.saturating_sub(1);
        }
        self.come_back(now, number, None, None, effects);
    }

    // ---- time ----

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        while let Some((number, timer)) = self.index.due(now.moment) {
            let place = self.index.entries.get(&number).map(|entry| entry.place.clone());
            match (timer, place) {
                (Timer::Place, Some(Place::Leased { since, consumer, .. })) => {
                    self.lose(now, number, since, consumer, effects);
                }
                (Timer::Place, Some(Place::Delayed(_))) => self.make_available(now, number, effects),
                // A message in the hands of a consumer may still be acknowledged; it is looked at when it comes back,
                // and one that is not durable yet when it is.
                (Timer::Deadline, Some(Place::Leased { .. } | Place::Fresh)) => {}
                (Timer::Deadline, Some(_)) => self.expire(now, number, effects),
                (Timer::Place, _) | (_, None) => {
                    debug_assert!(false, "a timer without its message");
                    return;
                }
            }
        }
    }

    fn lose(&mut self, now: Now, number: Number, since: Moment, consumer: Arc<str>, effects: &mut Effects) {
        self.counts.lost += 1;
        let attempt = Attempt {
            time: now.time,
            took: now.moment.since(since),
            code: Code::LeaseLost,
            text: "the lease ran out before it was settled".into(),
            consumer,
        };
        let deliveries = self.index.entries.get(&number).map_or(0, |entry| entry.deliveries);
        if self.options.deliveries_max > 0 && deliveries >= self.options.deliveries_max {
            self.give_up(now, number, Some(attempt), effects);
        } else {
            self.come_back(now, number, None, Some(attempt), effects);
        }
    }

    fn expire(&mut self, now: Now, number: Number, effects: &mut Effects) {
        self.counts.expired += 1;
        match self.options.expired {
            Expired::Drop => {
                self.index.remove(number);
                self.unwritten.remove(&number);
                self.list(record::DROPPED, effects, |out| crate::codec::number(out, number));
            }
            Expired::DeadLetter => {
                let text = "its deadline passed while it waited".into();
                self.die(number, Died { time: now.time, code: Code::DeadlinePassed, text }, None, effects);
            }
        }
    }
}

mod command;
mod dead;
mod lists;
mod upkeep;

pub(crate) use command::{Answer, Command, Effects, Grant, Leased};

#[cfg(test)]
mod tests;
