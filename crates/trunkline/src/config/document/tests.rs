//! Values survive, places are right, and what is no YAML says where.

use super::*;

const TEXT: &str = "listen: 127.0.0.1:7400\nroutes:\n  - name: a\n    from: topic/x\n    to: [queue/b]\nlimits: {message_bytes: 5}\n";

fn document() -> Document {
    Document::parse(Path::new("t.yaml"), TEXT).unwrap()
}

fn path(text: &str) -> Misfit {
    Misfit { path: text.split('.').map(str::to_owned).collect(), what: "w".into(), hint: None }
}

#[test]
fn values_survive() {
    let value = document().value();
    assert_eq!(value["listen"], "127.0.0.1:7400");
    assert_eq!(value["routes"][0]["to"][0], "queue/b");
    assert_eq!(value["limits"]["message_bytes"], 5);
}

#[test]
fn places_are_right() {
    let check = |field: &str, line, column| {
        let problem = document().locate(&path(field));
        assert_eq!((problem.line, problem.column), (line, column), "{field}");
    };
    check("listen", 1, 9);
    check("routes.0.from", 4, 11);
    check("routes.0.to.0", 5, 10);
    check("limits.message_bytes", 6, 25);
    let unknown = Misfit { what: "unknown field `from`".into(), ..path("routes.0.from") };
    let key = document().locate(&unknown);
    assert_eq!((key.line, key.column), (4, 5));
    assert!(
        key.to_string().contains(
            "t.yaml:4:5: routes.0.from: unknown field `from`\n     4 |     from: topic/x\n       |     ^"
        ),
        "{key}"
    );
}

#[test]
fn scalars_can_be_overridden() {
    let mut document = document();
    assert!(document.set(&["limits".into(), "message_bytes".into()], 7.into(), "V"));
    assert!(document.set(&["log".into(), "level".into()], "debug".into(), "V"));
    assert!(!document.set(&["listen".into(), "x".into()], 1.into(), "V"));
    assert_eq!(document.value()["limits"]["message_bytes"], 7);
    assert_eq!(document.value()["log"]["level"], "debug");
}

#[test]
fn what_is_no_yaml_says_where() {
    let problem = Document::parse(Path::new("t.yaml"), "a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(problem.line >= 2, "{problem}");
    assert!(problem.what.starts_with("not valid YAML"), "{problem}");
    let empty = Document::parse(Path::new("t.yaml"), "# nothing\n\n").unwrap();
    assert_eq!(empty.value(), serde_json::json!({}));
}

#[test]
fn what_is_taken_out_moves_no_path() {
    let mut document = Document::parse(Path::new("t.yaml"), "routes: [a, b, {name: c}]\n").unwrap();
    assert_eq!(document.mend(&path("routes.0"), false), Mended::Without(vec![]));
    assert_eq!(document.locate(&path("routes.1.name")).field, "routes.2.name");
    assert_eq!(document.mend(&path("routes.1"), false), Mended::Without(vec!["c".into()]));
    assert_eq!(document.value(), serde_json::json!({ "routes": ["b"] }));
    let misspelled = Misfit {
        what: "unknown section \"routes\"".into(),
        hint: Some("did you mean \"roots\"?".into()),
        ..path("routes")
    };
    document.mend(&misspelled, false);
    assert_eq!(document.value(), serde_json::json!({ "roots": ["b"] }));
    assert_eq!(document.mend(&Misfit::new("about everything"), false), Mended::No);
}
