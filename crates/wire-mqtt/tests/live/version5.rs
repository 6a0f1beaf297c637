//! What MQTT 5 adds: options of subscriptions, properties, aliases, flow control, expiry.

use super::client::{Client, filter, hello, message};
use super::server::{DEVICE, Server};
use bytes::Bytes;
use message::Clock;
use serde_json::json;
use wire_mqtt::codec::{Connect, Filter, Name, Packet, Properties, Property, Publish, Qos, Value, Version};

async fn start() -> Server {
    Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap()
}

async fn client(server: &Server, id: &str) -> Client {
    Client::connect(server.at, hello(5, id, DEVICE)).await
}

fn pair(name: &str, value: &str) -> Value {
    Value::Pair(name.into(), value.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_arrive() {
    let server = start().await;
    let mut reader = client(&server, "reader").await;
    reader.subscribe_numbered(vec![filter("plant/+", Qos::One)], Some(42)).await;
    let mut writer = client(&server, "writer").await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let properties = Properties::default()
        .with(Name::MessageExpiry, Value::Long(100))
        .with(Name::ContentType, Value::Text("text/plain".into()))
        .with(Name::ResponseTopic, Value::Text("plant/answer".into()))
        .with(Name::CorrelationData, Value::Binary(Bytes::from_static(b"\x00\x01")))
        .with(Name::PayloadFormat, Value::Byte(1))
        .with(Name::User, pair("b", "1"))
        .with(Name::User, pair("traceparent", parent))
        .with(Name::User, pair("a", "2"));
    assert_eq!(writer.publish_with(Publish { properties, ..message("plant/a", Qos::One, 1, "x") }).await, 0);
    let got = reader.message().await.properties;
    let left = got.number(Name::MessageExpiry).unwrap();
    assert!((95..=100).contains(&left), "{left}");
    assert_eq!(got.text(Name::ContentType).unwrap().as_str(), "text/plain");
    assert_eq!(got.text(Name::ResponseTopic).unwrap().as_str(), "plant/answer");
    assert_eq!(got.binary(Name::CorrelationData).unwrap(), &b"\x00\x01"[..]);
    assert_eq!(got.number(Name::PayloadFormat), Some(1));
    assert_eq!(got.number(Name::SubscriptionId), Some(42));
    let user: Vec<_> = got.user().collect();
    assert!(user.contains(&("traceparent", parent)), "{user:?}");
    let plain: Vec<_> = user.into_iter().filter(|(name, _)| *name != "traceparent").collect();
    assert_eq!(plain, [("b", "1"), ("a", "2")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_subscriptions() {
    let server = start().await;
    let mut me = client(&server, "me").await;
    let mut other = client(&server, "other").await;
    let kept = |payload| Publish { retain: true, ..message("plant/kept", Qos::One, 1, payload) };
    other.publish_with(kept("v")).await;

    // Retain handling 2, then 1 (not new any more), then 0.
    let asked = |retain_handling| Filter { retain_handling, ..filter("plant/kept", Qos::Zero) };
    me.subscribe(vec![asked(2)]).await;
    me.subscribe(vec![asked(1)]).await;
    other.publish("plant/kept", "marker").await;
    assert_eq!(me.payloads(1).await, ["marker"]);
    me.subscribe(vec![asked(0)]).await;
    let got = me.message().await;
    assert_eq!((got.retain, &got.payload[..]), (true, &b"v"[..]));
    // Retain as published keeps the flag on live traffic.
    me.subscribe(vec![Filter { retain_as_published: true, ..asked(2) }]).await;
    other.publish_with(kept("w")).await;
    assert!(me.message().await.retain);

    // No local: what I publish myself does not come back.
    me.subscribe(vec![Filter { no_local: true, ..filter("plant/local", Qos::Zero) }]).await;
    me.publish("plant/local", "mine").await;
    other.publish("plant/local", "theirs").await;
    assert_eq!(me.payloads(1).await, ["theirs"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_filters_bring_their_identifiers() {
    let server = start().await;
    let mut reader = client(&server, "reader").await;
    reader.subscribe_numbered(vec![filter("plant/a", Qos::One)], Some(1)).await;
    reader.subscribe_numbered(vec![filter("plant/#", Qos::Zero)], Some(2)).await;
    client(&server, "writer").await.publish("plant/a", "x").await;
    let got = reader.message().await;
    assert_eq!(got.qos, Qos::One, "the highest of the filters");
    let numbers: Vec<_> = got.properties.0.into_iter().filter(|it| it.name == Name::SubscriptionId).collect();
    let want = [1, 2].map(|number| Property { name: Name::SubscriptionId, value: Value::Varint(number) });
    assert_eq!(numbers, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_subscriptions_share() {
    let server = start().await;
    let mut members = [client(&server, "a").await, client(&server, "b").await];
    for member in &mut members {
        member
            .subscribe(vec![filter("$share/g/plant/jobs", Qos::Zero), filter("plant/end", Qos::Zero)])
            .await;
    }
    let mut writer = client(&server, "writer").await;
    for number in 0..10 {
        writer.publish("plant/jobs", &number.to_string()).await;
    }
    writer.publish("plant/end", "end").await;
    let mut all = Vec::new();
    for member in &mut members {
        let before = all.len();
        loop {
            let payload = member.payloads(1).await.remove(0);
            if payload == "end" {
                break;
            }
            all.push(payload);
        }
        assert!(all.len() > before, "every member has its share");
    }
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aliases_both_ways() {
    let server = start().await;
    let offer = Properties::default().with(Name::TopicAliasMax, Value::Short(1));
    let mut reader =
        Client::connect(server.at, Connect { properties: offer, ..hello(5, "reader", DEVICE) }).await;
    reader.subscribe(vec![filter("plant/#", Qos::Zero)]).await;
    let mut writer = client(&server, "writer").await;
    let alias = || Properties::default().with(Name::TopicAlias, Value::Short(3));
    let first = Publish { properties: alias(), ..message("plant/a", Qos::One, 1, "1") };
    let second = Publish { properties: alias(), ..message("", Qos::One, 2, "2") };
    writer.publish_with(first).await;
    writer.publish_with(second).await;
    writer.publish("plant/b", "3").await;
    let mut got = Vec::new();
    for _ in 0..3 {
        let publish = reader.message().await;
        let alias = publish.properties.number(Name::TopicAlias);
        got.push((publish.topic.as_str().to_owned(), alias));
    }
    assert_eq!(
        got,
        [("plant/a".to_owned(), Some(1)), (String::new(), Some(1)), ("plant/b".to_owned(), None)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_the_window() {
    let server = start().await;
    let window = Properties::default().with(Name::ReceiveMax, Value::Short(2));
    let mut reader =
        Client::connect(server.at, Connect { properties: window, ..hello(5, "reader", DEVICE) }).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    let mut writer = client(&server, "writer").await;
    for number in 1..=5 {
        writer.publish("plant/a", &number.to_string()).await;
    }
    let (one, two) = (reader.message().await, reader.message().await);
    reader.send(Packet::Pingreq).await;
    assert_eq!(reader.next().await, Packet::Pingresp, "a third message came before an acknowledgement");
    for (publish, want) in [(one, "3"), (two, "4")] {
        reader.send(Packet::Puback(Client::ack(publish.id))).await;
        assert_eq!(reader.payloads(1).await, [want]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_over_the_clients_maximum_are_not_sent() {
    let server = start().await;
    let most = Properties::default().with(Name::PacketMax, Value::Long(60));
    let mut reader =
        Client::connect(server.at, Connect { properties: most, ..hello(5, "reader", DEVICE) }).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    let mut writer = client(&server, "writer").await;
    writer.publish("plant/a", &"x".repeat(100)).await;
    writer.send(Packet::Publish(message("plant/a", Qos::Zero, 0, &"x".repeat(100)))).await;
    writer.publish("plant/a", "small").await;
    assert_eq!(reader.payloads(1).await, ["small"]);
}

// Finding: Q5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_explains_is_left_off_when_the_client_takes_no_packet_that_large() {
    let server = start().await;
    let small = |max| Connect {
        properties: Properties::default().with(Name::PacketMax, Value::Long(max)),
        ..hello(5, "small", DEVICE)
    };
    let mut client = Client::connect(server.at, small(20)).await;
    let suback = client.subscribe(vec![filter("office/#", Qos::Zero)]).await;
    assert_eq!((suback.codes, suback.properties), (vec![0x87], Properties::default()));
    for (qos, want) in [(Qos::One, 0x87), (Qos::Two, 0x87)] {
        client.send(Packet::Publish(message("office/a", qos, 9, "x"))).await;
        match client.next().await {
            Packet::Puback(ack) | Packet::Pubrec(ack) => {
                assert_eq!((ack.reason, ack.properties), (want, Properties::default()));
            }
            other => panic!("{other:?}"),
        }
    }
    client.raw(b"\xd0\x00").await;
    match client.next().await {
        Packet::Disconnect(end) => assert_eq!((end.reason, end.properties), (0x82, Properties::default())),
        other => panic!("{other:?}"),
    }
    // An answer to CONNECT that is too large is not sent at all, whatever it says.
    for connect in [small(5), Connect { password: Some(Bytes::from_static(b"wrong")), ..small(4) }] {
        let mut client = Client::dial(server.at, Version::V5).await;
        client.send(Packet::Connect(Box::new(connect))).await;
        assert_eq!(client.try_next().await, None);
    }
}

// Finding: Q6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_expires_at_once_reaches_who_is_there() {
    let server = start().await;
    let mut reader = client(&server, "reader").await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    let now = Properties::default().with(Name::MessageExpiry, Value::Long(0));
    let mut writer = client(&server, "writer").await;
    for id in 1..=2 {
        let qos = Publish { properties: now.clone(), ..message("plant/a", Qos::One, id, "now") };
        assert_eq!(writer.publish_with(qos).await, 0);
        assert_eq!(reader.payloads(1).await, ["now"]);
    }
}

// Finding: Q9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_acknowledgement_ends_the_connection() {
    type Answer = fn(u16) -> Packet;
    let server = start().await;
    let mut writer = client(&server, "writer").await;
    let wrong: [(Qos, Answer); 5] = [
        (Qos::One, |id| Packet::Pubcomp(Client::ack(id))),
        (Qos::One, |id| Packet::Pubrec(Client::ack(id))),
        (Qos::One, |id| Packet::Pubrec(wire_mqtt::codec::Ack { reason: 0x80, ..Client::ack(id) })),
        (Qos::Two, |id| Packet::Puback(Client::ack(id))),
        (Qos::Two, |id| Packet::Pubcomp(Client::ack(id))),
    ];
    for (qos, answer) in wrong {
        for level in [4, 5] {
            let mut reader = Client::connect(server.at, hello(level, "reader", DEVICE)).await;
            reader.subscribe(vec![filter("plant/#", qos)]).await;
            writer.send(Packet::Publish(message("plant/a", qos, 7, "x"))).await;
            let id = reader.message().await.id;
            reader.send(answer(id)).await;
            if level == 5 {
                assert_eq!(reader.refused().await, 0x82);
            } else {
                reader.closed().await;
            }
            if qos == Qos::Two {
                writer.send(Packet::Pubrel(Client::ack(7))).await;
                while !matches!(writer.next().await, Packet::Pubcomp(_)) {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_expired_is_not_delivered() {
    let clock = Clock::manual(Clock::system().now());
    let server = Server::start(0, clock.clone(), json!({}), json!({})).await.unwrap();
    let stay = Properties::default().with(Name::SessionExpiry, Value::Long(600));
    let hello = Connect { clean: false, properties: stay, ..hello(5, "reader", DEVICE) };
    let mut reader = Client::connect(server.at, hello.clone()).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    reader.goodbye().await;
    let mut writer = client(&server, "writer").await;
    let soon = Properties::default().with(Name::MessageExpiry, Value::Long(1));
    writer.publish_with(Publish { properties: soon, ..message("plant/a", Qos::One, 1, "short") }).await;
    writer.publish("plant/a", "long").await;
    clock.advance(std::time::Duration::from_secs(1));
    let mut reader = Client::connect(server.at, hello).await;
    assert_eq!(reader.payloads(1).await, ["long"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_say_when_nobody_listens_and_where_to_answer() {
    let server = start().await;
    let ask = Properties::default().with(Name::RequestResponseInfo, Value::Byte(1));
    let (mut client, connack) =
        Client::try_connect(server.at, Connect { properties: ask, ..hello(5, "me", DEVICE) }).await;
    assert_eq!(connack.properties.text(Name::ResponseInfo).unwrap().as_str(), "reply/me");
    assert_eq!(client.publish("plant/nobody", "x").await, 0x10);
}
