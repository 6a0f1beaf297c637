//! Commits as records and back, whatever their sizes; and rubbish.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the records hold under each key, as a reader puts it together.
fn values(records: &[Bytes], index: &Index) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let at = |offset: u64| &records[usize::try_from(offset).unwrap()];
    let value = |place: &Place| -> Vec<u8> {
        if place.parts == 0 {
            let start = place.start as usize;
            return at(place.offset)[start..start + place.length as usize].to_vec();
        }
        (1..=u64::from(place.parts))
            .flat_map(|number| part(at(place.offset + number)).unwrap().to_vec())
            .collect()
    };
    index.places.iter().map(|(key, place)| (key.to_vec(), value(place))).collect()
}

fn folded(records: &[Bytes]) -> Index {
    let mut index = Index::default();
    let mut at = 0;
    while let Some(record) = records.get(usize::try_from(at).unwrap()) {
        at += 1 + index.fold(at, record);
    }
    index
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let value = prop_oneof![vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..3000)];
    vec((vec(0..4u8, 1..3), proptest::option::of(value)), 0..40).prop_map(|writes| {
        let write = |(key, value): (Vec<u8>, Option<Vec<u8>>)| match value {
            Some(value) => Write::put(key, value),
            None => Write::remove(key),
        };
        writes.into_iter().map(write).collect()
    })
}

proptest! {
    #[test]
    fn what_was_written_is_what_is_folded(writes in writes(), staged: bool, record_max in 64..2000usize) {
        let mut expected = BTreeMap::new();
        for write in &writes {
            match write {
                Write::Put { key, value } => drop(expected.insert(key.to_vec(), value.to_vec())),
                Write::Remove { key } => drop(expected.remove(key.as_ref())),
            }
        }
        let mut records = pack(&writes, staged, record_max).unwrap();
        prop_assert!(records.iter().all(|record| record.len() <= record_max));
        if staged {
            prop_assert!(folded(&records).places.is_empty(), "nothing takes effect before the commit");
            records.push(commit(0));
        }
        let index = folded(&records);
        prop_assert_eq!(values(&records, &index), expected.clone());
        let bytes: usize = expected.iter().map(|(key, value)| key.len() + value.len()).sum();
        prop_assert_eq!(index.bytes, bytes as u64);
        let first = index.places.values().map(|place| place.offset).min();
        prop_assert_eq!(index.needed_from(), first);
    }

    #[test]
    fn rubbish_is_folded_without_harm(record in vec(any::<u8>(), 0..200)) {
        Index::default().fold(0, &record);
    }
}

#[test]
fn what_was_staged_and_given_up_does_not_take_effect_later() {
    let mut records = pack(&[Write::put("a", "1")], true, 100).unwrap();
    records.extend(pack(&[Write::put("b", "2")], true, 100).unwrap());
    records.push(commit(1));
    let index = folded(&records);
    assert_eq!(values(&records, &index), BTreeMap::from([(b"b".to_vec(), b"2".to_vec())]));
}
