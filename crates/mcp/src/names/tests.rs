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

fn makes(template: &str, uri: &str) -> bool {
    Template::read(template).is_some_and(|template| template.makes(uri))
}

#[test]
fn templates_match_what_they_make() {
    for (template, uri, expected) in [
        ("test://template/{id}/data", "test://template/7/data", true),
        ("test://template/{id}/data", "test://template//data", false),
        ("test://template/{id}/data", "test://template/7/8/data", false),
        ("file:///{+path}", "file:///a/b/c", true),
        ("file:///{+path}", "file:///", true),
        ("file:///{+path}/{name}", "file:///a/b/c", true),
        ("file:///{+path}/{name}", "file:///a/b/", false),
        ("{a}/{b}.{+rest}", "x/y.z/w", true),
        ("{x}a", "baca", true),
        ("{x}{y}", "ab", true),
        ("{x}{y}", "a", false),
        ("{x}-{y}", "-a-b", true),
        ("{x}-{y}", "a/b-c", false),
        ("{+a}-{+b}-{+c}", "1-2-3", true),
        ("{+a}-{+b}-{+c}", "1-2", false),
        ("{+a}ab{x}", "abab", true),
        ("{+a}ab{x}", "ab/ab", false),
        ("{+a}ab{x}", "abaabc", true),
        ("ü{x}ü", "üöü", true),
        ("a{?q}", "a?q=1", true),
        ("test://x", "test://y", false),
        ("test://{x", "test://{x", false),
        ("", "", true),
        ("{x}", "", false),
    ] {
        assert_eq!(makes(template, uri), expected, "{template} {uri}");
    }
}

/// A matcher that tries everything, for comparison with small inputs.
fn makes_slowly(parts: &[(bool, Option<&str>)], uri: &str) -> bool {
    let Some(((level, text), rest)) = parts.split_first() else { return uri.is_empty() };
    if let Some(text) = text {
        return uri.strip_prefix(text).is_some_and(|uri| makes_slowly(rest, uri));
    }
    let least = usize::from(*level);
    (least..=uri.len()).any(|at| {
        let (taken, left) = uri.split_at(at);
        (!level || !taken.contains('/')) && makes_slowly(rest, left)
    })
}

proptest::proptest! {
    #[test]
    fn templates_agree_with_a_matcher_that_tries_everything(
        kinds in proptest::collection::vec(0..6_usize, 0..6),
        uri in "[ab/]{0,9}",
    ) {
        // At most one open expression: between two of them `{x}` is taken for one as well.
        let pieces = [("{x}", true, None), ("{+x}", false, None), ("a", false, Some("a")), ("b", false, Some("b")), ("/", false, Some("/")), ("ab", false, Some("ab"))];
        let mut open = false;
        let chosen: Vec<_> = kinds.iter().map(|kind| pieces[*kind]).filter(|piece| piece.0 != "{+x}" || !std::mem::replace(&mut open, true)).collect();
        let template: String = chosen.iter().map(|piece| piece.0).collect();
        let parts: Vec<_> = chosen.iter().map(|piece| (piece.1, piece.2)).collect();
        proptest::prop_assert_eq!(makes(&template, &uri), makes_slowly(&parts, &uri), "{} {}", template, uri);
    }
}

// Finding: M3
#[test]
fn a_template_costs_what_its_uri_is_long() {
    // Were anything tried twice, these would run for years.
    let template = format!("bomb://{}END", "{+a}-".repeat(800));
    assert!(!makes(&template, &format!("bomb://{}X", "-".repeat(4_000))));
    assert!(makes(&template, &format!("bomb://{}END", "-".repeat(4_000))));
    let levels = format!("{}END", "{a}-".repeat(800));
    assert!(!makes(&levels, &format!("{}X", "--".repeat(2_000))));
}
