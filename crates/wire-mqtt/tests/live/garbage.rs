//! Bytes that mean nothing, on live connections: the server neither panics nor waits for ever, and others do not notice.

use super::client::{Client, filter, hello};
use super::server::{DEVICE, Server};
use message::{Clock, Dice};
use serde_json::json;
use wire_mqtt::codec::{Packet, Qos, Version};

fn noise(dice: &Dice, len: u64) -> Vec<u8> {
    (0..len).map(|_| u8::try_from(dice.below(256)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_never_panic_and_never_hang() {
    let server =
        Server::start(0, Clock::system(), json!({}), json!({ "connect_timeout": "300ms" })).await.unwrap();
    let dice = Dice::from_system();
    let seed = dice.roll();
    let dice = Dice::seeded(seed);
    let mut witness = Client::connect(server.at, hello(5, "witness", DEVICE)).await;
    witness.subscribe(vec![filter("plant/witness", Qos::One)]).await;
    for round in 0..300 {
        let level = if round % 2 == 0 { 4 } else { 5 };
        let bytes = match round % 4 {
            // Something that looks like a packet.
            0 | 1 => {
                let len = u8::try_from(dice.below(100)).unwrap();
                let first = u8::try_from(0x10 + dice.below(0xf0)).unwrap();
                [vec![first, len], noise(&dice, u64::from(len))].concat()
            }
            2 => noise(&dice, 1 + dice.below(200)),
            // A CONNECT with a byte turned.
            _ => {
                let mut connect = b"\x10\x15\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x08nonsense".to_vec();
                let place = usize::try_from(dice.below(connect.len() as u64)).unwrap();
                connect[place] ^= 1 << dice.below(8);
                connect
            }
        };
        let mut client = if round % 4 == 3 {
            Client::dial(server.at, Version::V5).await
        } else {
            Client::connect(server.at, hello(level, "noisy", DEVICE)).await
        };
        client.raw(&bytes).await;
        // Half the clients hang up, the others go on until they are closed or answered.
        if round % 3 == 0 {
            drop(client);
        } else {
            client.shut().await;
            client.drained().await;
        }
        assert_eq!(server.hub.tasks().panics(), 0, "round {round} of seed {seed}: {bytes:02x?}");
    }
    assert_eq!(witness.publish("plant/other", "x").await, 0x10);
    witness.send(Packet::Pingreq).await;
    assert_eq!(witness.next().await, Packet::Pingresp);
    let left = server.hub.tasks().shutdown(super::client::DEADLINE).await;
    assert!(left.is_empty(), "connections that hang (seed {seed}): {left:?}");
}
