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
        "<?xml version='1.0'?><!-- c --><o:a xmlns:o='urn:o' b='1' c='&lt;'>t<d/></o:a>",
        json!({"o:a": {"@xmlns:o": "urn:o", "@b": "1", "@c": "<", "#mixed": ["t", {"d": ""}]}}),
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
    refused("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "declarations");
    refused("<a>&x;</a>", "&x;");
    refused("<a b='1' b='2'/>", "");
    refused("<a>&#0;</a>", "");
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

// Finding: I14
#[test]
fn what_is_not_well_formed_is_refused() {
    for (xml, part) in [
        ("<p:a/>", "not bound"),
        ("<a p:b='1'/>", "not bound"),
        ("<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", "of one namespace"),
        ("<a xmlns:p=''/>", "cannot mean"),
        ("<a:b:c xmlns:a='u'/>", "not a name"),
        ("<a>\u{1}</a>", "U+0001"),
        ("<a>\u{fffe}</a>", "U+FFFE"),
        ("<a b='\u{1}'/>", "U+0001"),
        ("<a b='&#1;'/>", ""),
        ("<a b='<'/>", "in an attribute"),
        ("<a>]]></a>", "]]>"),
        ("<a><!-- -- --></a>", ""),
        (" <?xml version='1.0'?><a/>", "does not begin"),
        ("<?xml version='2.0'?><a/>", "version"),
        ("<?xml encoding='UTF-8'?><a/>", ""),
        ("<a><?xml version='1.0'?></a>", "does not begin"),
        ("<a><?XML x?></a>", "instruction"),
        ("<a/><!DOCTYPE a>", "before the root"),
        ("<!DOCTYPE a><!DOCTYPE a><a/>", "before the root"),
    ] {
        refused(xml, part);
    }
    check("<a\u{b7}/>", json!({"a\u{b7}": ""}));
    check(
        "<a xmlns:p='u'><p:b xml:lang='de'/></a>",
        json!({"a": {"@xmlns:p": "u", "p:b": {"@xml:lang": "de"}}}),
    );
    check("<!DOCTYPE cXML SYSTEM 'http://x.y/cXML.dtd'><cXML/>", json!({"cXML": ""}));
    assert!(encode(&json!({"p:a": 1})).unwrap_err().contains("not bound"));
}

// Finding: I14
#[test]
fn encodings_are_read_by_mark_and_by_declaration() {
    let read = |bytes: &[u8]| decode(bytes).map(|value| value["a"].clone());
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>M\xfcller</a>";
    assert_eq!(read(latin), Ok(json!("Müller")));
    let euro = b"<?xml version=\"1.0\" encoding=\"windows-1252\"?><a>\x80</a>";
    assert_eq!(read(euro), Ok(json!("€")));
    let text = "<?xml version='1.0' encoding='UTF-16'?><a>日本</a>";
    let little: Vec<u8> =
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(read(&little), Ok(json!("日本")));
    assert_eq!(read(&big), Ok(json!("日本")));
    for wrong in [
        &b"<?xml version='1.0' encoding='klingon'?><a/>"[..],
        b"<?xml version='1.0' encoding='UTF-16'?><a/>",
        b"<?xml version='1.0' encoding='Shift_JIS'?><a>\x80\xff</a>",
        b"<a>\xfc</a>",
    ] {
        assert!(read(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
    }
}

// Finding: I14
#[test]
fn mixed_content_keeps_its_order() {
    check(
        "<p>one <b>two</b> three <b>four</b><i/></p>",
        json!({"p": {"#mixed": ["one ", {"b": "two"}, " three ", {"b": "four"}, {"i": ""}]}}),
    );
    check("<p>\n <b>1</b>\n <b>2</b> \n</p>", json!({"p": {"b": ["1", "2"]}}));
    assert!(encode(&json!({"p": {"#mixed": [{"a": 1, "b": 2}]}})).is_err());
    assert!(encode(&json!({"p": {"#mixed": "x"}})).is_err());
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
