//! What the callers of a lane and its task share: the machine, and the way of its records to the log. Who has the lock applies
//! commands and hands in their records, in one order; nobody waits while he has it.
//! It writes no snapshot, keeps no time and mends nothing: that is the task's.
//!
//! A message enters on the thread of its publisher, who then waits for the log alone. Everything else goes through the task's
//! inbox; so does a message when one of those before it had to, when too many bytes are under way, and while the task mends
//! the lane or is at work for long.

use super::cache::Cache;
use super::lane::{Granted, Reply};
use super::machine::{Answer, Command, Effects, Grant, Machine};
use super::record::Meta;
use super::types::{Enqueued, Settlement, Token};
use crate::rates::Counters;
use bytes::Bytes;
use foldhash::HashMap;
use message::{Code, Envelope, Fault, Moment, Now};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use store::{Appending, Log};
use tokio::sync::Notify;

/// Bytes of records that may be on their way to the disk before callers wait.
const FLYING_BYTES_MAX: usize = 32 << 20;
/// Records after which a snapshot is written, unless more messages are there: then half of their number. Less often would
/// make a start read more; more often would write each message of a growing queue many times over.
const SNAPSHOT_EVERY: u64 = 8_192;
/// A lane that did something and then nothing for this long writes a snapshot, so that the next start reads nothing.
const QUIET: Duration = Duration::from_secs(5);
/// What a record takes in the log beside its bytes, at most.
const RECORD_BYTES: usize = 48;
/// Bytes of a record that says something of a message and holds none.
const SMALL: u64 = 512;
/// Messages that may become durable unseen before a publisher looks.
const FRESH_MAX: usize = 256;

pub(super) type Leases = Reply<Vec<Granted>>;

/// One lane's core, its task's bell, and who has to go through the task.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// While it is not 0, messages enter through the task.
    detours: AtomicUsize,
    /// Bytes for which somebody waits.
    flying: AtomicUsize,
    /// An append of a caller went well since the task asked last.
    pub(super) went_well: AtomicBool,
    pub(super) bell: Notify,
}

/// A message that is to enter.
pub(crate) struct Entering {
    pub(crate) meta: Meta,
    pub(crate) record: Bytes,
    pub(crate) envelope: Arc<Envelope>,
    /// The room that was kept for it, if it was asked before.
    pub(crate) room: Option<Room>,
}

/// Room in a queue, kept for one message until it has entered or is given up.
pub(crate) struct Room {
    shared: Arc<Shared>,
    size: u64,
    /// It was given back already.
    over: bool,
}

impl Room {
    fn give_back(mut self, machine: &mut Machine) {
        machine.unbook(self.size);
        self.over = true;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.over {
            self.shared.lock().machine.unbook(self.size);
        }
    }
}

/// Somebody takes the way through the task; all behind him do, until he has entered.
pub(crate) struct Detour(Arc<Shared>);

/// A message that has entered and is on its way to the disk.
pub(crate) struct Going<'a> {
    enqueued: Enqueued,
    appending: Appending,
    shape: u32,
    aloft: Aloft<'a>,
}

struct Aloft<'a> {
    shared: &'a Shared,
    bytes: usize,
}

/// Records on their way to the disk.
pub(super) struct Part {
    pub(super) appending: Appending,
    pub(super) bytes: usize,
    pub(super) first: u64,
    pub(super) upto: u64,
}

/// Invariant: whatever `machine` says of the log is so once the log's tail has come there, because records are only handed
/// in for the offsets that it counts on ([`Log::append_at`]). After a refusal the rest is refused, too, until it was folded anew.
pub(crate) struct Core {
    pub(super) machine: Machine,
    pub(super) cache: Cache,
    /// Who waits for messages.
    pub(super) leases: HashMap<u64, Leases>,
    effects: Effects,
    log: Arc<dyn Log>,
    counters: Arc<Counters>,
    append_bytes_max: usize,
    /// Counts the machines there were.
    pub(super) shape: u32,
    /// Nobody enters but through the task: the lane is broken or over.
    pub(super) shut: bool,
    /// Why an append of a caller was refused, for the task to see to.
    pub(super) trouble: Option<Fault>,
    pub(super) last_active: Moment,
    /// The first offset that is not in the newest snapshot.
    pub(super) saved: u64,
    /// A snapshot is under way.
    pub(super) saving: bool,
    /// The task has something on its way to the disk, and looks when that is there.
    pub(super) watching: bool,
    /// When the task looks by itself.
    armed: Option<Moment>,
    /// The bell was rung, and the task has not looked yet.
    rung: bool,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Shared {
        Shared {
            core: Mutex::new(core),
            detours: AtomicUsize::new(0),
            flying: AtomicUsize::new(0),
            went_well: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// From here until it is dropped, messages enter through the task.
    pub(crate) fn detour(self: &Arc<Shared>) -> Detour {
        self.detours.fetch_add(1, Ordering::AcqRel);
        Detour(Arc::clone(self))
    }

    /// Keeps room for a message; none for one that is known, or while the lane mends itself, when nobody can say.
    pub(crate) fn book(self: &Arc<Shared>, now: Now, meta: &Meta, size: u64) -> Result<Option<Room>, Fault> {
        let mut core = self.core.lock();
        let kept = !core.shut && core.machine.book(now, meta, size)?;
        drop(core);
        Ok(kept.then(|| Room { shared: Arc::clone(self), size, over: false }))
    }

    pub(super) fn has_room(&self) -> bool {
        self.flying.load(Ordering::Acquire) < FLYING_BYTES_MAX
    }

    /// Lets a message in; `Err` when it must enter through the task.
    pub(crate) fn enter(&self, now: Now, entering: Entering) -> Result<Result<Going<'_>, Fault>, Entering> {
        if self.detours.load(Ordering::Acquire) > 0 || !self.has_room() {
            return Err(entering);
        }
        let mut core = self.core.lock();
        if core.shut {
            return Err(entering);
        }
        if core.machine.fresh() >= FRESH_MAX {
            core.settle_up(now);
        }
        let answer = core.enter(now, entering);
        core.finish(now);
        core.last_active = now.moment;
        let part = core.hand_in(&mut Vec::new());
        let enqueued = match answer {
            Answer::Enqueued(Ok(enqueued)) => enqueued,
            Answer::Enqueued(Err(fault)) => return Ok(Err(fault)),
            _ => return Ok(Err(Fault::new(Code::Internal, "a message got another one's answer"))),
        };
        // The receipt of a duplicate is that of the first, which may be on its way.
        let part = part.unwrap_or_else(|| core.probe());
        if core.wants_task() {
            self.bell.notify_one();
        }
        self.flying.fetch_add(part.bytes, Ordering::AcqRel);
        let aloft = Aloft { shared: self, bytes: part.bytes };
        Ok(Ok(Going { enqueued, appending: part.appending, shape: core.shape, aloft }))
    }

    /// An append of a caller was refused: the task is told, unless it knows.
    fn refused(&self, shape: u32, error: store::Error) -> Fault {
        let fault = Fault::from(error);
        let mut core = self.core.lock();
        if core.shape == shape && !core.shut {
            core.shut = true;
            core.trouble = Some(fault.clone());
            self.bell.notify_one();
        }
        fault
    }
}

impl Going<'_> {
    /// When the message is on disk.
    pub(crate) async fn landed(self) -> Result<Enqueued, Fault> {
        let result = self.appending.await;
        // An engine in memory is never waited for; a publisher that never waits would keep its thread to itself.
        tokio::task::coop::consume_budget().await;
        match result {
            Ok(_) => {
                let went_well = &self.aloft.shared.went_well;
                if !went_well.load(Ordering::Relaxed) {
                    went_well.store(true, Ordering::Relaxed);
                }
                Ok(self.enqueued)
            }
            Err(error) => Err(self.aloft.shared.refused(self.shape, error)),
        }
    }
}

impl Drop for Aloft<'_> {
    fn drop(&mut self) {
        let before = self.shared.flying.fetch_sub(self.bytes, Ordering::AcqRel);
        if before >= FLYING_BYTES_MAX && before - self.bytes < FLYING_BYTES_MAX {
            self.shared.bell.notify_one();
        }
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.0.detours.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Core {
    pub(crate) fn new(
        machine: Machine,
        cache: Cache,
        log: Arc<dyn Log>,
        counters: Arc<Counters>,
        append_bytes_max: usize,
        (saved, now): (u64, Moment),
    ) -> Core {
        Core {
            machine,
            cache,
            leases: HashMap::default(),
            effects: Effects::default(),
            log,
            counters,
            append_bytes_max,
            shape: 0,
            shut: false,
            trouble: None,
            last_active: now,
            saved,
            saving: false,
            watching: false,
            armed: None,
            rung: false,
        }
    }

    /// A machine that was folded anew; what the old one still wanted is forgotten.
    pub(super) fn reshape(&mut self, mut machine: Machine, saved: u64) {
        machine.keep_bookings(&self.machine);
        self.machine = machine;
        self.saved = saved;
        self.cache.clear();
        self.effects = Effects::default();
        self.shape = self.shape.wrapping_add(1);
        self.shut = false;
        self.trouble = None;
    }

    pub(super) fn apply(&mut self, now: Now, command: Command) -> Answer {
        self.machine.apply(now, command, &mut self.effects)
    }

    /// Tells the machine what is durable by now.
    pub(super) fn settle_up(&mut self, now: Now) {
        let upto = self.log.tail();
        self.apply(now, Command::Durable { upto });
    }

    pub(super) fn enter(&mut self, now: Now, entering: Entering) -> Answer {
        let Entering { meta, record, envelope, room } = entering;
        if let Some(room) = room {
            room.give_back(&mut self.machine);
        }
        // Asked before anything is touched, so that a message for which there is no room leaves no trace.
        if let Err(error) = self.log.room(record.len() as u64) {
            return Answer::Enqueued(Err(error.into()));
        }
        let answer = self.apply(now, Command::Enqueue { meta, record });
        if let Answer::Enqueued(Ok(enqueued)) = &answer
            && !enqueued.duplicate
        {
            self.counters.count_in(1);
            self.cache.put(enqueued.number, envelope, &self.machine.index().entries);
        }
        answer
    }

    /// Ends a batch and gives what is ready to those who wait.
    pub(super) fn finish(&mut self, now: Now) {
        if self.machine.writes_leases(now.moment) && self.has_no_room() {
            self.machine.put_off_leases(now.moment);
        }
        loop {
            self.machine.finish(now, &mut self.effects);
            if self.effects.grants.is_empty() {
                return;
            }
            // Whoever went away in the meantime gives back what was meant for them, and the next is served.
            let grants = std::mem::take(&mut self.effects.grants);
            let mut returned = false;
            for grant in grants {
                returned |= self.grant(now, grant);
            }
            if !returned {
                return;
            }
        }
    }

    /// Says whether messages came back.
    fn grant(&mut self, now: Now, grant: Grant) -> bool {
        let Some(reply) = self.leases.remove(&grant.ticket) else {
            return self.give_back(now, grant.leases.into_iter().map(|leased| leased.token).collect());
        };
        let granted: Vec<Granted> = grant
            .leases
            .into_iter()
            .map(|leased| Granted { envelope: self.cache.take(leased.token.number), leased })
            .collect();
        let count = granted.len() as u64;
        match reply.send(Ok(granted)) {
            Ok(()) => {
                self.counters.count_out(count);
                false
            }
            Err(Ok(granted)) => {
                self.give_back(now, granted.into_iter().map(|one| one.leased.token).collect())
            }
            Err(Err(_)) => false,
        }
    }

    fn give_back(&mut self, now: Now, tokens: Vec<Token>) -> bool {
        let some = !tokens.is_empty();
        for token in tokens {
            self.apply(now, Command::Settle { token, settlement: Settlement::Release });
        }
        some
    }

    /// Hands the records of the batch to the log; the last append of it. Those before it, which only very many bytes need,
    /// are put into `earlier`.
    pub(super) fn hand_in(&mut self, earlier: &mut Vec<Part>) -> Option<Part> {
        let mut records = std::mem::take(&mut self.effects.records);
        let mut first = self.machine.next() - records.len() as u64;
        loop {
            let mut bytes = 0;
            let fits = records.iter().take_while(|record| {
                bytes += record.len() + RECORD_BYTES;
                bytes <= self.append_bytes_max
            });
            let count = fits.count().max(1);
            if count >= records.len() {
                let bytes = records.iter().map(Bytes::len).sum();
                return (!records.is_empty()).then(|| self.append(first, records, bytes));
            }
            let rest = records.split_off(count);
            let bytes = records.iter().map(Bytes::len).sum();
            let part = self.append(first, std::mem::replace(&mut records, rest), bytes);
            first = part.upto;
            earlier.push(part);
        }
    }

    /// Whether only what makes the log smaller may be written.
    pub(super) fn has_no_room(&self) -> bool {
        self.log.room(SMALL).is_err()
    }

    fn append(&self, first: u64, records: Vec<Bytes>, bytes: usize) -> Part {
        let upto = first + records.len() as u64;
        let (kept, kept_bytes) = self.machine.index().keeps();
        self.log.keeps(kept, kept_bytes);
        Part { appending: self.log.append_at(first, records), bytes, first, upto }
    }

    /// The offset behind the last durable record.
    pub(super) fn tail(&self) -> u64 {
        self.log.tail()
    }

    /// Whether everything handed in is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.tail() == self.machine.next()
    }

    /// Nothing, which is durable when everything handed in so far is.
    pub(super) fn probe(&self) -> Part {
        self.append(self.machine.next(), Vec::new(), 0)
    }

    /// Whether the task has to be woken: to see what becomes durable for those who wait, for a snapshot, or because
    /// something happens before it looks by itself. At most once until it has looked.
    fn wants_task(&mut self) -> bool {
        if self.rung {
            return false;
        }
        let waits = self.machine.waits() && !self.watching;
        let sooner = |wake: Moment| self.armed.is_none_or(|armed| wake < armed);
        self.rung = waits || self.is_save_due() || self.next_wake().is_some_and(sooner);
        self.rung
    }

    pub(super) fn is_save_due(&self) -> bool {
        let index = self.machine.index();
        // One that is only remembered takes a quarter of the room.
        let live = (index.entries.len() + index.dead.len() + index.known.len() / 4) as u64;
        !self.saving && self.behind() >= SNAPSHOT_EVERY.max(live / 2)
    }

    pub(super) fn is_quiet(&self, now: Moment) -> bool {
        now.since(self.last_active) >= QUIET
    }

    /// Records that the newest snapshot does not know.
    pub(super) fn behind(&self) -> u64 {
        self.machine.next().saturating_sub(self.saved)
    }

    fn next_wake(&self) -> Option<Moment> {
        let quiet = (self.behind() > 0 && !self.saving).then(|| self.last_active.after(QUIET));
        [self.machine.next_timer(), quiet].into_iter().flatten().min()
    }

    /// The task has looked, and looks again when the bell rings or at this moment.
    pub(super) fn arm(&mut self) -> Option<Moment> {
        self.rung = false;
        self.armed = self.next_wake();
        self.armed
    }
}
