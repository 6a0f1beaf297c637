//! The counting by itself: what is owed is paid back, and a wait that is given up leaves nothing behind.

use std::sync::Arc;

use message::{Clock, Code, Limits};

use super::*;
use crate::Connections;

const MIB: usize = 1 << 20;

fn connections(bytes: usize) -> Connections {
    let limits = Limits { answers_bytes: bytes, ..Limits::default() };
    Connections::bounded(&limits, Clock::system(), Arc::default())
}

fn conn(connections: &Connections) -> Arc<ConnInfo> {
    let nobody = "127.0.0.1:1".parse().unwrap();
    Arc::clone(connections.admit(nobody, nobody).unwrap().info())
}

fn used(connections: &Connections) -> usize {
    connections.answers().used
}

// Finding: B3
#[tokio::test]
async fn what_an_answer_turns_out_to_be_is_counted_until_its_last_byte_is_dropped() {
    let connections = connections(4 * MIB);
    let share = conn(&connections).share().await.unwrap();
    assert_eq!(used(&connections), PIECE_BYTES);
    let bytes = share.hold(vec![7; 6 * MIB]);
    assert_eq!(used(&connections), 6 * MIB);
    let rest = bytes.slice(MIB..);
    drop(bytes);
    assert_eq!(used(&connections), 6 * MIB);
    drop(rest);
    assert_eq!(used(&connections), 0);
    // All of it can be had again.
    let mut shares = Vec::new();
    for _ in 0..64 {
        shares.push(conn(&connections).share().await.unwrap());
    }
    assert_eq!(used(&connections), 4 * MIB);
}

// Finding: B3
#[tokio::test]
async fn who_finds_no_room_is_told_and_leaves_nothing_behind() {
    let connections = connections(MIB);
    let mut mine = conn(&connections).share().await.unwrap();
    mine.resize(2 * MIB);
    let other = conn(&connections);
    let fault = other.share().await.unwrap_err();
    assert_eq!(fault.code(), Code::Overloaded);
    tokio::time::timeout(PATIENCE, other.share()).await.unwrap_err();
    drop(mine);
    assert_eq!(used(&connections), 0);
    drop(other.share().await.unwrap());
    assert_eq!(used(&connections), 0);
}

// Finding: B3
#[tokio::test]
async fn one_connection_takes_no_more_than_its_part() {
    let connections = connections(16 * MIB);
    let (mine, other) = (conn(&connections), conn(&connections));
    let mut held = Vec::new();
    for _ in 0..MIB / PIECE_BYTES {
        held.push(mine.share().await.unwrap());
    }
    tokio::time::timeout(PATIENCE, mine.share()).await.unwrap_err();
    other.share().await.unwrap();
    held.pop();
    mine.share().await.unwrap();
}
