//! A model call through: the key is checked, the alias is resolved, the provider's key takes the client's place, the usage is written down.
//! nginx passes the same bytes to the same upstream and does none of that.

use super::load::{Ask, nginx, turn};
use super::{Effort, Verdict, figure, median};
use crate::run::say;
use crate::server::{KEY, http, trunkline};
use anyhow::{Context, Result, ensure};

/// What the provider answers: a chat completion of 450 bytes with its usage.
const ANSWER: &str = r#"{"id":"chatcmpl-8f2c51d0","object":"chat.completion","created":1750000000,"model":"bench-1","choices":[{"index":0,"message":{"role":"assistant","content":"The pump in plant seven runs hot because its filter is clogged. Clean the filter, then watch the temperature for an hour.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":48,"completion_tokens":27,"total_tokens":75},"system_fingerprint":"fp_1"}"#;

/// A question of 300 bytes.
const QUESTION: &str = r#"{"model":"assistant","temperature":0.2,"max_tokens":200,"messages":[{"role":"system","content":"You help the operators of a water plant. Answer in two sentences, and name what to do first."},{"role":"user","content":"The pump in plant seven reads 81 degrees and rises. What is wrong, and what shall I do?"}]}"#;

/// How many events a stream has, each of about 290 bytes, as OpenAI writes them.
const EVENTS: usize = 100;
/// How large a large question is.
const LARGE_BYTES: usize = 256 << 10;

/// A streamed answer of 29 kB, which ends with its usage.
fn stream() -> String {
    let chunk = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-8f2c51d0aa21\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench-1\",\
             \"service_tier\":\"default\",\"system_fingerprint\":\"fp_5b7c1a90e2\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let delta = r#"{"index":0,"delta":{"content":" filter"},"logprobs":null,"finish_reason":null}"#;
    let usage = r#"{"prompt_tokens":48,"completion_tokens":27,"total_tokens":75}"#;
    let mut text = chunk(delta, "null").repeat(EVENTS);
    text.push_str(&chunk("", usage));
    text.push_str("data: [DONE]\n\n");
    text
}

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    let folder = crate::server::scratch("bench-model-peers")?;
    let answer = ANSWER.replace('$', "");
    std::fs::write(folder.join("stream.sse"), stream())?;
    let streams = format!(
        "location /v1/responses {{ default_type 'text/event-stream'; root {}; error_page 405 =200 /stream.sse; \
         try_files /stream.sse =404; }} location = /stream.sse {{ default_type 'text/event-stream'; root {0}; }}",
        folder.display()
    );
    let upstream = nginx(
        &folder,
        "upstream",
        "client_max_body_size 1m; client_body_buffer_size 512k;",
        &format!("{streams} location / {{ return 200 '{answer}'; }}"),
    )?;
    let peer = nginx(
        &folder,
        "peer",
        &format!(
            "client_max_body_size 1m; client_body_buffer_size 512k; upstream provider {{ server 127.0.0.1:{}; keepalive 64; keepalive_requests 100000000; }}",
            upstream.port
        ),
        "location / { proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
    )?;
    let config = format!(
        "access: {{keys: [{{name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [application, watcher]}}], roles: {{application: {{allow: [{{verbs: [call], \
         on: [model/assistant]}}]}}, watcher: {{allow: [{{verbs: [inspect], on: ['*']}}]}}}}}}\negress: {{allow_private: true}}\n\
         models: {{providers: {{up: {{url: 'http://127.0.0.1:{}/v1', key: 'env:TRUNKLINE_TEST_KEY'}}}}, aliases: {{assistant: {{provider: up, model: bench-1, \
         price: {{input: '0.15', output: '0.60'}}}}}}}}\n",
        upstream.port
    );
    let (ours, our_folder) = trunkline("bench-model", &config)?;
    let large = QUESTION.replace("The pump", &"The pump ".repeat(LARGE_BYTES / 9));
    let cases = [
        ("model call", Ask::new("/v1/chat/completions", QUESTION), 2.5),
        ("streamed answer of 29 kB", Ask::new("/v1/responses", QUESTION), 2.0),
        ("question of 256 kB", Ask::new("/v1/chat/completions", &large), 2.0),
    ];
    let (mut asked, mut verdicts) = (0, Vec::new());
    for (name, ask, most) in cases {
        // Pools and caches fill before anything counts.
        asked += turn(&ask, &ours, &our_folder, 1)?.requests;
        turn(&ask, &peer, &folder, 1)?;
        let (mut ratios, mut costs) = (Vec::new(), Vec::new());
        for round in 1..=effort.rounds {
            let we = turn(&ask, &ours, &our_folder, effort.seconds)?;
            let they = turn(&ask, &peer, &folder, effort.seconds)?;
            let ratio = we.cpu_us / they.cpu_us;
            say(&format!("  {name}, round {round}  trunkline {we}   nginx {they}   ratio {ratio:.2}"))?;
            asked += we.requests;
            ratios.push(ratio);
            costs.push(we.cpu_us);
        }
        say(&format!("  {name}: median {:.1} µs CPU per call", median(costs)))?;
        let what = format!("{name}, CPU against nginx proxy_pass");
        verdicts.push(Verdict::at_most(&what, median(ratios), "x", most));
    }
    recorded(ours.port, asked)?;
    say(&format!("  key of {} bytes checked, {asked} calls in the usage", KEY.len()))?;
    Ok(verdicts)
}

/// The usage must tell of every call that was answered, with its tokens.
fn recorded(port: u16, asked: u64) -> Result<()> {
    let usage: serde_json::Value = serde_json::from_str(&http(port, "GET", "/admin/usage", "")?)?;
    let sum = |field: &str| {
        let items = usage["items"].as_array().into_iter().flatten();
        items.filter_map(|item| item[field].as_u64()).sum::<u64>()
    };
    let calls = sum("calls");
    // When time was up some calls had been answered that wrk did not count.
    ensure!(calls >= asked, "{asked} calls were answered and {calls} were recorded");
    let tokens = figure(sum("input_tokens")) / figure(calls);
    ensure!((tokens - 48.0).abs() < 0.01, "each call reads 48 tokens, and {tokens} were recorded");
    usage["items"].as_array().context("no usage")?;
    Ok(())
}
