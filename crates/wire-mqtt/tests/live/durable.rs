//! What outlives the program: sessions with their messages and unfinished exchanges, on a store whose power was cut.
//! With files, and a process that is killed, `cargo xtask test mqtt-kill` does the same.

use super::client::{Client, filter, hello, message};
use super::server::{DEVICE, Server};
use message::Clock;
use serde_json::{Value as Json, json};
use wire_mqtt::codec::{Connect, Name, Packet, Properties, Publish, Qos, Unsubscribe, Value};

async fn start() -> Server {
    Server::start(0, Clock::system(), json!({}), json!({})).await.unwrap()
}

async fn crash(server: &Server) -> Server {
    server.after_a_crash(json!({}), json!({})).await.unwrap()
}

fn staying(level: u8, id: &str) -> Connect {
    let properties = match level {
        5 => Properties::default().with(Name::SessionExpiry, Value::Long(600)),
        _ => Properties::default(),
    };
    Connect { clean: false, properties, ..hello(level, id, DEVICE) }
}

async fn back(server: &Server, level: u8, id: &str) -> Client {
    let (client, connack) = Client::try_connect(server.at, staying(level, id)).await;
    assert!(connack.session_present, "{connack:?}");
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_are_there_after_a_crash() {
    let server = start().await;
    for level in [4, 5] {
        let id = format!("reader-{level}");
        let mut reader = Client::connect(server.at, staying(level, &id)).await;
        reader.subscribe(vec![filter(&format!("plant/{level}/#"), Qos::Two)]).await;
        reader.goodbye().await;
        let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
        for number in 1..=3 {
            assert_eq!(writer.publish(&format!("plant/{level}/a"), &number.to_string()).await, 0);
        }
        writer.goodbye().await;
    }
    let server = crash(&server).await;
    // Filters are in force before their client is back.
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    for level in [4, 5] {
        assert_eq!(writer.publish(&format!("plant/{level}/a"), "4").await, 0);
        let mut reader = back(&server, level, &format!("reader-{level}")).await;
        for want in ["1", "2", "3", "4"] {
            let got = reader.message().await;
            assert_eq!((&got.payload[..], got.dup), (want.as_bytes(), false), "level {level}");
            reader.send(Packet::Puback(Client::ack(got.id))).await;
        }
        reader.goodbye().await;
    }
    // What was acknowledged is gone for good.
    let server = settled(&server).await;
    let mut reader = back(&server, 5, "reader-5").await;
    reader.send(Packet::Pingreq).await;
    assert_eq!(reader.next().await, Packet::Pingresp);
}

/// A crash after it is written down that all is done with.
async fn settled(server: &Server) -> Server {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
    let written = async {
        while !server.shelf_is_empty() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(super::client::DEADLINE, written)
        .await
        .expect("what is done with is never written down");
    crash(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_comes_again_with_its_id_and_is_flagged() {
    let server = start().await;
    let mut reader = Client::connect(server.at, staying(5, "reader")).await;
    reader.subscribe_numbered(vec![filter("plant/#", Qos::Two)], Some(7)).await;
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    writer.publish("plant/a", "one").await;
    for (id, payload) in [(2, "two"), (3, "three")] {
        writer.send(Packet::Publish(message("plant/b", Qos::Two, id, payload))).await;
        assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(id)));
    }
    let (one, two, three) = (reader.message().await, reader.message().await, reader.message().await);
    assert!(one.id >= 0x8000 && !one.dup, "{one:?}");
    reader.send(Packet::Pubrec(Client::ack(two.id))).await;
    assert_eq!(reader.next().await, Packet::Pubrel(Client::ack(two.id)));

    let server = crash(&server).await;
    let mut reader = back(&server, 5, "reader").await;
    // Of the second, which has arrived, only the end is left.
    assert_eq!(reader.next().await, Packet::Pubrel(Client::ack(two.id)));
    assert_eq!(reader.message().await, Publish { dup: true, ..one });
    assert_eq!(reader.message().await, Publish { dup: true, ..three });
    reader.send(Packet::Pubcomp(Client::ack(two.id))).await;
    // New ones have ids that none of those has.
    let mut writer = Client::connect(server.at, hello(4, "writer", DEVICE)).await;
    writer.publish("plant/a", "four").await;
    let four = reader.message().await;
    assert!(!four.dup && ![one.id, two.id, three.id].contains(&four.id), "{four:?}");
    assert_eq!(four.properties.number(Name::SubscriptionId), Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_its_client_left_is_flagged_and_the_rest_is_not() {
    let server = start().await;
    let mut reader = Client::connect(server.at, staying(4, "reader")).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    writer.publish("plant/a", "seen").await;
    assert!(!reader.message().await.dup);
    reader.goodbye().await;
    writer.publish("plant/a", "not seen").await;
    let server = crash(&server).await;
    let mut reader = back(&server, 4, "reader").await;
    let (first, second) = (reader.message().await, reader.message().await);
    assert_eq!((&first.payload[..], first.dup), (&b"seen"[..], true));
    assert_eq!((&second.payload[..], second.dup), (&b"not seen"[..], false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_qos_2_message_is_not_taken_twice() {
    let server = start().await;
    let mut writer = Client::connect(server.at, staying(5, "writer")).await;
    let mut reader = Client::connect(server.at, staying(5, "reader")).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    reader.goodbye().await;
    let publish = message("plant/a", Qos::Two, 9, "once");
    writer.send(Packet::Publish(publish.clone())).await;
    assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(9)));

    let server = crash(&server).await;
    let mut writer = back(&server, 5, "writer").await;
    writer.send(Packet::Publish(Publish { dup: true, ..publish.clone() })).await;
    assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(9)));
    writer.send(Packet::Pubrel(Client::ack(9))).await;
    assert_eq!(writer.next().await, Packet::Pubcomp(Client::ack(9)));

    // Now the id is free for another message, also after the next crash.
    let server = crash(&server).await;
    let mut writer = back(&server, 5, "writer").await;
    writer.send(Packet::Publish(Publish { payload: "twice".into(), ..publish })).await;
    assert_eq!(writer.next().await, Packet::Pubrec(Client::ack(9)));
    assert_eq!(back(&server, 5, "reader").await.payloads(2).await, ["once", "twice"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_stays_ended() {
    let clock = Clock::manual(Clock::system().now());
    let server = Server::start(0, clock.clone(), json!({}), json!({})).await.unwrap();
    for id in ["unsubscribed", "cleaned", "expired", "shortened"] {
        let mut reader = Client::connect(server.at, staying(5, id)).await;
        reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
        match id {
            "unsubscribed" => {
                let filters = vec!["plant/#".into()];
                let unsubscribe = Unsubscribe { id: 5, properties: Properties::default(), filters };
                reader.send(Packet::Unsubscribe(unsubscribe)).await;
                assert!(matches!(reader.next().await, Packet::Unsuback(_)));
            }
            "shortened" => {
                let properties = Properties::default().with(Name::SessionExpiry, Value::Long(0));
                let end = wire_mqtt::codec::Disconnect { reason: 0, properties };
                reader.send(Packet::Disconnect(end)).await;
                reader.closed().await;
                continue;
            }
            _ => {}
        }
        reader.goodbye().await;
    }
    Client::connect(server.at, hello(5, "cleaned", DEVICE)).await.goodbye().await;
    clock.advance(std::time::Duration::from_secs(599));
    // Away for a second less than they may be; the others' time went on while the program did not run.
    drop(back(&server, 5, "unsubscribed").await);
    clock.advance(std::time::Duration::from_secs(1));
    let server = crash(&server).await;
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    assert_eq!(writer.publish("plant/a", "for nobody").await, 0x10);
    for (id, present) in
        [("unsubscribed", true), ("cleaned", false), ("expired", false), ("shortened", false)]
    {
        let (_, connack) = Client::try_connect(server.at, staying(5, id)).await;
        assert_eq!(connack.session_present, present, "{id}");
    }
}

async fn full(section: Json) -> (Server, Client) {
    let limits = json!({ "limits": { "mailbox": 3 } });
    let server = Server::start(0, Clock::system(), limits, section).await.unwrap();
    let mut reader = Client::connect(server.at, staying(5, "reader")).await;
    reader.subscribe(vec![filter("plant/#", Qos::One)]).await;
    reader.goodbye().await;
    let writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    (server, writer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_0_goes_first_when_a_session_is_full() {
    let (server, mut writer) = full(json!({})).await;
    for payload in ["zero", "one", "zero again", "two", "three", "zero too"] {
        let qos = if payload.starts_with("zero") { Qos::Zero } else { Qos::One };
        let publish = message("plant/a", qos, u16::from(qos == Qos::One) * 4, payload);
        match qos {
            Qos::Zero => writer.send(Packet::Publish(publish)).await,
            _ => assert_eq!(writer.publish_with(publish).await, 0),
        }
    }
    assert_eq!(writer.publish("plant/b", "four").await, 0);
    assert_eq!(server.hub.broker().mailbox_drops(), (3, 1), "each is counted");
    let server = crash(&server).await;
    assert_eq!(back(&server, 5, "reader").await.payloads(3).await, ["two", "three", "four"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_can_be_refused_when_a_session_is_full() {
    let (server, mut writer) = full(json!({ "when_full": "refuse" })).await;
    for number in 1..=3 {
        assert_eq!(writer.publish("plant/a", &number.to_string()).await, 0);
    }
    assert_eq!(writer.publish("plant/a", "4").await, 0x97);
    assert_eq!(writer.publish("plant/a", "5").await, 0x97);
    let mut reader = back(&server, 5, "reader").await;
    for want in ["1", "2", "3"] {
        let got = reader.message().await;
        assert_eq!(&got.payload[..], want.as_bytes());
        reader.send(Packet::Puback(Client::ack(got.id))).await;
    }
    assert_eq!(writer.publish("plant/a", "6").await, 0);
    assert_eq!(reader.payloads(1).await, ["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_together_are_bounded() {
    let server =
        Server::start(0, Clock::system(), json!({}), json!({ "sessions_bytes": 5000 })).await.unwrap();
    let mut reader = Client::connect(server.at, staying(5, "reader")).await;
    reader.subscribe(vec![filter("plant/a", Qos::One)]).await;
    reader.goodbye().await;
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    assert_eq!(writer.publish("plant/a", &"x".repeat(4000)).await, 0);
    assert_eq!(writer.publish("plant/a", &"y".repeat(4000)).await, 0x97);
    // Who needs nothing kept is not concerned.
    assert_eq!(writer.publish("plant/b", &"y".repeat(4000)).await, 0x10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_does_not_lose_what_a_member_did_not_finish() {
    let server = start().await;
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    let join = || vec![filter("$share/g/plant/jobs/+", Qos::One)];
    let mut first = Client::connect(server.at, hello(5, "first", DEVICE)).await;
    first.subscribe(join()).await;
    for number in 0..3 {
        assert_eq!(writer.publish(&format!("plant/jobs/{number}"), &number.to_string()).await, 0);
    }
    let all = first.payloads(3).await;
    assert_eq!(all, ["0", "1", "2"]);
    let mut second = Client::connect(server.at, staying(5, "second")).await;
    second.subscribe(join()).await;
    // A session that ends gives what it did not acknowledge to the others (§4.8.2).
    drop(first);
    assert_eq!(second.payloads(3).await, ["0", "1", "2"]);

    // Of those who stay, nobody who is away gets anything while another is there; what waits moves on.
    let mut third = Client::connect(server.at, staying(5, "third")).await;
    third.subscribe(join()).await;
    third.goodbye().await;
    for number in 3..6 {
        assert_eq!(writer.publish("plant/jobs/x", &number.to_string()).await, 0);
    }
    assert_eq!(second.payloads(3).await, ["3", "4", "5"]);

    // Nobody is there: it waits for one of them, over a crash.
    second.goodbye().await;
    assert_eq!(writer.publish("plant/jobs/x", "6").await, 0);
    let server = crash(&server).await;
    let (mut second, mut third) = (back(&server, 5, "second").await, back(&server, 5, "third").await);
    let mut got = second.payloads(6).await;
    second.send(Packet::Pingreq).await;
    if let Packet::Publish(publish) = second.next().await {
        got.push(String::from_utf8(publish.payload.to_vec()).unwrap());
    } else {
        got.extend(third.payloads(1).await);
    }
    assert_eq!(got, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_take_turns_over_all_their_topics() {
    let server = start().await;
    let mut members = Vec::new();
    for id in ["a", "b", "c"] {
        let mut member = Client::connect(server.at, hello(5, id, DEVICE)).await;
        // Another filter under the same name is another group (§4.8.2).
        member
            .subscribe(vec![filter("$share/g/plant/+", Qos::One), filter("$share/g/plant/#", Qos::One)])
            .await;
        members.push(member);
    }
    let mut writer = Client::connect(server.at, hello(5, "writer", DEVICE)).await;
    for number in 0..9 {
        assert_eq!(writer.publish(&format!("plant/{number}"), &number.to_string()).await, 0);
    }
    let mut all = Vec::new();
    for member in &mut members {
        let mine = member.payloads(6).await;
        all.extend(mine);
    }
    all.sort_unstable();
    let want: Vec<String> = (0..9).flat_map(|number| [number.to_string(), number.to_string()]).collect();
    assert_eq!(all, want);
}
