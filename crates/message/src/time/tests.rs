//! Times print as RFC 3339 and come back; seeded dice repeat.

use super::*;

#[test]
fn times_print_and_parse() {
    let time = Time::from_millis(1_763_722_800_250);
    assert_eq!(time.to_string(), "2025-11-21T11:00:00.250Z");
    assert_eq!(Time::parse_rfc3339(&time.to_string()), Some(time));
    assert_eq!(Time::parse_rfc3339("yesterday"), None);
}

proptest::proptest! {
    #[test]
    fn times_print_as_the_library_prints_them(millis in 0..400_000_000_000_000_u64) {
        let stamp = jiff::Timestamp::from_millisecond(millis.try_into().unwrap());
        let wanted = stamp.map_or_else(|_| format!("{millis}ms"), |stamp| format!("{stamp:.3}"));
        proptest::prop_assert_eq!(Time::from_millis(millis).to_string(), wanted);
    }
}

#[test]
fn a_manual_clock_moves_only_when_told() {
    let clock = Clock::manual(Time::from_millis(5));
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), Time::from_millis(1005));
}

#[test]
fn dice_repeat_and_stay_in_bounds() {
    let (a, b) = (Dice::seeded(7), Dice::seeded(7));
    for _ in 0..1000 {
        assert_eq!(a.roll(), b.roll());
        assert!(a.below(10) < 10);
        b.below(10);
        let span = a.jitter(Duration::from_secs(10), 0.5);
        b.roll();
        assert!(span >= Duration::from_secs(5) && span <= Duration::from_secs(10));
    }
}
