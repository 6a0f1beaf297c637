//! One trace through everything: `traceparent` from a device, a service and an agent to the servers behind us.

use crate::run::{command, output, say};
use crate::server::{ACCESS, KEY, fixture, http, scratch, trunkline};
use crate::test::people::eventually;
use anyhow::{Result, ensure};
use std::process::Command;

/// The `traceparent` whose trace id is this digit, repeated.
fn parent(digit: &str) -> String {
    format!("00-{}-00f067aa0ba902b7-01", digit.repeat(32))
}

/// A command line, split at spaces.
fn line(text: &str) -> Command {
    let mut words = text.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

pub(super) fn run() -> Result<()> {
    let folder = scratch("trace-upstreams")?;
    let sink = fixture("webhook-fixture", &folder)?;
    let tools = fixture("mcp-fixture", &folder)?;
    let config = format!(
        "{ACCESS}outlets: {{sink: {{http: {{url: 'http://127.0.0.1:{}/ok'}}}}}}\n\
         routes: [{{name: r, from: 'topic/t/#', to: [out/sink]}}]\n\
         mcp: {{upstreams: {{up: {{url: 'http://127.0.0.1:{}/mcp', prefix: ''}}}}}}\n",
        sink.port, tools.port
    );
    let (server, _folder) = trunkline("trace", &config)?;
    let port = server.port;
    let mut device =
        line(&format!("mosquitto_pub -h 127.0.0.1 -p {port} -V mqttv5 -q 1 -t t/mqtt -m x -u tester"));
    command(device.args(["-P", KEY, "-D", "publish", "user-property", "traceparent", &parent("a")]))?;
    let key = format!("authorization: Bearer {KEY}");
    let mut service = line(&format!("curl -sf -d y http://127.0.0.1:{port}/api/topics/t/http -H"));
    output(service.args([key.as_str(), "-H", &format!("traceparent: {}", parent("b"))]))?;
    for digit in ["a", "b"] {
        let wanted = format!("00-{}", digit.repeat(32));
        eventually("the trace at the webhook", || {
            http(sink.port, "GET", "/received", "").ok()?.contains(&wanted).then_some(())
        })?;
    }
    let answer = agent(port, &key)?;
    ensure!(answer.contains(&format!("00-{}", "c".repeat(32))), "the tool saw no trace: {answer}");
    say("one trace each: MQTT user property and HTTP header to the webhook, MCP _meta to the tool")
}

/// What the tool `inspect_request` says that it was sent.
fn agent(port: u16, key: &str) -> Result<String> {
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"inspect_request","arguments":{{}},"_meta":{{
        "traceparent":"{}","io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},
        "io.modelcontextprotocol/clientInfo":{{"name":"t","version":"1"}}}}}}}}"#,
        parent("c")
    );
    let mut ask = line(&format!("curl -s http://127.0.0.1:{port}/mcp"));
    ask.args(["-H", key, "-H", "accept: application/json, text/event-stream", "-d", &call]);
    let heads = ["mcp-protocol-version: 2026-07-28", "mcp-method: tools/call", "mcp-name: inspect_request"];
    for head in heads.into_iter().chain(["content-type: application/json"]) {
        ask.args(["-H", head]);
    }
    output(&mut ask)
}
