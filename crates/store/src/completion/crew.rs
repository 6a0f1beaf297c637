//! Those who wait for completions on one thread, and how they are woken together from another one.
//! It knows no answers: when somebody is woken, his answer is there already.
//!
//! To wake a task from a foreign thread costs a lock, and on a runtime that sleeps a system call and a switch of threads;
//! a task that wakes its neighbours on its own thread pays neither. So the writer of a log wakes one of each thread, who
//! wakes the rest when it is polled or dropped. Those who are answered before it has run join the same list: however many
//! commits go by meanwhile, a thread is called once. Should the one not run in time, the writer wakes the rest himself:
//! nobody hangs on another one's task.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use message::Moment;
use parking_lot::Mutex;

/// How long the one who was woken has to wake the others.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2);

/// Those who wait on one thread.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    /// One of them was woken and has not woken the rest yet. Written with `asleep` locked.
    called: AtomicBool,
    /// Answered, and to be woken by the one who was called.
    asleep: Mutex<Vec<Waker>>,
}

thread_local! {
    static HERE: OnceCell<Arc<Crew>> = const { OnceCell::new() };
}

impl Crew {
    /// The crew of this thread; none while the thread ends.
    pub(crate) fn here() -> Option<Arc<Crew>> {
        HERE.try_with(|here| here.get_or_init(Arc::default).clone()).ok()
    }

    pub(crate) fn is_here(&self) -> bool {
        HERE.try_with(|here| here.get().is_some_and(|crew| std::ptr::eq(Arc::as_ptr(crew), self)))
            .unwrap_or(false)
    }

    /// Wakes all who are left.
    pub(crate) fn gather(&self) {
        if !self.called.load(Ordering::Acquire) {
            return;
        }
        let wakers = {
            let mut asleep = self.asleep.lock();
            self.called.store(false, Ordering::Release);
            std::mem::take(&mut *asleep)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Puts them on the list; the one to be woken now, when nobody is on his way.
    fn call(&self, wakers: &mut Vec<Waker>) -> Option<Waker> {
        let mut asleep = self.asleep.lock();
        let leader = if self.called.load(Ordering::Acquire) { None } else { wakers.pop() };
        if leader.is_some() {
            self.called.store(true, Ordering::Release);
        }
        if asleep.is_empty() {
            // What was there is empty and has room for the next time.
            std::mem::swap(&mut *asleep, wakers);
        } else {
            asleep.append(wakers);
        }
        leader
    }
}

/// Those who were answered by one writer and are to be woken, by crew.
#[derive(Debug, Default)]
pub(crate) struct Muster {
    crews: Vec<(Arc<Crew>, Vec<Waker>)>,
    /// Who was called and when, as long as nobody has looked whether it helped.
    called: Vec<(Arc<Crew>, Moment)>,
}

impl Muster {
    /// Somebody to be woken with the next [`Muster::wake`].
    pub(crate) fn add(&mut self, crew: Option<&Arc<Crew>>, waker: Waker) {
        let Some(crew) = crew else { return waker.wake() };
        match self.crews.iter_mut().find(|(known, _)| Arc::ptr_eq(known, crew)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.crews.push((crew.clone(), vec![waker])),
        }
    }

    /// Wakes one of each crew, and all of those whose leader did not come in time.
    pub(crate) fn wake(&mut self, now: Moment) {
        self.look_after(now);
        for (crew, wakers) in &mut self.crews {
            if let Some(leader) = (!wakers.is_empty()).then(|| crew.call(wakers)).flatten() {
                leader.wake();
                match self.called.iter_mut().find(|(known, _)| Arc::ptr_eq(known, crew)) {
                    Some((_, since)) => *since = now,
                    None => self.called.push((crew.clone(), now)),
                }
            }
        }
        // A thread that went takes its crew along.
        if self.crews.len() > 64 {
            self.crews.clear();
        }
    }

    /// Wakes those whose leader was called too long ago.
    pub(crate) fn look_after(&mut self, now: Moment) {
        self.called.retain(|(crew, since)| {
            if now.since(*since) >= PATIENCE {
                crew.gather();
                return false;
            }
            crew.called.load(Ordering::Acquire)
        });
    }

    /// Whether everybody was woken.
    pub(crate) fn is_awake(&self) -> bool {
        self.called.iter().all(|(crew, _)| !crew.called.load(Ordering::Acquire))
    }
}

impl Drop for Muster {
    fn drop(&mut self) {
        for (crew, wakers) in &mut self.crews {
            wakers.drain(..).for_each(Waker::wake);
            crew.gather();
        }
        self.called.iter().for_each(|(crew, _)| crew.gather());
    }
}
