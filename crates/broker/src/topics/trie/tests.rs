//! The trie finds what `Pattern::matches` says, whatever was added and removed before.
//! The oracle looks at every filter; the trie must not.

use super::*;
use crate::topics::inbox::{Inbox, MailboxOptions};
use message::{Address, Kind, Pattern};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn entry(id: u64) -> Entry {
    let mailbox = Arc::new(Inbox::new(id, MailboxOptions::default(), Arc::default(), None));
    Entry { mailbox, tag: 0, rank: 0, no_local: false, keep: false, group: None }
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("$x".to_owned()), Just(String::new())]
}

fn filter() -> impl Strategy<Value = String> {
    let wild = prop_oneof![3 => level(), 1 => Just("+".to_owned())];
    (proptest::collection::vec(wild, 0..4), proptest::bool::ANY).prop_map(|(mut levels, hash)| {
        if hash || levels.is_empty() {
            levels.push("#".to_owned());
        }
        levels.join("/")
    })
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn it_finds_what_the_pattern_says(
        changes in proptest::collection::vec((filter(), 0..4_u64, proptest::bool::weighted(0.7)), 1..24),
        names in proptest::collection::vec(name(), 1..8),
    ) {
        let mut trie = Trie::default();
        let mut have: BTreeSet<(String, u64)> = BTreeSet::new();
        for (filter, id, add) in changes {
            if Pattern::new(Kind::Topic, &filter).is_err() {
                continue;
            }
            if add {
                prop_assert_eq!(trie.insert(&filter, entry(id)), have.insert((filter, id)));
            } else {
                prop_assert_eq!(trie.remove(&filter, id, None), have.remove(&(filter, id)));
            }
        }
        prop_assert_eq!(trie.len(), have.len());
        for name in names.iter().filter_map(|name| Address::new(Kind::Topic, name).ok()) {
            let mut found = Vec::new();
            trie.matches(name.name(), &mut |entry| found.push(entry.mailbox.id));
            found.sort_unstable();
            let matches = |filter: &str| Pattern::new(Kind::Topic, filter).unwrap().matches(&name);
            let mut expected: Vec<u64> =
                have.iter().filter(|(filter, _)| matches(filter)).map(|(_, id)| *id).collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "{} with {:?}", name, have);
        }
        for (filter, id) in have {
            prop_assert!(trie.remove(&filter, id, None));
        }
        prop_assert!(trie.root.is_empty(), "empty nodes stay behind");
    }
}
