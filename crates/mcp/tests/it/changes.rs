//! Changes reach those who listen, and nobody else: the stateless listening stream and the standing stream of a session.
//! The fixture changes its lists and resources when its tools are called.

use crate::gate::{Gate, modern_body, read_until};
use fixtures::mcp::Era;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_what_they_asked_for() {
    for upstream in [Era::Modern, Era::Legacy] {
        let gate = Gate::before(upstream).await;
        let filter =
            json!({ "toolsListChanged": true, "resourceSubscriptions": ["test://watched-resource"] });
        let body = modern_body("subscriptions/listen", json!({ "notifications": filter }), &json!({}));
        let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "subscriptions/listen")];
        let mut stream = gate.begin("POST", &headers, &body.to_string()).await;
        let mut seen = String::new();
        read_until(&mut stream, &mut seen, "notifications/subscriptions/acknowledged").await;
        read_until(&mut stream, &mut seen, "test://watched-resource").await;
        let session = gate.initialize(&[]).await;
        let ids = [("Mcp-Session-Id", session.as_str()), ("Accept", "text/event-stream")];
        let mut standing = gate.begin("GET", &ids, "").await;
        let mut heard = String::new();
        read_until(&mut standing, &mut heard, ": open").await;
        for tool in ["test_trigger_prompt_change", "test_trigger_tool_change"] {
            assert_eq!(
                gate.modern("tools/call", json!({ "name": tool, "arguments": {} }), &[]).await.status,
                200
            );
        }
        read_until(&mut stream, &mut seen, "notifications/tools/list_changed").await;
        assert!(!seen.contains("notifications/prompts"), "{seen}");
        let listed = gate.modern("tools/list", json!({}), &[]).await;
        assert!(listed.text.contains("test_dynamic_tool"), "who is told finds it: {}", listed.text);
        assert!(seen.contains("\"io.modelcontextprotocol/subscriptionId\":7"), "{seen}");
        read_until(&mut standing, &mut heard, "notifications/prompts/list_changed").await;
        read_until(&mut standing, &mut heard, "notifications/tools/list_changed").await;
        let params = json!({ "uri": "test://watched-resource" });
        assert_eq!(
            gate.in_session(&session, "resources/subscribe", params.clone()).await.json()["result"],
            json!({})
        );
        let update = json!({ "name": "test_trigger_resource_update", "arguments": { "uri": "test://watched-resource" } });
        gate.modern("tools/call", update, &[]).await;
        read_until(&mut stream, &mut seen, "notifications/resources/updated").await;
        read_until(&mut standing, &mut heard, "notifications/resources/updated").await;
        assert_eq!(
            gate.in_session(&session, "resources/unsubscribe", params).await.json()["result"],
            json!({})
        );
        // The program's end ends the stream with the response that says so.
        let ended = read_until(&mut stream, &mut seen, "\"resultType\":\"complete\"");
        tokio::join!(gate.tasks.shutdown(std::time::Duration::from_secs(5)), ended);
    }
}
