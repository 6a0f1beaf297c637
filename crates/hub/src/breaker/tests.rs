//! Opens after failures in a row, lets one through after its time, closes on success.

use super::*;
use proptest::prelude::*;

#[test]
fn the_life_of_a_breaker() {
    let breaker = Breaker::new(BreakerConfig { failures: 2, open_for: Span::secs(10) });
    let at = |secs: u64| Moment::from_micros(secs * 1_000_000);
    breaker.enter(at(0)).unwrap();
    breaker.note(at(0), false);
    breaker.enter(at(1)).unwrap();
    breaker.note(at(1), true);
    for second in [2, 3] {
        breaker.enter(at(second)).unwrap();
        breaker.note(at(second), false);
    }
    let fault = breaker.enter(at(4)).unwrap_err();
    assert_eq!(fault.code(), Code::BreakerOpen);
    assert_eq!(fault.retry_in(), Some(std::time::Duration::from_secs(9)));
    breaker.enter(at(13)).unwrap();
    assert_eq!(breaker.enter(at(13)).unwrap_err().code(), Code::BreakerOpen);
    breaker.note(at(13), false);
    assert!(matches!(breaker.look(), (Breach::Open { .. }, 3, 2)));
    breaker.enter(at(23)).unwrap();
    breaker.note(at(23), true);
    assert_eq!(breaker.look(), (Breach::Closed, 0, 2));
}

#[test]
fn an_attempt_that_was_not_made_is_given_back() {
    let breaker = Breaker::new(BreakerConfig { failures: 1, open_for: Span::secs(1) });
    breaker.note(Moment::from_micros(1), false);
    breaker.enter(Moment::from_micros(1_000_001)).unwrap();
    breaker.withdraw(Moment::from_micros(1_000_001));
    breaker.enter(Moment::from_micros(1_000_001)).unwrap();
}

/// What happens to a breaker: somebody asks, an attempt that is under way ends, time passes.
#[derive(Clone, Copy, Debug)]
enum Event {
    Enter,
    Well,
    Ill,
    Withdraw,
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Enter),
        2 => Just(Event::Well),
        3 => Just(Event::Ill),
        1 => Just(Event::Withdraw),
        2 => (1_u64..2_000).prop_map(Event::Pass),
    ]
}

proptest! {
    /// Against the rules in words: it opens only after so many failures in a row or a failed trial, lets nobody in before its
    /// time, then one alone, and never stays shut for ever.
    #[test]
    fn it_keeps_its_rules(events in prop::collection::vec(event(), 1..200), failures in 1_u32..5) {
        let open_for = 1_000;
        let breaker = Breaker::new(BreakerConfig { failures, open_for: Span::millis(open_for) });
        let (mut now, mut under_way, mut in_a_row) = (0_u64, 0_u32, 0_u32);
        for event in events {
            let (before, ..) = breaker.look();
            let at = Moment::from_micros(now * 1_000);
            match event {
                Event::Pass(millis) => now += millis,
                Event::Enter => {
                    let entered = breaker.enter(at).is_ok();
                    let may = match before {
                        Breach::Closed => true,
                        Breach::HalfOpen => false,
                        Breach::Open { until } => at >= until,
                    };
                    prop_assert_eq!(entered, may);
                    under_way += u32::from(entered);
                }
                Event::Well | Event::Ill | Event::Withdraw if under_way == 0 => {}
                Event::Withdraw => {
                    under_way -= 1;
                    breaker.withdraw(at);
                    prop_assert!(breaker.look().0 != Breach::HalfOpen);
                }
                Event::Well => {
                    (under_way, in_a_row) = (under_way - 1, 0);
                    breaker.note(at, true);
                    prop_assert_eq!(breaker.look().0, Breach::Closed);
                }
                Event::Ill => {
                    (under_way, in_a_row) = (under_way - 1, in_a_row + 1);
                    breaker.note(at, false);
                    let (after, counted, _) = breaker.look();
                    prop_assert_eq!(counted, in_a_row);
                    match before {
                        Breach::Closed => prop_assert_eq!(after != Breach::Closed, in_a_row >= failures),
                        Breach::HalfOpen => prop_assert_eq!(after, Breach::Open { until: at.after(std::time::Duration::from_millis(open_for)) }),
                        Breach::Open { .. } => prop_assert_eq!(after, before, "a straggler keeps nobody waiting"),
                    }
                }
            }
        }
    }
}
