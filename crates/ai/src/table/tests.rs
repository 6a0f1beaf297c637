//! Names are looked up, sections are refused by path.

use super::*;
use serde_json::json;

fn table(section: serde_json::Value) -> Result<Table, Misfit> {
    Table::new(Config::read(section)?, None, Outside::Read)
}

#[test]
fn models_go_where_they_should() {
    let up = |port: u16| json!({ "url": format!("http://127.0.0.1:{port}/v1"), "models": [format!("known-{port}")] });
    let two = json!({
        "providers": { "a": up(1), "b": up(2) },
        "aliases": { "fast": { "provider": "b", "model": "x" } },
    });
    let found = |table: &Table, name: &str| {
        table.find(name).map(|model| model.deployments[0].provider.name.to_string())
    };
    let without = table(two.clone()).unwrap();
    assert_eq!(found(&without, "fast").unwrap(), "b");
    assert_eq!(found(&without, "known-1").unwrap(), "a");
    assert_eq!(found(&without, "echo").unwrap(), "echo");
    assert_eq!(found(&without, "echo-slow").unwrap(), "echo");
    assert_eq!(found(&without, "$provider/a").unwrap(), "a");
    assert_eq!(found(&without, "$provider/c").unwrap_err().code(), Code::UnknownAddress);
    let fault = found(&without, "know-1").unwrap_err();
    assert!(fault.code() == Code::UnknownModel && fault.detail().contains("\"known-1\""), "{fault}");
    let names: Vec<String> = without.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["model/echo", "model/fast", "model/known-1", "model/known-2"]);

    let mut with = two;
    with["default_provider"] = json!("a");
    with["echo"] = json!(false);
    let with = table(with).unwrap();
    assert_eq!(found(&with, "anything").unwrap(), "a");
    assert_eq!(found(&with, "echo").unwrap(), "a");
}

#[test]
fn misfits_are_named_by_path() {
    let check = |section: serde_json::Value, path: &str, says: &str| {
        let misfit = table(section).map(drop).unwrap_err();
        assert_eq!(misfit.path.join("."), path, "{misfit}");
        assert!(misfit.to_string().contains(says), "{misfit}");
    };
    let up = json!({ "url": "https://host/v1" });
    check(json!({ "providers": { "a": {} } }), "providers.a", "needs a url");
    check(json!({ "providers": { "a": { "url": "ftp://x" } } }), "providers.a.url", "http://");
    check(json!({ "providers": { "a": { "url": "https://u:p@x/v1" } } }), "providers.a.url", "use `key`");
    check(
        json!({ "providers": { "a": { "url": "https://x/v1", "key": "sk-1" } } }),
        "providers.a.key",
        "a reference",
    );
    check(
        json!({ "providers": { "a": { "url": "https://x/v1", "headers": { "a b": "c" } } } }),
        "providers.a.headers.a b",
        "name",
    );
    check(
        json!({ "providers": { "a": { "kind": "echo", "url": "https://x" } } }),
        "providers.a.url",
        "built in",
    );
    check(
        json!({ "providers": { "a": up }, "default_provider": "b" }),
        "default_provider",
        "did you mean \"a\"?",
    );
    check(json!({ "aliases": { "$x": { "provider": "echo" } } }), "aliases.$x", "begin with $");
    check(
        json!({ "aliases": { "x": { "provider": "ecko" } } }),
        "aliases.x.provider",
        "did you mean \"echo\"?",
    );
    let fallback = json!({ "provider": "echo", "fallback": [{ "provider": "echo" }, { "provider": "no" }] });
    check(json!({ "aliases": { "x": fallback } }), "aliases.x.fallback.1.provider", "no provider");
    check(
        json!({ "aliases": { "x": { "provider": "echo", "price": { "input": "x" } } } }),
        "aliases.x.price.input",
        "no price",
    );
}

// Finding: A4, A22
#[test]
fn credentials_are_references_wherever_they_stand() {
    let check = |more: serde_json::Value, path: &str, says: &str| {
        let mut provider = json!({ "url": "https://host/v1" });
        provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let misfit = table(json!({ "providers": { "a": provider } })).map(drop).unwrap_err();
        assert_eq!(misfit.path.join("."), format!("providers.a.{path}"), "{misfit}");
        assert!(misfit.to_string().contains(says) && !misfit.to_string().contains("sk-1"), "{misfit}");
    };
    for name in ["api-key", "Authorization", "X-Goog-Api-Key", "cookie", "x-auth-token", "x-secret"] {
        check(json!({ "headers": { name: "sk-1" } }), &format!("headers.{name}"), "env:NAME");
    }
    check(json!({ "headers": { "api-key": "env:TRUNKLINE_NOT_SET" } }), "headers.api-key", "not set");
    check(json!({ "headers": { "x-plain": "file:/nowhere/key" } }), "headers.x-plain", "/nowhere/key");
    check(json!({ "headers": { "x-plain": "a\nb" } }), "headers.x-plain", "not a value");
    check(json!({ "key_header": "x-api-key" }), "key_header", "no key");
    check(json!({ "key": "env:PATH", "key_header": "a b" }), "key_header", "not a name");
    check(json!({ "url": "https://host/v1?a=1&key=sk-1" }), "url", "no credentials");
    check(json!({ "url": "https://host/v1?access%5Ftoken=sk-1" }), "url", "no credentials");
}
