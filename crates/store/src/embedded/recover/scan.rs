//! Reads the bytes of one segment into records and holes. It knows no files and no lanes.

use super::super::format::{Header, Kind, RECORDS_START, RosterEntry, resync};

/// One thing found, in the order of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Event {
    /// A whole record, and where it starts in the segment.
    Record { header: Header, at: u64 },
    /// A whole roster record.
    Roster { header: Header, entries: Vec<RosterEntry> },
    /// Bytes `from..to` of the segment hold no whole record.
    Hole(Hole),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Hole {
    pub(in super::super) from: u64,
    pub(in super::super) to: u64,
    /// The first sequence that is missing; 0 when it is not known.
    pub(in super::super) sequence: u64,
    /// How many are missing, when it is known.
    pub(in super::super) records: Option<u64>,
    /// The record's header, when only its payload is damaged.
    pub(in super::super) header: Option<Header>,
}

/// All that one segment holds.
#[derive(Debug, Default)]
pub(in super::super) struct Scan {
    pub(in super::super) events: Vec<Event>,
    /// The first sequence found, or missed by a hole that knows.
    pub(in super::super) first: u64,
    /// The sequence that follows the last one found.
    pub(in super::super) expected: u64,
    /// Behind the last record, counted from `RECORDS_START`.
    pub(in super::super) end: usize,
    /// All sequences below were synced, as a record found here says.
    pub(in super::super) synced: u64,
    /// The last record says that the store was closed in order.
    pub(in super::super) closed: bool,
}

/// `bytes` is what follows `RECORDS_START`; `expected` is the sequence that should come first, 0 when that is not known.
pub(in super::super) fn scan(bytes: &[u8], seed: u32, expected: u64) -> Scan {
    let mut scan = Scan { expected, ..Scan::default() };
    let mut at = 0usize;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let header = Header::decode(rest, seed).filter(|header| match (at, scan.expected) {
            (_, 0) => true,
            // What is missing at the start was lost at the end of the segment before.
            (0, expected) => header.sequence >= expected,
            (_, expected) => header.sequence == expected,
        });
        let Some(header) = header else {
            let sequence_max =
                if scan.expected == 0 { u64::MAX } else { scan.expected + (bytes.len() / 40) as u64 };
            let Some((found, header)) = resync(bytes, at, scan.expected..=sequence_max, seed) else { break };
            let records = (scan.expected != 0).then(|| header.sequence - scan.expected);
            let sequence = scan.expected;
            scan.push_hole(at, found, sequence, records, None);
            scan.expected = header.sequence;
            at = found;
            continue;
        };
        let size = usize::try_from(header.size()).unwrap_or(usize::MAX);
        let to = at.saturating_add(size).min(bytes.len());
        let payload = rest.get(40..40usize.saturating_add(header.length as usize));
        match payload.filter(|payload| header.holds(payload, seed)) {
            Some(payload) => scan.push_record(header, at, payload),
            None => scan.push_hole(at, to, header.sequence, Some(1), Some(header)),
        }
        scan.expected = header.sequence + 1;
        scan.end = to;
        at = to;
    }
    scan
}

impl Scan {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    fn push_record(&mut self, header: Header, at: usize, payload: &[u8]) {
        self.note(header);
        self.events.push(match header.kind {
            Kind::Roster => Event::Roster { header, entries: RosterEntry::decode_all(payload) },
            _ => Event::Record { header, at: RECORDS_START + at as u64 },
        });
    }

    fn push_hole(
        &mut self,
        from: usize,
        to: usize,
        sequence: u64,
        records: Option<u64>,
        header: Option<Header>,
    ) {
        if let Some(header) = header {
            self.note(header);
        }
        if self.first == 0 {
            // The hole takes the blame for what is missing before it, not the segment before.
            self.first = sequence;
        }
        let (from, to) = (RECORDS_START + from as u64, RECORDS_START + to as u64);
        self.closed = false;
        self.events.push(Event::Hole(Hole { from, to, sequence, records, header }));
    }

    fn note(&mut self, header: Header) {
        if self.first == 0 {
            self.first = header.sequence;
        }
        self.synced = self.synced.max(header.synced());
        self.closed = header.kind == Kind::Close;
    }

    /// Another segment follows, which starts with `next`: what is missing in between was damaged.
    pub(super) fn seal(&mut self, next: u64, room: u64) {
        if next > self.expected {
            let (from, sequence, records) = (self.end, self.expected, next - self.expected);
            self.push_hole(from, usize::try_from(room).unwrap_or(from), sequence, Some(records), None);
            self.expected = next;
        }
    }

    /// This is the last segment: cuts what the machine did not finish writing, and an append of which a part is missing.
    /// All sequences below `synced` were finished, whatever the records say. The bytes that were cut, as far as they could
    /// be read.
    pub(super) fn cut(&mut self, synced: u64) -> u64 {
        let end = self.end;
        let synced = self.synced.max(synced);
        let torn = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Hole(hole) if hole.sequence >= synced.max(1)));
        if let Some(torn) = torn {
            if let Some(Event::Hole(hole)) = self.events.get(torn) {
                self.cut_at(hole.from, hole.sequence);
            }
            self.events.truncate(torn);
        }
        while let Some(Event::Record { header, at }) = self.events.last()
            && header.more
            && header.sequence >= synced
        {
            let (at, sequence) = (*at, header.sequence);
            self.cut_at(at, sequence);
            self.events.pop();
        }
        (end - self.end) as u64
    }

    /// This is the last segment, and all sequences below `synced` were written: those that are not there are lost.
    pub(super) fn miss(&mut self, synced: u64) {
        if self.expected != 0 && synced > self.expected {
            let (end, sequence, records) = (self.end, self.expected, synced - self.expected);
            self.push_hole(end, end, sequence, Some(records), None);
            self.expected = synced;
        }
    }

    fn cut_at(&mut self, at: u64, sequence: u64) {
        self.end = usize::try_from(at - RECORDS_START).unwrap_or(self.end);
        self.expected = sequence;
        self.closed = false;
    }
}

#[cfg(test)]
mod tests;
