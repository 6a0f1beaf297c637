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

#[test]
fn names_get_prefixes_and_collisions_are_renamed() {
    let (one, two) = (offer(&["echo", "b_echo"], &["r://1"]), offer(&["echo"], &["r://1", "r://2"]));
    let parts = [
        Part { upstream: "a".into(), prefix: String::new(), offer: &one },
        Part { upstream: "b".into(), prefix: "b_".into(), offer: &two },
    ];
    let own = [Entry::read(r#"{"name":"echo"}"#, "name").unwrap()];
    let all = Catalogue::merge(&parts, &own, Some("hello"));
    let names: Vec<&str> = all.list(List::Tools).iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["echo", "b_echo", "b_echo_2", "trunkline_echo"]);
    assert_eq!(all.renamed.len(), 2);
    let item = all.find(Kind::Tool, "b_echo_2").unwrap();
    assert_eq!((item.theirs.as_str(), item.raw.as_str()), ("echo", r#"{"x":1.0,"name":"b_echo_2"}"#));
    assert_eq!(item.address.to_string(), "tool/b/echo");
    assert_eq!(all.reader("r://1", |_| true).as_deref(), Some("a"));
    assert_eq!(all.reader("r://2", |_| true).as_deref(), Some("b"));
    assert_eq!(all.reader("t://9/x", |_| true).as_deref(), Some("a"));
    assert_eq!(all.reader("t://9/x", |address| !address.name().starts_with("a/")).as_deref(), Some("b"));
    assert_eq!(all.reader("t://9/x", |_| false), None, "no template is tried for who may read nothing");
    assert_eq!(all.reader(&format!("r://{}", "x".repeat(5_000)), |_| true), None);
    assert_eq!(all.reader("z://", |_| true), None);
    assert!(all.capabilities.contains("\"resources\"") && !all.capabilities.contains("prompts"));
}
