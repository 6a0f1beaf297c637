//! A flood is told in few records, and no attempt is missing from the sums.

use super::*;
use message::{Clock, Code};
use std::net::Ipv6Addr;

fn times(record: &Record) -> u64 {
    match record.outcome {
        Outcome::Barred { times, .. } => times,
        _ => panic!("{record:?}"),
    }
}

fn fault() -> Fault {
    Fault::new(Code::Unauthenticated, "nobody here holds that key")
}

// Finding: B4
#[test]
fn one_place_is_told_thrice_and_then_summed_up() {
    let mut bars = Bars::default();
    let clock = Clock::manual(Time::from_millis(1_000_000_000));
    let start = clock.both();
    let after = |span| {
        // Whatever is done to the time of day meanwhile.
        clock.set(Time::from_millis(5));
        Now { moment: start.moment.after(span), ..clock.both() }
    };
    let told = (0..1_000)
        .filter_map(|port| bars.barred(start, SocketAddr::from(([10, 0, 0, 1], port)), "mqtt", &fault()));
    assert_eq!(told.count(), 3);
    assert!(bars.sums(after(Duration::from_secs(59)), false).is_empty(), "the window is open");
    let sums = bars.sums(after(WINDOW), false);
    assert_eq!(sums.iter().map(times).collect::<Vec<_>>(), [997]);
    let Outcome::Barred { fault, peer, .. } = &sums[0].outcome else { panic!() };
    assert_eq!(fault.detail(), "997 more attempts within 60 s, the last one: nobody here holds that key");
    assert_eq!(*peer, Some(SocketAddr::from(([10, 0, 0, 1], 999))));
    assert!(bars.sums(after(WINDOW * 9), true).is_empty(), "nothing is told twice");
}

#[test]
fn many_places_are_bounded_and_all_are_counted() {
    let mut bars = Bars::default();
    let now = Clock::manual(Time::from_millis(0)).both();
    let mut told = 0;
    for place in 0..100_000_u32 {
        let ip = IpAddr::from(std::net::Ipv4Addr::from(place));
        told += u64::from(bars.barred(now, (ip, 1).into(), "http", &fault()).is_some());
    }
    assert_eq!(told, PLACES_MAX as u64);
    let sums = bars.sums(now, true);
    assert_eq!(told + sums.iter().map(times).sum::<u64>(), 100_000);
    assert_eq!(sums.len(), 1);
}

#[test]
fn the_addresses_of_one_ipv6_network_are_one_place() {
    let mut bars = Bars::default();
    let told = (0..10_u16).filter_map(|host| {
        let ip = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
        bars.barred(Clock::manual(Time::from_millis(0)).both(), (ip, 1).into(), "http", &fault())
    });
    assert_eq!(told.count(), 3);
}
