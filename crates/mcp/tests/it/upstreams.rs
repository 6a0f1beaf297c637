//! Upstreams that are children, that are down, that break the protocol, and that come and go with the configuration.
//! The child is a shell script, so that its bytes are known.

use crate::gate::{Gate, eventually, fixture};
use fixtures::mcp::Era;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A server of the era with sessions in shell: answers initialize, tools/list and tools/call, ends when told to.
const CHILD: &str = r#"
echo "hello from the child" >&2
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case "$line" in
    *'"server/discover"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"what?\"}}" ;;
    *'"initialize"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"sh\",\"version\":\"1\"}}}" ;;
    *'"tools/list"'*) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"tools\":[{\"name\":\"pid\",\"inputSchema\":{\"type\":\"object\"}},{\"name\":\"die\",\"inputSchema\":{\"type\":\"object\"}}]}}" ;;
    *'"die"'*) exit 1 ;;
    *'"tools/call"'*) echo "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$id,\"progress\":1}}"
      echo "not json at all"
      echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"pid $$ secret $TOKEN\"}]}}" ;;
  esac
done
"#;

fn content(answer: &crate::gate::Answer) -> String {
    answer.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn alive(pid: &str) -> bool {
    // A zombie counts as gone: it only waits to be reaped.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_merged_restarted_and_stopped() {
    let secret = std::env::temp_dir().join(format!("mcp-test-secret-{}", std::process::id()));
    std::fs::write(&secret, "s3cret\n").unwrap();
    let address = fixture(Era::Both).await;
    let section = json!({ "upstreams": {
        "sh": { "command": "sh", "args": ["-c", CHILD], "env": { "TOKEN": format!("file:{}", secret.display()) } },
        "fx": { "url": format!("http://{address}/mcp") },
    } });
    let gate = Gate::open(section, true).await;
    let names: Vec<String> = gate.modern("tools/list", json!({}), &[]).await.json()["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    for name in ["sh_pid", "fx_echo", "publish", "enqueue", "lease", "settle"] {
        assert!(names.iter().any(|have| have == name), "{name} in {names:?}");
    }
    let call = json!({ "name": "sh_pid", "arguments": {}, "_meta": { "progressToken": "mine" } });
    let answer = gate.modern("tools/call", call, &[]).await;
    assert_eq!(answer.events()[0]["params"]["progressToken"], json!("mine"), "{}", answer.text);
    let said = answer.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(said.ends_with("secret s3cret"), "{said}");
    let pid = said.split(' ').nth(1).unwrap().to_owned();
    let dead = gate.modern("tools/call", json!({ "name": "sh_die", "arguments": {} }), &[]).await;
    assert!(dead.text.contains("TL0008"), "{}", dead.text);
    eventually("the dead child is reaped", || !alive(&pid)).await;
    // The next call waits for the restart, or finds it done.
    let mut again = None;
    for _ in 0..20 {
        let answer = gate.modern("tools/call", json!({ "name": "sh_pid", "arguments": {} }), &[]).await;
        if answer.json().get("result").is_some() {
            again = Some(content(&answer));
            break;
        }
    }
    let again = again.expect("the child comes back").split(' ').nth(1).unwrap().to_owned();
    assert_ne!(again, pid);
    gate.tasks.shutdown(std::time::Duration::from_secs(10)).await;
    eventually("the child is gone", || !alive(&again)).await;
    std::fs::remove_file(secret).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_said_to_be() {
    let section = json!({ "upstreams": { "gone": { "url": "http://127.0.0.1:9/mcp", "connect": "1s" } } });
    let gate = Gate::open(section, true).await;
    let listed = gate.modern("tools/list", json!({}), &[]).await;
    assert_eq!(listed.json()["result"]["tools"].as_array().unwrap().len(), 4, "our own: {}", listed.text);
    let status = gate.gateway.upstreams();
    assert_eq!(status[0].state, "down");
    assert!(status[0].last_error.as_deref().unwrap().contains("TL0008"), "{status:?}");
    let session = gate
        .hub
        .open(gate.hub.identity("local").unwrap(), hub::Origin { protocol: "test", peer: gate.address });
    let envelope = session.envelope(message::Address::parse("tool/gone/x").unwrap(), "{}");
    let fault = session.request(envelope.into()).await.err().unwrap();
    assert_eq!(fault.code(), message::Code::UnknownTool, "{fault}");
}

/// A server that answers every request with those bytes.
pub(crate) async fn canned(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, tasks) = (std::sync::Arc::new(answer), net::Tasks::new());
    let each = tasks.clone();
    tasks.spawn("canned", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            each.spawn("canned answer", async move {
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    let count = socket.read(&mut buffer).await.unwrap_or(0);
                    bytes.extend_from_slice(&buffer[..count]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                        let length = head.to_ascii_lowercase();
                        let length = length
                            .lines()
                            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                        body.len() >= length.unwrap_or(0)
                    });
                    if whole || count == 0 {
                        socket.write_all(answer(&text).as_bytes()).await.unwrap();
                        return;
                    }
                }
            });
        }
    });
    address
}

pub(crate) fn http(kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn id_of(request: &str) -> Value {
    let body = request.split_once("\r\n\r\n").map_or("{}", |(_, body)| body);
    serde_json::from_str::<Value>(body).map(|body| body["id"].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answers_are_faults_not_hangs() {
    let address = canned(|request| {
        let id = id_of(request);
        if request.contains("server/discover") {
            let result = json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } });
            return http("application/json", &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
        }
        if request.contains("tools/list") {
            let tools = ["garbage", "cut", "wrong", "html", "silent", "refused"].map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
            let bad = json!({ "name": "bad", "inputSchema": { "properties": { "a": { "type": "number", "x-mcp-header": "A" } } } });
            let tools: Vec<Value> = tools.into_iter().chain([bad, json!("nothing")]).collect();
            return http("application/json", &json!({ "jsonrpc": "2.0", "id": id, "result": { "tools": tools } }).to_string());
        }
        let name = ["garbage", "cut", "wrong", "html", "refused"].into_iter().find(|name| request.contains(&format!("mcp-name: {name}")));
        match name {
            Some("garbage") => http("application/json", "{\"jsonrpc\":"),
            Some("cut") => http("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n"),
            Some("wrong") => http("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":424242,\"result\":{}}\n\n"),
            Some("html") => http("text/html", "<h1>hello</h1>"),
            Some("refused") => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
            _ => String::new(),
        }
    })
    .await;
    let section = json!({ "upstreams": { "odd": { "url": format!("http://{address}/mcp"), "prefix": "", "breaker": { "failures": 100 } } } });
    let gate = Gate::open(section, true).await;
    let listed = gate.modern("tools/list", json!({}), &[]).await;
    assert!(
        !listed.text.contains("\"bad\""),
        "a tool with an invalid annotation is left out: {}",
        listed.text
    );
    for (name, fault) in [
        ("garbage", "TL0032"),
        ("cut", "TL0032"),
        ("wrong", "TL0032"),
        ("html", "TL0032"),
        ("refused", "TL0017"),
        ("silent", "TL00"),
    ] {
        let answer = gate.modern("tools/call", json!({ "name": name, "arguments": {} }), &[]).await;
        assert!(
            answer.json()["error"]["data"]["fault"].as_str().unwrap_or("").starts_with(fault),
            "{name}: {}",
            answer.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_and_says_so() {
    let address = canned(|request| {
        let id = id_of(request);
        let result = match request {
            _ if request.contains("server/discover") => {
                json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } })
            }
            _ if request.contains("tools/list") => {
                json!({ "tools": [{ "name": "x", "inputSchema": { "type": "object" } }] })
            }
            _ => {
                return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .into();
            }
        };
        http("application/json", &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
    })
    .await;
    let section = json!({ "upstreams": { "b": { "url": format!("http://{address}/mcp"), "prefix": "", "breaker": { "failures": 2 } } } });
    let gate = Gate::open(section, true).await;
    let call = async || gate.modern("tools/call", json!({ "name": "x", "arguments": {} }), &[]).await.text;
    assert!(call().await.contains("TL0018"));
    assert!(call().await.contains("TL0018"));
    assert!(call().await.contains("TL0016"));
    assert_eq!(gate.gateway.upstreams()[0].breaker, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_touches_only_what_changed() {
    let (one, two) = (fixture(Era::Both).await, fixture(Era::Both).await);
    let section = |prefix: &str, second: bool| {
        let mut section = json!({ "upstreams": { "a": { "url": format!("http://{one}/mcp") } } });
        if second {
            section["upstreams"]["b"] = json!({ "url": format!("http://{two}/mcp"), "prefix": prefix });
        }
        section
    };
    let gate = Gate::open(section("", false), true).await;
    let names = async || gate.modern("tools/list", json!({}), &[]).await.text;
    assert!(names().await.contains("\"a_echo\""));
    let since = gate.gateway.upstreams()[0].since;
    gate.gateway.reload(serde_json::from_value(section("bee_", true)).unwrap()).unwrap();
    let now = names().await;
    assert!(now.contains("\"a_echo\"") && now.contains("\"bee_echo\""), "{now}");
    assert_eq!(gate.gateway.upstreams()[0].since, since, "a was left alone");
    let clash = gate.gateway.reload(serde_json::from_value(section("a_", true)).unwrap()).unwrap_err();
    assert!(clash.to_string().starts_with("upstreams.b.prefix"), "{clash}");
    assert!(names().await.contains("\"bee_echo\""), "a bad configuration changes nothing");
    gate.gateway.reload(serde_json::from_value(section("", false)).unwrap()).unwrap();
    assert!(!names().await.contains("bee_"));
    let call = gate
        .modern("tools/call", json!({ "name": "a_echo", "arguments": { "message": "still" } }), &[])
        .await;
    assert!(call.text.contains("still"), "{}", call.text);
    // What the admin API and the command line use.
    let session = gate
        .hub
        .open(gate.hub.identity("local").unwrap(), hub::Origin { protocol: "test", peer: gate.address });
    assert!(gate.gateway.list_tools(&session).await.iter().any(|tool| tool.name == "a_echo"));
    let result = gate.gateway.call_tool(&session, "a_echo", r#"{"message":"direct"}"#).await.unwrap();
    assert!(result.contains("direct"), "{result}");
    let fault = gate.gateway.call_tool(&session, "a_echp", "{}").await.unwrap_err();
    assert!(fault.detail().contains("a_echo"), "{fault}");
}
