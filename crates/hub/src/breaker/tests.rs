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

// Finding: A16
#[test]
fn one_principals_failures_shut_out_nobody_else() {
    let breaker = Breaker::new(BreakerConfig { failures: 2, open_for: Span::secs(10) });
    let at = |secs: u64| Moment::from_micros(secs * 1_000_000);
    let (app, op): (Arc<str>, Arc<str>) = ("app".into(), "op".into());
    let fail = |second: u64, who: &Arc<str>| {
        breaker.enter_for(at(second), who).unwrap();
        breaker.note_of(at(second), who);
    };
    fail(0, &app);
    fail(1, &app);
    assert_eq!(breaker.enter_for(at(2), &app).unwrap_err().code(), Code::BreakerOpen);
    breaker.enter_for(at(2), &op).unwrap();
    // Its time is up for who failed: one attempt, and the others pass beside it.
    breaker.enter_for(at(11), &app).unwrap();
    breaker.enter_for(at(11), &op).unwrap();
    breaker.note_of(at(11), &app);
    assert_eq!(breaker.enter_for(at(12), &app).unwrap_err().code(), Code::BreakerOpen);
    // Another's success shows that the upstream is well.
    breaker.enter_for(at(12), &op).unwrap();
    breaker.note(at(12), true);
    assert_eq!(breaker.look(), (Breach::Closed, 0, 2));
    // What fails for two is the upstream's doing, and it is left alone by all.
    fail(13, &app);
    fail(14, &app);
    fail(15, &op);
    for who in [&app, &op, &"third".into()] {
        assert_eq!(breaker.enter_for(at(16), who).unwrap_err().code(), Code::BreakerOpen);
    }
    // The attempt that is let through may fail for reasons of its own too.
    fail(24, &app);
    assert_eq!(breaker.enter_for(at(25), &app).unwrap_err().code(), Code::BreakerOpen);
    breaker.enter_for(at(25), &op).unwrap();
    breaker.note(at(25), true);
    // So is what is nobody's doing, such as a port where nothing listens.
    fail(25, &app);
    breaker.note(at(26), false);
    assert_eq!(breaker.enter_for(at(27), &op).unwrap_err().code(), Code::BreakerOpen);
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
