//! Who is woken, when, and that nobody waits for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

use message::Moment;

use super::*;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

type Waiting = (Promise<u32>, Completion<u32>, Arc<Counter>);

fn waiting() -> Waiting {
    let (promise, mut completion) = Completion::promised();
    let counter = Arc::new(Counter::default());
    assert!(poll(&mut completion, &counter).is_pending());
    (promise, completion, counter)
}

fn poll(completion: &mut Completion<u32>, counter: &Arc<Counter>) -> Poll<Result<u32, Error>> {
    let waker = Waker::from(counter.clone());
    Pin::new(completion).poll(&mut Context::from_waker(&waker))
}

type Member = (Completion<u32>, Arc<Counter>);

const NOW: Moment = Moment::from_micros(1_000_000);

fn later() -> Moment {
    NOW.after(PATIENCE)
}

/// All wait on this thread and are answered together.
fn together(count: u32, muster: &mut Muster) -> Vec<Member> {
    let members = (0..count).map(|_| {
        let (promise, completion, counter) = waiting();
        promise.keep_later(Ok(1), muster);
        (completion, counter)
    });
    let members = members.collect();
    muster.wake(NOW);
    members
}

fn woken(members: &[Member]) -> usize {
    members.iter().map(|(_, counter)| counter.count()).sum()
}

fn leader(members: &[Member]) -> usize {
    members.iter().position(|(_, counter)| counter.count() == 1).unwrap()
}

fn all_awake(members: &[Member]) -> bool {
    members.iter().all(|(_, counter)| counter.count() == 1)
}

#[test]
fn one_is_woken_and_wakes_the_others() {
    let mut muster = Muster::default();
    let mut members = together(5, &mut muster);
    assert_eq!(woken(&members), 1);
    assert!(!muster.is_awake());
    let first = leader(&members);
    let (completion, counter) = &mut members[first];
    assert!(poll(completion, counter).is_ready());
    assert!(all_awake(&members));
    assert!(muster.is_awake());
}

#[test]
fn a_leader_that_is_dropped_wakes_the_others() {
    let mut muster = Muster::default();
    let mut members = together(5, &mut muster);
    drop(members.remove(leader(&members)));
    assert!(all_awake(&members));
    assert!(muster.is_awake());
}

#[test]
fn who_is_answered_before_the_leader_ran_is_woken_by_it_too() {
    let mut muster = Muster::default();
    let mut members = together(3, &mut muster);
    let first = leader(&members);
    members.append(&mut together(3, &mut muster));
    assert_eq!(woken(&members), 1, "the thread is called once");
    let (completion, counter) = &mut members[first];
    assert!(poll(completion, counter).is_ready());
    assert!(all_awake(&members));
}

#[test]
fn the_others_need_no_leader_to_get_their_answer() {
    let mut muster = Muster::default();
    let mut members = together(3, &mut muster);
    let other = members.iter().position(|(_, counter)| counter.count() == 0).unwrap();
    let (completion, counter) = &mut members[other];
    assert!(matches!(poll(completion, counter), Poll::Ready(Ok(1))));
    assert!(all_awake(&members), "whoever runs first wakes the rest");
}

#[test]
fn a_leader_that_does_not_run_is_not_waited_for() {
    let mut muster = Muster::default();
    let members = together(3, &mut muster);
    muster.look_after(NOW);
    assert_eq!(woken(&members), 1);
    muster.look_after(later());
    assert!(all_awake(&members));
    assert!(muster.is_awake());
}

#[test]
fn every_thread_has_a_leader_of_its_own() {
    let mut muster = Muster::default();
    let mut all = Vec::new();
    for _ in 0..3 {
        let (promise, completion, counter) = std::thread::spawn(waiting).join().unwrap();
        promise.keep_later(Ok(1), &mut muster);
        all.push((completion, counter));
    }
    muster.wake(NOW);
    assert_eq!(woken(&all), 3);
}

#[test]
fn whoever_goes_wakes_all() {
    let mut muster = Muster::default();
    let members = together(4, &mut muster);
    drop(muster);
    assert!(all_awake(&members));
}

#[test]
fn a_promise_that_is_dropped_says_closed() {
    let (promise, mut completion, counter) = waiting();
    drop(promise);
    assert_eq!(counter.count(), 1);
    assert!(matches!(poll(&mut completion, &counter), Poll::Ready(Err(Error::Closed))));
}

#[test]
fn what_is_kept_before_it_is_polled_is_there_at_once() {
    let (promise, mut completion) = Completion::promised();
    let mut muster = Muster::default();
    promise.keep_later(Ok(7), &mut muster);
    muster.wake(NOW);
    assert!(muster.is_awake(), "there is nobody to wake");
    assert!(matches!(poll(&mut completion, &Arc::default()), Poll::Ready(Ok(7))));
}

#[test]
fn a_thread_can_wait() {
    let (promise, completion) = Completion::promised();
    let thread = std::thread::spawn(move || completion.wait());
    promise.keep(Ok(3));
    assert_eq!(thread.join().unwrap().unwrap(), 3);
}
