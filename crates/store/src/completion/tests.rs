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

fn together(count: u32) -> (Company, Vec<Member>) {
    let company = Company::default();
    let members = (0..count).map(|number| {
        let (promise, completion, counter) = waiting();
        promise.keep_with(Ok(number), &company);
        (completion, counter)
    });
    let members = members.collect();
    (company, members)
}

fn woken(members: &[Member]) -> usize {
    members.iter().map(|(_, counter)| counter.count()).sum()
}

#[test]
fn one_is_woken_and_wakes_the_others() {
    let (company, mut members) = together(5);
    assert_eq!(woken(&members), 0);
    company.wake_one();
    assert_eq!(woken(&members), 1);
    assert!(!company.is_awake());
    let (completion, counter) = members.iter_mut().find(|(_, counter)| counter.count() == 1).unwrap();
    assert!(poll(completion, counter).is_ready());
    assert!(members.iter().all(|(_, counter)| counter.count() == 1));
    assert!(company.is_awake());
}

#[test]
fn one_that_is_dropped_wakes_the_others() {
    let (company, mut members) = together(5);
    company.wake_one();
    drop(members.remove(0));
    assert!(members.iter().all(|(_, counter)| counter.count() == 1));
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
    let company = Company::default();
    promise.keep_with(Ok(7), &company);
    assert!(company.is_awake(), "there was nobody to wake");
    assert!(matches!(poll(&mut completion, &Arc::default()), Poll::Ready(Ok(7))));
}

#[test]
fn a_thread_can_wait() {
    let (promise, completion) = Completion::promised();
    let thread = std::thread::spawn(move || completion.wait());
    promise.keep(Ok(3));
    assert_eq!(thread.join().unwrap().unwrap(), 3);
}
