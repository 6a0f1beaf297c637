//! MQTT's own examples of matching, and what covering must imply.

use super::*;
use proptest::prelude::*;

fn check(filter: &str, name: &str, expected: bool) {
    let pattern = Pattern::new(Kind::Topic, filter).unwrap();
    let address = Address::new(Kind::Topic, name).unwrap();
    assert_eq!(pattern.matches(&address), expected, "{filter} on {name}");
}

#[test]
fn the_examples_of_mqtt_5_section_4_7() {
    check("sport/tennis/player1/#", "sport/tennis/player1", true);
    check("sport/tennis/player1/#", "sport/tennis/player1/ranking", true);
    check("sport/#", "sport", true);
    check("sport/tennis/+", "sport/tennis/player1", true);
    check("sport/tennis/+", "sport/tennis/player1/ranking", false);
    check("sport/+", "sport", false);
    check("sport/+", "sport/", true);
    check("+/+", "/finance", true);
    check("/+", "/finance", true);
    check("+", "/finance", false);
    check("#", "$SYS/a", false);
    check("+/monitor/Clients", "$SYS/monitor/Clients", false);
    check("$SYS/#", "$SYS/monitor", true);
}

#[test]
fn kinds_count() {
    let any = Pattern::parse("*").unwrap();
    assert!(any.matches(&Address::parse("queue/a/b").unwrap()));
    assert!(!Pattern::parse("topic/#").unwrap().matches(&Address::parse("queue/a").unwrap()));
    assert!(any.covers(&Pattern::parse("queue/#").unwrap()));
    assert!(!Pattern::parse("queue/#").unwrap().covers(&any));
    assert!(Pattern::parse("topic/a/#/b").is_err());
    assert!(Pattern::parse("topic/a+").is_err());
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![Just("+".to_owned()), Just("a".to_owned()), Just("b".to_owned()), Just(String::new())]
}

fn filter() -> impl Strategy<Value = String> {
    (proptest::collection::vec(level(), 1..4), any::<bool>()).prop_map(|(levels, hash)| {
        let mut text = levels.join("/");
        if hash {
            text.push_str("/#");
        }
        if text.is_empty() { "a".to_owned() } else { text }
    })
}

proptest! {
    #[test]
    fn covering_implies_matching(wide in filter(), narrow in filter(), name in filter()) {
        let name = name.replace('+', "a").replace('#', "b");
        let (Ok(wide), Ok(narrow)) = (Pattern::new(Kind::Topic, &wide), Pattern::new(Kind::Topic, &narrow)) else {
            return Ok(());
        };
        let Ok(address) = Address::new(Kind::Topic, &name) else { return Ok(()) };
        if wide.covers(&narrow) && narrow.matches(&address) {
            prop_assert!(wide.matches(&address), "{wide} covers {narrow} but not {address}");
        }
    }
}
