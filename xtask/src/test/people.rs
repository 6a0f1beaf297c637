//! What people do: the demo's first minute, devices, a hospital system, services, mistakes. Clients that we did not write wherever there is one.

use crate::peers::venv;
use crate::run::{binary, command, output, root, say, signal};
use crate::server::{ACCESS, KEY, Process, configured, fixture, free_port, http, scratch, trunkline};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Waits until `check` says something, for at most thirty seconds: the machine may be busy.
pub(super) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return Ok(found);
        }
        if began.elapsed() > Duration::from_secs(30) {
            bail!("waited thirty seconds for: {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The demo as it was started, what it printed until it was ready, and how long that took.
fn start_demo(folder: &Path, port: u16) -> Result<(Child, String, Duration)> {
    let began = Instant::now();
    let mut demo = Command::new(binary())
        .args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(folder.join("demo"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(folder.join("demo.log"))?)
        .spawn()?;
    let mut lines = BufReader::new(demo.stdout.take().context("no output")?).lines();
    let mut printed = String::new();
    while !printed.contains("Ctrl-C") {
        printed += &lines.next().context("the demo ended early")??;
        printed.push('\n');
    }
    Ok((demo, printed, began.elapsed()))
}

pub(super) fn first_minute() -> Result<()> {
    let folder = scratch("first-minute")?;
    let port = free_port()?;
    let (mut demo, mut printed, mut took) = start_demo(&folder, port)?;
    // Another program may have had the cores: who is slow is so more than once.
    for _ in 0..3 {
        say(&format!("listening and printed after {} ms", took.as_millis()))?;
        if took < Duration::from_secs(1) {
            break;
        }
        signal(demo.id(), Signal::INT);
        demo.wait()?;
        (demo, printed, took) = start_demo(&folder, port)?;
    }
    ensure!(took < Duration::from_secs(1), "the demo took {took:?} to listen");
    for expected in ["dashboard", "mcpServers", "curl -X POST", "mosquitto_pub", "/v1", "demo key"] {
        ensure!(printed.contains(expected), "the demo does not print {expected:?}:\n{printed}");
    }
    // Each line as a newcomer copies it.
    for start in ["  curl ", "  mosquitto_pub "] {
        let line = printed.lines().find(|line| line.starts_with(start)).context("a line to copy")?;
        let said = output(Command::new("sh").arg("-c").arg(line))?;
        say(&format!("{} -> {}", start.trim(), said.trim()))?;
    }
    let page = http(port, "GET", "/", "");
    ensure!(page.is_ok_and(|page| page.contains("<html")), "the dashboard does not load");
    let began = Instant::now();
    ensure!(signal(demo.id(), Signal::INT), "the demo was not there to be stopped");
    let status = demo.wait()?;
    say(&format!("stopped {} ms after Ctrl-C", began.elapsed().as_millis()))?;
    ensure!(
        status.success() && began.elapsed() < Duration::from_secs(5),
        "the demo did not stop well: {status}"
    );
    Ok(())
}

pub(super) fn mqtt() -> Result<()> {
    let (server, _folder) = trunkline("mqtt", ACCESS)?;
    let port = server.port.to_string();
    let login = ["-h", "127.0.0.1", "-p", &port, "-u", "tester", "-P", KEY];
    for version in ["mqttv311", "mqttv5"] {
        let topic = format!("plant/{version}/temp");
        command(
            Command::new("mosquitto_pub")
                .args(login)
                .args(["-V", version, "-q", "1", "-r", "-t", &topic, "-m", "21.5"]),
        )?;
        let got = output(Command::new("mosquitto_sub").args(login).args([
            "-V",
            version,
            "-q",
            "1",
            "-C",
            "1",
            "-W",
            "10",
            "-t",
            "plant/+/temp",
            "-v",
        ]))?;
        ensure!(got.contains("21.5"), "mosquitto_sub got {got:?}");
        say(&format!("{version}: {}", got.trim()))?;
    }
    let refused = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-u", "x", "-P", "wrong", "-t", "a", "-m", "b"])
        .output()?;
    ensure!(!refused.status.success(), "a wrong password was let in");
    say(&format!("wrong password: {}", String::from_utf8_lossy(&refused.stderr).trim()))?;
    command(Command::new(venv().join("bin/python")).arg("tests/clients/mqtt_paho.py").args([
        "127.0.0.1",
        &port,
        KEY,
    ]))
}

/// The script starts and kills the server itself.
pub(super) fn mqtt_kill() -> Result<()> {
    let (folder, port) = configured("mqtt-kill", ACCESS)?;
    let config = folder.join("trunkline.yaml");
    command(
        Command::new(venv().join("bin/python"))
            .arg("tests/clients/mqtt_kill.py")
            .arg(binary())
            .arg(config)
            .args([&port.to_string(), KEY])
            .env("TRUNKLINE_TEST_KEY", KEY),
    )
}

/// The hospital's part of the example configuration.
fn hospital() -> Result<String> {
    let example = std::fs::read_to_string(root().join("examples/trunkline.yaml"))?;
    let from = example.find("  - name: lab-results").context("the route lab-results")?;
    let until = example.find("\nprotocols:").context("the protocols")?;
    let route = example.get(from..until).context("the route's text")?;
    Ok(format!(
        "{ACCESS}queues: {{lab-results: {{}}}}\nroutes:\n{route}\nprotocols:\n  mllp: {{publish: topic/hl7/in, principal: tester}}\n"
    ))
}

pub(super) fn mllp() -> Result<()> {
    let (server, folder) = {
        let config = hospital()?;
        let (server, folder) = trunkline(
            "mllp",
            &config.replace(
                "lab-result.schema.json",
                &root().join("examples/lab-result.schema.json").display().to_string(),
            ),
        )?;
        (server, folder)
    };
    let port = server.port.to_string();
    let mut critical = follow(server.port, "lab/critical", &folder)?;
    command(Command::new("bash").arg("tests/clients/mllp.sh").arg(&port).env("VENV", venv()))?;
    let peeked = http(server.port, "GET", "/admin/queues/lab-results/messages?max=10", "")?;
    ensure!(peeked.matches("\"number\"").count() >= 2, "queue/lab-results holds {peeked}");
    let line = critical.next_event()?;
    ensure!(line.contains("critical"), "topic/lab/critical said {line}");
    say("normal and critical results on queue/lab-results, the critical one also on topic/lab/critical")
}

/// A curl that follows a topic.
struct Follower {
    process: Process,
    log: std::path::PathBuf,
}

impl Follower {
    fn next_event(&mut self) -> Result<String> {
        let log = self.log.clone();
        let found = eventually("an event", || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.lines().find(|line| line.starts_with("data:")).map(str::to_owned)
        });
        self.process.kill()?;
        found
    }
}

fn follow(port: u16, topic: &str, folder: &Path) -> Result<Follower> {
    let log = folder.join("follow.log");
    let url = format!("http://127.0.0.1:{port}/api/topics/{topic}");
    let mut curl = Command::new("curl");
    curl.args([
        "-sN",
        "-H",
        "accept: text/event-stream",
        "-H",
        &format!("authorization: Bearer {KEY}"),
        &url,
    ]);
    let process = Process::start(&mut curl, port, &log)?;
    eventually("a subscription", || {
        let overview = http(port, "GET", "/admin/overview", "").ok()?;
        (!overview.contains("\"subscriptions\":0")).then_some(())
    })?;
    Ok(Follower { process, log })
}

pub(super) fn services() -> Result<()> {
    let config = format!("{ACCESS}queues: {{orders: {{}}, work: {{}}}}\n");
    let (server, _folder) = trunkline("http", &config)?;
    let port = server.port.to_string();
    command(Command::new("bash").arg("tests/clients/http_api.sh").args(["127.0.0.1", &port, KEY]))
}

pub(super) fn clock() -> Result<()> {
    let folder = scratch("clock")?;
    command(Command::new("python3").arg("tests/clients/clock.py").arg(binary()).arg(&folder))
}

pub(super) fn webhook() -> Result<()> {
    let folder = scratch("webhook-sink")?;
    let sink = fixture("webhook-fixture", &folder)?;
    let base = format!("http://127.0.0.1:{}", sink.port);
    let config = format!(
        "{ACCESS}queues: {{good: {{}}, shaky: {{}}, bad: {{}}}}\noutlets:\n  good: {{http: {{url: '{base}/ok', mode: binary}}}}\n  \
         shaky: {{http: {{url: '{base}/fail?times=2'}}}}\n  bad: {{http: {{url: '{base}/status/503'}}, breaker: {{failures: 100}}}}\n\
         routes:\n  - {{name: good, from: queue/good, to: [out/good]}}\n  - {{name: shaky, from: queue/shaky, to: [out/shaky], retry: {{first: 50ms}}}}\n  \
         - {{name: bad, from: queue/bad, to: [out/bad], retry: {{count: 3, first: 50ms}}}}\n"
    );
    let (server, _folder) = trunkline("webhook", &config)?;
    for queue in ["good", "shaky", "bad"] {
        http(server.port, "POST", &format!("/api/queues/{queue}"), "{\"n\":1}")?;
    }
    let dead = eventually("a dead letter", || {
        let dead = http(server.port, "GET", "/admin/queues/bad/dead", "").ok()?;
        dead.contains("\"attempts\":[{").then_some(dead)
    })?;
    ensure!(dead.matches("took_ms").count() >= 3, "three attempts must be kept: {dead}");
    let received = eventually("the shaky delivery", || {
        let received = http(sink.port, "GET", "/received", "").ok()?;
        (received.matches("/fail").count() >= 3).then_some(received)
    })?;
    ensure!(received.contains("ce-id"), "binary CloudEvents carry ce-id");
    let url = format!("http://127.0.0.1:{}", server.port);
    let cli = |arguments: &[&str]| {
        output(Command::new(binary()).args(arguments).env("TRUNKLINE_URL", &url).env("TRUNKLINE_KEY", KEY))
    };
    say(&cli(&["queue", "dead", "bad"])?)?;
    say(&cli(&["queue", "replay", "bad", "--all"])?)?;
    eventually("the replayed message's death", || {
        let received = http(sink.port, "GET", "/received", "").ok()?;
        (received.matches("/status/503").count() >= 6).then_some(())
    })
}

pub(super) fn refusals() -> Result<()> {
    // The second key is the word "secret": only its digest stands here.
    let config = "access:\n  keys:\n    - {name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [admin]}\n    \
                  - {name: sensor, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, roles: [sensor]}\n  \
                  roles: {sensor: {allow: [{verbs: [publish], on: ['topic/a/#']}]}}\n\
                  queues: {orders: {}, small: {messages: 1}}\nlimits: {message_bytes: 1000}\n\
                  routes:\n  - {name: checked, from: topic/checked, steps: [{validate: {schema: {type: object, required: [a]}}}], to: [queue/orders]}\n\
                  models: {providers: {gone: {kind: openai, url: 'http://127.0.0.1:9/v1'}, slow: {kind: echo, timeout: 500ms}}, \
                  aliases: {gone: {provider: gone, model: x}, slow: {provider: slow, model: echo}}}\n";
    let (server, folder) = trunkline("refusals", config)?;
    let port = server.port;
    coded(port)?;
    let wrong = output(Command::new("curl").args([
        "-s",
        "-H",
        "authorization: Bearer nobody",
        &format!("http://127.0.0.1:{port}/admin/overview"),
    ]))?;
    ensure!(wrong.contains("TL0001"), "wrong key: {wrong}");
    let forbidden = output(Command::new("curl").args([
        "-s",
        "-H",
        "authorization: Bearer secret",
        "-d",
        "x",
        &format!("http://127.0.0.1:{port}/api/topics/b"),
    ]))?;
    ensure!(forbidden.contains("TL0002"), "forbidden: {forbidden}");
    garbage(port)?;
    bad_configuration(port, &folder)
}

/// Refusals over HTTP, each with its own code.
fn coded(port: u16) -> Result<()> {
    let expect = |what: &str, result: Result<String>, code: &str| -> Result<()> {
        let said = result.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains(code), "{what}: expected {code}, got {said:?}");
        say(&format!("{what}: {}", said.lines().next().unwrap_or("")))
    };
    expect("unknown queue", http(port, "POST", "/api/queues/oders", "x"), "TL0010")?;
    expect("too large", http(port, "POST", "/api/queues/orders", &"x".repeat(2000)), "TL0003")?;
    http(port, "POST", "/api/queues/small", "x")?;
    expect("queue full", http(port, "POST", "/api/queues/small", "y"), "TL0007")?;
    expect("unknown method", http(port, "PATCH", "/api/queues/orders", ""), "TL0035")?;
    expect("schema violation", http(port, "POST", "/api/topics/checked", "{\"b\":1}"), "TL0006")?;
    let ask = |model: &str, text: &str| {
        let body =
            format!("{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":{text}}}]}}");
        http(port, "POST", "/v1/chat/completions", &body)
    };
    expect("upstream down", ask("gone", "\"hello\""), "TL0008")?;
    expect("deadline passed", ask("slow", "\"{\\\"echo\\\":{\\\"delay_ms\\\":5000}}\""), "TL0009")?;
    expect("unknown model", ask("ecko", "\"hello\""), "TL0030")?;
    Ok(())
}

/// Bytes of no protocol: the connection ends and the server lives.
fn garbage(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    stream.write_all(&[0xff; 512])?;
    let mut answer = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut answer));
    ensure!(http(port, "GET", "/healthz", "").is_ok(), "the server did not survive garbage");
    say("malformed first bytes: the connection ended, the server lives")
}

fn bad_configuration(port: u16, folder: &Path) -> Result<()> {
    let file = folder.join("trunkline.yaml");
    let good = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{good}ruotes: []\n"))?;
    let checked = Command::new(binary())
        .args(["config", "check"])
        .arg(&file)
        .env("TRUNKLINE_TEST_KEY", KEY)
        .output()?;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    ensure!(
        !checked.status.success() && said.contains("did you mean \"routes\"?"),
        "config check said {said}"
    );
    say(&format!("bad configuration: {}", said.lines().next().unwrap_or("")))?;
    let log = folder.join("server.log");
    eventually("the refusal of the bad file", || {
        std::fs::read_to_string(&log).ok()?.contains("TL0012").then_some(())
    })?;
    ensure!(
        http(port, "GET", "/admin/queues/orders", "").is_ok(),
        "the former configuration is no longer in force"
    );
    std::fs::write(&file, good.replace("orders: {}", "orders: {}, fresh: {}"))?;
    eventually("the good file", || http(port, "POST", "/api/queues/fresh", "x").ok())?;
    say("the good file was applied without a restart")
}
