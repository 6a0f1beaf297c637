//! Tests of the named tasks.
//! Deadlines are short where they must pass and long where they must not.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn waits_for_tasks_that_finish() {
    let tasks = Tasks::new();
    for _ in 0..100 {
        let draining = tasks.draining();
        tasks.spawn("worker", async move {
            draining.cancelled().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        });
    }
    tasks.background("watch", std::future::pending());
    assert_eq!(tasks.running(), 101);
    assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, Vec::<String>::new());
    assert!(tasks.is_draining());
    while tasks.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn names_who_was_left() {
    let tasks = Tasks::new();
    tasks.spawn("stubborn", std::future::pending());
    tasks.spawn(format!("listen {}", 7), std::future::pending());
    tasks.background("watch", std::future::pending());
    let left = tasks.shutdown(Duration::from_millis(20)).await;
    assert_eq!(left, ["listen 7", "stubborn"]);
    while tasks.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_panic_ends_only_its_task() {
    let tasks = Tasks::new();
    let mut bad = tasks.spawn("bad", async { panic!("on purpose") });
    bad.ended().await;
    assert!(bad.is_finished());
    assert_eq!((tasks.panics(), tasks.running()), (1, 0));
    assert!(tasks.shutdown(Duration::from_secs(1)).await.is_empty());
}

#[tokio::test]
async fn an_aborted_task_leaves_the_set() {
    let tasks = Tasks::new();
    let mut task = tasks.spawn("long", std::future::pending());
    task.abort();
    task.ended().await;
    assert_eq!(tasks.running(), 0);
    assert!(tasks.shutdown(Duration::from_secs(1)).await.is_empty());
}
