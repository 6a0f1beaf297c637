//! Secrets in clear are neither shown nor quoted, wherever in a file they were put.

use super::*;
use crate::config::{parse, take_apart};

const FULL: &str = r#"# a comment with CANARY0
access:
  keys:
    - {name: good, key: "env:GOOD", roles: [admin]}
    - {name: shop, key: "tl_CANARY1", roles: [viewer]}
    - {name: slip, kee: "tl_CANARY2"}
outlets:
  hook: {http: {url: "https://u:CANARY3@hook.test/in?tok=CANARY4", sign: CANARY5, headers: {x-token: CANARY6}, auth: {bearer: CANARY7}}}
mcp:
  upstreams:
    fs: {command: npx, args: [--token, CANARY8], env: {TOKEN: CANARY9, FINE: "file:/run/fine"}}
models:
  providers: {a: {kind: openai, url: "https://a.test/v1", key: CANARY10, headers: {x-key: "env:HEADER"}}}
routes:
  - {name: r, from: topic/a, to: [queue/q], steps: [{validate: {schema: {type: object, maxProperties: 3}}}]}
limits: {mailbox: 7}
unknown: CANARY11
"#;

// Finding: S6
#[test]
fn a_file_is_shown_without_what_may_be_secret() {
    let text = without_secrets(FULL).unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    for kept in [
        "env:GOOD",
        "https://hook.test/in?…",
        "file:/run/fine",
        "env:HEADER",
        "https://a.test/v1",
        "topic/a",
        "npx",
        "shop",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value.pointer("/limits/mailbox"), Some(&7.into()));
    assert_eq!(value.pointer("/routes/0/steps/0/validate/schema/maxProperties"), Some(&3.into()));
    assert_eq!(without_secrets("a: ["), None);
}

// Finding: S6
#[test]
fn a_line_with_a_secret_is_not_quoted() {
    let check = |text: &str, told: bool| {
        let problem = match parse(Path::new("t.yaml"), text, []) {
            Err(problem) => problem,
            Ok(document) => match take_apart(&document, Path::new("")) {
                Err(misfit) => document.locate(&misfit),
                Ok(settings) => {
                    let misfit =
                        access::Access::compile(&settings.hub.access, access::Outside::Unread).unwrap_err();
                    document.locate(&misfit.at("access"))
                }
            },
        };
        let said = problem.to_string();
        assert!(!said.contains("CANARY"), "{said}");
        assert_eq!(problem.excerpt.is_some(), told, "{said}");
    };
    check("access: {keys: [{name: a, key: tl_CANARY}]}", false);
    check("access: {keys: [{name: a, key: 12345CANARY, roles: [nope]}]}", false);
    check("access: {keys: [{name: a, kee: tl_CANARY}]}", false);
    check("access: {keys: [{name: a, key: 123456789012345}]}", false);
    check("access: {keys: [{name: a, key: \"tl_CANARY}]}", false);
    check("access:\n  keys:\n    - name: a\n      key: >\n        tl_CANARY\n      roles: [nope]\n", false);
    check("limits: {mesage_bytes: 5}", true);
    check("access: {keys: [{name: a, key: 'env:FINE', roles: [nope]}]}", true);
}
