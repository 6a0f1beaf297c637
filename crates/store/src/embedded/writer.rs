//! The one thread that writes records: it gathers whatever waits, writes it in one piece, syncs once, answers all.
//! It is the only one that moves sequences, offsets and segments on, so none of that needs a lock.
//!
//! Commits need no timer: while one is on its way to the disk, the next one gathers.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use message::{Clock, Moment};

use super::batch::{Batch, Done};
use super::core::{Core, Job};
use super::format::{self, Header, Kind, PAGE, RECORDS_START, RosterEntry, size_of_record};
use super::lane::{Lane, Spot};
use super::pages::Pages;
use super::segment::Segment;
use crate::completion::PATIENCE;
use crate::{Durability, Error, Promise};

/// A commit is sent off when it has grown to this; more would only make the first ones wait.
const COMMIT_BYTES: usize = 1 << 20;
/// Payload of one roster record.
const ROSTER_BYTES: usize = 64 << 10;
/// With `buffered`, records after which a sync is forced, so that `unsynced` fits in its field.
const UNSYNCED_MAX: u64 = 1 << 30;

/// Room at the end of a segment that only trims, rosters and removals may use: they have it even when every segment is used up.
/// A sixteenth of a small segment.
pub(super) fn reserve(segment_bytes: u64) -> u64 {
    (segment_bytes / 16).min(64 << 10)
}

/// The largest append that fits in a segment beside the roster of all lanes.
pub(super) fn append_bytes_max(segment_bytes: u64) -> u64 {
    (segment_bytes - 2 * PAGE) / 4 * 3 - reserve(segment_bytes)
}

/// The bytes that the roster of all lanes may take.
pub(super) fn roster_bytes_max(segment_bytes: u64) -> u64 {
    (segment_bytes - 2 * PAGE) / 4 - PAGE
}

/// Where writing goes on.
pub(super) struct Position {
    pub(super) segment: Option<Arc<Segment>>,
    /// The next byte to be written.
    pub(super) at: u64,
    /// What stands before it in its page.
    pub(super) page: Vec<u8>,
    pub(super) sequence: u64,
}

pub(super) struct Writer {
    core: Arc<Core>,
    durability: Durability,
    sync_every: Duration,
    clock: Clock,
    /// All lanes that the log knows of.
    lanes: BTreeMap<u32, Arc<Lane>>,
    segment: Option<Arc<Segment>>,
    /// What is to be written at `base`: first what already stands in that page, so that only whole pages are written
    /// and no page of a recycled file need be read.
    buffer: Pages,
    base: u64,
    written: usize,
    sequence: u64,
    /// All sequences below are synced.
    synced: u64,
    synced_at: Moment,
    batch: Batch,
}

impl Writer {
    pub(super) fn new(
        core: Arc<Core>,
        options: &crate::Options,
        clock: Clock,
        lanes: BTreeMap<u32, Arc<Lane>>,
        position: Position,
    ) -> Writer {
        Writer {
            core,
            durability: options.durability,
            sync_every: Duration::from_millis(options.buffered_sync_ms.max(1)),
            synced_at: clock.moment(),
            clock,
            lanes,
            segment: position.segment,
            base: position.at - position.page.len() as u64,
            written: position.page.len(),
            buffer: Pages::holding(&position.page),
            sequence: position.sequence,
            synced: position.sequence,
            batch: Batch::default(),
        }
    }

    /// The thread's work, until the store is closed.
    pub(super) fn run(mut self) {
        let mut jobs = Vec::new();
        if let Some(segment) = &self.segment {
            self.write_directly(segment);
            if self.position() == RECORDS_START {
                self.start_segment();
            }
        }
        self.note_left();
        self.core.reclaim();
        self.core.prepare(false);
        loop {
            let patience = if !self.batch.is_awake() {
                Some(PATIENCE)
            } else {
                (self.synced < self.sequence).then_some(self.sync_every)
            };
            let goes_on = self.core.take_jobs(&mut jobs, patience);
            if jobs.is_empty() {
                self.batch.look_after(self.clock.moment());
            }
            for job in jobs.drain(..) {
                self.take(job);
            }
            self.commit();
            if self.synced < self.sequence && self.is_sync_due() {
                self.sync_late();
            }
            if !goes_on {
                return self.finish();
            }
        }
    }

    /// With `buffered` the page cache is what the bytes are handed to.
    fn write_directly(&self, segment: &Segment) {
        if self.durability == Durability::Fsync {
            segment.write_directly();
        }
    }

    fn take(&mut self, job: Job) {
        if let Err(error) = self.core.notes.check_sound() {
            return self.refuse(job, error);
        }
        match job {
            Job::Append { lane, at, records, bytes, done } => {
                self.core.unplaced.fetch_sub(bytes, Ordering::AcqRel);
                let next = lane.next.load(Ordering::Acquire);
                match at.filter(|at| *at != next) {
                    Some(expected) => {
                        self.core.no_longer_waiting(bytes);
                        done.keep(Err(Error::Moved { expected, next }));
                    }
                    None => self.take_append(lane, &records, bytes, done),
                }
            }
            Job::Carry { lane, records, bytes, done } => {
                self.core.unplaced.fetch_sub(bytes, Ordering::AcqRel);
                let carried = self.carry(&lane, &records);
                match carried {
                    Ok(()) => self.batch.push(Done::Carry { bytes, done }),
                    Err(error) => {
                        self.core.no_longer_waiting(bytes);
                        done.keep(Err(error));
                    }
                }
            }
            Job::Declare { lane } => {
                self.lanes.insert(lane.id, lane.clone());
                // Should it not fit, the roster at the start of the next segment will name the lane.
                if self.make_room(0, true).is_ok() {
                    self.write_roster(std::iter::once(&lane));
                }
            }
            Job::Trim { lane } => {
                let before = lane.head();
                if before > lane.head_written.load(Ordering::Acquire) && self.make_room(0, false).is_ok() {
                    lane.head_written.store(before, Ordering::Release);
                    self.write(Header::new(Kind::Trim, lane.id, before), &[]);
                    self.batch.push(Done::Trim { lane, before });
                }
            }
            Job::Remove { lane, done } => match self.make_room(0, false) {
                Ok(()) => {
                    self.lanes.remove(&lane.id);
                    self.write(Header::new(Kind::Remove, lane.id, 0), &[]);
                    self.batch.push(Done::Remove { lane, done });
                }
                Err(error) => done.keep(Err(error)),
            },
        }
    }

    fn refuse(&self, job: Job, error: Error) {
        match job {
            Job::Append { bytes, done, .. } => {
                self.core.unplaced.fetch_sub(bytes, Ordering::AcqRel);
                self.core.no_longer_waiting(bytes);
                done.keep(Err(error));
            }
            Job::Carry { bytes, done, .. } => {
                self.core.unplaced.fetch_sub(bytes, Ordering::AcqRel);
                self.core.no_longer_waiting(bytes);
                done.keep(Err(error));
            }
            Job::Remove { done, .. } => done.keep(Err(error)),
            Job::Declare { .. } | Job::Trim { .. } => {}
        }
    }

    fn take_append(&mut self, lane: Arc<Lane>, records: &[Bytes], bytes: u64, done: Promise<Range<u64>>) {
        let size = records.iter().map(|record| size_of_record(record.len() as u64)).sum();
        if let Err(error) = self.make_room(size, true) {
            self.core.no_longer_waiting(bytes);
            return done.keep(Err(error));
        }
        let first = lane.next.load(Ordering::Acquire);
        let spots = self.batch.records();
        for (index, record) in records.iter().enumerate() {
            let mut header = Header::new(Kind::Data, lane.id, first + index as u64);
            header.more = index + 1 < records.len();
            let at = u32::try_from(self.position()).unwrap_or(u32::MAX);
            self.batch.push_spot(Spot { at, length: u32::try_from(record.len()).unwrap_or(u32::MAX) });
            self.write(header, record);
        }
        lane.next.store(first + records.len() as u64, Ordering::Release);
        let spots = spots..self.batch.records();
        self.batch.push(Done::Append { lane, first, spots, bytes, done });
        self.note_left();
        if self.buffer.len() >= COMMIT_BYTES {
            self.commit();
        }
    }

    /// Writes records once more; those that were trimmed meanwhile are left out.
    fn carry(&mut self, lane: &Arc<Lane>, records: &[(u64, Bytes)]) -> Result<(), Error> {
        let mut run: Option<(u64, usize)> = None;
        for (offset, record) in records {
            if *offset < lane.head() || lane.is_removed() {
                continue;
            }
            let size = size_of_record(record.len() as u64);
            let joins =
                run.is_some_and(|(first, spot)| first + (self.batch.records() - spot) as u64 == *offset);
            if !joins || !self.fits(size, self.held()) {
                self.end_run(lane, run.take());
                self.make_room(size, true)?;
            }
            let (first, spot) = *run.get_or_insert((*offset, self.batch.records()));
            debug_assert_eq!(first + (self.batch.records() - spot) as u64, *offset, "a run has no gaps");
            let at = u32::try_from(self.position()).unwrap_or(u32::MAX);
            self.batch.push_spot(Spot { at, length: u32::try_from(record.len()).unwrap_or(u32::MAX) });
            self.write(Header::new(Kind::Carried, lane.id, *offset), record);
        }
        self.end_run(lane, run);
        self.note_left();
        Ok(())
    }

    fn end_run(&mut self, lane: &Arc<Lane>, run: Option<(u64, usize)>) {
        if let Some((first, spot)) = run {
            let spots = spot..self.batch.records();
            self.batch.push(Done::Carried { lane: lane.clone(), first, spots });
        }
    }

    fn position(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn write(&mut self, mut header: Header, payload: &[u8]) {
        let Some(segment) = &self.segment else { return };
        header.sequence = self.sequence;
        header.unsynced = u32::try_from(self.sequence - self.synced).unwrap_or(u32::MAX);
        let size = usize::try_from(size_of_record(payload.len() as u64)).unwrap_or(usize::MAX);
        format::encode(self.buffer.room(size), &header, payload, segment.header.seed());
        self.sequence += 1;
    }

    fn write_roster<'a>(&mut self, lanes: impl Iterator<Item = &'a Arc<Lane>>) {
        let mut payload = Vec::new();
        for lane in lanes {
            let head = lane.head();
            if lane.head_written.fetch_max(head, Ordering::AcqRel) < head {
                self.batch.push(Done::Trim { lane: lane.clone(), before: head });
            }
            let next = lane.next.load(Ordering::Acquire);
            RosterEntry { lane: lane.id, head, next, name: lane.name.to_string() }.encode(&mut payload);
            if payload.len() >= ROSTER_BYTES {
                self.write(Header::new(Kind::Roster, 0, 0), &payload);
                payload.clear();
            }
        }
        if !payload.is_empty() {
            self.write(Header::new(Kind::Roster, 0, 0), &payload);
        }
    }

    /// Sees to it that `size` bytes of records fit in the segment, in the next one if need be. `reserved`: the last bytes of a
    /// segment are not for this.
    fn make_room(&mut self, size: u64, reserved: bool) -> Result<(), Error> {
        let held = if reserved { self.held() } else { 0 };
        if self.fits(size, held) { Ok(()) } else { self.roll() }
    }

    fn held(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| reserve(segment.header.size))
    }

    fn fits(&self, size: u64, held: u64) -> bool {
        const SMALL: u64 = 1024;
        let end = self.segment.as_ref().map_or(0, |segment| segment.records_end());
        self.position() + size + SMALL + held <= end
    }

    /// Tells those who ask for room how much there is here.
    fn note_left(&self) {
        let end = self.segment.as_ref().map_or(0, |segment| segment.records_end());
        self.core.left.store(end.saturating_sub(self.position()), Ordering::Release);
    }

    /// Goes on in a new segment. Everything in the old one is synced first, so that a hole in it is known to be damage.
    fn roll(&mut self) -> Result<(), Error> {
        self.commit();
        if self.synced < self.sequence {
            self.sync_late();
        }
        self.core.notes.check_sound()?;
        let next = self.core.pool.take()?;
        self.core.mark.begun(next.header.id).map_err(|error| self.core.notes.poison(&error))?;
        self.core.segments.lock().push_back(next.clone());
        self.write_directly(&next);
        if let Some(sealed) = self.segment.replace(next) {
            sealed.seal();
            self.core.files.opened(&sealed);
        }
        self.base = RECORDS_START;
        self.buffer.clear();
        self.written = 0;
        self.start_segment();
        self.note_left();
        self.core.pool.took();
        self.core.reclaim();
        self.core.keeper.look();
        Ok(())
    }

    /// A segment starts with what is known of all lanes, so that older ones can go.
    fn start_segment(&mut self) {
        let lanes = std::mem::take(&mut self.lanes);
        self.write_roster(lanes.values());
        self.lanes = lanes;
    }

    /// Writes and syncs what was gathered, and answers everybody.
    fn commit(&mut self) {
        if self.buffer.len() == self.written {
            return self.finish_batch(Ok(()));
        }
        let result = self.write_pages();
        let result = result.map_err(|error| self.core.notes.poison(&error));
        self.finish_batch(result);
        let end = self.segment.as_ref().map_or(0, |segment| segment.records_end());
        // What was trimmed at the start of this segment may come back in time to be used again.
        if self.position() > end / 8 {
            self.core.prepare(self.position() > end / 2);
        }
    }

    fn write_pages(&mut self) -> Result<(), Error> {
        let segment = self.segment.as_ref().ok_or(Error::Closed)?;
        let length = self.buffer.len();
        segment.write(self.buffer.whole(), self.base)?;
        if self.durability == Durability::Fsync {
            segment.sync()?;
            self.synced = self.sequence;
            self.synced_at = self.clock.moment();
            self.core.mark.synced(self.synced)?;
        }
        self.base += self.buffer.release(length) as u64;
        self.written = self.buffer.len();
        Ok(())
    }

    /// Readers see the records before their writers are told, so that who was told can read.
    fn finish_batch(&mut self, result: Result<(), Error>) {
        if self.batch.is_empty() {
            return;
        }
        let mut trimmed = false;
        if let (Ok(()), Some(segment)) = (&result, &self.segment) {
            self.core.notes.commits.fetch_add(1, Ordering::Relaxed);
            self.core.notes.records.fetch_add(self.batch.records() as u64, Ordering::Relaxed);
            trimmed = self.batch.publish(segment);
        }
        let bytes = self.batch.answer(&result, self.clock.moment());
        self.core.no_longer_waiting(bytes);
        if trimmed {
            self.core.reclaim();
        }
    }

    fn is_sync_due(&self) -> bool {
        self.clock.moment().since(self.synced_at) >= self.sync_every
            || self.sequence - self.synced > UNSYNCED_MAX
    }

    /// The sync that `buffered` puts off.
    fn sync_late(&mut self) {
        let Some(segment) = self.segment.as_ref().filter(|_| self.core.notes.check_sound().is_ok()) else {
            self.synced = self.sequence;
            return;
        };
        let synced = segment.sync().and_then(|()| self.core.mark.synced(self.sequence));
        if let Err(error) = synced {
            self.core.notes.poison(&error);
        }
        self.synced = self.sequence;
        self.synced_at = self.clock.moment();
    }

    /// Leaves word that everything was synced, so that the next start can tell damage at the very end from a torn write.
    fn finish(mut self) {
        if self.synced < self.sequence {
            self.sync_late();
        }
        if self.core.notes.check_sound().is_ok() && self.segment.is_some() && self.make_room(0, false).is_ok()
        {
            self.durability = Durability::Fsync;
            self.write(Header::new(Kind::Close, 0, 0), &[]);
            self.commit();
        }
    }
}
