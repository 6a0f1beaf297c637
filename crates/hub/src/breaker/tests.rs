//! Opens after failures in a row, lets one through after its time, closes on success.

use super::*;

#[test]
fn the_life_of_a_breaker() {
    let breaker = Breaker::new(BreakerConfig { failures: 2, open_for: Span::secs(10) });
    let at = |secs: u64| Time::from_millis(secs * 1000);
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
    breaker.note(Time::from_millis(0), false);
    breaker.enter(Time::from_millis(1000)).unwrap();
    breaker.withdraw(Time::from_millis(1000));
    breaker.enter(Time::from_millis(1000)).unwrap();
}
