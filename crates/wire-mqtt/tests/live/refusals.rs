//! What a client is told when it may not, and how the connection ends.

use super::client::{Client, filter, hello, message};
use super::server::{ADMIN, DEVICE, Server};
use message::Clock;
use serde_json::json;
use wire_mqtt::codec::{Connect, Name, Packet, Properties, Qos, Value, Version, Will};

async fn start() -> Server {
    Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap()
}

async fn answer(server: &Server, connect: Connect) -> u8 {
    let (mut client, connack) = Client::try_connect(server.at, connect).await;
    if connack.code != 0 {
        client.closed().await;
    }
    connack.code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials() {
    let server = start().await;
    let table: [(&str, Option<&str>, u8, u8); 6] = [
        ("device", Some(DEVICE.1), 0, 0),
        ("", Some(DEVICE.1), 0, 0),
        (DEVICE.1, None, 0, 0),
        ("device", Some("wrong-key-0123456789"), 4, 0x86),
        ("admin", Some(DEVICE.1), 4, 0x86),
        ("", None, 4, 0x86),
    ];
    for (user, password, v3, v5) in table {
        for (level, want) in [(4, v3), (5, v5)] {
            let connect = Connect {
                username: Some(user.into()),
                password: password.map(|word| bytes::Bytes::copy_from_slice(word.as_bytes())),
                ..hello(level, "c", DEVICE)
            };
            assert_eq!(answer(&server, connect).await, want, "{user:?} {password:?} at level {level}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_ids_versions_and_methods() {
    let server = start().await;
    let long = "x".repeat(257);
    assert_eq!(answer(&server, hello(4, &long, DEVICE)).await, 2);
    assert_eq!(answer(&server, hello(5, &long, DEVICE)).await, 0x85);
    assert_eq!(answer(&server, Connect { clean: false, ..hello(4, "", DEVICE) }).await, 2);
    assert_eq!(answer(&server, hello(4, "", DEVICE)).await, 0);
    assert_eq!(answer(&server, hello(3, "old", DEVICE)).await, 0);
    let (_, connack) = Client::try_connect(server.at, hello(5, "", DEVICE)).await;
    assert!(connack.properties.text(Name::AssignedClientId).is_some());
    let method = Properties::default().with(Name::AuthMethod, Value::Text("SCRAM-SHA-1".into()));
    assert_eq!(answer(&server, Connect { properties: method, ..hello(5, "c", DEVICE) }).await, 0x8c);

    let mut future = Client::dial(server.at, Version::V5).await;
    future.raw(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x00").await;
    match future.next().await {
        Packet::Connack(connack) => assert_eq!(connack.code, 0x84),
        other => panic!("{other:?}"),
    }
    future.closed().await;
    let mut past = Client::dial(server.at, Version::V3).await;
    past.raw(b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00").await;
    match past.next().await {
        Packet::Connack(connack) => assert_eq!(connack.code, 1),
        other => panic!("{other:?}"),
    }
    past.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_that_may_not_be_published_refuses_the_connection() {
    let server = start().await;
    for (level, want) in [(4, 5), (5, 0x87)] {
        let will = Will {
            topic: "office/door".into(),
            payload: "gone".into(),
            qos: Qos::Zero,
            retain: false,
            properties: Properties::default(),
        };
        assert_eq!(answer(&server, Connect { will: Some(will), ..hello(level, "c", DEVICE) }).await, want);
    }
}

/// What a CONNECT that is not right is answered with at each level; `None` is a connection that is closed without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_that_is_not_right_is_told_why() {
    let server = start().await;
    let table: &[(&str, &[u8], Option<u8>)] = &[
        ("a reserved flag", b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x00", Some(0x81)),
        ("a reserved flag, 3.1.1", b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", None),
        ("an id that is not UTF-8", b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01\xff", Some(0x81)),
        ("the will's QoS is 3", b"\x10\x0d\x00\x04MQTT\x05\x1e\x00\x3c\x00\x00\x00", Some(0x81)),
        ("flags of a will without one", b"\x10\x0d\x00\x04MQTT\x05\x0a\x00\x3c\x00\x00\x00", Some(0x81)),
        (
            "a property twice",
            b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x06\x21\x00\x01\x21\x00\x01\x00\x00",
            Some(0x82),
        ),
        (
            "a receive maximum of 0",
            b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x00\x00\x00",
            Some(0x82),
        ),
        (
            "a property that is unknown",
            b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x02\x7e\x00\x00\x00",
            Some(0x81),
        ),
        ("bytes behind it", b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00\x00", Some(0x81)),
        ("a length of a megabyte", b"\x10\x80\x80\x40\x00\x04MQTT\x05", Some(0x95)),
        ("a length of a megabyte, 3.1.1", b"\x10\x80\x80\x40\x00\x04MQTT\x04", None),
    ];
    for (name, bytes, want) in table {
        let version = if want.is_some() { Version::V5 } else { Version::V3 };
        let mut client = Client::dial(server.at, version).await;
        client.raw(bytes).await;
        let got = match client.try_next().await {
            Some(Packet::Connack(connack)) => Some(connack.code),
            None => None,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(got, *want, "{name}");
        client.closed().await;
    }
    for topic in ["plant/#", "plant/+/a", ""] {
        for (level, want) in [(4, 5), (5, 0x90)] {
            let (topic, payload, properties) = (topic.into(), "gone".into(), Properties::default());
            let will = Will { topic, payload, qos: Qos::Zero, retain: false, properties };
            assert_eq!(answer(&server, Connect { will: Some(will), ..hello(level, "c", ADMIN) }).await, want);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keep_alive_that_is_too_long_is_cut() {
    let section = json!({ "keep_alive_max": "1s" });
    let server = Server::start(0, Clock::system(), json!({}), section).await.unwrap();
    for asked in [0, 600] {
        let connect = Connect { keep_alive_s: asked, ..hello(5, "quiet", DEVICE) };
        let (mut client, connack) = Client::try_connect(server.at, connect).await;
        assert_eq!(connack.properties.number(Name::ServerKeepAlive), Some(1));
        assert_eq!(client.refused().await, 0x8d);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_filters_and_topics() {
    let server = start().await;
    let mut five = Client::connect(server.at, hello(5, "five", DEVICE)).await;
    let asked = vec![
        filter("plant/a", Qos::One),
        filter("office/#", Qos::One),
        filter("#", Qos::One),
        filter("plant/#/a", Qos::One),
        filter("$share/g/office/a", Qos::One),
        filter("$queue/orders", Qos::One),
    ];
    let suback = five.subscribe(asked).await;
    assert_eq!(suback.codes, [1, 0x87, 0x87, 0x8f, 0x87, 0x8f]);
    let why = suback.properties.text(Name::ReasonString).unwrap().as_str().to_owned();
    assert!(why.starts_with("TL0002"), "{why}");
    assert_eq!(five.publish("office/a", "x").await, 0x87);
    assert_eq!(five.publish("$SYS/broker", "x").await, 0x87);
    five.send(Packet::Publish(message("office/a", Qos::Two, 4, "x"))).await;
    match five.next().await {
        Packet::Pubrec(ack) => assert_eq!((ack.id, ack.reason), (4, 0x87)),
        other => panic!("{other:?}"),
    }
    // QoS 0 has no answer; the connection goes on.
    five.send(Packet::Publish(message("office/a", Qos::Zero, 0, "x"))).await;
    assert_eq!(five.publish("plant/a", "x").await, 0);

    let mut three = Client::connect(server.at, hello(4, "three", DEVICE)).await;
    assert_eq!(
        three.subscribe(vec![filter("office/#", Qos::One), filter("plant/b", Qos::One)]).await.codes,
        [0x80, 1]
    );
    three.send(Packet::Publish(message("office/a", Qos::Zero, 0, "x"))).await;
    assert_eq!(three.publish("plant/c", "x").await, 0);
    // What can never pass is acknowledged: its client would send it for ever (3.1.1 §3.3.5).
    assert_eq!(three.publish("office/a", "x").await, 0);
    three.send(Packet::Publish(message("office/a", Qos::Two, 6, "x"))).await;
    assert_eq!(three.next().await, Packet::Pubrec(Client::ack(6)));
    assert_eq!(three.publish("plant/c", "x").await, 0);
}

// Finding: Q12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_that_can_never_be_published_is_refused() {
    let server = start().await;
    let with = |level, topic: &str, bytes: usize| Connect {
        will: Some(Will {
            topic: topic.into(),
            payload: "x".repeat(bytes).into(),
            qos: Qos::Zero,
            retain: false,
            properties: Properties::default(),
        }),
        ..hello(level, "w", DEVICE)
    };
    for (topic, bytes, v3, v5) in
        [("plant/a", 9, 0, 0), ("office/a", 1, 5, 0x87), ("$SYS/a", 1, 5, 0x90), ("plant/a", 2_000, 3, 0x95)]
    {
        let limits = json!({ "limits": { "message_bytes": 1_000 } });
        let server = Server::start(0, Clock::system(), limits, json!({})).await.unwrap();
        assert_eq!(answer(&server, with(4, topic, bytes)).await, v3, "{topic} {bytes}");
        assert_eq!(answer(&server, with(5, topic, bytes)).await, v5, "{topic} {bytes}");
    }
    assert_eq!(answer(&server, with(5, "plant/a", 2_000)).await, 0);
}

// Finding: I1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_route_can_never_take_does_not_stop_a_client() {
    let routes = json!({
        "queues": { "q": {} },
        "routes": [
            { "name": "hot", "from": "topic/plant/+", "steps": [{ "decode": "json" }], "to": ["queue/q"] },
        ],
    });
    let server = Server::start(0, Clock::system(), routes, json!({})).await.unwrap();
    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/#", Qos::Zero)]).await;
    let mut three = Client::connect(server.at, hello(4, "three", DEVICE)).await;
    assert_eq!(three.publish("plant/a", "not json{").await, 0);
    three.send(Packet::Publish(message("plant/a", Qos::Zero, 0, "[not"))).await;
    assert_eq!(three.publish("plant/a", "1").await, 0);
    assert_eq!(reader.payloads(3).await, ["not json{", "[not", "1"]);
    let failed: u64 = server.hub.routes().iter().map(|route| route.failed).sum();
    assert_eq!(failed, 2);
    // Who can be told is told.
    let mut five = Client::connect(server.at, hello(5, "five", DEVICE)).await;
    assert_eq!(five.publish("plant/a", "not json{").await, 0x99);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes() {
    let server = start().await;
    for qos in [Qos::Zero, Qos::One] {
        let mut body = Client::connect(server.at, hello(5, "body", DEVICE)).await;
        body.send(Packet::Publish(message("plant/a", qos, 1, &"x".repeat(100_001)))).await;
        assert_eq!(body.refused().await, 0x95);
    }
    let mut packet = Client::connect(server.at, hello(5, "packet", DEVICE)).await;
    // Refused by the length alone: the body is never sent.
    packet.raw(b"\x30\xff\xff\xff\x7f").await;
    assert_eq!(packet.refused().await, 0x95);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_violations_name_their_reason() {
    let server = start().await;
    let table: &[(&str, &[u8], u8)] = &[
        ("a second CONNECT", b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00", 0x82),
        ("QoS 3", b"\x36\x06\x00\x01a\x00\x01\x00", 0x81),
        ("a packet of the server", b"\xd0\x00", 0x82),
        ("AUTH", b"\xf0\x07\x18\x05\x15\x00\x02ab", 0x82),
        ("alias 0", b"\x30\x07\x00\x01a\x03\x23\x00\x00", 0x94),
        ("alias over the maximum", b"\x30\x07\x00\x01a\x03\x23\x7f\xff", 0x94),
        ("alias without a topic", b"\x30\x06\x00\x00\x03\x23\x00\x01", 0x82),
        ("a subscription identifier", b"\x30\x06\x00\x01a\x02\x0b\x01", 0x82),
        ("DISCONNECT that wants a session", b"\xe0\x07\x00\x05\x11\x00\x00\x00\x3c", 0x82),
    ];
    for (name, bytes, want) in table {
        let mut client = Client::connect(server.at, hello(5, "wrong", ADMIN)).await;
        client.raw(bytes).await;
        assert_eq!(client.refused().await, *want, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_is_one_and_a_half_times() {
    let server = start().await;
    let began = tokio::time::Instant::now();
    let mut client =
        Client::connect(server.at, Connect { keep_alive_s: 1, ..hello(5, "quiet", DEVICE) }).await;
    assert_eq!(client.refused().await, 0x8d);
    let took = began.elapsed().as_millis();
    assert!((1_400..5_000).contains(&took), "{took} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_before_connect_is_not_waited_out() {
    let server =
        Server::start(0, Clock::system(), json!({}), json!({ "connect_timeout": "200ms" })).await.unwrap();
    let mut client = Client::dial(server.at, Version::V3).await;
    client.raw(b"\x10\x20\x00\x04MQTT\x04").await;
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_bounded() {
    let server = Server::start(0, Clock::system(), json!({ "limits": { "subscriptions": 2 } }), json!({}))
        .await
        .unwrap();
    let mut client = Client::connect(server.at, hello(5, "many", DEVICE)).await;
    let asked = ["plant/1", "plant/2", "plant/3"].map(|name| filter(name, Qos::Zero)).to_vec();
    assert_eq!(client.subscribe(asked).await.codes, [0, 0, 0x97]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_so() {
    let server = start().await;
    let mut client = Client::connect(server.at, hello(5, "c", DEVICE)).await;
    let left = server.hub.tasks().shutdown(super::client::DEADLINE).await;
    assert_eq!(client.refused().await, 0x8b);
    assert!(left.is_empty(), "tasks that did not end: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_hurts_nobody_and_is_closed() {
    let section = json!({ "write_timeout": "300ms" });
    let server = Server::start(0, Clock::system(), json!({}), section).await.unwrap();
    let mut deaf = Client::connect(server.at, Connect { keep_alive_s: 0, ..hello(5, "deaf", DEVICE) }).await;
    deaf.subscribe(vec![filter("plant/flood", Qos::Zero)]).await;
    let mut reader = Client::connect(server.at, hello(4, "reader", DEVICE)).await;
    reader.subscribe(vec![filter("plant/flood", Qos::Zero)]).await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    let payload = "x".repeat(50_000);
    for id in 1..=1000 {
        writer.publish_with(message("plant/flood", Qos::One, id, &payload)).await;
        assert_eq!(reader.message().await.payload.len(), payload.len());
    }
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    let gone = async {
        while server.connections.len() > 2 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(super::client::DEADLINE, gone).await.expect("the deaf client is still served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_holds_for_who_is_there() {
    let server = start().await;
    let mut device = Client::connect(server.at, hello(5, "d", DEVICE)).await;
    let mut admin = Client::connect(server.at, hello(5, "a", ADMIN)).await;
    device.subscribe(vec![filter("plant/1", Qos::Zero), filter("plant/2", Qos::Zero)]).await;
    let mut config = server.hub.config();
    config.access.roles.get_mut("device").unwrap().allow[0].on = vec!["topic/plant/2".into()];
    server.hub.apply(config.clone()).await.unwrap();
    // The answer comes behind the look at the new configuration, so what follows is not a matter of luck.
    device.subscribe(vec![filter("plant/2", Qos::Zero)]).await;
    admin.publish("plant/1", "not any more").await;
    admin.publish("plant/2", "still").await;
    assert_eq!(device.payloads(1).await, ["still"]);
    config.access.keys.retain(|key| key.name != DEVICE.0);
    server.hub.apply(config).await.unwrap();
    assert_eq!(device.refused().await, 0x87);
    admin.publish("plant/2", "the others stay").await;
}
