//! Starting the real binary and other servers for tests and benchmarks, each on ports of its own, ended by their handle.

use crate::run::{binary, signal, target};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A process that is ended when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
}

impl Process {
    /// Starts a command and waits until something listens on `port`.
    pub(crate) fn start(command: &mut Command, port: u16, log: &Path) -> Result<Process> {
        let out = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        let mut process = Process { child, port };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.child.try_wait()? {
                bail!(
                    "{command:?} ended with {status}: {}",
                    std::fs::read_to_string(log).unwrap_or_default()
                );
            }
            if began.elapsed() > START {
                bail!(
                    "{command:?} does not listen on {port}: {}",
                    std::fs::read_to_string(log).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills at once, as the system does when memory runs out.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, so that children of its own are ended too; it may be gone already.
        signal(self.child.id(), Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder of its own, emptied.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let folder = target().join("xtask").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Trunkline with this configuration; `{port}` and `{folder}` in it are filled in. The API key is in `KEY`.
pub(crate) fn trunkline(name: &str, config: &str) -> Result<(Process, PathBuf)> {
    let (folder, port) = configured(name, config)?;
    let process = restart(&folder, port)?;
    Ok((process, folder))
}

/// A folder with that configuration, for a server that somebody else starts and ends.
pub(crate) fn configured(name: &str, config: &str) -> Result<(PathBuf, u16)> {
    let folder = scratch(name)?;
    let port = free_port()?;
    let text = format!("listen: 127.0.0.1:{port}\ndata: {}\n{config}", folder.join("data").display());
    let text = text.replace("{port}", &port.to_string()).replace("{folder}", &folder.display().to_string());
    std::fs::write(folder.join("trunkline.yaml"), text)?;
    Ok((folder, port))
}

/// Trunkline on a folder that `trunkline` made.
pub(crate) fn restart(folder: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(binary());
    command.arg("serve").arg("-c").arg(folder.join("trunkline.yaml")).env("TRUNKLINE_TEST_KEY", KEY);
    Process::start(&mut command, port, &folder.join("server.log"))
}

/// The key of the tests' operator.
pub(crate) const KEY: &str = "My API Key 0123456789";

/// The part of a configuration that gives that key every right.
pub(crate) const ACCESS: &str =
    "access: {keys: [{name: tester, key: 'env:TRUNKLINE_TEST_KEY', roles: [admin]}]}\n";

/// One of our fixture servers.
pub(crate) fn fixture(name: &str, folder: &Path) -> Result<Process> {
    let port = free_port()?;
    let program = target().join("release").join(name);
    Process::start(
        Command::new(program).args(["--port", &port.to_string()]),
        port,
        &folder.join(format!("{name}.log")),
    )
}

/// One HTTP/1.0 request with the key, and the body of its answer, which no 1.0 client gets in chunks (RFC 9112 §6.1); an
/// error for a status of 400 and more.
pub(crate) fn http(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), START)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, rest) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status: u16 =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    if status >= 400 {
        bail!("{method} {path}: {status}: {rest}");
    }
    Ok(rest.to_owned())
}

/// CPU time of a process and its children so far, in microseconds.
pub(crate) fn cpu_us(id: u32) -> u64 {
    let of = |id: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
            * 10_000
    };
    of(id) + children(id).into_iter().map(cpu_us).sum::<u64>()
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(id: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{id}/statm")).unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn children(id: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
