//! A client that says exactly what it is told, byte for byte, and waits for answers with a deadline.
//! It keeps no session and acknowledges nothing by itself.

use bytes::{Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire_mqtt::codec::{
    Ack, Connack, Connect, Filter, Name, Packet, Properties, Publish, Qos, Suback, Subscribe, Value, Version,
    decode, encode,
};

/// Far longer than anything takes: a test that meets it has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    stream: TcpStream,
    read: BytesMut,
    pub(crate) version: Version,
}

/// What to say in CONNECT.
pub(crate) fn hello(level: u8, id: &str, key: (&str, &str)) -> Connect {
    Connect {
        level,
        clean: true,
        keep_alive_s: 60,
        client_id: id.into(),
        will: None,
        username: Some(key.0.into()),
        password: Some(Bytes::copy_from_slice(key.1.as_bytes())),
        properties: Properties::default(),
    }
}

pub(crate) fn message(topic: &str, qos: Qos, id: u16, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.into(),
        id,
        properties: Properties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(crate) fn filter(filter: &str, qos: Qos) -> Filter {
    Filter { filter: filter.into(), qos, no_local: false, retain_as_published: false, retain_handling: 0 }
}

impl Client {
    pub(crate) async fn dial(at: SocketAddr, version: Version) -> Client {
        let stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: BytesMut::new(), version }
    }

    /// Connects and returns what the server said.
    pub(crate) async fn try_connect(at: SocketAddr, connect: Connect) -> (Client, Connack) {
        let mut client = Client::dial(at, connect.version()).await;
        client.send(Packet::Connect(Box::new(connect))).await;
        match client.next().await {
            Packet::Connack(connack) => (client, connack),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Connects and is accepted.
    pub(crate) async fn connect(at: SocketAddr, connect: Connect) -> Client {
        let (client, connack) = Client::try_connect(at, connect).await;
        assert_eq!(connack.code, 0, "{connack:?}");
        client
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut out = BytesMut::new();
        encode(&packet, self.version, &mut out);
        self.raw(&out).await;
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet, or `None` when the server closes.
    pub(crate) async fn try_next(&mut self) -> Option<Packet> {
        tokio::time::timeout(DEADLINE, async {
            loop {
                if let Some(packet) = decode(&mut self.read, self.version, 1 << 24).unwrap() {
                    return Some(packet);
                }
                if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                    return None;
                }
            }
        })
        .await
        .expect("the server neither answers nor closes")
    }

    pub(crate) async fn next(&mut self) -> Packet {
        self.try_next().await.expect("the server closed the connection")
    }

    /// The next packet, which is a PUBLISH.
    pub(crate) async fn message(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// Payloads of the next `count` messages.
    pub(crate) async fn payloads(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(String::from_utf8(self.message().await.payload.to_vec()).unwrap());
        }
        all
    }

    pub(crate) async fn subscribe(&mut self, filters: Vec<Filter>) -> Suback {
        self.subscribe_numbered(filters, None).await
    }

    pub(crate) async fn subscribe_numbered(&mut self, filters: Vec<Filter>, number: Option<u32>) -> Suback {
        let mut properties = Properties::default();
        if let Some(number) = number {
            properties = properties.with(Name::SubscriptionId, Value::Varint(number));
        }
        self.send(Packet::Subscribe(Subscribe { id: 77, properties, filters })).await;
        match self.next().await {
            Packet::Suback(suback) => suback,
            other => panic!("no SUBACK but {other:?}"),
        }
    }

    /// Publishes with QoS 1 and returns the PUBACK's reason.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_with(message(topic, Qos::One, 11, payload)).await
    }

    pub(crate) async fn publish_with(&mut self, publish: Publish) -> u8 {
        let id = publish.id;
        self.send(Packet::Publish(publish)).await;
        match self.next().await {
            Packet::Puback(ack) => {
                assert_eq!(ack.id, id);
                ack.reason
            }
            other => panic!("no PUBACK but {other:?}"),
        }
    }

    pub(crate) fn ack(id: u16) -> Ack {
        Ack { id, reason: 0, properties: Properties::default() }
    }

    /// The reason of the DISCONNECT that must come, before the connection closes.
    pub(crate) async fn refused(&mut self) -> u8 {
        loop {
            match self.try_next().await {
                Some(Packet::Disconnect(end)) => {
                    assert_eq!(self.try_next().await, None, "bytes after DISCONNECT");
                    return end.reason;
                }
                Some(_) => {}
                None => panic!("closed without DISCONNECT"),
            }
        }
    }

    /// Waits until the server has closed, whatever it says before.
    pub(crate) async fn closed(&mut self) {
        while self.try_next().await.is_some() {}
    }

    /// Says that nothing more will come.
    pub(crate) async fn shut(&mut self) {
        // The server may have closed before us.
        drop(self.stream.shutdown().await);
    }

    /// Reads and forgets, whatever it is, until the server has closed.
    pub(crate) async fn drained(&mut self) {
        let all = async {
            let mut scrap = Vec::new();
            while matches!(self.stream.read_buf(&mut scrap).await, Ok(1..)) {
                scrap.clear();
            }
        };
        tokio::time::timeout(DEADLINE, all).await.expect("the server does not close");
    }

    pub(crate) async fn goodbye(mut self) {
        self.send(Packet::Disconnect(wire_mqtt::codec::Disconnect::default())).await;
        self.closed().await;
    }
}
