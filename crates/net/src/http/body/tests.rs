//! Tests of the body type away from any connection.
//! Bodies on the wire are tested beside the server and the client.

use futures_util::stream;

use super::*;

fn pieces(parts: &[&'static str]) -> Body {
    Body::stream(stream::iter(
        parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect::<Vec<_>>(),
    ))
}

#[tokio::test]
async fn collects_within_the_limit() {
    assert_eq!(Body::empty().collect(0).await.unwrap(), "");
    assert_eq!(Body::full("abc").collect(3).await.unwrap(), "abc");
    assert_eq!(pieces(&[]).collect(3).await.unwrap(), "");
    assert_eq!(pieces(&["ab"]).collect(3).await.unwrap(), "ab");
    assert_eq!(pieces(&["ab", "", "cd", "e"]).collect(5).await.unwrap(), "abcde");
    for body in [Body::full("abcd"), pieces(&["abcd"]), pieces(&["ab", "cd"]), pieces(&["a", "b", "c", "d"])]
    {
        let fault = body.collect(3).await.unwrap_err();
        assert_eq!((fault.code(), fault.detail()), (Code::TooLarge, "the body is larger than 3 bytes"));
    }
}

#[tokio::test]
async fn a_channel_is_bounded_and_tells_when_the_reader_is_gone() {
    let (sender, mut body) = Body::channel(1);
    assert_eq!(sender.try_send("a"), Some(true));
    assert_eq!(sender.try_send("b"), Some(false));
    assert_eq!(body.next().await.unwrap().unwrap(), "a");
    assert!(sender.fail(Fault::new(Code::UpstreamFailed, "broke")).await);
    assert_eq!(body.next().await.unwrap().unwrap_err().code(), Code::UpstreamFailed);
    drop(body);
    sender.closed().await;
    assert_eq!(sender.try_send("c"), None);
    assert!(!sender.send("c").await);
}

#[test]
fn is_send_and_sync_and_knows_its_length() {
    fn shared<T: Send + Sync>(_: &T) {}
    let body = Body::full("abc");
    shared(&body);
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
    assert!(http_body::Body::is_end_stream(&Body::full("")));
    assert_eq!(Body::full("abc").at_hand().unwrap(), "abc");
    assert!(pieces(&["a"]).at_hand().is_err());
}
