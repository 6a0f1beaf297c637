//! What outlives a connection: sessions, wills, takeover.

use super::client::{Client, filter, hello, message};
use super::server::{ADMIN, DEVICE, Server};
use message::Clock;
use serde_json::json;
use std::time::Duration;
use wire_mqtt::codec::{Connect, Disconnect, Name, Packet, Properties, Publish, Qos, Value, Will};

async fn start() -> Server {
    Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap()
}

fn staying(level: u8, id: &str) -> Connect {
    let properties = match level {
        5 => Properties::default().with(Name::SessionExpiry, Value::Long(600)),
        _ => Properties::default(),
    };
    Connect { clean: false, properties, ..hello(level, id, DEVICE) }
}

fn will(topic: &str, delay_s: Option<u32>) -> Will {
    let mut properties = Properties::default();
    if let Some(delay_s) = delay_s {
        properties = properties.with(Name::WillDelay, Value::Long(delay_s));
    }
    Will { topic: topic.into(), payload: "gone".into(), qos: Qos::One, retain: false, properties }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_a_client_that_is_away() {
    let server = start().await;
    for level in [4, 5] {
        let (mut reader, connack) = Client::try_connect(server.at, staying(level, "reader")).await;
        assert!(!connack.session_present);
        reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
        reader.goodbye().await;
        let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
        for number in 1..=3 {
            writer.publish("plant/a", &number.to_string()).await;
        }
        let (mut reader, connack) = Client::try_connect(server.at, staying(level, "reader")).await;
        assert!(connack.session_present);
        assert_eq!(reader.payloads(3).await, ["1", "2", "3"]);
        drop(reader);
        // A clean start throws all of it away.
        let (reader, connack) = Client::try_connect(server.at, hello(level, "reader", DEVICE)).await;
        assert!(!connack.session_present);
        reader.goodbye().await;
        let (reader, connack) = Client::try_connect(server.at, staying(level, "reader")).await;
        assert!(!connack.session_present, "a clean session leaves nothing behind");
        reader.goodbye().await;
        let (_, connack) = Client::try_connect(server.at, hello(level, "reader", DEVICE)).await;
        assert!(!connack.session_present);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_comes_again() {
    let server = start().await;
    let mut reader = Client::connect(server.at, staying(5, "reader")).await;
    reader.subscribe(vec![filter("plant/#", Qos::Two)]).await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    writer.publish("plant/a", "one").await;
    writer.send(Packet::Publish(message("plant/b", Qos::Two, 2, "two"))).await;
    writer.send(Packet::Publish(message("plant/b", Qos::Two, 3, "three"))).await;
    let one = reader.message().await;
    let two = reader.message().await;
    let three = reader.message().await;
    reader.send(Packet::Pubrec(Client::ack(two.id))).await;
    assert_eq!(reader.next().await, Packet::Pubrel(Client::ack(two.id)));
    drop(reader);

    let (mut reader, connack) = Client::try_connect(server.at, staying(5, "reader")).await;
    assert!(connack.session_present);
    assert_eq!(reader.message().await, Publish { dup: true, ..one });
    assert_eq!(reader.next().await, Packet::Pubrel(Client::ack(two.id)));
    assert_eq!(reader.message().await, Publish { dup: true, ..three });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_takes_over() {
    let server = start().await;
    let mut old = Client::connect(server.at, staying(5, "me")).await;
    old.subscribe(vec![filter("plant/a", Qos::One)]).await;
    let (mut new, connack) = Client::try_connect(server.at, staying(5, "me")).await;
    assert!(connack.session_present);
    assert_eq!(old.refused().await, 0x8e);
    assert_eq!(new.publish("plant/other", "x").await, 0x10);
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    writer.publish("plant/a", "for the new one").await;
    assert_eq!(new.payloads(1).await, ["for the new one"]);

    // Another principal with the same id is another client.
    let (_, connack) =
        Client::try_connect(server.at, Connect { clean: false, ..hello(4, "me", ADMIN) }).await;
    assert!(!connack.session_present);
    new.send(Packet::Pingreq).await;
    assert_eq!(new.next().await, Packet::Pingresp);
}

// Finding: Q2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_a_takeover_is_heard() {
    let server = start().await;
    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/#", Qos::Zero)]).await;
    for level in [4, 5] {
        for round in 0..100 {
            let connect = Connect { will: Some(will("plant/will", None)), ..hello(level, "same", DEVICE) };
            let mut client = Client::connect(server.at, connect).await;
            for number in 0..5 {
                let payload = format!("{level} {round} {number}");
                client.send(Packet::Publish(message("plant/a", Qos::Zero, 0, &payload))).await;
            }
            client.send(Packet::Publish(message("plant/a", Qos::One, 1, "last"))).await;
            client.send(Packet::Disconnect(Disconnect::default())).await;
        }
        // No will comes between.
        for round in 0..100 {
            let mut want: Vec<String> = (0..5).map(|number| format!("{level} {round} {number}")).collect();
            want.push("last".to_owned());
            assert_eq!(reader.payloads(6).await, want);
        }
    }
}

// Finding: Q13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_mqtt_3_1_is_resumed_without_a_word() {
    let server = start().await;
    Client::connect(server.at, staying(3, "old")).await.goodbye().await;
    let (_, connack) = Client::try_connect(server.at, staying(3, "old")).await;
    assert!(!connack.session_present, "the byte is reserved in 3.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wills() {
    let clock = Clock::manual(Clock::system().now());
    let server = Server::start(0, clock.clone(), json!({}), json!({})).await.unwrap();
    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/will/#", Qos::One)]).await;
    let with = |level, id: &str, will| Connect { will: Some(will), ..hello(level, id, DEVICE) };

    // Vanished: published.
    drop(Client::connect(server.at, with(4, "a", will("plant/will/a", None))).await);
    assert_eq!(reader.message().await.topic.as_str(), "plant/will/a");
    // Said goodbye: not published. Said goodbye with 0x04: published.
    Client::connect(server.at, with(5, "b", will("plant/will/b", None))).await.goodbye().await;
    let mut client = Client::connect(server.at, with(5, "c", will("plant/will/c", None))).await;
    client.send(Packet::Disconnect(Disconnect { reason: 4, properties: Properties::default() })).await;
    assert_eq!(reader.message().await.topic.as_str(), "plant/will/c");
    // With a delay, in a session that ends at once: published when the session ends (§3.1.3.2.2).
    drop(Client::connect(server.at, with(5, "d", will("plant/will/d", Some(600)))).await);
    assert_eq!(reader.message().await.topic.as_str(), "plant/will/d");
    // With a delay, in a session that stays: published after it, unless the client comes back.
    for (id, back) in [("e", true), ("f", false)] {
        let topic = format!("plant/will/{id}");
        let connect = Connect { will: Some(will(&topic, Some(1))), ..staying(5, id) };
        drop(Client::connect(server.at, connect).await);
        if back {
            let (client, connack) = Client::try_connect(server.at, staying(5, id)).await;
            assert!(connack.session_present);
            client.goodbye().await;
        }
    }
    let mut late = tokio::time::interval(Duration::from_millis(50));
    let got = loop {
        tokio::select! {
            got = reader.message() => break got,
            // Its time begins when the server notices that the client is gone.
            _ = late.tick() => clock.advance(Duration::from_secs(1)),
        }
    };
    assert_eq!(got.topic.as_str(), "plant/will/f");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_expires() {
    let clock = Clock::manual(Clock::system().now());
    let section = json!({ "session_expiry": "1h" });
    let server = Server::start(0, clock.clone(), json!({}), section).await.unwrap();
    let forever = Properties::default().with(Name::SessionExpiry, Value::Long(u32::MAX));
    let connect = Connect { properties: forever, ..staying(5, "me") };
    let (client, connack) = Client::try_connect(server.at, connect.clone()).await;
    assert_eq!(connack.properties.number(Name::SessionExpiry), Some(3600), "the cut is announced");
    client.goodbye().await;
    clock.advance(Duration::from_secs(3599));
    let (client, connack) = Client::try_connect(server.at, connect.clone()).await;
    assert!(connack.session_present);
    client.goodbye().await;
    clock.advance(Duration::from_secs(3601));
    let (_, connack) = Client::try_connect(server.at, connect).await;
    assert!(!connack.session_present);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_a_client_that_is_away_is_bounded() {
    let server =
        Server::start(0, Clock::system(), json!({ "limits": { "mailbox": 5 } }), json!({})).await.unwrap();
    let mut reader = Client::connect(server.at, staying(4, "reader")).await;
    reader.subscribe(vec![filter("plant/a", Qos::One)]).await;
    reader.goodbye().await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    for number in 1..=20 {
        writer.publish("plant/a", &number.to_string()).await;
    }
    let mut reader = Client::connect(server.at, staying(4, "reader")).await;
    assert_eq!(reader.payloads(5).await, ["16", "17", "18", "19", "20"]);
}
