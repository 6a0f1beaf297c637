//! How large it is: the stripped release binary, the resident memory of an idle server, the packages that it is made of.
//! Memory is what the system counts as resident, file pages included.

use super::{Effort, Verdict, figure};
use crate::run::{binary, output, root, say};
use crate::server::{Process, free_port, resident, scratch, trunkline};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

const MB: f64 = 1e6;
const IDLE: Duration = Duration::from_secs(5);

pub(super) fn run(_effort: Effort) -> Result<Vec<Verdict>> {
    let stripped = scratch("bench-size")?.join("trunkline");
    output(Command::new("strip").arg("-o").arg(&stripped).arg(binary()))?;
    let bytes = std::fs::metadata(&stripped)?.len();
    std::fs::remove_file(stripped)?;

    let (server, _folder) = trunkline("bench-size-empty", "log: {level: info}\n")?;
    std::thread::sleep(IDLE);
    let empty = resident(server.id());
    drop(server);

    let folder = scratch("bench-size-demo")?;
    let port = free_port()?;
    let mut demo = Command::new(binary());
    demo.args(["demo", "--listen", &format!("127.0.0.1:{port}"), "--data"]).arg(folder.join("data"));
    let server = Process::start(&mut demo, port, &folder.join("log"))?;
    std::thread::sleep(IDLE);
    let with_demo = resident(server.id());
    drop(server);

    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let packages = u64::try_from(lock.matches("[[package]]").count())?;
    say(&format!(
        "  {bytes} bytes stripped; {empty} bytes resident empty, {with_demo} in the demo; {packages} packages"
    ))?;
    Ok(vec![
        Verdict::at_most("stripped release binary", figure(bytes) / MB, "MB", 45.0),
        Verdict::at_most(
            "resident memory, empty configuration, idle for 5 s",
            figure(empty) / MB,
            "MB",
            40.0,
        ),
        Verdict::at_most(
            "resident memory, the demo with its own traffic, after 5 s",
            figure(with_demo) / MB,
            "MB",
            40.0,
        ),
        Verdict::at_most("packages in Cargo.lock", figure(packages), "", 400.0),
    ])
}
