//! Other people's suites: MCP conformance and Inspector, the OpenAI SDK's own tests, jq's, Chromium.

use crate::peers::{jq_tests, node, npm, sdk, venv};
use crate::run::{cargo, command, output, root, say, target};
use crate::server::{ACCESS, KEY, Process, fixture, free_port, scratch, trunkline};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::process::Command;

pub(super) fn mcp() -> Result<()> {
    let folder = scratch("mcp-upstream")?;
    let upstream = fixture("mcp-fixture", &folder)?;
    // The suite shows no key, so whoever comes without one may do everything here.
    let config = format!(
        "access: {{anonymous: [admin]}}\nmcp:\n  upstreams:\n    fixture: {{url: 'http://127.0.0.1:{}/mcp', prefix: ''}}\n",
        upstream.port
    );
    let (server, folder) = trunkline("mcp", &config)?;
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    let mut suite = Command::new("bash");
    suite
        .arg("tests/judges/mcp.sh")
        .arg(url)
        .arg(folder.join("results"))
        .env("NODE", node())
        .env("NPM", npm());
    command(&mut suite)
}

/// The language of steps against libjq and by jq's own tests.
pub(super) fn jq() -> Result<()> {
    cargo(&["build", "--release", "--quiet", "--package", "hub", "--example", "jq"])?;
    let mut judge = Command::new(venv().join("bin/python"));
    judge.arg("tests/judges/jq_language.py").arg(target().join("release/examples/jq")).arg(jq_tests());
    command(judge.current_dir(root()))
}

pub(super) fn inspector() -> Result<()> {
    let folder = scratch("inspector-upstream")?;
    let upstream = fixture("mcp-fixture", &folder)?;
    let everything = npm().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let config = format!(
        "{ACCESS}queues: {{orders: {{}}}}\nmcp:\n  upstreams:\n    fixture: {{url: 'http://127.0.0.1:{}/mcp'}}\n    everything: {{command: '{}', args: ['{}', stdio]}}\n",
        upstream.port,
        node().display(),
        everything.display()
    );
    let (server, _folder) = trunkline("inspector", &config)?;
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    let key = format!("Authorization: Bearer {KEY}");
    let cli = npm().join("node_modules/.bin/mcp-inspector");
    let inspect = |arguments: &[&str]| {
        let mut path =
            std::ffi::OsString::from(node().parent().map(std::path::Path::to_owned).unwrap_or_default());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut run = Command::new(&cli);
        run.env("PATH", path).args(["--cli", &url, "--transport", "http", "--header", &key]).args(arguments);
        output(&mut run)
    };
    let listed = inspect(&["--method", "tools/list"])?;
    for expected in ["fixture_echo", "everything_echo", "publish"] {
        ensure!(listed.contains(expected), "tools/list lacks {expected}: {listed}");
    }
    let called = inspect(&[
        "--method",
        "tools/call",
        "--tool-name",
        "everything_echo",
        "--tool-arg",
        "message=hello",
    ])?;
    ensure!(called.contains("hello"), "everything_echo said {called}");
    let published = inspect(&[
        "--method",
        "tools/call",
        "--tool-name",
        "publish",
        "--tool-arg",
        "address=queue/orders",
        "--tool-arg",
        "body=pump",
    ])?;
    say(&format!("publish said {}", published.replace('\n', " ")))?;
    let peeked = crate::server::http(server.port, "GET", "/admin/queues/orders/messages", "")?;
    ensure!(peeked.contains("pump"), "the tool `publish` put nothing into queue/orders: {peeked}");
    say(&format!("{} tools of two upstreams and our own", listed.matches("\"name\"").count()))
}

/// Passed and failed, by file.
type Scores = BTreeMap<String, (u32, u32)>;

fn scores(url: &str, folder: &std::path::Path) -> Result<Scores> {
    let mut suite = Command::new("bash");
    suite.arg("tests/judges/openai.sh").arg(url).arg(folder).env("VENV", venv()).env("SDK", sdk());
    let printed = output(&mut suite)?;
    let mut scores = Scores::new();
    for line in printed.lines() {
        let mut words = line.split_whitespace();
        let (name, passed, failed) = (words.next(), words.next(), words.next());
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).context("a score");
        scores.insert(name.unwrap_or("").to_owned(), (number(passed)?, number(failed)?));
    }
    Ok(scores)
}

/// The SDK sends "My API Key"; its digest stands in the configuration.
const SDK_KEY: &str = "access: {keys: [{name: sdk, sha256: f04f84687bec414475fd693ae9e90d8fb2e82967372d2aa80c1dc718aa27d4da, roles: [admin]}]}\n";

pub(super) fn openai() -> Result<()> {
    let folder = scratch("steady")?;
    let port = free_port()?;
    let mut start = Command::new("bash");
    let steady = Process::start(
        start.arg(root().join("tests/judges/steady.sh")).arg(port.to_string()).env("NPM", npm()),
        port,
        &folder.join("steady.log"),
    )?;
    let config = format!(
        "{SDK_KEY}models:\n  providers:\n    steady: {{kind: openai, url: 'http://127.0.0.1:{}', key: 'env:TRUNKLINE_TEST_KEY'}}\n  default_provider: steady\n",
        steady.port
    );
    let (server, _folder) = trunkline("openai", &config)?;
    let direct = scores(&format!("http://127.0.0.1:{}", steady.port), &folder.join("direct"))?;
    let through = scores(&format!("http://127.0.0.1:{}/v1", server.port), &folder.join("through"))?;
    let mut worse = Vec::new();
    for (name, (passed, _)) in &direct {
        let ours = through.get(name).copied().unwrap_or_default();
        say(&format!("{name:20} direct {passed:>4}  through us {:>4} (failed {})", ours.0, ours.1))?;
        if ours.0 < *passed || *passed == 0 {
            worse.push(name.as_str());
        }
    }
    ensure!(worse.is_empty(), "worse than Steady directly: {}", worse.join(", "));
    Ok(())
}

pub(super) fn echo() -> Result<()> {
    let (server, _folder) = trunkline("echo", ACCESS)?;
    let url = format!("http://127.0.0.1:{}/v1", server.port);
    command(Command::new(venv().join("bin/python")).arg("tests/clients/openai_sdk.py").args([&url, KEY]))
}

pub(super) fn dashboard() -> Result<()> {
    let port = free_port()?;
    let folder = scratch("dashboard")?;
    let mut demo = Command::new(crate::run::binary());
    demo.args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(folder.join("demo"));
    let _demo = Process::start(&mut demo, port, &folder.join("demo.log"))?;
    let mut click = Command::new(node());
    click.arg("tests/clients/dashboard.mjs").arg(format!("http://127.0.0.1:{port}/")).arg(&folder);
    command(
        click
            .env("NODE_PATH", npm().join("node_modules"))
            .env("PLAYWRIGHT", npm().join("node_modules/playwright-core")),
    )
}
