//! Reads the records of given offsets from a log in few calls: near ones together, far ones apart.
//! It does not decode, and keeps nothing.

use bytes::Bytes;
use foldhash::HashMap;
use message::Fault;
use store::Log;

/// Offsets further apart than this are read by calls of their own.
const GAP_MAX: u64 = 16;
const BYTES_AT_ONCE: usize = 4 << 20;

/// The records at `places`, as far as the log has them.
pub(crate) fn read(log: &dyn Log, mut places: Vec<u64>) -> Result<HashMap<u64, Bytes>, Fault> {
    places.sort_unstable();
    places.dedup();
    let mut found = HashMap::default();
    found.reserve(places.len());
    let mut rest = places.as_slice();
    while let Some(first) = rest.first().copied() {
        let near = rest.windows(2).take_while(|pair| matches!(pair, [a, b] if b - a <= GAP_MAX)).count();
        let last = rest.get(near).copied().unwrap_or(first);
        let span = usize::try_from(last - first + 1).unwrap_or(1);
        let records = log.read(first, span, BYTES_AT_ONCE)?;
        // What the call did not reach, because of its bytes, comes with the next; it always reaches one record.
        let reached = records.last().map_or(last, |(offset, _)| *offset).max(first);
        let done = rest.partition_point(|place| *place <= reached);
        let (now, later) = rest.split_at(done);
        for (offset, bytes) in records {
            if now.binary_search(&offset).is_ok() {
                found.insert(offset, bytes);
            }
        }
        rest = later;
    }
    Ok(found)
}
