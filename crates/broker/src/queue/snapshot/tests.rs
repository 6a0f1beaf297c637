//! A snapshot says all that the index held, and one of garbage is nothing.
//! That log and snapshot agree is checked by the simulation.

use super::*;
use crate::queue::index::example;
use proptest::prelude::*;

fn now() -> Now {
    message::Clock::manual(Time::from_millis(1_000_000)).both()
}

#[test]
fn it_comes_back_as_it_went() {
    let now = now();
    let index = example(now);
    let bytes = write(now, 77, &index);
    let (next, back) = read(&bytes, now).unwrap();
    assert_eq!(next, 77);
    assert_eq!(write(now, 77, &back), bytes);
    assert_eq!((back.entries.len(), back.dead.len()), (index.entries.len(), index.dead.len()));
}

proptest! {
    #[test]
    fn garbage_is_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..200), place: proptest::sample::Index, byte: u8) {
        drop(read(&bytes.into(), now()));
        let mut good = write(now(), 77, &example(now())).to_vec();
        let place = place.index(good.len());
        good[place] = byte;
        drop(read(&good.clone().into(), now()));
        good.truncate(place);
        prop_assert!(read(&good.into(), now()).is_none());
    }
}
