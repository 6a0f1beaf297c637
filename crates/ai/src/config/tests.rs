//! The section is read whole, with its defaults and its refusals.

use super::*;
use serde_json::json;

#[test]
fn an_absent_section_is_the_default() {
    assert_eq!(Config::read(serde_json::Value::Null).unwrap(), Config::default());
    assert_eq!(Config::read(json!({})).unwrap(), Config::default());
    assert!(Config::default().echo);
}

#[test]
fn all_fields_are_read() {
    let config = Config::read(json!({
        "providers": { "openai": {
            "url": "https://api.openai.com/v1", "key": "env:OPENAI_API_KEY", "headers": { "OpenAI-Organization": "o" },
            "timeout": "30s", "breaker": { "failures": 2, "open_for": "5s" }, "ask_usage": true, "models": ["gpt-5"],
        } },
        "aliases": { "fast": {
            "provider": "openai", "model": "gpt-5-mini", "price": { "input": "0.25", "cached_input": 0.025, "output": "2" },
            "fallback": [{ "provider": "echo" }],
        } },
        "default_provider": "openai", "echo": false, "body_bytes": "1GiB",
    }))
    .unwrap();
    let alias = &config.aliases["fast"];
    let price = alias.price.unwrap();
    assert_eq!(price.cached_input, Price::parse("0.025"));
    assert_eq!(alias.fallback[0].provider, "echo");
    assert_eq!(config.providers["openai"].timeout, Span::secs(30));
}

#[test]
fn what_is_unknown_or_no_price_is_refused() {
    let wrong = |section: serde_json::Value, says: &str| {
        let misfit = Config::read(section).unwrap_err();
        assert!(misfit.what.contains(says), "{misfit}");
    };
    wrong(json!({ "provider": {} }), "unknown field `provider`");
    wrong(json!({ "providers": { "a": { "kind": "opnai" } } }), "unknown word `opnai`");
    wrong(json!({ "aliases": { "a": { "provider": "p", "price": { "input": "1e-9" } } } }), "is no price");
}
