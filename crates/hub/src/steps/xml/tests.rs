//! XML both ways, hostile documents, and that what was read is written so that it reads the same.

use super::*;
use proptest::prelude::*;
use serde_json::json;

#[track_caller]
fn check(xml: &str, expected: Value) {
    assert_eq!(decode(xml.as_bytes()), Ok(expected.clone()), "{xml}");
    let written = encode(&expected).unwrap();
    assert_eq!(decode(written.as_bytes()), Ok(expected), "{written}");
}

#[track_caller]
fn refused(xml: &str, part: &str) {
    let why = decode(xml.as_bytes()).unwrap_err();
    assert!(why.contains(part), "{xml}: {why}");
}

#[test]
fn reads_elements_attributes_and_text() {
    check("<a/>", json!({"a": ""}));
    check("<a>x &amp; &#65;<![CDATA[<y>]]></a>", json!({"a": "x & A<y>"}));
    check(
        "<?xml version='1.0'?><!-- c --><o:a b='1' c='&lt;'>t<d/></o:a>",
        json!({"o:a": {"@b": "1", "@c": "<", "d": "", "#text": "t"}}),
    );
    check(
        "<l>\n <i>1</i>\n <i>2</i>\n <j k=\"v\"/>\n</l>",
        json!({"l": {"i": ["1", "2"], "j": {"@k": "v"}}}),
    );
    check("<a b='1'>  </a>", json!({"a": {"@b": "1", "#text": "  "}}));
}

#[test]
fn refuses_what_is_hostile_or_broken() {
    refused("", "no root");
    refused("<a>", "inside an element");
    refused("<a></b>", "");
    refused("<a/><b/>", "second root");
    refused("x<a/>", "outside the root");
    refused("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type");
    refused("<a>&x;</a>", "&x;");
    refused("<a b='1' b='2'/>", "");
    refused("<a>&#0;</a>", "");
    refused("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "only UTF-8");
    refused(&"<a>".repeat(200), "deeper than 128");
    assert!(decode(b"<a>\xff</a>").is_err());
}

#[test]
fn refuses_what_xml_cannot_say() {
    assert!(encode(&json!({"a": 1, "b": 2})).is_err());
    assert!(encode(&json!({"a b": 1})).is_err());
    assert!(encode(&json!({"a": [1]})).is_err());
    assert!(encode(&json!({"a": {"b": [[1]]}})).is_err());
    assert!(encode(&json!({"a": "\u{1}"})).is_err());
    assert_eq!(
        encode(&json!({"a": {"b": [1, true, null]}})).unwrap().split_once("?>").unwrap().1,
        "<a><b>1</b><b>true</b><b></b></a>"
    );
}

proptest! {
    #[test]
    fn garbage_is_answered(text in "[<>/a-b =\"'&;#!\\[\\]?-]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        drop(decode(text.as_bytes()));
        drop(decode(&bytes));
    }

    #[test]
    fn what_is_written_reads_the_same(text in "[\\PC\\n\\t\\r]{0,20}", attribute in "[\\PC\\n]{0,12}", items in prop::collection::vec("[^\\pC]{1,5}", 2..5)) {
        let value = json!({"r": {"@a": attribute, "x": {"y": text}, "z": items}});
        if let Ok(xml) = encode(&value) {
            prop_assert_eq!(decode(xml.as_bytes()), Ok(value), "{}", xml);
        }
    }
}
