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

pub(super) fn run(effort: Effort) -> Result<Vec<Verdict>> {
    let folder = crate::server::scratch("bench-model-peers")?;
    let answer = ANSWER.replace('$', "");
    let upstream = nginx(&folder, "upstream", "", &format!("location / {{ return 200 '{answer}'; }}"))?;
    let peer = nginx(
        &folder,
        "peer",
        &format!(
            "upstream provider {{ server 127.0.0.1:{}; keepalive 64; keepalive_requests 100000000; }}",
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
    let ask = Ask::new("/v1/chat/completions", QUESTION);
    // Pools and caches fill before anything counts.
    let mut asked = turn(&ask, &ours, &our_folder, 1)?.requests;
    turn(&ask, &peer, &folder, 1)?;
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    for round in 1..=effort.rounds {
        let we = turn(&ask, &ours, &our_folder, effort.seconds)?;
        let they = turn(&ask, &peer, &folder, effort.seconds)?;
        say(&format!(
            "  round {round}  trunkline {we}   nginx {they}   ratio {:.2}",
            we.cpu_us / they.cpu_us
        ))?;
        asked += we.requests;
        ratios.push(we.cpu_us / they.cpu_us);
        costs.push(we.cpu_us);
    }
    recorded(ours.port, asked)?;
    say(&format!("  key of {} bytes checked, {asked} calls in the usage", KEY.len()))?;
    say(&format!("  median {:.1} µs CPU per call", median(costs)))?;
    Ok(vec![Verdict::at_most("model call, CPU against nginx proxy_pass", median(ratios), "x", 2.5)])
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
