//! Moments go on whatever is done to the time of day, and both can be said in terms of the other.

use super::*;
use crate::Clock;

const DAY: Duration = Duration::from_secs(86_400);

// Finding: B4
#[test]
fn setting_the_time_of_day_moves_no_moment() {
    let clock = Clock::manual(Time::from_millis(10_000_000_000));
    let before = clock.both();
    let due = before.due_in(Duration::from_secs(2));
    for time in [before.time.earlier(DAY), before.time.later(DAY)] {
        clock.set(time);
        assert_eq!(clock.moment(), before.moment);
        assert_eq!(due.left(clock.moment()), Duration::from_secs(2));
    }
    clock.advance(Duration::from_secs(2));
    assert!(due.is_over(clock.moment()));
}

#[test]
fn a_moment_and_a_time_of_day_stand_for_each_other() {
    let now = Now { time: Time::from_millis(1_000_000), moment: Moment::START };
    for (millis, moment) in [
        (1_000_000, Moment::START),
        (1_002_500, Moment::START.after(Duration::from_millis(2_500))),
        (999_000, Moment::START.before(Duration::from_secs(1))),
    ] {
        assert_eq!(now.moment_of(Time::from_millis(millis)), moment);
        assert_eq!(now.time_of(moment), Time::from_millis(millis));
    }
    assert_eq!(now.due_at(Time::from_millis(1_500_000)), now.due_in(Duration::from_secs(500)));
}

#[test]
fn moments_stop_at_their_ends() {
    assert_eq!(Moment::from_micros(0), Moment::from_micros(1));
    assert_eq!(Moment::START.before(Duration::MAX), Moment::from_micros(1));
    assert_eq!(Moment::START.after(Duration::MAX), Moment::from_micros(u64::MAX));
    assert_eq!(Moment::START.since(Moment::START.after(DAY)), Duration::ZERO);
}

#[test]
fn the_machines_moments_run_forward() {
    let clock = Clock::system();
    let first = clock.moment();
    assert!(clock.moment() >= first);
    assert!(size_of::<Option<Due>>() == 16, "a message without a deadline pays nothing for its two clocks");
}

// Finding: B4
#[test]
fn what_was_stored_waits_no_longer_than_it_was_meant_to() {
    let clock = Clock::manual(Time::from_millis(10_000_000_000));
    let (hour, from) = (Duration::from_secs(3_600), clock.now());
    let due = from.later(hour);
    for (time, left) in [
        (from, hour),
        (from.later(hour / 4), hour * 3 / 4),
        (from.later(DAY), Duration::ZERO),
        (from.earlier(DAY), hour),
    ] {
        clock.set(time);
        let now = clock.both();
        assert_eq!(now.due_from(from, due).left(now.moment), left, "at {time}");
        assert_eq!(now.due_from(from, due).time, due);
    }
}
