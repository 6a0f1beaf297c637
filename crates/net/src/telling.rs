//! How much is logged of what strangers do, bounded: the first of each place are told one by one, the others as a sum, so that
//! nobody can fill a disk by knocking. It writes nothing itself.

use foldhash::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use tokio::time::Instant;

/// How long events are gathered before they are summed up.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// How many of one place are told one by one within a window.
const FIRST: u32 = 3;
/// How many places are told apart within a window. With [`FIRST`] it bounds a window's lines: 300 and the sum.
const PLACES_MAX: usize = 100;

/// The events of the present window.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    began: Option<Instant>,
    places: HashMap<IpAddr, u32>,
    more: u64,
}

impl Telling {
    /// Whether this event is told by itself; otherwise it is in the next sum.
    pub(crate) fn tells(&mut self, now: Instant, peer: IpAddr) -> bool {
        self.began.get_or_insert(now);
        let known = self.places.len();
        let told = match self.places.get_mut(&network(peer)) {
            Some(told) => told,
            None if known < PLACES_MAX => self.places.entry(network(peer)).or_default(),
            None => {
                self.more += 1;
                return false;
            }
        };
        let tells = *told < FIRST;
        *told = told.saturating_add(1);
        self.more += u64::from(!tells);
        tells
    }

    /// How many were not told in a window that is over, once.
    pub(crate) fn sum(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.began?) < WINDOW {
            return None;
        }
        let Telling { more, .. } = std::mem::take(self);
        (more > 0).then_some(more)
    }
}

/// What counts as one place: an IPv4 address, or the /64 of an IPv6 address, for who holds one of them holds all.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four => four,
    }
}

#[cfg(test)]
mod tests;
