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

/// Where a URI leads for somebody who may read of these upstreams.
fn leads(all: &Catalogue, uri: &str, mine: &[&str]) -> String {
    let may = |address: &Address| mine.iter().any(|name| address.name().starts_with(&format!("{name}/")));
    match all.resolve(uri, may) {
        Ok(found) => format!("{} {}", found.upstream, found.theirs),
        Err(Lost::Unknown) => "unknown".into(),
        Err(Lost::Forbidden(address)) => format!("forbidden {address}"),
        Err(Lost::Several(uris)) => uris.join(" or "),
    }
}

// Finding: M7
#[test]
fn a_resource_is_its_owners() {
    let one = offer(&[], &["r://1", "r://only", "ui://app", "trunkline://b/r://1"]);
    let two = offer(&[], &["r://1", "r://2", "ui://app"]);
    let part = |upstream: &str, offer| Part { upstream: upstream.into(), prefix: String::new(), offer };
    let all = Catalogue::merge(&[part("a", &one), part("b", &two)], &[], None);
    let listed: Vec<&str> = all.list(List::Resources).iter().map(|item| item.name.as_str()).collect();
    let of_a =
        ["trunkline://a/r://1", "r://only", "ui://trunkline/a/app", "trunkline://a/trunkline://b/r://1"];
    let of_b = ["trunkline://b/r://1", "r://2", "ui://trunkline/b/app"];
    assert_eq!(listed, [&of_a[..], &of_b[..]].concat());
    assert!(all.list(List::Resources)[0].raw.contains(r#""uri":"trunkline://a/r://1""#));
    let templates: Vec<&str> = all.list(List::Templates).iter().map(|item| item.name.as_str()).collect();
    assert_eq!(templates, ["trunkline://a/t://{id}/x", "trunkline://b/t://{id}/x"]);
    for (uri, mine, expected) in [
        ("r://only", &["a", "b"][..], "a r://only"),
        ("r://only", &["b"], "forbidden resource/a/r://only"),
        ("r://1", &["a", "b"], "trunkline://a/r://1 or trunkline://b/r://1"),
        ("r://1", &["b"], "b r://1"),
        ("r://1", &[], "forbidden resource/a/r://1"),
        ("trunkline://b/r://1", &["a", "b"], "b r://1"),
        ("trunkline://b/r://1", &["a"], "forbidden resource/b/r://1"),
        ("trunkline://a/trunkline://b/r://1", &["a", "b"], "a trunkline://b/r://1"),
        ("ui://trunkline/b/app", &["a", "b"], "b ui://app"),
        ("trunkline://b/z://unlisted", &["a", "b"], "b z://unlisted"),
        ("trunkline://nobody/r://1", &["a", "b"], "unknown"),
        ("t://9/x", &["a", "b"], "trunkline://a/t://9/x or trunkline://b/t://9/x"),
        ("t://9/x", &["b"], "b t://9/x"),
        ("t://9/x", &[], "unknown"),
        ("z://", &["a", "b"], "unknown"),
    ] {
        assert_eq!(leads(&all, uri, mine), expected, "{uri} for {mine:?}");
    }
    assert_eq!(leads(&all, &format!("r://{}", "x".repeat(5_000)), &["a", "b"]), "unknown");
    assert_eq!((all.conflicts("a"), all.conflicts("b")), ((2, 0), (2, 0)));
    // Alone, an upstream's URIs are as they are, and it is asked for all others.
    let alone = Catalogue::merge(&[part("b", &two)], &[], None);
    assert_eq!(alone.list(List::Resources)[0].name, "r://1");
    assert_eq!(alone.list(List::Templates)[0].name, "t://{id}/x");
    assert_eq!(leads(&alone, "z://", &["b"]), "b z://");
    assert_eq!(leads(&alone, "z://", &[]), "unknown");
    assert_eq!(alone.owners.outward("b", "z://"), None);
}
