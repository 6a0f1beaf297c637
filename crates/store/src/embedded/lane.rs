//! A lane's index: which offset lies where, in 8 bytes per record, and how much of it is alive.
//! It holds durable records only, and reads no files.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::segment::Segment;

/// One log among those that share the segments.
pub(super) struct Lane {
    pub(super) id: u32,
    pub(super) name: Arc<str>,
    /// The offset of the next record; only the writer moves it.
    pub(super) next: AtomicU64,
    pub(super) removed: AtomicBool,
    /// The head that the log says, so that a trim is written once.
    pub(super) head_written: AtomicU64,
    index: Mutex<Index>,
    /// What its owner still needs, when the owner moves that by himself.
    kept: Mutex<Option<Weight>>,
}

/// So many records with so many bytes of payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Weight {
    fn of(spots: &[Spot]) -> Weight {
        let bytes = spots.iter().map(|spot| u64::from(spot.length)).sum();
        Weight { records: spots.len() as u64, bytes }
    }

    fn add(&mut self, other: Weight) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn take(&mut self, other: Weight) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

#[derive(Default)]
struct Index {
    /// Nothing below is shown to readers.
    head: u64,
    /// One behind the last durable record.
    tail: u64,
    /// In the order of their offsets, without overlaps.
    chunks: VecDeque<Chunk>,
    /// What is not trimmed.
    live: Weight,
}

/// Records with consecutive offsets in one segment.
struct Chunk {
    segment: Arc<Segment>,
    first: u64,
    spots: Vec<Spot>,
}

/// Where a record starts in its segment, and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) at: u32,
    pub(super) length: u32,
}

/// A record to be read.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) spot: Spot,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.spots.len() as u64
    }

    /// The spots of its records in `offsets`.
    fn within(&self, offsets: &Range<u64>) -> &[Spot] {
        let place = |offset: u64| {
            usize::try_from(offset.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.spots.len())
        };
        self.spots.get(place(offsets.start)..place(offsets.end.max(offsets.start))).unwrap_or_default()
    }

    /// What is left of it before and behind `offsets`, if anything is.
    fn without(self, offsets: &Range<u64>) -> (Option<Chunk>, Option<Chunk>) {
        if self.first >= offsets.end {
            return (None, Some(self));
        }
        let part = |offsets: Range<u64>| {
            let spots = self.within(&offsets).to_vec();
            let first = offsets.start.max(self.first);
            (!spots.is_empty()).then(|| Chunk { segment: self.segment.clone(), first, spots })
        };
        (part(self.first..offsets.start), part(offsets.end..self.end()))
    }
}

impl Index {
    fn weight_of(&self, offsets: &Range<u64>) -> Weight {
        let start = self.chunks.partition_point(|chunk| chunk.end() <= offsets.start);
        let mut weight = Weight::default();
        for chunk in self.chunks.iter().skip(start).take_while(|chunk| chunk.first < offsets.end) {
            weight.add(Weight::of(chunk.within(offsets)));
        }
        weight
    }

    /// Takes the records of `offsets` out; those behind them.
    fn cut(&mut self, offsets: &Range<u64>) -> VecDeque<Chunk> {
        let weight = self.weight_of(&(offsets.start.max(self.head)..offsets.end));
        self.live.take(weight);
        let place = self.chunks.partition_point(|chunk| chunk.end() <= offsets.start);
        let mut behind = VecDeque::new();
        for chunk in self.chunks.split_off(place) {
            let (before, after) = chunk.without(offsets);
            // What is trimmed need not hold a segment any longer.
            self.chunks.extend(before.filter(|chunk| chunk.end() > self.head));
            behind.extend(after);
        }
        behind
    }

    fn push(&mut self, segment: &Arc<Segment>, first: u64, spots: &[Spot]) {
        self.live.add(Weight::of(spots));
        match self.chunks.back_mut() {
            Some(chunk) if Arc::ptr_eq(&chunk.segment, segment) && chunk.end() == first => {
                chunk.spots.extend_from_slice(spots);
            }
            last => {
                if let Some(chunk) = last {
                    chunk.spots.shrink_to_fit();
                }
                self.chunks.push_back(Chunk { segment: segment.clone(), first, spots: spots.to_vec() });
            }
        }
    }
}

impl Lane {
    pub(super) fn new(id: u32, name: Arc<str>, head: u64, next: u64) -> Lane {
        Lane {
            id,
            name,
            next: AtomicU64::new(next),
            removed: AtomicBool::new(false),
            head_written: AtomicU64::new(head),
            index: Mutex::new(Index { head: head.min(next), tail: next, ..Index::default() }),
            kept: Mutex::new(None),
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.index.lock().head
    }

    pub(super) fn tail(&self) -> u64 {
        self.index.lock().tail
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Shows records to readers: they are durable now, at consecutive offsets from `first` on.
    pub(super) fn publish(&self, segment: &Arc<Segment>, first: u64, spots: &[Spot]) {
        let mut index = self.index.lock();
        index.tail = index.tail.max(first + spots.len() as u64);
        index.push(segment, first, spots);
    }

    /// Records from `first` on are found in `segment` now, wherever they were before.
    pub(super) fn relocate(&self, segment: &Arc<Segment>, first: u64, spots: &[Spot]) {
        let mut index = self.index.lock();
        let trimmed = usize::try_from(index.head.saturating_sub(first)).unwrap_or(usize::MAX);
        let Some(spots) = spots.get(trimmed..).filter(|spots| !spots.is_empty()) else { return };
        let first = first.max(index.head);
        let end = first + spots.len() as u64;
        index.tail = index.tail.max(end);
        let behind = index.cut(&(first..end));
        index.push(segment, first, spots);
        index.chunks.extend(behind);
    }

    /// Nobody will ever read this record: it is damaged.
    pub(super) fn give_up(&self, offset: u64) {
        let mut index = self.index.lock();
        let behind = index.cut(&(offset..offset + 1));
        index.chunks.extend(behind);
    }

    /// Hides records below `before` from readers. Whether the head moved.
    pub(super) fn hide(&self, before: u64) -> bool {
        let mut index = self.index.lock();
        let before = before.min(index.tail);
        let moves = before > index.head;
        if moves {
            let trimmed = index.weight_of(&(index.head..before));
            index.live.take(trimmed);
            index.head = before;
        }
        moves
    }

    /// Lets go of the segments below `before`.
    pub(super) fn forget(&self, before: u64) {
        let mut index = self.index.lock();
        while index.chunks.front().is_some_and(|chunk| chunk.end() <= before) {
            index.chunks.pop_front();
        }
    }

    /// For a lane at open: the first offset never given, which damage may have pushed beyond the last record.
    pub(super) fn raise_tail(&self, next: u64) {
        let mut index = self.index.lock();
        index.tail = index.tail.max(next);
        self.next.fetch_max(index.tail, Ordering::AcqRel);
    }

    /// Where the records from `from` on are.
    pub(super) fn find(&self, from: u64, records_max: usize, bytes_max: usize) -> Vec<Found> {
        let index = self.index.lock();
        let from = from.max(index.head);
        let start = index.chunks.partition_point(|chunk| chunk.end() <= from);
        let mut found: Vec<Found> = Vec::new();
        let mut bytes = 0u64;
        for chunk in index.chunks.iter().skip(start) {
            let skip = usize::try_from(from.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
            for (spot, offset) in chunk.spots.iter().zip(chunk.first..).skip(skip) {
                bytes += u64::from(spot.length);
                if found.len() >= records_max || (bytes > bytes_max as u64 && !found.is_empty()) {
                    return found;
                }
                found.push(Found { offset, segment: chunk.segment.clone(), spot: *spot });
            }
        }
        found
    }

    /// One behind the last record that is not trimmed and lies in a segment with an id below `id`.
    pub(super) fn holds_below(&self, id: u64) -> Option<u64> {
        let index = self.index.lock();
        let old = index.chunks.iter().rev().find(|chunk| chunk.segment.header.id < id);
        old.map(Chunk::end).filter(|end| *end > index.head)
    }

    /// The first records that are not trimmed and lie in a segment with an id below `id`: at most `bytes_max` bytes of
    /// payload, but one if there is one.
    pub(super) fn oldest_below(&self, id: u64, bytes_max: u64) -> Vec<Found> {
        let index = self.index.lock();
        let old = |chunk: &&Chunk| chunk.segment.header.id < id && chunk.end() > index.head;
        let Some(chunk) = index.chunks.iter().find(old) else { return Vec::new() };
        let first = chunk.first.max(index.head);
        let mut bytes = 0;
        let spots = chunk.within(&(first..chunk.end())).iter().zip(first..);
        let fits = |(spot, offset): &(&Spot, u64)| {
            bytes += u64::from(spot.length);
            bytes <= bytes_max || *offset == first
        };
        let found =
            |(spot, offset): (&Spot, u64)| Found { offset, segment: chunk.segment.clone(), spot: *spot };
        spots.take_while(fits).map(found).collect()
    }

    /// What is not trimmed.
    pub(super) fn live(&self) -> Weight {
        self.index.lock().live
    }

    /// What is needed: what its owner says, else what is not trimmed.
    pub(super) fn needed(&self) -> Weight {
        let live = self.live();
        match *self.kept.lock() {
            Some(kept) => {
                Weight { records: kept.records.min(live.records), bytes: kept.bytes.min(live.bytes) }
            }
            None => live,
        }
    }

    pub(super) fn keeps(&self, weight: Weight) {
        *self.kept.lock() = Some(weight);
    }

    /// Whether the owner moves what is needed by himself.
    pub(super) fn moves_itself(&self) -> bool {
        self.kept.lock().is_some()
    }
}
