//! Which bytes are a message, which are refused, and with which code.
//! What the methods mean is tested where they are served.

use super::*;

fn refused(text: &str) -> (Option<String>, i64) {
    let (id, error) = Message::parse(text.as_bytes()).unwrap_err();
    (id.map(str::to_owned), error.code)
}

#[test]
fn messages_are_told_apart() {
    let request = br#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"x":1}}"#;
    assert!(matches!(
        Message::parse(request),
        Ok(Message::Request { id: "\"a\"", params: Some("{\"x\":1}"), .. })
    ));
    let note = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(matches!(Message::parse(note), Ok(Message::Notification { params: None, .. })));
    let reply = br#"{"jsonrpc":"2.0","id":-7,"result":null}"#;
    assert!(matches!(Message::parse(reply), Ok(Message::Response { id: "-7", outcome: Ok("null") })));
}

#[test]
fn refusals_have_the_codes_of_json_rpc() {
    assert_eq!(refused("{"), (None, PARSE));
    assert_eq!(refused("\u{0}"), (None, PARSE));
    assert_eq!(refused(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), (None, INVALID_REQUEST));
    assert_eq!(refused("7"), (None, INVALID_REQUEST));
    assert_eq!(refused(r#"{"id":1,"method":"ping"}"#), (Some("1".into()), INVALID_REQUEST));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#), (None, INVALID_REQUEST));
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#), (None, INVALID_REQUEST));
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#),
        (Some("1".into()), INVALID_PARAMS)
    );
    assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1}"#), (Some("1".into()), INVALID_REQUEST));
    assert_eq!(
        refused(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#),
        (Some("1".into()), INVALID_REQUEST)
    );
}

#[test]
fn faults_carry_their_code_in_data() {
    let error = Error::from(&Fault::new(Code::BreakerOpen, "upstream x is resting"));
    assert_eq!(error.code, INTERNAL);
    assert!(error.object().contains(r#""fault":"TL0016""#), "{}", error.object());
    assert_eq!(Error::from(&Fault::new(Code::Forbidden, "no")).code, 2);
    assert_eq!(Error::read(&error.object()).data, error.data);
}

proptest::proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        if let Err((_, error)) = Message::parse(&bytes) {
            proptest::prop_assert!(matches!(error.code, PARSE | INVALID_REQUEST | INVALID_PARAMS));
        }
    }

    #[test]
    fn what_is_written_is_read(method in ".{0,40}", id in proptest::num::i64::ANY) {
        let bytes = request(&id.to_string(), &method, Some("{\"a\":1.0}"));
        match Message::parse(&bytes) {
            Ok(Message::Request { id: read, method: theirs, params }) => {
                proptest::prop_assert_eq!(read, id.to_string());
                proptest::prop_assert_eq!(theirs, method);
                proptest::prop_assert_eq!(params, Some("{\"a\":1.0}"));
            }
            other => proptest::prop_assert!(false, "{:?}", other),
        }
    }
}
