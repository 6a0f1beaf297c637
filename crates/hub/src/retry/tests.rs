//! Waits grow, stay under their ceiling and listen to the upstream.

use super::*;

#[test]
fn waits_grow_to_their_ceiling() {
    let retry = RetryConfig { jitter: 0.0, max: Span::secs(10), ..RetryConfig::default() };
    let dice = Dice::seeded(1);
    let waits: Vec<u64> = (1..=6).map(|attempt| retry.wait(attempt, None, &dice).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    assert_eq!(retry.wait(u32::MAX, None, &dice).as_secs(), 10);
    assert_eq!(retry.wait(1, Some(Duration::from_secs(30)), &dice).as_secs(), 30);
    assert_eq!(retry.wait(1, Some(Duration::from_secs(999_999)), &dice).as_secs(), 3600);
}

#[test]
fn jitter_only_shortens() {
    let retry = RetryConfig::default();
    let dice = Dice::seeded(2);
    for _ in 0..100 {
        let wait = retry.wait(3, None, &dice);
        assert!(wait >= Duration::from_secs(2) && wait <= Duration::from_secs(4), "{wait:?}");
    }
}
