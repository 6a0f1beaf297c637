//! HL7 both ways: exact round trips, precise refusals, acknowledgements.

use super::*;
use message::{Code, Fault, Time};
use proptest::prelude::*;
use serde_json::{Value, json};

const NORMAL: &[u8] = include_bytes!("../../../../../examples/oru-normal.hl7");
const CRITICAL: &[u8] = include_bytes!("../../../../../examples/oru-critical.hl7");

fn parse(text: &str) -> Message {
    Message::parse(text.as_bytes()).unwrap()
}

#[track_caller]
fn refused(text: &[u8], segment: usize, part: &str) {
    let malformed = Message::parse(text).unwrap_err();
    assert!(malformed.segment == segment && malformed.what.contains(part), "{malformed}");
}

#[test]
fn reads_and_writes_the_examples_exactly() {
    for example in [NORMAL, CRITICAL] {
        let value = Message::parse(example).unwrap().to_json();
        assert_eq!(String::from_utf8(encode(&value).unwrap()).unwrap(), String::from_utf8_lossy(example));
        // Its JSON text loses nothing either.
        let again: Value = serde_json::from_str(&value.to_string()).unwrap();
        assert_eq!(encode(&again).unwrap(), example);
    }
}

#[test]
fn shows_segments_fields_and_parts() {
    let message =
        parse("MSH|^~\\&|A\rPID|1||7^^^X&Y^~8||a\\T\\b||\"\"|\rOBX|1\rNTE|\rOBX|2||c^\\H\\d|\\X41\\\r");
    assert_eq!(
        message.to_json(),
        json!({
            "MSH": {"#": 0, "1": "|", "2": "^~\\&", "3": "A"},
            "PID": [{"#": 1, "1": "1", "3": [{"1": "7", "4": {"1": "X", "2": "Y"}, "5": ""}, "8"],
                     "5": "a&b", "7": "\"\"", "8": ""}],
            "OBX": [{"#": 2, "1": "1"}, {"#": 4, "1": "2", "3": {"1": "c", "2": "\\H\\d"}, "4": {"#raw": "\\X41\\"}}],
            "NTE": [{"#": 3, "1": ""}],
        })
    );
}

#[test]
fn picks_by_path() {
    let message = Message::parse(CRITICAL).unwrap();
    for (path, expected) in [
        ("MSH-1", Some("|")),
        ("MSH-2", Some("^~\\&")),
        ("MSH-9.2", Some("R01")),
        ("MSH-3", Some("COBAS")),
        ("PID-3[2].1", Some("D843002117")),
        ("PID-5.1", Some("Okafor")),
        ("OBX[2]-5", Some("38")),
        ("OBX[4]-8", Some("AA")),
        ("NTE-3", Some("Phoned to ZNA 09:14\nread back by Dr. Lindner")),
        ("OBX[9]-5", None),
        ("PID-99", None),
        ("PID-0", None),
        ("PID", None),
        ("PID-", None),
        ("", None),
        ("PID-3[0]", None),
    ] {
        assert_eq!(message.get(path).as_deref(), expected, "{path}");
    }
}

#[test]
fn reads_loose_line_ends_other_delimiters_and_charsets() {
    for text in ["MSH|^~\\&|A\r\nPID|1\r\n", "MSH|^~\\&|A\nPID|1", "\u{feff}MSH|^~\\&|A\r\rPID|1\r"] {
        assert_eq!(encode(&parse(text).to_json()).unwrap(), b"MSH|^~\\&|A\rPID|1\r");
    }
    let odd = parse("MSH*:!$%*A:B*\rPID*1:2%3!4*$F$$S$\r");
    assert_eq!(odd.get("PID-1.2.2").as_deref(), Some("3"));
    assert_eq!(odd.get("PID-2").as_deref(), Some("*:"));
    assert_eq!(encode(&odd.to_json()).unwrap(), b"MSH*:!$%*A:B*\rPID*1:2%3!4*$F$$S$\r");
    let latin = b"MSH|^~\\&|A|||||||||||||||8859/1\rPID|J\xfcrgen\r";
    let message = Message::parse(latin).unwrap();
    assert_eq!(message.get("PID-1").as_deref(), Some("Jürgen"));
    assert_eq!(encode(&message.to_json()).unwrap(), latin);
    parse("MSH|^~\\&#|A\r");
}

#[test]
fn says_what_is_malformed_and_where() {
    refused(b"", 0, "no segment");
    refused(b"\r\n\r\n", 0, "no segment");
    refused(b"PID|1\r", 1, "not MSH");
    refused(b"MSH", 1, "ends before its field separator");
    refused(b"MSH|^~\r", 1, "2 of the 4");
    refused(b"MSH|^~\\|A\r", 1, "3 of the 4");
    refused(b"MSH|^~\\^|A\r", 1, "declared twice");
    refused(b"MSH|^~\\&ab|A\r", 1, "more than 5");
    refused(b"MSHx^~\\&xA\r", 1, "cannot be a delimiter");
    refused(b"MSH|^~\\&|A\rPID|1\rfoo bar\r", 3, "no segment id");
    refused(b"MSH|^~\\&|A\rPIDX|1\r", 2, "no field separator");
    refused(b"MSH|^~\\&|A\rMSH|^~\\&|B\r", 2, "second MSH");
    refused(b"MSH|^~\\&|\xff\r", 0, "not UTF-8");
    refused("MSH|^~\\&|A\rP".as_bytes(), 2, "no segment id");
    refused("MSH|^~\\&|A\rÄÖÜ|1".as_bytes(), 2, "no segment id");
    let long: String = "MSH|^~\\&|A\r".to_owned() + &"NTE|1\r".repeat(SEGMENTS_MAX);
    refused(long.as_bytes(), 0, "more than 10000");
}

#[test]
fn writes_messages_made_by_hand_and_refuses_what_cannot_be_said() {
    let made = json!({"MSH": {"3": "HUB", "9": {"1": "ORU", "2": "R01"}}, "PID": [{"3": 7, "5": {"2": "a|b"}}], "NTE": {"3": null}});
    assert_eq!(encode(&made).unwrap(), b"MSH|^~\\&|HUB||||||ORU^R01\rPID|||7||^a\\F\\b\rNTE|||\r");
    for (value, part) in [
        (json!([]), "object"),
        (json!({}), "MSH"),
        (json!({"MSH": {}, "pid": []}), "segment id"),
        (json!({"MSH": {"x": "1"}}), "no number"),
        (json!({"MSH": {"4000": "1"}}), "no number"),
        (json!({"MSH": {"3": {"1": {"1": {"1": "x"}}}}}), "deeper"),
        (json!({"MSH": {"3": [["x"]]}}), "deeper"),
        (json!({"MSH": {"3": {"#raw": "a|b"}}}), "delimiter"),
        (json!({"MSH": {"2": "^~"}}), "2 of the 4"),
        (json!({"MSH": {"18": "8859/1", "3": "Ω"}}), "8859/1"),
    ] {
        let why = encode(&value).unwrap_err();
        assert!(why.contains(part), "{value}: {why}");
    }
}

#[test]
fn acknowledges() {
    let now = Time::from_millis(1_700_000_000_123);
    let original = Message::parse(NORMAL).unwrap();
    let good = acknowledge(Some(&original), Ok(""), "ack-1", now);
    assert_eq!(
        String::from_utf8(good.clone()).unwrap(),
        "MSH|^~\\&|TRUNKLINE|STADTKLINIK|COBAS^1.2.276.0.76^ISO|ZENTRALLABOR|20231114221320.123+0000||ACK^R01^ACK|ack-1|P|2.5.1||||||UNICODE UTF-8\rMSA|AA|LAB20261121000417\r"
    );
    let read = read_acknowledgement(&Message::parse(&good).unwrap()).unwrap();
    assert_eq!(
        (read.answer, read.control_id.as_str(), read.text.as_str()),
        (Answer::Accept, "LAB20261121000417", "")
    );

    let fault = Fault::new(Code::SchemaViolation, "a|b is\nwrong");
    let bad = acknowledge(Some(&original), Err(&fault), "ack-2", now);
    let bad = Message::parse(&bad).unwrap();
    assert_eq!(bad.get("MSA-3").as_deref(), Some("TL0006 schema violation: a|b is\nwrong"));
    assert_eq!(bad.get("ERR-5.1").as_deref(), Some("TL0006"));
    assert_eq!(bad.get("ERR-8").as_deref(), Some("a|b is\nwrong"));
    assert_eq!(read_acknowledgement(&bad).unwrap().answer, Answer::Error);

    let refused = acknowledge(None, Err(&Fault::new(Code::TooLarge, "x")), "ack-3", now);
    let refused = Message::parse(&refused).unwrap();
    assert_eq!(read_acknowledgement(&refused).unwrap().answer, Answer::Reject);
    assert!(read_acknowledgement(&original).is_err());

    let latin = Message::parse(b"MSH*^~\\&*A***************8859/1\r").unwrap();
    let answer = acknowledge(Some(&latin), Err(&Fault::new(Code::Malformed, "Ω")), "1", now);
    assert!(answer.contains(&b'?') && Message::parse(&answer).is_ok());
}

#[test]
fn turns_stamps_into_rfc_3339() {
    for (stamp, expected) in [
        ("20261121084512+0100", Some("2026-11-21T08:45:12+01:00")),
        ("20261121084512.25", Some("2026-11-21T08:45:12.25")),
        ("202611210845", Some("2026-11-21T08:45:00")),
        ("20261121", Some("2026-11-21")),
        ("2026", Some("2026")),
        ("20261321", None),
        ("2026112108", None),
        ("yesterday", None),
        ("", None),
        ("20261121.5", None),
        ("202611210845+1", None),
        ("2026112108é", None),
    ] {
        assert_eq!(to_rfc3339(stamp).as_deref(), expected, "{stamp}");
    }
}

proptest! {
    #[test]
    fn garbage_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..120), text in "MSH[|^~\\\\&A-Z0-9\\r\\n.]{0,80}") {
        drop(Message::parse(&bytes));
        if let Ok(message) = Message::parse(text.as_bytes()) {
            message.to_json();
            acknowledge(Some(&message), Ok("a|b"), "x", Time::from_millis(0));
        }
    }

    #[test]
    fn every_message_comes_back_exactly(segments in prop::collection::vec("[A-Z][A-Z0-9]{2}(\\|[a-zé0-9^~&\\\\.HXZ| \"#-]{0,24})?", 0..8)) {
        let mut text = "MSH|^~\\&|S|T".to_owned() + "\r";
        for segment in segments.iter().filter(|segment| !segment.starts_with("MSH")) {
            text.push_str(segment);
            text.push('\r');
        }
        let value = Message::parse(text.as_bytes()).unwrap().to_json();
        prop_assert_eq!(String::from_utf8(encode(&value).unwrap()).unwrap(), text);
    }

    #[test]
    fn every_text_passes_as_a_field(texts in prop::collection::vec("[\\PC\\n\\r|^~&\\\\]{1,12}", 1..4)) {
        let list: Vec<Value> = texts.iter().map(|text| json!({"3": text})).collect();
        let bytes = encode(&json!({"MSH": {}, "NTE": list})).unwrap();
        let message = Message::parse(&bytes).unwrap();
        for (place, text) in texts.iter().enumerate() {
            let path = format!("NTE[{}]-3", place + 1);
            let found = message.get(&path);
            prop_assert_eq!(found.as_deref(), Some(text.as_str()));
        }
    }
}
