//! The identity of a message that may be sent again: what a queue compares.
//! When one is given, and for how long it is remembered, is not decided here.

use sha2::{Digest, Sha256};
use std::num::NonZeroU64;

/// By what a message is recognised when it comes again: the first 128 bits of a SHA-256 over the parts of its identity, so that
/// nobody can make two messages look like one. It lies on disk, so how it is made never changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(NonZeroU64, u64);

impl Fingerprint {
    /// Of parts in this order; where one ends and the next begins counts.
    pub fn of(parts: &[&[u8]]) -> Fingerprint {
        digest(parts.iter().copied())
    }

    /// Of the same within something that tells it from others of its kind: an owner, a place.
    #[must_use]
    pub fn within(self, parts: &[&[u8]]) -> Fingerprint {
        digest(std::iter::once(&self.to_bytes()[..]).chain(parts.iter().copied()))
    }

    /// What [`Fingerprint::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; 16]) -> Fingerprint {
        let all = u128::from_le_bytes(bytes);
        let [high, low] =
            [all >> 64, all & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
        Fingerprint(NonZeroU64::new(high).unwrap_or(NonZeroU64::MIN), low)
    }

    /// Its 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.0.get()) << 64) | u128::from(self.1)).to_le_bytes()
    }
}

fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    Fingerprint::from_bytes(first)
}

#[cfg(test)]
mod tests;
