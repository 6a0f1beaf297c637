//! Starts the real binary with a configuration, on a port and folder of its own, and ends it with the test.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The key of the tests' operator, in the environment of every server.
pub(crate) const KEY: &str = "tl_integration-tests-0123456789";
/// The part of a configuration that gives it every right.
pub(crate) const ACCESS: &str =
    "access: {keys: [{name: tester, key: 'env:TRUNKLINE_IT_KEY', roles: [admin]}]}\n";

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_trunkline")
}

/// Runs a command of the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).env("TRUNKLINE_IT_KEY", KEY).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a signal by name. A shell's own `kill` does it, because small systems have no program of that name.
pub(crate) fn signal(name: &str, id: u32) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().unwrap();
    assert!(status.success());
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.unwrap_or_else(|| panic!("no answer of HTTP: {text:?}")),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
    lines: std::sync::mpsc::Receiver<Value>,
    /// What was logged before it was ready.
    before: Vec<Value>,
}

impl Server {
    /// Starts one with this configuration.
    pub(crate) fn start(config: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("trunkline.yaml"), whole(folder.path(), config)).unwrap();
        Server::start_in(folder)
    }

    /// Starts one in a folder that has its configuration already.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Server {
        let file = folder.path().join("trunkline.yaml");
        let mut child = Command::new(binary())
            .args(["serve", "-c"])
            .arg(&file)
            .env("TRUNKLINE_IT_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = std::sync::mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line));
                if send.send(event).is_err() {
                    return;
                }
            }
        });
        let mut server = Server { child, url: String::new(), folder, lines, before: Vec::new() };
        let (before, ready) = server.wait("ready");
        server.before = before;
        server.url = format!("http://{}", ready["address"].as_str().unwrap());
        server
    }

    /// The log event with this message, also when it was written before the server was ready.
    pub(crate) fn wait_for_later(&self, message: &str) -> Value {
        let early = self
            .before
            .iter()
            .find(|event| event["message"].as_str().is_some_and(|text| text.contains(message)));
        early.cloned().unwrap_or_else(|| self.wait_for(message))
    }

    /// The next log event with this message.
    pub(crate) fn wait_for(&self, message: &str) -> Value {
        self.wait(message).1
    }

    /// The next log event with this message, and those before it.
    fn wait(&self, message: &str) -> (Vec<Value>, Value) {
        let began = Instant::now();
        let mut seen = Vec::new();
        while let Some(left) = Duration::from_secs(20).checked_sub(began.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(event) if event["message"].as_str().is_some_and(|text| text.contains(message)) => {
                    return (seen, event);
                }
                Ok(event) => seen.push(event),
                Err(_) => break,
            }
        }
        panic!("no event {message:?}; seen: {seen:#?}");
    }

    /// All log events up to the one with this message.
    pub(crate) fn until(&self, message: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let event = self.lines.recv_timeout(Duration::from_secs(20)).unwrap();
            let last = event["message"].as_str().is_some_and(|text| text.contains(message));
            seen.push(event);
            if last {
                return seen;
            }
        }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("trunkline.yaml")
    }

    /// Replaces the configuration file.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::write(self.config(), whole(self.folder.path(), config)).unwrap();
    }

    /// Runs a command of the program against this server; panics when it fails.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("TRUNKLINE_URL", &self.url)
            .env("TRUNKLINE_KEY", KEY)
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// One HTTP request on a connection of its own, as raw as it is written.
    pub(crate) fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "host: localhost\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.raw(format!("{head}\r\n{body}").as_bytes())
    }

    /// Sends these bytes and reads the answer until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::read(&text(&answer))
    }

    /// Asks until `done` is true of the answer.
    pub(crate) fn eventually(&self, arguments: &[&str], done: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let said = self.cli(arguments);
            if done(&said) {
                return said;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{arguments:?} still says: {said}");
            std::thread::yield_now();
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits until it has ended; how long that took.
    pub(crate) fn ended(&mut self) -> (std::process::ExitStatus, Duration) {
        let began = Instant::now();
        (self.child.wait().unwrap(), began.elapsed())
    }

    /// Kills it at once and gives its folder back.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn whole(folder: &Path, config: &str) -> String {
    format!("listen: 127.0.0.1:0\ndata: {}\n{config}", folder.join("data").display())
}
