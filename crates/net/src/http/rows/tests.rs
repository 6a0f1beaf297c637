//! Answers of rows over real sockets: what clients that do not read cost, and what they cost others.

use std::sync::atomic::{AtomicUsize, Ordering};

use message::{Clock, Code, Limits};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::http::{Call, Routes, handler};
use crate::testing::{self, raw, soon, until};
use crate::{Connections, Tasks};

const MIB: usize = 1 << 20;
static MADE: AtomicUsize = AtomicUsize::new(0);

/// So many rows of 100 kB.
struct Many(usize);

impl Rows for Many {
    async fn more(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        MADE.fetch_add(1, Ordering::Relaxed);
        out.resize(100_000, b'x');
        self.0 -= 1;
        Ok(self.0 > 0)
    }
}

fn server(bytes: usize) -> testing::Server {
    let mut routes = Routes::new();
    let many = |count: usize| {
        handler(move |call: Call| async move { rows(&call.conn, "text/plain", Many(count)).await })
    };
    routes.get("/small", many(1));
    routes.get("/large", many(10_000));
    routes.get("/some", many(20));
    let tasks = Tasks::new();
    let mut door = testing::door(vec![testing::http_sniffer(routes, &tasks)], &tasks);
    let limits = Limits { answers_bytes: bytes, ..Limits::default() };
    door.connections = Connections::bounded(&limits, Clock::system(), Arc::default());
    testing::open(door)
}

// Finding: B3
#[tokio::test]
async fn a_client_that_does_not_read_holds_one_piece_and_goes_when_others_need_it() {
    let server = server(MIB);
    let mut silent = Vec::new();
    for _ in 0..12 {
        let mut stream = server.plain().await;
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        silent.push(stream);
    }
    until(|| server.connections.answers().used >= 1_000_000).await;
    let made = MADE.load(Ordering::Relaxed);
    // What exceeds the whole is one piece at most.
    assert!(server.connections.answers().used <= MIB + 100_000, "{:?}", server.connections.answers());
    assert!(made < 2_000, "{made} pieces were made for clients that read nothing");
    for _ in 0..3 {
        let answer = raw(&server, b"GET /some HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("0\r\n\r\n"),
            "{}",
            answer.len()
        );
    }
    assert!(server.connections.answers().evicted > 0, "nobody was closed to make room");
    drop(silent);
    until(|| server.connections.answers().used == 0).await;
}

#[tokio::test]
async fn an_answer_of_one_piece_has_a_length_and_an_idle_connection_holds_none_of_it() {
    let server = server(MIB);
    let mut stream = server.plain().await;
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 100_000];
    soon(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer)).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("content-length: 100000\r\n"));
    until(|| server.connections.answers().used == 0).await;
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(server.connections.len(), 1);
}

// Finding: B3
#[tokio::test]
async fn the_fault_of_the_first_piece_has_its_status() {
    struct Broken;
    impl Rows for Broken {
        async fn more(&mut self, _: &mut Vec<u8>) -> Result<bool, Fault> {
            Err(Fault::new(Code::UnknownAddress, "nothing there"))
        }
    }
    let fault = rows(&testing::no_conn(), "text/plain", Broken).await.unwrap_err();
    assert_eq!(fault.code(), Code::UnknownAddress);
}
