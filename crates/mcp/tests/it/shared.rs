//! One process behind many clients: what it says outside of a call's own answer reaches nobody that it could not be meant for.
//! The child does what it is told by arguments, so that each order of events is the test's own.

use crate::gate::{ANN, BOB, Gate, eventually_some, read_until, request};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A child that leaves `hold` unanswered and heeds no cancellation; `free` answers what is held; `spill` asks and logs for whom
/// it held a call, and then says what the answer to its question was; `pid` says who it is.
const CHILD: &str = r#"
held=
text() { printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s %s"}]}}\n' "$1" "$2" "$$"; }
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}; id=${id%\}}
  case "$line" in
    *'"server/discover"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"what?"}}\n' "$id" ;;
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"sh","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}\n' "$id" ;;
    *'"hold"'*) held=$id ;;
    *'"free"'*) text "$held" late; text "$id" freed ;;
    *'"spill"'*) spill=$id
      echo '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"BOB-LATE-LOG"}}'
      echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"BOB-SECRET","requestedSchema":{"type":"object","properties":{}}}}' ;;
    *'"id":"q"'*'"error"'*) text "$spill" refused ;;
    *'"id":"q"'*) text "$spill" told ;;
    *'"pid"'*) text "$id" pid ;;
  esac
done
"#;

async fn gate(more: Value) -> Gate {
    let mut upstream = json!({ "command": "sh", "args": ["-c", CHILD], "prefix": "" });
    for (key, value) in more.as_object().unwrap() {
        upstream[key] = value.clone();
    }
    Gate::open(json!({ "upstreams": { "fx": upstream } }), false).await
}

fn call(id: u64, what: &str) -> String {
    request(id, "tools/call", json!({ "name": "echo", "arguments": { "do": what } })).to_string()
}

/// Somebody with a session.
struct Somebody<'g> {
    gate: &'g Gate,
    key: &'static str,
    session: String,
}

impl<'g> Somebody<'g> {
    async fn new(gate: &'g Gate, key: &'static str) -> Somebody<'g> {
        Somebody { gate, key, session: gate.initialize(&[("X-Api-Key", key)]).await }
    }

    async fn begin(&self, body: &str) -> TcpStream {
        self.gate.begin("POST", &[("X-Api-Key", self.key), ("Mcp-Session-Id", &self.session)], body).await
    }

    async fn says(&self, body: &str) -> String {
        let headers = [("X-Api-Key", self.key), ("Mcp-Session-Id", self.session.as_str())];
        self.gate.send("POST", &headers, body).await.text
    }
}

/// A call of `spill` until its answer; whatever is asked in between is answered.
async fn spilled(who: &Somebody<'_>) -> String {
    let (mut stream, mut seen) = (who.begin(&call(9, "spill")).await, String::new());
    read_until(&mut stream, &mut seen, "\"id\":").await;
    if seen.contains("elicitation/create") {
        read_until(&mut stream, &mut seen, "}\n\n").await;
        let question =
            crate::gate::events(&seen).into_iter().find(|event| event["method"] == "elicitation/create");
        let id = question.expect("a whole event")["id"].clone();
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept", "content": {} } });
        who.says(&answer.to_string()).await;
        read_until(&mut stream, &mut seen, "told").await;
    } else if !seen.contains("TL0008") {
        read_until(&mut stream, &mut seen, "refused").await;
    }
    seen
}

/// Has bob begin a call and leave it; when this returns, nobody waits for it any more.
async fn leaves(bob: &Somebody<'_>, how: &str) {
    let held = bob.begin(&call(5, "hold")).await;
    let in_flight = || bob.gate.gateway.upstreams()[0].in_flight;
    crate::gate::eventually("the call is under way", || in_flight() == 1).await;
    match how {
        "cancelled" => {
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
            bob.says(&cancel.to_string()).await;
        }
        "ended" => {
            let headers = [("X-Api-Key", bob.key), ("Mcp-Session-Id", bob.session.as_str())];
            bob.gate.send("DELETE", &headers, "").await;
        }
        // By its timeout.
        _ => {}
    }
    crate::gate::eventually("nobody waits for it", || in_flight() == 0).await;
    drop(held);
}

// Finding: M2
#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_one_principal_reaches_no_other() {
    for how in ["cancelled", "ended", "late"] {
        let gate = gate(json!({ "timeout": if how == "late" { "1s" } else { "20s" } })).await;
        let (ann, bob) = (Somebody::new(&gate, ANN).await, Somebody::new(&gate, BOB).await);
        let clear = spilled(&ann).await;
        assert!(
            clear.contains("BOB-SECRET") && clear.contains("told"),
            "she is alone, so it is hers: {clear}"
        );
        leaves(&bob, how).await;
        let seen = spilled(&ann).await;
        assert!(seen.contains("refused") && !seen.contains("BOB"), "{how}: {seen}");
        assert_eq!(gate.gateway.upstreams()[0].unattributed, 2, "the question and the log line");
        // His late answer makes it clear again whose is whose.
        assert!(ann.says(&call(11, "free")).await.contains("freed"));
        let clear = spilled(&ann).await;
        assert!(clear.contains("BOB-SECRET") && clear.contains("told"), "{how}: {clear}");
    }
}

// Finding: M2
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_be_understood_any_more_is_replaced() {
    let gate = gate(json!({ "answer_grace": "1ms" })).await;
    let (ann, bob) = (Somebody::new(&gate, ANN).await, Somebody::new(&gate, BOB).await);
    let before = ann.says(&call(3, "pid")).await;
    leaves(&bob, "cancelled").await;
    // A call under way ends in the old process; those that come later are in the new one, and are understood.
    let seen = eventually_some(async || {
        let seen = spilled(&ann).await;
        assert!(seen.contains("told") || !seen.contains("BOB"), "{seen}");
        seen.contains("told").then_some(seen)
    })
    .await;
    assert!(seen.contains("BOB-SECRET"), "{seen}");
    assert_ne!(ann.says(&call(3, "pid")).await, before);
}

// Finding: M2
#[tokio::test(flavor = "multi_thread")]
async fn each_principal_may_have_a_process_of_its_own() {
    let gate = gate(json!({ "share": "principal", "processes": 1 })).await;
    let (ann, bob) = (Somebody::new(&gate, ANN).await, Somebody::new(&gate, BOB).await);
    let first = ann.says(&call(3, "pid")).await;
    assert_eq!(first, ann.says(&call(3, "pid")).await, "it stays");
    let _held = ann.begin(&call(5, "hold")).await;
    crate::gate::eventually("the call is under way", || gate.gateway.upstreams()[0].in_flight == 1).await;
    let refused = bob.says(&call(3, "pid")).await;
    assert!(refused.contains("TL0022"), "the only process is at work: {refused}");
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 5 } });
    ann.says(&cancel.to_string()).await;
    let his = eventually_some(async || {
        let said = bob.says(&call(3, "pid")).await;
        said.contains("pid ").then_some(said)
    })
    .await;
    assert_ne!(his, first, "hers was idle, and made room");
    assert_eq!(gate.gateway.upstreams()[0].processes, 1);
    leaves(&bob, "cancelled").await;
    let seen = spilled(&ann).await;
    assert!(seen.contains("told"), "what he left behind is none of her process's business: {seen}");
    assert!(
        serde_json::from_value::<mcp::Config>(
            json!({ "upstreams": { "u": { "url": "http://x/mcp", "share": "principal" } } })
        )
        .unwrap()
        .check()
        .is_err()
    );
}
