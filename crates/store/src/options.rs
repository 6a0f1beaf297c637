//! What an operator may choose about the store; each field's comment is its manual entry.
//! Where the store lies is not among them: that is the caller's.

use schemars::JsonSchema;
use serde::Deserialize;

/// When an append counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// After `fdatasync`. Loses nothing that was acknowledged, unless the disk lies or breaks. One sync serves everybody
    /// who waits, so the price per message falls with load.
    #[default]
    Fsync,
    /// After the operating system has taken the bytes; synced every `buffered_sync_ms`. Loses nothing when the process
    /// is killed; loses up to `buffered_sync_ms` of acknowledged messages when the machine loses power or its kernel stops.
    Buffered,
    /// At once: nothing is written to disk. Loses everything when the process ends. For tests and caches.
    Memory,
}

/// How the store keeps its files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// When a message counts as durable: `fsync` (default: nothing acknowledged is lost), `buffered` (a power failure
    /// loses the last `buffered_sync_ms`), `memory` (the end of the process loses everything). In a configuration it stands
    /// at the top.
    #[serde(skip)]
    #[schemars(skip)]
    pub durability: Durability,
    /// Bytes of one segment file, 65,536 to 1,073,741,824; rounded up to whole pages of 4,096. Files are written full of zeros
    /// before use and reused afterwards, so the disk space of two is always taken: one is written, one is the reserve for
    /// acknowledgements on a full disk. One append, and so one message, must
    /// fit in a segment. Default 16 MiB: small enough to prepare in the background, large enough to be made rarely.
    pub segment_bytes: u64,
    /// Used segments that are kept for reuse instead of deleted, as long as the log may take so much: twice what is alive in
    /// it, and two segments. Default 4: writing over a file is cheaper than making one, and four absorb a burst.
    pub spare_segments_max: usize,
    /// Bytes that the segments may take on disk; what makes the log longer is refused with "no space is left" (TL0019) until
    /// enough is acknowledged, dropped or purged. At least three segments. Default 0: as much as the disk has. Tables are not counted.
    pub disk_bytes_max: u64,
    /// Bytes that may wait for the disk before further appends are refused as busy. Default 256 MiB; the
    /// limits of sessions and queues keep it from being reached unless the disk stands still.
    pub waiting_bytes_max: u64,
    /// With `durability: buffered`, milliseconds between syncs. Default 200. Ignored otherwise.
    pub buffered_sync_ms: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Fsync,
            segment_bytes: 16 << 20,
            spare_segments_max: 4,
            disk_bytes_max: 0,
            waiting_bytes_max: 256 << 20,
            buffered_sync_ms: 200,
        }
    }
}
