//! Publish, subscribe, retained values and the three levels of service, in both versions.

use super::client::{Client, filter, hello, message};
use super::server::{ADMIN, DEVICE, Server};
use message::{Address, Clock};
use serde_json::json;
use wire_mqtt::codec::{Packet, Publish, Qos, Version};

async fn start() -> Server {
    Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_of_service_in_every_version() {
    let server = start().await;
    for (mine, theirs) in [(3, 4), (4, 5), (5, 4), (5, 5)] {
        let mut reader = Client::connect(server.at, hello(mine, "reader", DEVICE)).await;
        let mut writer = Client::connect(server.at, hello(theirs, "writer", DEVICE)).await;
        assert_eq!(reader.subscribe(vec![filter("plant/+/temp", Qos::Two)]).await.codes, [2]);

        writer.send(Packet::Publish(message("plant/1/temp", Qos::Zero, 0, "zero"))).await;
        let got = reader.message().await;
        assert_eq!(
            (got.qos, got.topic.as_str(), &got.payload[..]),
            (Qos::Zero, "plant/1/temp", &b"zero"[..])
        );

        assert_eq!(writer.publish("plant/2/temp", "one").await, 0);
        let got = reader.message().await;
        assert_eq!((got.qos, got.dup, got.retain, &got.payload[..]), (Qos::One, false, false, &b"one"[..]));
        reader.send(Packet::Puback(Client::ack(got.id))).await;

        writer.send(Packet::Publish(message("plant/3/temp", Qos::Two, 5, "two"))).await;
        assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(5)));
        let got = reader.message().await;
        assert_eq!((got.qos, &got.payload[..]), (Qos::Two, &b"two"[..]));
        reader.send(Packet::Pubrec(Client::ack(got.id))).await;
        assert_eq!(reader.next().await, Packet::Pubrel(Client::ack(got.id)));
        reader.send(Packet::Pubcomp(Client::ack(got.id))).await;

        // Sent again before it is released, the message is not taken twice.
        let again = Publish { dup: true, ..message("plant/3/temp", Qos::Two, 5, "two") };
        writer.send(Packet::Publish(again)).await;
        assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(5)));
        writer.send(Packet::Pubrel(Client::ack(5))).await;
        assert_eq!(writer.next().await, Packet::Pubcomp(Client::ack(5)));
        writer.publish("plant/4/temp", "next").await;
        assert_eq!(reader.payloads(1).await, ["next"]);

        reader.send(Packet::Pingreq).await;
        assert_eq!(reader.next().await, Packet::Pingresp);
        reader.goodbye().await;
        writer.goodbye().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lower_level_of_service_wins() {
    let server = start().await;
    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/0", Qos::Zero), filter("plant/1", Qos::One)]).await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    writer.publish("plant/0", "a").await;
    assert_eq!(reader.message().await.qos, Qos::Zero);
    writer.send(Packet::Publish(message("plant/1", Qos::Two, 1, "b"))).await;
    assert_eq!(reader.message().await.qos, Qos::One);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_value_is_kept_and_taken_away() {
    let server = start().await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    let retained = |payload| Publish { retain: true, ..message("plant/7", Qos::One, 3, payload) };
    writer.publish_with(retained("old")).await;
    writer.publish_with(retained("new")).await;

    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    let got = reader.message().await;
    assert_eq!((got.retain, &got.payload[..]), (true, &b"new"[..]));
    // To those who are subscribed already it comes as live traffic (§3.3.1.3).
    writer.publish_with(retained("live")).await;
    let got = reader.message().await;
    assert_eq!((got.retain, &got.payload[..]), (false, &b"live"[..]));

    writer.publish_with(retained("")).await;
    assert_eq!(reader.message().await.payload.len(), 0);
    let mut late = Client::connect(server.at, hello(4, "late", DEVICE)).await;
    late.subscribe(vec![filter("plant/#", Qos::One)]).await;
    writer.publish("plant/marker", "marker").await;
    assert_eq!(late.payloads(1).await, ["marker"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribing_ends_the_flow() {
    let server = start().await;
    for level in [4, 5] {
        let mut client = Client::connect(server.at, hello(level, "both", DEVICE)).await;
        client.subscribe(vec![filter("plant/a", Qos::Zero), filter("plant/b", Qos::Zero)]).await;
        let names = vec!["plant/a".into(), "plant/never".into()];
        let unsubscribe =
            wire_mqtt::codec::Unsubscribe { id: 9, properties: Default::default(), filters: names };
        client.send(Packet::Unsubscribe(unsubscribe)).await;
        match client.next().await {
            Packet::Unsuback(ack) if level == 5 => assert_eq!(ack.codes, [0x00, 0x11]),
            Packet::Unsuback(ack) => assert!(ack.codes.is_empty()),
            other => panic!("{other:?}"),
        }
        client.send(Packet::Publish(message("plant/a", Qos::Zero, 0, "gone"))).await;
        client.send(Packet::Publish(message("plant/b", Qos::Zero, 0, "there"))).await;
        assert_eq!(client.payloads(1).await, ["there"]);
        client.goodbye().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_takes_messages_and_says_so_when_they_are_durable() {
    let queues = json!({ "queues": { "orders": {} } });
    let server = Server::start(0, Clock::system(), queues, json!({})).await.unwrap();
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    assert_eq!(writer.publish("$queue/orders", "order 1").await, 0);
    assert_eq!(writer.publish("$queue/nothing", "order 2").await, 0x87);
    let queue = Address::parse("queue/orders").unwrap();
    let lease = broker::Lease::new("test", 10).waiting(super::client::DEADLINE);
    let got = server.hub.broker().lease(&queue, lease).await.unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!((&got[0].envelope.body[..], &*got[0].envelope.principal), (&b"order 1"[..], "device"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_comes_whole_and_in_order() {
    let server = start().await;
    let mut readers = Vec::new();
    for number in 0..10 {
        let mut reader = Client::connect(server.at, hello(4, &format!("reader{number}"), ADMIN)).await;
        reader.subscribe(vec![filter("plant/flood", Qos::One)]).await;
        readers.push(reader);
    }
    let mut writer = Client::connect(server.at, hello(4, "writer", ADMIN)).await;
    const COUNT: u16 = 500;
    for id in 1..=COUNT {
        writer.send(Packet::Publish(message("plant/flood", Qos::One, id, &id.to_string()))).await;
    }
    for id in 1..=COUNT {
        assert_eq!(writer.next().await, Packet::Puback(Client::ack(id)), "acknowledgements come in order");
    }
    for mut reader in readers {
        for id in 1..=COUNT {
            let got = reader.message().await;
            assert_eq!(got.payload, id.to_string().as_bytes());
            reader.send(Packet::Puback(Client::ack(got.id))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_pass_whole() {
    let server = start().await;
    let mut reader = Client::connect(server.at, hello(5, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/large", Qos::Zero)]).await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    for size in [0, 1, 2047, 2048, 2049, 65_535, 100_000] {
        let payload = "x".repeat(size);
        writer.publish("plant/large", &payload).await;
        assert_eq!(reader.version, Version::V5);
        assert_eq!(reader.message().await.payload, payload.as_bytes(), "{size} bytes");
    }
}

// Finding: Q11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_has_the_subprotocol_of_the_client() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap();
    for protocol in ["mqtt", "mqttv3.1"] {
        let mut stream = tokio::net::TcpStream::connect(server.at).await.unwrap();
        let ask = format!(
            "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains(&format!("sec-websocket-protocol: {protocol}\r\n")), "{head}");
    }
}
