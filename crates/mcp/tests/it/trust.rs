//! What one upstream, one principal or one page must not be able to do to the others.
//! Upstreams are canned answers, so that they can be as hostile as a test needs.

use crate::gate::{ANN, BOB, Gate};
use crate::upstreams::{canned, http};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a canned upstream offers.
#[derive(Clone, Default)]
pub(crate) struct Offer {
    pub(crate) tools: Vec<&'static str>,
    pub(crate) resources: Vec<&'static str>,
    pub(crate) templates: Vec<String>,
    pub(crate) instructions: &'static str,
}

/// A stateless upstream with that offer; `answer` makes the results of what it is asked beside lists.
pub(crate) async fn upstream(
    offer: Offer,
    answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static,
) -> SocketAddr {
    canned(move |request| {
        let body = request.split_once("\r\n\r\n").map_or("{}", |(_, body)| body);
        // Bodies that nest too deep for a tree are told by their heads.
        let id = body.split_once("\"id\":").map_or("0", |(_, rest)| rest.split([',', '}']).next().unwrap_or("0"));
        let method = body.split_once("\"method\":\"").map_or("", |(_, rest)| rest.split('"').next().unwrap_or(""));
        let id: Value = serde_json::from_str(id).unwrap_or_default();
        let tree: Value = serde_json::from_str(body).unwrap_or_default();
        if method == "initialize" {
            let error = json!({ "code": -32601, "message": "no sessions here" });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "error": error });
            return http("application/json", &answer.to_string());
        }
        let entry = |key: &str, value: &str| json!({ key: value, "name": value, "inputSchema": { "type": "object" } });
        let result = match method {
            "server/discover" => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "instructions": offer.instructions,
                "capabilities": { "tools": {}, "resources": {}, "completions": {} },
            }),
            "tools/list" => {
                json!({ "tools": offer.tools.iter().map(|name| entry("name", name)).collect::<Vec<_>>() })
            }
            "resources/list" => {
                json!({ "resources": offer.resources.iter().map(|uri| entry("uri", uri)).collect::<Vec<_>>() })
            }
            "resources/templates/list" => {
                let all: Vec<Value> = offer.templates.iter().map(|uri| entry("uriTemplate", uri)).collect();
                json!({ "resourceTemplates": all })
            }
            method => answer(method, &tree["params"]),
        };
        http("application/json", &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
    })
    .await
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}

// Finding: M3
#[tokio::test(flavor = "multi_thread")]
async fn a_template_cannot_stop_the_server() {
    let bomb = |number: usize| format!("bomb://{}{number}END", "{+a}-".repeat(14));
    let offer = Offer { templates: (0..1_000).map(bomb).collect(), ..Offer::default() };
    let address =
        upstream(offer, |_, params| json!({ "contents": [{ "uri": params["uri"], "text": "read" }] })).await;
    let other = upstream(Offer::default(), |_, _| json!({})).await;
    let section = json!({ "upstreams": { "bomb": { "url": url(address) }, "calm": { "url": url(other) } } });
    let gate = Gate::open(section, false).await;
    let uri = format!("bomb://{}X", "-".repeat(1_000));
    for (key, asked) in [(BOB, 20), (ANN, 2)] {
        let asking = async {
            for _ in 0..asked {
                let answer =
                    gate.modern("resources/read", json!({ "uri": uri }), &[("X-Api-Key", key)]).await;
                assert_eq!(answer.error(), -32602, "{}", answer.text);
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), asking).await.is_ok(), "it takes too long");
    }
    let made = format!("bomb://{}7END", "x-".repeat(14));
    let answer = gate.modern("resources/read", json!({ "uri": made }), &[("X-Api-Key", ANN)]).await;
    assert!(answer.text.contains("\"read\""), "{}", answer.text);
}

// Finding: M16
#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_two_readers_could_read_as_two_things_are_not_forwarded() {
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let offer = Offer { tools: vec!["x"], ..Offer::default() };
    let address = upstream(offer, move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        json!({ "content": [] })
    })
    .await;
    let gate =
        Gate::open(json!({ "upstreams": { "up": { "url": url(address), "prefix": "" } } }), true).await;
    let session = gate.initialize(&[]).await;
    let nested =
        |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{}", "}".repeat(levels - 1));
    for (arguments, refused) in [
        (r#"{"a":1,"\u0061":2}"#.to_owned(), true),
        (r#"{"deep":[{"a":{"b":1,"b":2}}]}"#.to_owned(), true),
        (r#"{"a":"\ud800"}"#.to_owned(), true),
        (r#"{"a":"\ude00\ud83d"}"#.to_owned(), true),
        (nested(5_000), true),
        (nested(129), true),
        (nested(128), false),
        (r#"{"a":"\ud83d\ude00","b":{"a":1}}"#.to_owned(), false),
    ] {
        let before = called.load(Ordering::Relaxed);
        let legacy = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"x","arguments":{arguments}}}}}"#
        );
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        let modern = legacy.replacen(r#""name""#, &format!(r#"{meta},"name""#), 1);
        let headers =
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "x")];
        let answers = [
            gate.send("POST", &[("Mcp-Session-Id", &session)], &legacy).await,
            gate.send("POST", &headers, &modern).await,
        ];
        for answer in answers {
            let shown: String = arguments.chars().take(60).collect();
            let (status, code) = (answer.status, answer.json()["error"]["code"].clone());
            assert_eq!(
                (status, code == -32602),
                (if refused { 400 } else { 200 }, refused),
                "{shown}: {}",
                answer.text
            );
        }
        let calls = called.load(Ordering::Relaxed) - before;
        assert_eq!(calls, if refused { 0 } else { 2 }, "what is refused is not forwarded");
        // Brother: whoever calls the tool by its address, from the admin API or another protocol.
        let who = hub::Origin { protocol: "test", peer: gate.address };
        let direct = gate.hub.open(gate.hub.identity("local").unwrap(), who);
        let outcome = gate.gateway.call_tool(&direct, "x", arguments).await;
        assert_eq!(outcome.is_err(), refused, "{outcome:?}");
    }
}
