//! Merging: prefixes, collisions, templates, and what is declared.
//! Filtering by role is tested at the face.

use super::*;

fn offer(tools: &[&str], resources: &[&str]) -> Offer {
    let entry =
        |key: &str, name: &str| Entry::read(&format!(r#"{{"x":1.0,"{key}":"{name}"}}"#), key).unwrap();
    Offer {
        tools: tools.iter().map(|name| entry("name", name)).collect(),
        resources: resources.iter().map(|name| entry("uri", name)).collect(),
        templates: vec![entry("uriTemplate", "t://{id}/x")],
        capabilities: r#"{"tools":{},"resources":{}}"#.into(),
        ..Offer::default()
    }
}

// Finding: M9
#[test]
fn names_get_prefixes_and_collisions_are_renamed() {
    let (one, two) =
        (offer(&["publish", "echo", "b_echo"], &["r://1"]), offer(&["echo"], &["r://1", "r://2"]));
    let parts = [
        Part { upstream: "a".into(), prefix: String::new(), offer: &one },
        Part { upstream: "b".into(), prefix: "b_".into(), offer: &two },
    ];
    let own = [Entry::read(r#"{"name":"publish"}"#, "name").unwrap()];
    let all = Catalogue::merge(&parts, &own, Some("hello"));
    let names: Vec<&str> = all.list(List::Tools).iter().map(|item| item.name.as_str()).collect();
    // What begins with the prefix of b is b's, although a comes first.
    assert_eq!(names, ["a_publish", "echo", "a_b_echo", "b_echo", "publish"]);
    assert_eq!(all.renamed.len(), 2);
    let item = all.find(Kind::Tool, "b_echo").unwrap();
    assert_eq!((item.theirs.as_str(), item.raw.as_str()), ("echo", r#"{"x":1.0,"name":"b_echo"}"#));
    assert_eq!(item.address.to_string(), "tool/b/echo");
    assert_eq!(all.find(Kind::Tool, "publish").unwrap().address.to_string(), "tool/publish");
    assert_eq!(all.reader("r://1", |_| true).as_deref(), Some("a"));
    assert_eq!(all.reader("r://2", |_| true).as_deref(), Some("b"));
    assert_eq!(all.reader("t://9/x", |_| true).as_deref(), Some("a"));
    assert_eq!(all.reader("t://9/x", |address| !address.name().starts_with("a/")).as_deref(), Some("b"));
    assert_eq!(all.reader("t://9/x", |_| false), None, "no template is tried for who may read nothing");
    assert_eq!(all.reader(&format!("r://{}", "x".repeat(5_000)), |_| true), None);
    assert_eq!(all.reader("z://", |_| true), None);
    assert!(all.capabilities.contains("\"resources\"") && !all.capabilities.contains("prompts"));
}

// Finding: M9
#[test]
fn a_name_is_free_or_gets_a_number() {
    let (one, two) = (offer(&["hub_x", "settle"], &[]), offer(&["x"], &[]));
    let parts = [
        Part { upstream: "git".into(), prefix: "git_".into(), offer: &one },
        Part { upstream: "hub".into(), prefix: "git_hub_".into(), offer: &two },
        Part { upstream: "a".into(), prefix: String::new(), offer: &one },
    ];
    let all = Catalogue::merge(&parts, &[], None);
    let names: Vec<&str> = all.list(List::Tools).iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["git_hub_x_2", "git_settle", "git_hub_x", "hub_x", "a_settle"]);
}
