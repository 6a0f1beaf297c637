//! What somebody may not reach who may only look, or not even that: over HTTP, against the real binary.

use crate::harness::{ACCESS, Server};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A key that may look at everything and change nothing, beside the operator's.
const VIEWER: &str = "tl_viewer-of-the-tests-0123456789";

fn with_viewer(more: &str) -> String {
    let keys = format!(
        "access: {{keys: [{{name: tester, key: 'env:TRUNKLINE_IT_KEY', roles: [admin]}}, \
         {{name: viewer, sha256: {}, roles: [viewer]}}]}}\n",
        sha256(VIEWER)
    );
    keys + more
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(server: &Server, text: &str) -> Value {
    let answer =
        server.http("POST", "/admin/config/check", &[("authorization", &format!("Bearer {VIEWER}"))], text);
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body))
}

// Finding: S1
#[test]
fn a_check_over_http_opens_nothing_that_a_text_names() {
    let server = Server::start(&with_viewer(""));
    let folder = server.folder.path();
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(folder.join("short"), "x").unwrap();
    std::fs::write(folder.join("secret"), "a-secret-of-the-machine").unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let key = |name: &str| format!("access: {{keys: [{{name: a, key: '{name}', roles: [admin]}}]}}\n");
    // Whatever is there, or is not, is answered alike; nothing waits.
    let began = Instant::now();
    let references = [
        "file:/dev/zero".to_owned(),
        "file:/nonexistent".to_owned(),
        "file:/etc".to_owned(),
        format!("file:{}", at("pipe")),
        format!("file:{}", at("short")),
        "env:NOT_THERE".to_owned(),
        "env:TRUNKLINE_IT_KEY".to_owned(),
    ];
    for reference in references {
        for text in [
            key(&reference),
            format!(
                "models: {{providers: {{a: {{kind: openai, url: 'http://a.test/', key: '{reference}'}}}}}}\n"
            ),
            format!(
                "outlets: {{a: {{http: {{url: 'http://a.test/', sign: '{reference}', auth: {{bearer: '{reference}'}}}}}}}}\n"
            ),
            format!(
                "mcp: {{task_secret: '{reference}', upstreams: {{a: {{command: x, env: {{A: '{reference}'}}}}}}}}\n"
            ),
        ] {
            let verdict = check(&server, &text);
            assert_eq!(verdict["ok"], true, "{text}: {verdict}");
        }
    }
    for file in ["/dev/zero".to_owned(), "/proc/self/environ".to_owned(), at("pipe"), "none".to_owned()] {
        let route = format!(
            "queues: {{q: {{}}}}\nroutes: [{{name: r, from: topic/a, to: [queue/q], steps: [{{validate: {{schema: '{file}'}}}}]}}]\n"
        );
        assert_eq!(check(&server, &route)["ok"], true, "{file}");
        let tls = format!("tls: {{certificate: '{file}', key: '{file}'}}\n");
        assert_eq!(check(&server, &tls)["ok"], true, "{file}");
    }
    // Nor does it tell whether a guess is right.
    let guess = sha256("a-secret-of-the-machine");
    let guessed = format!(
        "access: {{keys: [{{name: a, key: 'file:{}'}}, {{name: b, sha256: {guess}}}]}}\n",
        at("secret")
    );
    assert_eq!(check(&server, &guessed)["ok"], true);
    // What can be told without looking is told, and that nothing was looked at.
    let clear = check(&server, &key("the-key-itself-0123456789"));
    assert!(clear["problems"][0]["what"].as_str().unwrap().contains("a reference"), "{clear}");
    assert!(clear["not_looked_at"].as_str().unwrap().contains("trunkline config check"), "{clear}");
    assert!(began.elapsed() < Duration::from_secs(60));
    let healthy = server.http("GET", "/healthz", &[], "");
    assert_eq!(healthy.status, 200);
}

// Finding: S1
#[test]
fn a_secret_is_a_regular_file_of_a_fair_size() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(folder.path().join("large"), vec![b'k'; (64 << 10) + 1]).unwrap();
    for (name, expected) in
        [("pipe", "not a regular file"), ("large", "larger than 65536"), ("/dev/zero", "not a regular")]
    {
        let file = folder.path().join("t.yaml");
        let named = folder.path().join(name).display().to_string();
        std::fs::write(&file, format!("access: {{keys: [{{name: a, key: 'file:{named}'}}]}}\n")).unwrap();
        let output = crate::harness::run(&["config", "check", file.to_str().unwrap()]);
        let said = crate::harness::text(&output.stderr);
        assert!(said.contains(expected), "{name}: {said}");
    }
}

// Finding: S4
#[test]
fn a_check_over_http_is_bounded_in_what_it_takes_and_tells() {
    let server = Server::start(&with_viewer(""));
    let bearer = format!("Bearer {VIEWER}");
    let large = format!("? {}\n: 1\n", "a".repeat(300 << 10));
    let refused = server.http("POST", "/admin/config/check", &[("authorization", &bearer)], &large);
    assert_eq!(refused.status, 413, "{}", refused.body);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let text = format!("? {}\n: 1\n", "a".repeat(200 << 10));
    let answer = server.http("POST", "/admin/config/check", &[("authorization", &bearer)], &text);
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() < 4096, "{}", answer.body.len());
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(problem["problems"][0]["what"].as_str().unwrap().contains("unknown section"), "{problem}");
}

// Finding: S3
#[test]
fn a_name_of_any_length_costs_little_and_is_not_sent_back() {
    let server = Server::start(ACCESS);
    let name = "A".repeat(60_000);
    let key = format!("Bearer {}", crate::harness::KEY);
    for path in [
        format!("/faults/{name}"),
        format!("/{name}"),
        format!("/assets/{name}"),
        format!("/admin/queues/{name}"),
    ] {
        let began = Instant::now();
        for _ in 0..50 {
            let answer = server.http("GET", &path, &[("authorization", &key)], "");
            assert!((400..500).contains(&answer.status) && answer.body.len() < 4096, "{}", answer.body.len());
        }
        // It took 8 s of computing before, for the first of these paths.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
