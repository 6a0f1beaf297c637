//! Tests of the threads: connections are spread evenly, run where they were put, and are drained from all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::http::{Call, Routes, StatusCode, handler, respond};
use crate::tasks::Tasks;
use crate::testing::{self, soon};

#[tokio::test]
async fn seats_are_given_to_the_emptiest_thread() {
    let cores = Cores::new(3).unwrap();
    let seats: Vec<Seat> = (0..6).filter_map(|_| cores.seat()).collect();
    let mut count = BTreeMap::new();
    for seat in &seats {
        *count.entry(format!("{:?}", seat.handle.id())).or_insert(0) += 1;
    }
    assert_eq!(count.values().collect::<Vec<_>>(), [&2, &2, &2]);
    let freed = format!("{:?}", seats[1].handle.id());
    let kept: Vec<Seat> =
        seats.into_iter().enumerate().filter(|(place, _)| *place != 1).map(|(_, seat)| seat).collect();
    assert_eq!(format!("{:?}", cores.seat().unwrap().handle.id()), freed);
    drop(kept);
}

#[tokio::test]
async fn connections_live_on_all_threads_and_are_drained() {
    let mut routes = Routes::new();
    let here = handler(|_: Call| async move {
        respond(StatusCode::OK, "text/plain", format!("{:?}|", Handle::current().id()))
    });
    routes.get("/where", here);
    let tasks = Tasks::on_cores(3).unwrap();
    let server = testing::open(testing::door(vec![testing::http_sniffer(routes, &tasks)], &tasks));
    let mut found = BTreeMap::new();
    let mut held = Vec::new();
    for _ in 0..9 {
        let mut stream = server.plain().await;
        let mut at = String::new();
        for _ in 0..2 {
            stream.write_all(b"GET /where HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"|") {
                let mut byte = [0];
                assert_eq!(soon(stream.read(&mut byte)).await.unwrap(), 1);
                got.push(byte[0]);
            }
            let got = String::from_utf8(got).unwrap();
            let place = got.rsplit("\r\n\r\n").next().unwrap().to_owned();
            assert!(at.is_empty() || at == place, "moved from {at} to {place}");
            at = place;
        }
        *found.entry(at).or_insert(0) += 1;
        held.push(stream);
    }
    assert_eq!(found.values().collect::<Vec<_>>(), [&3, &3, &3]);
    assert!(tasks.shutdown(Duration::from_secs(10)).await.is_empty());
    assert_eq!(server.connections.len(), 0);
}
