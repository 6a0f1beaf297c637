//! MLLP over real sockets: what is answered to what, and that AA means stored.

use super::super::MLLP;
use super::*;
use crate::testing::{CRITICAL, NORMAL, Server, ask, closed, soon, start};
use hub::steps::hl7::{Acknowledgement, Answer, read_acknowledgement};
use message::{Address, Clock, Dice, Envelope};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

const END: &[u8] = b"\x1c\r";

async fn lab() -> Server {
    start(&MLLP, json!({ "principal": "lab" })).await
}

fn framed(message: &[u8]) -> Vec<u8> {
    frame::encode(message).to_vec()
}

fn read_answer(bytes: &[u8]) -> Acknowledgement {
    let bytes = bytes.strip_prefix(&[frame::VT]).unwrap().strip_suffix(END).unwrap();
    read_acknowledgement(&Message::parse(bytes).unwrap()).unwrap()
}

async fn send(stream: &mut TcpStream, message: &[u8]) -> Acknowledgement {
    read_answer(&ask(stream, &framed(message), END).await)
}

#[track_caller]
fn check(answer: &Acknowledgement, expected: Answer, part: &str) {
    assert!(answer.answer == expected && answer.text.contains(part), "{answer:?}");
}

#[tokio::test]
async fn stored_messages_are_answered_aa() {
    let server = lab().await;
    let mut stream = server.connect().await;
    let first = send(&mut stream, NORMAL).await;
    check(&first, Answer::Accept, "");
    assert_eq!(first.control_id, "LAB20261121000417");
    check(&send(&mut stream, CRITICAL).await, Answer::Accept, "");
    let loose = String::from_utf8(NORMAL.to_vec()).unwrap().replace('\r', "\r\n");
    check(&send(&mut stream, loose.as_bytes()).await, Answer::Accept, "");
    let results = server.waiting("queue/lab-results").await;
    assert_eq!(results.len(), 3);
    let critical: Value = serde_json::from_slice(&results[1]).unwrap();
    assert_eq!(critical["critical"], true);
    assert_eq!(critical["patient"]["family"], "Okafor");
}

#[tokio::test]
async fn refused_messages_are_answered_with_the_reason_and_the_connection_goes_on() {
    let server = lab().await;
    let mut stream = server.connect().await;
    let text = String::from_utf8(NORMAL.to_vec()).unwrap();
    check(&send(&mut stream, b"PID|1\r").await, Answer::Error, "TL0004");
    let broken = send(&mut stream, text.replace("\rPV1|", "\rp1|").as_bytes()).await;
    check(&broken, Answer::Error, "segment 3");
    assert_eq!(broken.control_id, "LAB20261121000417");
    check(&send(&mut stream, text.replace("|N|||F", "|XX|||F").as_bytes()).await, Answer::Error, "TL0006");
    check(&send(&mut stream, text.replace("||4.2|", "||n/a|").as_bytes()).await, Answer::Error, "TL0013");
    let large = [text.as_bytes(), b"NTE|1||", &[b'x'; 30_000]].concat();
    let large = send(&mut stream, &large).await;
    check(&large, Answer::Reject, "TL0003");
    assert_eq!(large.control_id, "LAB20261121000417");
    assert!(server.waiting("queue/lab-results").await.is_empty());
    check(&send(&mut stream, NORMAL).await, Answer::Accept, "");
}

#[tokio::test]
async fn what_a_route_filters_is_accepted_unless_it_refuses() {
    let server = lab().await;
    let mut stream = server.connect().await;
    let text = String::from_utf8(NORMAL.to_vec()).unwrap();
    let other = text.replace("ORU^R01", "ADT^A01");
    let answer = send(&mut stream, other.as_bytes()).await;
    check(&answer, Answer::Accept, "not kept");
    assert_eq!(answer.control_id, "LAB20261121000417");
    let mut config = server.hub.config();
    let lab = config.routes.iter_mut().find(|route| route.from == "topic/hl7/in").unwrap();
    lab.filtered = hub::Filtered::Refuse;
    server.hub.apply(config.clone()).await.unwrap();
    check(&send(&mut stream, other.as_bytes()).await, Answer::Error, "refuses what it filters");
    // A route that leads to nobody who keeps it is a mistake of the configuration, not a filter.
    config.routes.clear();
    server.hub.apply(config).await.unwrap();
    check(&send(&mut stream, other.as_bytes()).await, Answer::Error, "TL0024");
    assert!(server.waiting("queue/lab-results").await.is_empty());
}

/// Sends one byte after the other, ten times as often as a silence would be noticed; how long the peer let it.
async fn drip(server: &Server, first: &[u8], byte: u8) -> Duration {
    let mut stream = server.connect().await;
    let began = server.hub.instant();
    soon(stream.write_all(first)).await.unwrap();
    let mut answer = [0; 1];
    soon(async {
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return },
                () = tokio::time::sleep(Duration::from_millis(10)) => {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
    .await;
    began.elapsed()
}

#[tokio::test]
async fn a_drip_holds_no_connection() {
    let section = json!({
        "principal": "lab", "frame_timeout": "10s", "message_timeout": "300ms", "idle_timeout": "400ms",
    });
    let server = start(&MLLP, section).await;
    assert!(drip(&server, b"\x0bMSH|", b'x').await >= Duration::from_millis(300), "a message has its time");
    assert!(drip(&server, b"", b'\r').await >= Duration::from_millis(400), "and so has a connection");
    assert_eq!(server.faults(Code::IdleTimeout), 2);
}

#[tokio::test]
async fn a_browser_cannot_post_frames() {
    let server = lab().await;
    let mut stream = server.connect().await;
    let posted = [b"POST / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), framed(NORMAL)].concat();
    soon(stream.write_all(&posted)).await.unwrap();
    closed(&mut stream).await;
    assert!(server.waiting("queue/lab-results").await.is_empty());
}

#[tokio::test]
async fn garbage_between_frames_is_reported_and_passed_over() {
    let server = lab().await;
    let mut stream = server.connect().await;
    let dirty = [b"noise".to_vec(), framed(NORMAL)].concat();
    check(&read_answer(&ask(&mut stream, &dirty, END).await), Answer::Accept, "");
    assert_eq!(server.faults(Code::Malformed), 1);
    soon(stream.write_all(&vec![b'x'; 100_000])).await.unwrap();
    closed(&mut stream).await;
}

#[tokio::test]
async fn whoever_may_not_is_answered_ar() {
    for (section, part) in [
        (json!({}), "TL0001"),
        (json!({ "principal": "nobody" }), "TL0001"),
        (json!({ "principal": "lab", "networks": ["10.0.0.0/8"] }), "TL0002"),
        (json!({ "principal": "guest" }), "TL0002"),
    ] {
        let server = start(&MLLP, section).await;
        check(&send(&mut server.connect().await, NORMAL).await, Answer::Reject, part);
    }
    let server = start(&MLLP, json!({ "principal": "lab", "publish": "topic/lost" })).await;
    check(&send(&mut server.connect().await, NORMAL).await, Answer::Error, "TL0024");
}

#[tokio::test]
async fn connections_end_when_they_are_idle_or_the_program_stops() {
    let server = start(&MLLP, json!({ "principal": "lab", "idle_timeout": "50ms" })).await;
    closed(&mut server.connect().await).await;
    let server = start(&MLLP, json!({ "principal": "lab", "frame_timeout": "50ms" })).await;
    let mut stream = server.connect().await;
    soon(stream.write_all(b"\x0bMSH|")).await.unwrap();
    closed(&mut stream).await;
    let server = lab().await;
    let mut stream = server.connect().await;
    check(&send(&mut stream, NORMAL).await, Answer::Accept, "");
    soon(server.tasks.shutdown(Duration::from_secs(5))).await;
    closed(&mut stream).await;
}

#[test]
fn bad_sections_are_misfits() {
    for section in [
        json!({ "publish": "nowhere" }),
        json!({ "publish": "tool/x" }),
        json!({ "networks": ["10.0.0.0/99"] }),
        json!({ "unknown": 1 }),
    ] {
        assert!(read(section.clone()).is_err(), "{section}");
    }
}

#[test]
fn detection_looks_at_the_first_byte() {
    assert_eq!((MLLP.sniff)(b""), net::Sniff::More);
    assert_eq!((MLLP.sniff)(b"\x0bMSH"), net::Sniff::Yes);
    assert_eq!((MLLP.sniff)(b"GET / "), net::Sniff::No);
}

fn envelope(body: &[u8]) -> Envelope {
    Envelope::new(Address::parse("out/his").unwrap(), body.to_vec(), &Clock::system(), &Dice::seeded(1))
}

#[tokio::test]
async fn the_outlet_waits_for_the_acknowledgement() {
    let server = lab().await;
    let outlet = server.outlet(&MLLP, json!({ "address": server.address.to_string() }));
    let wait = Duration::from_secs(10);
    let deliver =
        async |body: &[u8]| soon(outlet.deliver(&envelope(body), wait)).await.map_err(|fault| fault.code());
    assert_eq!(deliver(NORMAL).await, Ok(()));
    assert_eq!(deliver(CRITICAL).await, Ok(()));
    assert_eq!(server.waiting("queue/lab-results").await.len(), 2);
    let text = String::from_utf8(NORMAL.to_vec()).unwrap();
    assert_eq!(deliver(text.replace("|N|||F", "|XX|||F").as_bytes()).await, Err(Code::UpstreamFailed));
    assert_eq!(deliver(&[NORMAL, b"NTE|1||", &[b'x'; 30_000]].concat()).await, Err(Code::UpstreamRefused));
    assert_eq!(deliver(b"no hl7").await, Err(Code::DecodeFailed));
}

#[tokio::test]
async fn the_outlet_tells_bad_servers_apart() {
    let server = lab().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outlet = server.outlet(&MLLP, json!({ "address": listener.local_addr().unwrap().to_string() }));
    let other = b"MSH|^~\\&|A\rMSA|AA|OTHER\r";
    for (answer, wait, expected) in [
        (framed(other), 10_000, Code::UpstreamProtocol),
        (framed(b"MSH|^~\\&|A\r"), 10_000, Code::UpstreamProtocol),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), 10_000, Code::UpstreamProtocol),
        (Vec::new(), 200, Code::DeadlinePassed),
    ] {
        let message = envelope(NORMAL);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            stream
        };
        let (result, _stream) =
            soon(async { tokio::join!(outlet.deliver(&message, Duration::from_millis(wait)), serve) }).await;
        assert_eq!(result.unwrap_err().code(), expected);
    }
    drop(listener);
    let result = soon(outlet.deliver(&envelope(NORMAL), Duration::from_secs(10))).await;
    assert_eq!(result.unwrap_err().code(), Code::UpstreamDown);
}

// Finding: I6
#[tokio::test]
async fn a_message_that_is_sent_again_is_stored_once_and_one_that_only_shares_its_number_is_not_lost() {
    let server = lab().await;
    let mut stream = server.connect().await;
    for _ in 0..5 {
        check(&send(&mut stream, NORMAL).await, Answer::Accept, "");
    }
    assert_eq!(server.waiting("queue/lab-results").await.len(), 1);
    // Senders that never count exist; what they send is never taken for what they sent before.
    let text = String::from_utf8(NORMAL.to_vec()).unwrap();
    let other = [text.trim_end(), "\rNTE|1||another\r"].concat();
    check(&send(&mut stream, other.as_bytes()).await, Answer::Accept, "");
    assert_eq!(server.waiting("queue/lab-results").await.len(), 1, "beside the first, which is leased");
}
