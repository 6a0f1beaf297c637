//! Waits grow, stay under their ceiling and listen to the upstream.

use super::*;

#[test]
fn waits_grow_to_their_ceiling() {
    let retry = RetryConfig {
        jitter: 0.0,
        first: Span::secs(1),
        factor: 2.0,
        max: Span::secs(10),
        ..RetryConfig::default()
    };
    let dice = Dice::seeded(1);
    let waits: Vec<u64> = (1..=6).map(|attempt| retry.wait(attempt, None, &dice).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert_eq!(retry.wait(u32::MAX, None, &dice).as_secs(), 10);
    assert_eq!(retry.wait(1, Some(Duration::from_secs(30)), &dice).as_secs(), 30);
    assert_eq!(retry.wait(1, Some(Duration::from_secs(999_999)), &dice).as_secs(), 3600);
}

#[test]
fn jitter_only_shortens() {
    let retry = RetryConfig { jitter: 0.5, first: Span::secs(1), factor: 2.0, ..RetryConfig::default() };
    let dice = Dice::seeded(2);
    for _ in 0..100 {
        let wait = retry.wait(3, None, &dice);
        assert!(wait >= Duration::from_secs(2) && wait <= Duration::from_secs(4), "{wait:?}");
    }
}

// Finding: B8
#[test]
fn the_usual_tries_go_on_for_a_day_and_a_foreign_wait_has_its_limit() {
    let retry = RetryConfig::default();
    for seed in 0..50 {
        let dice = Dice::seeded(seed);
        let all: Duration = (1..retry.count).map(|attempt| retry.wait(attempt, None, &dice)).sum();
        assert!((24 * 3600..=36 * 3600).contains(&all.as_secs()), "{all:?}");
    }
    assert_eq!(retry.wait(1, Some(Duration::MAX), &Dice::seeded(1)), Duration::from_secs(3600));
}
