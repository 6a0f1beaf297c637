//! A snapshot says all that the index held, and one of garbage is nothing.
//! That log and snapshot agree is checked by the simulation.

use super::*;
use crate::queue::index::example;
use proptest::prelude::*;

#[test]
fn it_comes_back_as_it_went() {
    let index = example();
    let bytes = write(77, &index);
    let (next, back) = read(&bytes).unwrap();
    assert_eq!(next, 77);
    assert_eq!(write(77, &back), bytes);
    assert_eq!((back.entries.len(), back.dead.len()), (index.entries.len(), index.dead.len()));
}

proptest! {
    #[test]
    fn garbage_is_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), place: proptest::sample::Index, byte: u8) {
        drop(read(&bytes.into()));
        let mut good = write(77, &example()).to_vec();
        let place = place.index(good.len());
        good[place] = byte;
        drop(read(&good.clone().into()));
        good.truncate(place);
        prop_assert!(read(&good.into()).is_none());
    }
}
