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

pub(crate) fn sha256(text: &str) -> String {
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

// Finding: S5
#[test]
fn what_a_publisher_calls_a_page_is_none_of_ours() {
    let server = Server::start(ACCESS);
    let key = format!("Bearer {}", crate::harness::KEY);
    let authorization = ("authorization", key.as_str());
    for (kind, shown) in [
        (Some("text/html"), false),
        (Some("image/svg+xml"), false),
        (Some("application/json"), true),
        (Some("text/plain"), true),
        (None, false),
    ] {
        let mut headers = vec![authorization];
        headers.extend(kind.map(|kind| ("content-type", kind)));
        let published =
            server.http("POST", "/api/topics/evil/page?retain=true", &headers, "<script>alert(1)</script>");
        assert_eq!(published.status, 201, "{}", published.body);
        let page = server.http("GET", "/api/topics/evil/page", &[authorization], "");
        assert_eq!(page.header("content-type"), Some(kind.unwrap_or("application/octet-stream")));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert!(page.header("content-security-policy").unwrap().starts_with("sandbox"), "{kind:?}");
        assert_eq!(page.header("content-disposition").is_none(), shown, "{kind:?}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
    }
    for path in [
        "/admin/queues",
        "/metrics",
        "/healthz",
        "/faults/TL0001",
        "/v1/models",
        "/nothing",
        "/api/openapi.json",
    ] {
        let answer = server.http("GET", path, &[authorization], "");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("sandbox"), "{path}");
    }
    let page = server.http("GET", "/", &[], "");
    assert!(!page.header("content-security-policy").unwrap().contains("sandbox"));
}

// Finding: S7
#[test]
fn what_the_server_writes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(&format!("{ACCESS}queues: {{orders: {{}}}}\n"));
    server.cli(&["publish", "queue/orders", "secret"]);
    let mut open = vec![server.folder.path().join("data")];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
        seen += 1;
        if metadata.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 4, "{seen}");
}

// Finding: S8, N-B6
#[test]
fn whoever_knocks_fills_no_log() {
    let server = Server::start(ACCESS);
    let address = server.url.trim_start_matches("http://").to_owned();
    let knock = |bytes: &[u8]| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap_or_default();
    };
    for _ in 0..100 {
        knock(b"get /x?access_token=CANARY HTTP/1.1\r\n\r\n");
    }
    for _ in 0..100 {
        // MQTT 3.1.1 with user `u` and password `wrong`, then one of a level that nobody speaks.
        knock(b"\x10\x17\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x01u\x00\x05wrong");
        knock(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a");
    }
    server.signal("TERM");
    let lines = server.until("stopped");
    let about = |word: &str| lines.iter().filter(|line| line.to_string().contains(word)).count();
    assert!((1..=3).contains(&about("no protocol of this port")), "{lines:#?}");
    assert!(
        !lines
            .iter()
            .any(|line| line.to_string().contains("CANARY") || line.to_string().contains("access_token"))
    );
    // The first three one by one and the sum, each once: `not let in` is the only word for it.
    assert_eq!(about("not let in"), 4, "{lines:#?}");
    assert!(about("CONNECT refused") <= 3, "{lines:#?}");
}

// Finding: S10
#[test]
fn a_credential_is_shown_once_and_where_it_belongs() {
    let server = Server::start(ACCESS);
    let key = format!("Bearer {}", crate::harness::KEY);
    let once = [("authorization", key.as_str())];
    assert_eq!(server.http("GET", "/admin/queues", &once, "").status, 200);
    assert_eq!(server.http("GET", "/admin/queues", &[once[0], once[0]], "").status, 401);
    let query = format!("/admin/config/reload?access_token={}", crate::harness::KEY);
    assert_eq!(server.http("POST", &query, &[], "").status, 401);
    assert_eq!(server.http("GET", "/healthz", &[("host", "a b/c@d")], "").status, 400);
}

// Finding: S6
#[test]
fn a_key_in_clear_is_told_to_nobody() {
    let more = "outlets: {hook: {http: {url: 'http://hook.test/?tok=CANARYurl', headers: {x-token: CANARYheader}}}}\n\
                mcp: {upstreams: {fs: {command: npx, args: [CANARYarg]}}}\n# CANARYcomment\n";
    let server = Server::start(&with_viewer(more));
    let ask = |method: &str, path: &str, key: &str| {
        server.http(method, path, &[("authorization", &format!("Bearer {key}"))], "").body
    };
    let seen = ask("GET", "/admin/config", VIEWER);
    assert!(seen.contains("hook.test") && !seen.contains("CANARY"), "{seen}");
    assert!(ask("GET", "/admin/config", crate::harness::KEY).contains("CANARYcomment"));
    let pasted = with_viewer(more).replace("name: viewer, ", "name: viewer, key: tl_CANARYpasted, ");
    server.configure(&pasted);
    let refused = server.wait_for("configuration refused");
    assert!(!refused.to_string().contains("CANARY"), "{refused}");
    let answer = ask("POST", "/admin/config/reload", crate::harness::KEY);
    assert!(answer.contains("access.keys.1") && !answer.contains("CANARY"), "{answer}");
    let seen = ask("GET", "/admin/config", VIEWER);
    assert!(seen.contains("(hidden)") && !seen.contains("CANARY"), "{seen}");
}
