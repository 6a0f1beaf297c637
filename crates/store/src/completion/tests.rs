//! Who is woken, when, and that nobody waits for ever.

use std::sync::atomic::{AtomicUsize, Ordering};

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

/// The first one leads.
fn together(count: u32) -> (Company, Vec<Member>) {
    let (mut members, mut promises) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (promise, completion, counter) = waiting();
        members.push((completion, counter));
        promises.push(promise);
    }
    let leader = promises.remove(0);
    let company =
        Company::new(promises.into_iter().filter_map(|promise| promise.keep_quietly(Ok(1))).collect());
    leader.lead(Ok(0), &company);
    (company, members)
}

fn woken(members: &[Member]) -> usize {
    members.iter().map(|(_, counter)| counter.count()).sum()
}

#[test]
fn one_is_woken_and_wakes_the_others() {
    let (company, mut members) = together(5);
    assert_eq!(woken(&members), 1);
    assert!(!company.is_awake());
    let (completion, counter) = &mut members[0];
    assert!(poll(completion, counter).is_ready());
    assert!(members.iter().all(|(_, counter)| counter.count() == 1));
    assert!(company.is_awake());
}

#[test]
fn a_leader_that_is_dropped_wakes_the_others() {
    let (company, mut members) = together(5);
    drop(members.remove(0));
    assert!(members.iter().all(|(_, counter)| counter.count() == 1));
    assert!(company.is_awake());
}

#[test]
fn the_others_need_no_leader_to_get_their_answer() {
    let (company, mut members) = together(3);
    let (completion, counter) = &mut members[1];
    assert!(matches!(poll(completion, counter), Poll::Ready(Ok(1))));
    company.wake_all();
    assert_eq!(woken(&members), 3);
}

#[test]
fn without_a_leader_who_waits_all_are_woken() {
    let (promise, _completion) = Completion::<u32>::promised();
    let (other, _other, counter) = waiting();
    let company = Company::new(other.keep_quietly(Ok(1)).into_iter().collect());
    promise.lead(Ok(0), &company);
    assert_eq!(counter.count(), 1);
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
    assert!(promise.keep_quietly(Ok(7)).is_none(), "there is nobody to wake");
    assert!(matches!(poll(&mut completion, &Arc::default()), Poll::Ready(Ok(7))));
}

#[test]
fn a_thread_can_wait() {
    let (promise, completion) = Completion::promised();
    let thread = std::thread::spawn(move || completion.wait());
    promise.keep(Ok(3));
    assert_eq!(thread.join().unwrap().unwrap(), 3);
}
