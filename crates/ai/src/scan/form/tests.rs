//! Forms as clients write them are read however they are cut; forms that could be read in two ways are refused.

use super::*;
use http::{HeaderMap, HeaderValue, header};

const USUAL: &str = "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
     RI\r\n-FF\r\n--b\r\n\r\n--b0\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
     --b0\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\n\r\n--b0--\r\n";

fn read(text: &[u8], piece: usize) -> Result<Head, Fault> {
    let mut form = Form::new(b"b0");
    for bytes in text.chunks(piece) {
        form.feed(bytes)?;
    }
    form.end()?;
    Ok(form.head())
}

#[test]
fn the_model_is_found_however_the_bytes_are_cut() {
    for piece in 1..=USUAL.len() {
        let head = read(USUAL.as_bytes(), piece).unwrap();
        assert_eq!(head.model.as_deref(), Some("whisper-1"), "in pieces of {piece}");
        assert_eq!(USUAL.get(head.span).unwrap(), "whisper-1", "in pieces of {piece}");
        assert!(head.form);
    }
}

#[test]
fn the_model_is_known_before_the_end() {
    let mut form = Form::new(b"b0");
    let end = USUAL.find("Content-Disposition: form-data; name=\"language\"").unwrap();
    form.feed(&USUAL.as_bytes()[..end]).unwrap();
    assert!(form.has_model());
}

/// A form with this part in front of the rest.
fn with(part: &str) -> String {
    format!("--b0\r\n{part}\r\n{USUAL}")
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let field = |name: &str| format!("Content-Disposition: form-data; {name}\r\n\r\nother");
    let cases = [
        with(&field("name=\"model\"")),
        with(&field("name=model")),
        with(&field("name=\"Model\"")),
        with(&field("name=\"%6dodel\"")),
        with(&field("name=\"mod\\el\"")),
        with(&field("name=\"model[]\"")),
        with(&field("name=\" model \"")),
        with(&field("name=\"_charset_\"")),
        with(&field("name*=utf-8''model")),
        with(&field("name=\"x\"; name=\"model\"")),
        with(&field("name=\"x\"; Name=\"model\"")),
        with(&field("filename=\"a\\\"; name=\"model\"")),
        with(&field("name=\"x\"; odd name=\"model\"")),
        with("Content-Disposition: form-data;\r\n name=\"model\"\r\n\r\nother"),
        with(
            "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother",
        ),
        with("Content-Disposition: form-data; name=\"x\"\nX: y\r\n\r\nother"),
        with(
            "Content-Disposition: form-data; name=\"x\"\r\n\r\na\n--b0\nContent-Disposition: form-data; name=\"model\"\n\nother",
        ),
        with("Content-Disposition: form-data; name=\"x\"\r\n\r\na--b0 b"),
        with("Content-Disposition: attachment; name=\"x\"\r\n\r\na"),
        with("Content-Type: text/plain\r\n\r\na"),
        format!("preamble\r\n{USUAL}"),
        format!("{USUAL}epilogue"),
        USUAL.replace("--b0--\r\n", ""),
        USUAL.replace("--b0\r\nc", "--b0 \r\nc"),
        USUAL.replace("name=\"model\"\r\n", "name=\"model\"; filename=\"x\"\r\n"),
        USUAL.replace("name=\"model\"\r\n", "name=\"model\"\r\nContent-Transfer-Encoding: base64\r\n"),
        USUAL.replace("name=\"model\"\r\n", "name=\"model\"\r\nContent-Type: text/plain; charset=utf-7\r\n"),
        USUAL.replace("whisper-1", &"w".repeat(2_000)),
    ];
    for text in cases {
        for piece in [1, 3, text.len()] {
            let fault = read(text.as_bytes(), piece).expect_err(&text);
            assert_eq!(fault.code(), Code::BadRequest, "{text}");
        }
    }
}

#[test]
fn what_clients_write_is_read() {
    let field = |name: &str| format!("Content-Disposition: form-data; {name}\r\n\r\nother");
    for part in [
        field("name=\"timestamp_granularities[]\""),
        field("name=\"file\"; filename=\"C:\\\\x\\a.wav\""),
        field("name=\"file\"; filename=\"\u{e4}.wav\"; filename*=utf-8''%C3%A4.wav"),
        field("name=plain"),
    ] {
        assert_eq!(read(with(&part).as_bytes(), 5).unwrap().model.as_deref(), Some("whisper-1"), "{part}");
    }
    let typed =
        USUAL.replace("name=\"model\"\r\n", "name=\"model\"\r\nContent-Type: text/plain; charset=UTF-8\r\n");
    assert_eq!(read(typed.as_bytes(), 7).unwrap().model.as_deref(), Some("whisper-1"));
}

#[test]
fn a_boundary_is_taken_from_the_head_when_it_is_clear() {
    let check = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
        boundary(&headers).map(|found| found.map(|found| String::from_utf8(found).unwrap()))
    };
    for (value, found) in [
        ("multipart/form-data; boundary=b0", Some("b0")),
        ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b?\"", Some("a b?")),
        ("application/json; boundary=b0", None),
        ("multipart/form-data boundary=b0", None),
    ] {
        assert_eq!(check(value).unwrap().as_deref(), found, "{value}");
    }
    for value in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary*=utf-8''b",
        "multipart/form-data; boundary=\"a",
        "multipart/form-data; boundary=\"a \"",
    ] {
        assert!(check(value).is_err(), "{value}");
    }
}
