//! The plan by which the memory engine fails. It only says how often; the dice say when.

/// How a simulated disk fails. Chances are from 0 (never) to 1 (always).
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// What the dice start from.
    pub seed: u64,
    /// Chance, for each append that was not yet durable at a crash, that it and all behind it are lost.
    pub lost: f64,
    /// Chance that an append or commit is not durable when the call returns, but only some polls later,
    /// together with all that came meanwhile.
    pub late: f64,
    /// Polls of its future after which a late append becomes durable, at most; drawn evenly from 1.
    pub late_polls_max: u32,
    /// Chance that the first lost append had reached the disk in part: seen as `Health::torn_bytes`, never as a record.
    pub torn: f64,
    /// Chance at a crash, for each log, that one of its durable records comes back with a flipped bit: reported in
    /// `Health::damage`, seen by readers as a gap.
    pub flipped: f64,
    /// Chance that a sync fails, which poisons the engine until `crash`.
    pub sync_fails: f64,
    /// Bytes of records that fit; an append beyond them is refused with `DiskFull`. A quarter of them is the reserve, for
    /// which nobody is given room. Trimmed records free theirs.
    pub bytes_max: Option<u64>,
}

impl Faults {
    /// A perfect disk: all is durable when the call returns.
    pub const fn none() -> Faults {
        Faults {
            seed: 0,
            lost: 0.0,
            late: 0.0,
            late_polls_max: 0,
            torn: 0.0,
            flipped: 0.0,
            sync_fails: 0.0,
            bytes_max: None,
        }
    }

    /// An honest disk with bad luck: appends are late, and a crash loses or tears those under way, but nothing durable.
    pub const fn crashes(seed: u64) -> Faults {
        Faults {
            seed,
            lost: 0.5,
            late: 0.5,
            late_polls_max: 4,
            torn: 0.5,
            flipped: 0.0,
            sync_fails: 0.0,
            bytes_max: None,
        }
    }
}
