//! A lease whose bodies are read as they are asked for, so that it takes no memory for what nobody has read yet.
//! Which messages it holds was decided by the machine; how they are sent is the caller's business.

use super::lane::{Granted, Lane};
use super::types::Delivery;
use crate::Bounds;
use message::Fault;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Bodies up to these bytes stay in memory from the cache; larger ones are read again, so that a lease that waits for its
/// reader holds little.
const KEPT_BYTES: usize = 64 << 10;

/// Leased messages, oldest first. Those that were not asked for are given back when it is dropped.
pub struct Taken {
    lane: Arc<Lane>,
    rest: VecDeque<Granted>,
}

impl fmt::Debug for Taken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Taken").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}

impl Taken {
    pub(super) fn new(lane: Arc<Lane>, granted: Vec<Granted>) -> Taken {
        let mut rest: VecDeque<Granted> = granted.into();
        let mut fits = Bounds { messages: Bounds::MESSAGES_MAX, bytes: KEPT_BYTES }.meter();
        for one in &mut rest {
            if !fits(one.leased.size) || one.leased.size > KEPT_BYTES {
                one.envelope = None;
            }
        }
        Taken { lane, rest }
    }

    /// The next ones, with their bodies: at most `bytes`, but always one. Empty at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self, bytes: usize) -> Result<Vec<Delivery>, Fault> {
        while !self.rest.is_empty() {
            let mut fits = Bounds { messages: Bounds::MESSAGES_MAX, bytes }.meter();
            let count = self.rest.iter().take_while(|one| fits(one.leased.size)).count();
            let now: Vec<Granted> = self.rest.drain(..count).collect();
            let deliveries = self.lane.with_bodies(now).await?;
            // Messages that cannot be read are dead letters by now.
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
        Ok(Vec::new())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.lane.give_back(self.rest.drain(..));
    }
}
