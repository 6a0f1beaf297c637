//! What is found when a store is opened: which records are whole, where the tail was torn, what is damaged.
//! It changes nothing on disk but the torn tail, which it overwrites with zeros.
//!
//! A hole in the records is damage when something written later, or the mark, knew it to be synced; otherwise it is a write
//! that the machine did not finish, nobody was told that it was done, and the log is cut there.

mod lanes;
mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lanes::Building;
use scan::{Scan, scan};

use super::core::Notes;
use super::format::{PAGE, RECORDS_START};
use super::lane::Lane;
use super::mark::Known;
use super::segment::{self, Segment};
use super::writer::Position;
use crate::{Damage, Error, Options};

pub(super) struct Recovered {
    pub(super) lanes: BTreeMap<u32, Arc<Lane>>,
    pub(super) lane_next: u32,
    pub(super) segments: VecDeque<Arc<Segment>>,
    pub(super) position: Position,
    pub(super) segment_next: u64,
    pub(super) spares: Vec<PathBuf>,
}

/// Reads the directory of a log of which so much is known.
pub(super) fn recover(
    dir: &Path,
    options: &Options,
    notes: &Notes,
    known: Known,
) -> Result<Recovered, Error> {
    let (paths, mut spares) = list(dir)?;
    let mut state =
        Recovering { notes, known, building: Building::default(), segments: VecDeque::new(), last: None };
    let mut empty = Vec::new();
    let mut bytes = Vec::new();
    let mut segment_next = known.last + 1;
    for (id, path) in paths {
        segment_next = segment_next.max(id + 1);
        let Some(segment) = open_segment(id, &path, notes, known)? else { continue };
        let file = segment.file()?;
        segment::read_records(&file, segment.header.size, &mut bytes);
        // The very first record of a store has the sequence 1; that of a store whose first segments are gone is not known.
        let expected = state.last.as_ref().map_or(u64::from(id == 1), |(_, scan)| scan.expected);
        let found = scan(&bytes, segment.header.seed(), expected);
        segment.release();
        if found.is_empty() {
            empty.push(segment);
        } else {
            state.add(segment, found);
        }
    }
    let position = state.finish(dir, &mut bytes)?;
    for segment in empty {
        let spare = segment.path.with_extension("spare.tmp");
        let usable =
            segment.header.size == options.segment_bytes && fs::rename(&segment.path, &spare).is_ok();
        if usable {
            spares.push(spare);
        } else {
            remove(&segment.path)?;
        }
    }
    segment::sync_dir(dir)?;
    state.report_missing_start(dir);
    let (lanes, lane_next) = state.building.finish();
    Ok(Recovered { lanes, lane_next, segments: state.segments, position, segment_next, spares })
}

/// The segments in order, and the files that may become segments. Drafts are deleted.
fn list(dir: &Path) -> Result<(BTreeMap<u64, PathBuf>, Vec<PathBuf>), Error> {
    let failed = |error| Error::io(format!("cannot list {}", dir.display()), error);
    let (mut segments, mut spares) = (BTreeMap::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = segment::id_of(&path) {
            segments.insert(id, path);
        } else if name.ends_with(".spare.tmp") && spares.len() < 4 {
            spares.push(path);
        } else if name.ends_with(".tmp") {
            remove(&path)?;
        }
    }
    Ok((segments, spares))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format!("cannot delete {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// The segment, if its header can be read; what is wrong with its file is reported. A file with nothing in it that was not
/// begun is deleted.
fn open_segment(id: u64, path: &Path, notes: &Notes, known: Known) -> Result<Option<Arc<Segment>>, Error> {
    let damaged = |from, to, what: &str| {
        let (file, what) = (path.to_owned(), what.to_owned());
        notes.damaged(Damage { file, from, to, records: None, lanes: Vec::new(), what });
    };
    let file = match segment::open(path) {
        Ok(file) => file,
        Err(error) => {
            damaged(0, 0, &error.to_string());
            return Ok(None);
        }
    };
    let size = file.metadata().map_or(0, |data| data.len());
    match segment::read_header(&file, size) {
        Some(header) if header.id == id && header.size >= 4 * PAGE => {
            if size < header.size {
                damaged(size, header.size, "the file is shorter than it was made");
                let made_whole = file.set_len(header.size);
                made_whole
                    .map_err(|error| Error::io(format!("cannot lengthen {}", path.display()), error))?;
            }
            Ok(Some(Arc::new(Segment::new(header, path.to_owned(), Some(file)))))
        }
        Some(_) => {
            damaged(0, size, "the header belongs to another segment");
            Ok(None)
        }
        None => {
            let mut bytes = Vec::new();
            segment::read_records(&file, size, &mut bytes);
            let something = bytes.iter().any(|byte| *byte != 0);
            if something {
                damaged(0, size, "neither copy of the header can be read, so no record in it can");
                return Ok(None);
            }
            if (known.first..=known.last).contains(&id) {
                damaged(0, size, "nothing is left in the file");
            }
            drop(file);
            remove(path)?;
            Ok(None)
        }
    }
}

struct Recovering<'a> {
    notes: &'a Notes,
    known: Known,
    building: Building,
    segments: VecDeque<Arc<Segment>>,
    /// The newest segment with records: whether its holes are damage is known only when the next is found.
    last: Option<(Arc<Segment>, Scan)>,
}

impl Recovering<'_> {
    fn add(&mut self, segment: Arc<Segment>, found: Scan) {
        let (first, id) = (found.first, segment.header.id);
        if let Some((sealed, mut scan)) = self.last.replace((segment, found)) {
            // What is missing before the first segment that is needed was given back.
            if id > self.known.first {
                // A segment is synced before the next one is begun.
                scan.seal(first, sealed.records_end() - RECORDS_START);
            }
            self.absorb(sealed, &scan);
        }
    }

    fn absorb(&mut self, segment: Arc<Segment>, scan: &Scan) {
        for event in &scan.events {
            self.building.apply(event, &segment, self.notes);
        }
        self.segments.push_back(segment);
    }

    /// Cuts the torn tail and says where to write on.
    fn finish(&mut self, dir: &Path, bytes: &mut Vec<u8>) -> Result<Position, Error> {
        let Some((segment, mut scan)) = self.last.take() else {
            let sequence = self.known.synced.max(1);
            return Ok(Position { segment: None, at: RECORDS_START, page: Vec::new(), sequence });
        };
        let torn = scan.cut(self.known.synced);
        self.notes.torn_bytes.store(torn, Ordering::Relaxed);
        let at = RECORDS_START + scan.end as u64;
        scan.miss(self.known.synced);
        self.absorb(segment.clone(), &scan);
        let file = segment.file()?;
        segment::read_records(&file, segment.header.size, bytes);
        let page_start = scan.end / 4096 * 4096;
        let page = bytes.get(page_start..scan.end).unwrap_or_default().to_vec();
        if !scan.closed {
            tracing::warn!(segment = segment.header.id, torn, "the store was not closed in order");
            clear(&segment, &page, RECORDS_START + page_start as u64, dir)?;
        }
        Ok(Position { segment: Some(segment), at, page, sequence: scan.expected })
    }
}

impl Recovering<'_> {
    /// The oldest segments that are needed are not there, or none is.
    fn report_missing_start(&self, dir: &Path) {
        let oldest = self.segments.front().map_or(u64::MAX, |segment| segment.header.id);
        if self.known.first == 0 || oldest <= self.known.first || self.known.synced <= 1 {
            return;
        }
        let (lanes, records) = self.building.missing_at_head();
        // None: the lanes are not known any more either.
        let records = Some(records).filter(|records| *records > 0);
        let what = match oldest {
            u64::MAX => "there is no segment any more".to_owned(),
            oldest => format!("this segment is missing, and all others before {oldest:016x}"),
        };
        let file = segment::path_of(dir, self.known.first);
        self.notes.damaged(Damage { file, from: 0, to: 0, records, lanes, what });
    }
}

/// Overwrites with zeros whatever stands behind the last whole record: a record that was cut must not come
/// back when new ones have been written before it.
fn clear(segment: &Segment, page: &[u8], from: u64, dir: &Path) -> Result<(), Error> {
    let mut step = page.to_vec();
    step.resize(4096, 0);
    segment.write(&step, from)?;
    let zeros = vec![0u8; 1 << 20];
    let mut at = from + PAGE;
    while at < segment.records_end() {
        let left = usize::try_from(segment.records_end() - at).unwrap_or(usize::MAX).min(zeros.len());
        segment.write(zeros.get(..left).unwrap_or(&zeros), at)?;
        at += left as u64;
    }
    let file = segment.file()?;
    segment::write_header(&file, &segment.header)
        .and_then(|()| file.sync_all())
        .map_err(|error| Error::io(format!("cannot repair the tail in {}", dir.display()), error))
}
