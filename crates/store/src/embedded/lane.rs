//! A lane's index: which offset lies where, in 8 bytes per record.
//! It holds durable records only, and reads no files.

use std::collections::VecDeque;
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
}

#[derive(Default)]
struct Index {
    /// Nothing below is shown to readers.
    head: u64,
    /// One behind the last durable record.
    tail: u64,
    chunks: VecDeque<Chunk>,
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
}

impl Lane {
    pub(super) fn new(id: u32, name: Arc<str>, head: u64, next: u64) -> Lane {
        Lane {
            id,
            name,
            next: AtomicU64::new(next),
            removed: AtomicBool::new(false),
            head_written: AtomicU64::new(head),
            index: Mutex::new(Index { head: head.min(next), tail: next, chunks: VecDeque::new() }),
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
        match index.chunks.back_mut() {
            Some(chunk) if Arc::ptr_eq(&chunk.segment, segment) && chunk.end() == first => {
                chunk.spots.extend_from_slice(spots);
            }
            last => {
                if let Some(chunk) = last {
                    chunk.spots.shrink_to_fit();
                }
                index.chunks.push_back(Chunk { segment: segment.clone(), first, spots: spots.to_vec() });
            }
        }
    }

    /// Hides records below `before` from readers. Whether the head moved.
    pub(super) fn hide(&self, before: u64) -> bool {
        let mut index = self.index.lock();
        let before = before.min(index.tail);
        let moves = before > index.head;
        if moves {
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
        let old = index.chunks.iter().take_while(|chunk| chunk.segment.header.id < id);
        old.map(Chunk::end).filter(|end| *end > index.head).last()
    }
}
