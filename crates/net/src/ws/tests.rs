//! Tests of WebSocket with tungstenite's client over real sockets.
//! What is spoken inside is the wings' part.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;
use crate::conn::Conn;
use crate::http::{Answer, Routes, handler};
use crate::tasks::Tasks;
use crate::testing::{self, Server, raw, soon, until};

/// `/ws` echoes messages, `/bytes` echoes bytes.
fn server() -> Server {
    let mut routes = Routes::new();
    let tasks = Tasks::new();
    let of_messages = tasks.clone();
    routes.get(
        "/ws",
        handler(move |mut call: Call| {
            let tasks = of_messages.clone();
            async move {
                let (response, upgrading) = match upgrade(&mut call, &["mqtt", "chat"], 1000) {
                    Ok(done) => done,
                    Err(fault) => return fault.answer(),
                };
                tasks.spawn("echo", async move {
                    let mut socket = upgrading.socket().await.unwrap();
                    let protocol = socket.protocol().unwrap_or("none").to_owned();
                    socket.send(Message::Text(protocol)).await.unwrap();
                    loop {
                        match socket.recv().await {
                            None => return,
                            Some(Ok(message)) => socket.send(message).await.unwrap(),
                            Some(Err(fault)) => return socket.close(1008, fault.detail()).await,
                        }
                    }
                });
                response
            }
        }),
    );
    routes.get(
        "/bytes",
        handler(move |mut call: Call| {
            let tasks = tasks.clone();
            async move {
                let (response, upgrading) = upgrade(&mut call, &["mqtt"], 100_000)?;
                tasks.spawn("bytes", async move {
                    let mut conn = Conn::from_ws(upgrading.socket().await.unwrap());
                    conn.set_protocol("echo over websocket");
                    let mut buffer = vec![0; 7];
                    loop {
                        let read = conn.read(&mut buffer).await.unwrap();
                        if read == 0 {
                            return conn.shutdown().await.unwrap();
                        }
                        conn.write_all(&buffer[..read]).await.unwrap();
                        conn.flush().await.unwrap();
                    }
                });
                Ok::<_, Fault>(response)
            }
        }),
    );
    testing::serve(routes)
}

async fn client(
    server: &Server,
    path: &str,
    protocols: &str,
) -> (WebSocketStream<TcpStream>, Option<String>) {
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    let stream = server.plain().await;
    let (socket, response) = soon(tokio_tungstenite::client_async(request, stream)).await.unwrap();
    let chosen =
        response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
    (socket, chosen)
}

#[tokio::test]
async fn echoes_messages_and_agrees_on_a_protocol() {
    let server = server();
    let (mut socket, chosen) = client(&server, "/ws", "other, chat, mqtt").await;
    assert_eq!(chosen.as_deref(), Some("mqtt"));
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Raw::text("mqtt"));
    for message in [Raw::text("h\u{e9}llo"), Raw::binary(vec![0, 1, 2]), Raw::binary(vec![7; 1000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
    }
    socket.send(Raw::Ping(Bytes::from_static(b"x"))).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Raw::Pong(Bytes::from_static(b"x")));
    assert_eq!(server.connections.list()[0].protocol, "websocket");
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon(socket.next()).await {}
    drop(socket);
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn without_a_wish_there_is_no_protocol() {
    let server = server();
    let (mut socket, chosen) = client(&server, "/ws", "").await;
    assert_eq!(chosen, None);
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Raw::text("none"));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_with_1009() {
    let server = server();
    let (mut socket, _) = client(&server, "/ws", "").await;
    soon(socket.next()).await.unwrap().unwrap();
    socket.send(Raw::binary(vec![0; 1001])).await.unwrap();
    let Raw::Close(Some(frame)) = soon(socket.next()).await.unwrap().unwrap() else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1009);
}

#[tokio::test]
async fn a_byte_stream_ignores_message_bounds() {
    let server = server();
    let (socket, chosen) = client(&server, "/bytes", "mqtt").await;
    assert_eq!(chosen.as_deref(), Some("mqtt"));
    let sent: Vec<u8> = (0..60_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut sink, mut stream) = socket.split();
    let send = async {
        for piece in sent.chunks(1234) {
            sink.send(Raw::binary(piece.to_vec())).await.unwrap();
        }
    };
    let receive = async {
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.extend_from_slice(&stream.next().await.unwrap().unwrap().into_data());
        }
        got
    };
    let ((), got) = soon(async { tokio::join!(send, receive) }).await;
    assert_eq!(got, sent);
    let state = server.connections.list().remove(0);
    assert_eq!(state.protocol, "echo over websocket");
    // Counted once, by the connection underneath, with the frames' heads.
    assert!(state.bytes_in > 60_000 && state.bytes_in < 62_000, "{}", state.bytes_in);
    sink.close().await.unwrap();
    while let Some(Ok(_)) = soon(stream.next()).await {}
}

#[tokio::test]
async fn an_operator_can_close_it() {
    let server = server();
    let (mut socket, _) = client(&server, "/bytes", "").await;
    assert!(server.connections.close(server.connections.list()[0].id));
    assert!(!matches!(soon(socket.next()).await, Some(Ok(Raw::Binary(_)))));
    until(|| server.connections.is_empty()).await;
}

#[tokio::test]
async fn refuses_what_is_no_upgrade() {
    let server = server();
    let good = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("keep-alive, Upgrade", "close"),
        ("Sec-WebSocket-Version", "Sec-WebSocket-Protocol: amqp\r\nSec-WebSocket-Version"),
    ] {
        let headers = good.replace(from, to).replace("keep-alive,", "close,");
        let got = raw(&server, format!("GET /ws HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{headers}{got}");
    }
}

// Finding: S10
#[tokio::test]
async fn what_breaks_the_protocol_is_told_by_its_own_code() {
    let server = server();
    let check = async |frame: &[u8], expected: u16| {
        let (mut socket, _) = client(&server, "/ws", "").await;
        soon(socket.next()).await.unwrap().unwrap();
        socket.get_mut().write_all(frame).await.unwrap();
        let Some(Ok(Raw::Close(Some(goodbye)))) = soon(socket.next()).await else { panic!("no goodbye") };
        assert_eq!(u16::from(goodbye.code), expected, "{frame:x?}");
    };
    // Masked with zeros: text that is not UTF-8, a reserved bit, an unknown opcode, a fragmented ping.
    check(&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007).await;
    check(&[0xc1, 0x81, 0, 0, 0, 0, b'a'], 1002).await;
    check(&[0x83, 0x80, 0, 0, 0, 0], 1002).await;
    check(&[0x09, 0x80, 0, 0, 0, 0], 1002).await;
    check(&[0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0], 1009).await;
}
