//! Attempts to come in that failed, bounded: the first ones of each place are told one by one, the others as sums, so that
//! no flood of wrong keys can push everything else out of the trail. It writes nothing itself and knows no credential.

use crate::ledger::{Outcome, Record};
use message::{Fault, Moment, Now, Time, Verb};
use net::network;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long attempts are gathered before they are summed up.
const WINDOW: Duration = Duration::from_secs(60);
/// How many attempts of one place are told one by one within a window.
const FIRST: u64 = 3;
/// How many places are told apart within a window; the others are one sum. With [`FIRST`] it bounds what a flood writes:
/// some 400 records a minute.
const PLACES_MAX: usize = 100;
/// As whom they are on record.
const UNKNOWN: &str = "unknown";

/// The attempts of the present window.
#[derive(Debug, Default)]
pub struct Bars {
    began: Option<Moment>,
    places: HashMap<(IpAddr, &'static str), Place>,
    others: Option<Place>,
}

#[derive(Debug)]
struct Place {
    protocol: &'static str,
    /// Not yet told.
    more: u64,
    seen: u64,
    last: Fault,
    peer: SocketAddr,
}

impl Bars {
    /// Takes an attempt down; the record to write now, unless it is left for the sum.
    pub fn barred(
        &mut self,
        now: Now,
        peer: SocketAddr,
        protocol: &'static str,
        fault: &Fault,
    ) -> Option<Record> {
        self.began.get_or_insert(now.moment);
        let key = (network(peer.ip()), protocol);
        let fresh = || Place { protocol, more: 0, seen: 0, last: fault.clone(), peer };
        let known = self.places.contains_key(&key) || self.places.len() < PLACES_MAX;
        let place = match known {
            true => self.places.entry(key).or_insert_with(fresh),
            false => self.others.get_or_insert_with(fresh),
        };
        place.seen += 1;
        if known && place.seen <= FIRST {
            return Some(record(now.time, protocol, fault.clone(), Some(peer), 1));
        }
        place.more += 1;
        (place.last, place.peer) = (fault.clone(), peer);
        None
    }

    /// The sums of a window that is over, or, when `all`, of the present one.
    pub fn sums(&mut self, now: Now, all: bool) -> Vec<Record> {
        let Some(began) = self.began else { return Vec::new() };
        if !all && now.moment.since(began) < WINDOW {
            return Vec::new();
        }
        self.began = None;
        let span = now.moment.since(began).as_secs().max(1);
        let sum = |place: Place, peer: Option<SocketAddr>, whence: &str| {
            let what = format!("{} more attempts{whence} within {span} s, the last one", place.more);
            record(now.time, place.protocol, place.last.within(&what), peer, place.more)
        };
        let mut sums: Vec<Record> = self
            .places
            .drain()
            .filter(|(_, place)| place.more > 0)
            .map(|(_, place)| {
                let peer = place.peer;
                sum(place, Some(peer), "")
            })
            .collect();
        sums.extend(self.others.take().map(|place| sum(place, None, " from other places")));
        sums
    }
}

fn record(time: Time, protocol: &'static str, fault: Fault, peer: Option<SocketAddr>, times: u64) -> Record {
    Record {
        time,
        principal: UNKNOWN.into(),
        protocol,
        verb: Verb::Login,
        address: Arc::from(""),
        id: None,
        trace_id: None,
        outcome: Outcome::Barred { fault, peer, times },
        took_us: 0,
        usage: None,
    }
}

#[cfg(test)]
mod tests;
