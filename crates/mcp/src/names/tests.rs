//! Names that addresses may not hold, and templates.
//! Prefixes are tested with the catalogue.

use super::*;

#[test]
fn any_name_becomes_an_address() {
    let text = |upstream: &str, name: &str| address(Kind::Tool, upstream, name).unwrap().to_string();
    assert_eq!(text("git", "create_issue"), "tool/git/create_issue");
    assert_eq!(text("", "publish"), "tool/publish");
    assert_eq!(text("x", "a+b#c%\n"), "tool/x/a%2Bb%23c%25%0A");
    assert!(text("x", &"a/".repeat(500)).len() < 1024);
    assert!(text("x", &"ü".repeat(2000)).len() < 1024);
    assert_ne!(text("x", &"a".repeat(2000)), text("x", &"a".repeat(2001)));
}

#[test]
fn templates_match_what_they_make() {
    assert!(matches_template("test://template/{id}/data", "test://template/7/data"));
    assert!(!matches_template("test://template/{id}/data", "test://template//data"));
    assert!(!matches_template("test://template/{id}/data", "test://template/7/8/data"));
    assert!(matches_template("file:///{+path}", "file:///a/b/c"));
    assert!(matches_template("a{?q}", "a?q=1"));
    assert!(!matches_template("test://x", "test://y"));
}
