//! Identities survive their text form; headers keep their order and fold their names.

use super::*;

#[test]
fn ids_are_version_7_and_survive_their_text() {
    let dice = Dice::seeded(1);
    let id = Id::generate(Time::from_millis(1_700_000_000_000), &dice);
    let text = id.to_string();
    assert_eq!(text.len(), 36);
    assert_eq!(text.as_bytes()[14], b'7');
    assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    assert!(text.starts_with("018bcfe5-6800"));
    assert_eq!(Id::from_text(&text), id);
    assert_ne!(Id::generate(Time::from_millis(1_700_000_000_000), &dice), id);
}

#[test]
fn foreign_ids_stay_as_they_came() {
    for text in ["A-1", "018BCFE5-6800-7000-8000-000000000000", "", "018bcfe5-6800-7000-8000+000000000000"] {
        assert_eq!(Id::from_text(text).to_string(), text);
        assert_eq!(Id::from_text(text).bits(), None);
    }
}

#[test]
fn headers_fold_names_and_keep_order() {
    let mut headers: Headers = [("X-A", "1"), ("b", "2"), ("x-a", "3")].into_iter().collect();
    assert_eq!(headers.get("x-a"), Some("1"));
    headers.set("x-a", "4");
    assert_eq!(headers.iter().collect::<Vec<_>>(), [("b", "2"), ("x-a", "4")]);
}
