//! Shares, turns, and what is left when somebody leaves while waiting.

use super::*;
use futures_util::FutureExt as _;

fn party(name: &str) -> Party {
    Party { principal: name.into(), tenant: "default".into() }
}

// Finding: M10
#[test]
fn one_principal_cannot_take_all_places() {
    let places = Places::new(4, 3, 2);
    let (ann, bob, eve) = (party("ann"), party("bob"), party("eve"));
    let now = |party: &Party| places.take(party).now_or_never();
    let mut hers: Vec<Place> = (0..3).map(|_| now(&ann).unwrap().unwrap()).collect();
    assert!(now(&ann).is_none(), "that is her share");
    let his = now(&bob).unwrap().unwrap();
    assert_eq!(places.taken(), 4);
    // All are taken. Ann waits first and twice, then Eve; a third of Ann's is refused.
    let (mut first, mut second) = (Box::pin(places.take(&ann)), Box::pin(places.take(&ann)));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    assert_eq!(now(&ann).unwrap().err(), Some(Full));
    let mut third = Box::pin(places.take(&eve));
    assert!(third.as_mut().now_or_never().is_none());
    drop(his);
    let evens = third.now_or_never().unwrap().unwrap();
    assert!(first.as_mut().now_or_never().is_none(), "Ann has her share");
    hers.pop();
    let more = first.now_or_never().unwrap().unwrap();
    assert!(second.as_mut().now_or_never().is_none());
    drop((hers, more));
    let last = second.now_or_never().unwrap().unwrap();
    drop((evens, last));
    assert_eq!(places.taken(), 0);
    assert!(places.state.lock().shares.is_empty(), "nothing is remembered of who is not there");
}

#[test]
fn who_leaves_the_queue_leaves_nothing_behind() {
    let places = Places::new(1, 1, 2);
    let (ann, bob) = (party("ann"), party("bob"));
    let place = places.take(&ann).now_or_never().unwrap().unwrap();
    let (mut first, mut second) = (Box::pin(places.take(&bob)), Box::pin(places.take(&bob)));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    drop(first);
    drop(place);
    // The second's turn has come, but it leaves before it sees it.
    assert_eq!(places.taken(), 1);
    drop(second);
    assert_eq!(places.taken(), 0);
    assert!(places.state.lock().shares.is_empty());
    assert!(places.take(&ann).now_or_never().unwrap().is_ok());
}
