//! The model gateway of the real binary, over sockets: who reaches what, large bodies, pages in browsers.

use crate::harness::{KEY, Server};
use serde_json::Value;

/// A key that may call `model/fast` and nothing else.
const NARROW: &str = "tl_narrow-of-the-tests-0123456789";

fn server(more: &str) -> Server {
    use sha2::Digest;
    let digest: String =
        sha2::Sha256::digest(NARROW.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Server::start(&format!(
        "access:\n  keys:\n    - {{name: tester, key: 'env:TRUNKLINE_IT_KEY', roles: [admin]}}\n    - {{name: narrow, sha256: {digest}, roles: [fast]}}\n  \
         roles: {{fast: {{allow: [{{verbs: [call], on: [model/fast]}}]}}}}\n{more}"
    ))
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

// Finding: S2, S9
#[test]
fn a_key_for_a_model_reaches_no_other_path_by_a_header_of_its_message() {
    let server = server("models: {aliases: {fast: {provider: echo}}}\n");
    let ask = |path: &str, key: &str| {
        let headers =
            [("authorization", &*bearer(key)), ("content-type", "application/json"), ("tl-h-path", path)];
        server.http(
            "POST",
            "/api/call/model/fast",
            &headers,
            r#"{"input":"x","messages":[{"role":"user","content":"x"}]}"#,
        )
    };
    for path in ["/v1/fine_tuning/jobs", "/v1/organization/admin_api_keys?x=y", "/v1/files"] {
        let refused = ask(path, NARROW);
        assert!(refused.status == 403 && refused.body.contains("TL0002"), "{path} {}", refused.body);
    }
    assert_eq!(ask("/v1/..%252f..%252fadmin", NARROW).status, 400);
    for path in ["/v1/chat/completions", "/v1/embeddings"] {
        assert_eq!(ask(path, NARROW).status, 200, "{path}");
    }
    // echo does not have it, but who may call the provider itself gets that far.
    assert_eq!(ask("/v1/fine_tuning/jobs", KEY).status, 404);
}

// Finding: A1
#[test]
fn a_large_question_may_name_its_model_last() {
    let server = server("models: {aliases: {fast: {provider: echo}}}\n");
    let ask = |bytes: usize| {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}],"model":"fast"}}"#,
            "x ".repeat(bytes / 2)
        );
        let headers = [("authorization", &*bearer(NARROW)), ("content-type", "application/json")];
        server.http("POST", "/v1/chat/completions", &headers, &body)
    };
    let answer = ask(3 << 20);
    assert_eq!(answer.status, 200, "{}", answer.body.get(..300).unwrap_or(&answer.body));
    let refused = ask(65 << 20);
    assert!(refused.status == 413 && refused.body.contains("models.json_bytes"), "{}", refused.body);
    // What waited has left nothing behind.
    let left = std::fs::read_dir(server.folder.path()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains(".body-")));
}

// Finding: A22, M11, N-E3
#[test]
fn a_page_of_a_listed_origin_may_ask_what_a_page_needs() {
    let server = server(
        "models: {aliases: {fast: {provider: echo}}}\nprotocols: {http: {cors_origins: ['https://app.example']}}\n\
         mcp: {allowed_origins: ['https://app.example']}\n",
    );
    let preflight = |path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        server.http("OPTIONS", path, &headers, "")
    };
    for path in ["/v1/chat/completions", "/api/topics/a", "/mcp"] {
        let told = preflight(path, "https://app.example");
        assert_eq!(
            (told.status, told.header("access-control-allow-origin")),
            (204, Some("https://app.example")),
            "{path}"
        );
        assert_eq!(told.header("access-control-allow-headers"), Some("authorization,content-type"));
        assert_eq!(
            preflight(path, "https://evil.example").header("access-control-allow-origin"),
            None,
            "{path}"
        );
    }
    assert_eq!(preflight("/admin/config", "https://app.example").header("access-control-allow-origin"), None);
    // Tools on this machine, such as an inspector, ask /mcp from a page of theirs.
    let told = preflight("/mcp", "http://localhost:6274");
    assert_eq!(told.header("access-control-allow-origin"), Some("http://localhost:6274"));
    assert!(told.header("access-control-expose-headers").unwrap().contains("Mcp-Session-Id"));
    let headers = [
        ("origin", "https://app.example"),
        ("authorization", &*bearer(NARROW)),
        ("content-type", "application/json"),
    ];
    let body = r#"{"model":"fast","messages":[{"role":"user","content":"hi"}]}"#;
    let answer = server.http("POST", "/v1/chat/completions", &headers, body);
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("https://app.example"))
    );
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(said["choices"][0]["message"]["content"], "hi");
    // The page of another site is still nobody without a key.
    let keyless = [("origin", "https://app.example"), ("content-type", "application/json")];
    assert!(server.http("POST", "/v1/chat/completions", &keyless, body).status >= 401);
}
