//! Puts the lanes together from what the segments hold, oldest first.
//! It never reads a payload other than a roster's, so it cannot know what the records mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::core::Notes;
use super::super::format::{Header, Kind, RosterEntry};
use super::super::lane::{Lane, Spot};
use super::super::segment::Segment;
use super::scan::{Event, Hole};
use crate::Damage;

/// Lanes under construction.
#[derive(Default)]
pub(super) struct Building {
    lanes: BTreeMap<u32, Draft>,
    lane_next: u32,
}

struct Draft {
    lane: Lane,
    name: Option<String>,
    head: u64,
    next: u64,
    /// Records that damage may have taken from this lane since its last record was seen: so many offsets are skipped,
    /// lest one be given twice.
    lost: u64,
    /// Records that were carried forward into one segment, at consecutive offsets from the first on.
    carried: Option<(Arc<Segment>, u64, Vec<Spot>)>,
}

impl Draft {
    /// A record that counts for its offset: it may stand for one that was seen before, or whose segment is gone.
    fn carry(&mut self, segment: &Arc<Segment>, offset: u64, spot: Spot) {
        match &mut self.carried {
            Some((same, first, spots))
                if Arc::ptr_eq(same, segment) && *first + spots.len() as u64 == offset =>
            {
                spots.push(spot);
            }
            _ => {
                self.settle();
                self.carried = Some((segment.clone(), offset, vec![spot]));
            }
        }
        self.next = self.next.max(offset + 1);
    }

    fn settle(&mut self) {
        if let Some((segment, first, spots)) = self.carried.take() {
            self.lane.relocate(&segment, first, &spots);
        }
    }
}

impl Building {
    pub(super) fn apply(&mut self, event: &Event, segment: &Arc<Segment>, notes: &Notes) {
        match event {
            Event::Roster { entries, .. } => entries.iter().for_each(|entry| self.roster(entry)),
            Event::Record { header, at } => self.record(header, *at, segment),
            Event::Hole(hole) => self.hole(hole, segment, notes),
        }
    }

    fn draft(&mut self, id: u32) -> &mut Draft {
        self.lane_next = self.lane_next.max(id.saturating_add(1));
        self.lanes.entry(id).or_insert_with(|| Draft {
            lane: Lane::new(id, "".into(), 0, 0),
            name: None,
            head: 0,
            next: 0,
            lost: 0,
            carried: None,
        })
    }

    fn roster(&mut self, entry: &RosterEntry) {
        let draft = self.draft(entry.lane);
        draft.name = Some(entry.name.clone());
        draft.head = draft.head.max(entry.head);
        draft.next = draft.next.max(entry.next);
        draft.lost = 0;
    }

    fn record(&mut self, header: &Header, at: u64, segment: &Arc<Segment>) {
        let spot = Spot { at: u32::try_from(at).unwrap_or(u32::MAX), length: header.length };
        match header.kind {
            Kind::Data => {
                let draft = self.draft(header.lane);
                if header.offset >= draft.lane.tail() || header.offset >= draft.next {
                    draft.settle();
                    draft.lane.publish(segment, header.offset, &[spot]);
                }
                draft.next = draft.next.max(header.offset + 1);
                draft.lost = 0;
            }
            Kind::Carried => self.draft(header.lane).carry(segment, header.offset, spot),
            Kind::Trim => {
                let draft = self.draft(header.lane);
                draft.head = draft.head.max(header.offset);
            }
            Kind::Remove => {
                // Its id is not given again while records of it may be around.
                self.draft(header.lane);
                self.lanes.remove(&header.lane);
            }
            Kind::Roster | Kind::Close => {}
        }
    }

    fn hole(&mut self, hole: &Hole, segment: &Arc<Segment>, notes: &Notes) {
        let mut lanes = Vec::new();
        match hole.header {
            Some(header) if matches!(header.kind, Kind::Data | Kind::Carried) => {
                let draft = self.draft(header.lane);
                draft.next = draft.next.max(header.offset + 1);
                draft.lost = 0;
                lanes.push(draft.name.clone().unwrap_or_else(|| unnamed(header.lane)));
            }
            Some(_) => {}
            None => {
                let lost = hole.records.unwrap_or((hole.to - hole.from) / 40);
                self.lanes.values_mut().for_each(|draft| draft.lost += lost);
            }
        }
        let what = match hole.header {
            Some(header) => format!(
                "the payload of record {} ({:?}) is not what was written",
                header.sequence, header.kind
            ),
            None => "no whole record".to_owned(),
        };
        let (file, from, to, records) = (segment.path.clone(), hole.from, hole.to, hole.records);
        notes.damaged(Damage { file, from, to, records, lanes, what });
    }

    /// The lanes whose oldest records are not there, and how many records that is.
    pub(super) fn missing_at_head(&self) -> (Vec<String>, u64) {
        let missing = |draft: &Draft| {
            let first = draft.lane.find(draft.head, 1, 1).first().map_or(draft.next, |found| found.offset);
            first.saturating_sub(draft.head)
        };
        let mut lanes = Vec::new();
        let mut records = 0;
        for (id, draft) in &self.lanes {
            let missing = missing(draft);
            if missing > 0 {
                records += missing;
                lanes.push(draft.name.clone().unwrap_or_else(|| unnamed(*id)));
            }
        }
        (lanes, records)
    }

    /// The lanes, and the first id that no record carries.
    pub(super) fn finish(self) -> (BTreeMap<u32, Arc<Lane>>, u32) {
        let lanes = self.lanes.into_iter().map(|(id, mut draft)| {
            draft.settle();
            let mut lane = draft.lane;
            lane.name = draft.name.unwrap_or_else(|| unnamed(id)).into();
            lane.raise_tail(draft.next.saturating_add(draft.lost));
            lane.hide(draft.head);
            lane.forget(draft.head);
            lane.head_written.store(draft.head, std::sync::atomic::Ordering::Release);
            (id, Arc::new(lane))
        });
        (lanes.collect(), self.lane_next.max(1))
    }
}

/// The name of a lane whose name was damaged. Its records stay readable under it.
fn unnamed(id: u32) -> String {
    format!("unnamed-{id}")
}
