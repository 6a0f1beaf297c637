//! What packagers and operators get: the image's files, the Debian package, the unit, the board and the alerts, each run or judged by
//! the tool it is for. Docker itself is not needed.

use crate::peers::{debian, debian_root, node, npm};
use crate::run::{binary, command, output, root, say};
use crate::server::{ACCESS, KEY, Process, free_port, http, scratch, trunkline};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What is judged here needs of Debian.
const TOOLS: [(&str, &str); 3] =
    [("promtool", "prometheus"), ("lintian", "lintian"), ("systemd-analyze", "systemd")];

pub(super) fn run() -> Result<()> {
    debian(&TOOLS)?;
    let folder = scratch("packaging")?;
    unit(&folder)?;
    names()?;
    let mut lint = Command::new(node());
    lint.arg(npm().join("node_modules/dockerfilelint/bin/dockerfilelint")).arg("packaging/Dockerfile");
    say(output(&mut lint)?.trim())?;
    if !rustix::process::geteuid().is_root() {
        return say("SKIPPED: only root may chroot, so the image's files and the package were not installed");
    }
    image(&folder)?;
    package(&folder)
}

/// systemd knows every line, and the service may do little.
fn unit(folder: &Path) -> Result<()> {
    // The verifier wants the program to be there.
    let text = std::fs::read_to_string(root().join("packaging/trunkline.service"))?;
    let file = folder.join("trunkline.service");
    let text = text.replace("/usr/bin/trunkline", &binary().display().to_string());
    std::fs::write(&file, text.replace("Documentation=man:trunkline(1)\n", ""))?;
    command(Command::new("systemd-analyze").arg("verify").arg(&file))?;
    let rating = ["security", "--offline=true", "--threshold=20"];
    let said = output(Command::new("systemd-analyze").args(rating).arg(&file))?;
    say(said.lines().last().unwrap_or_default().trim())
}

/// Every metric that the board and the alerts name is there.
fn names() -> Result<()> {
    command(Command::new("promtool").args(["check", "rules", "packaging/prometheus-rules.yml"]))?;
    let (server, _folder) = trunkline("packaging-names", ACCESS)?;
    let page = http(server.port, "GET", "/metrics", "")?;
    let served: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut count = 0;
    for file in ["packaging/grafana.json", "packaging/prometheus-rules.yml"] {
        let text = std::fs::read_to_string(root().join(file))?;
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("trunkline_") || word.starts_with("process_")) {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = served.contains(word) || histogram.is_some_and(|name| served.contains(name));
            ensure!(known, "{file} names {word}, which /metrics does not have");
            count += 1;
        }
    }
    ensure!(count > 30, "only {count} metrics are named: were the files read?");
    say(&format!("{count} metrics named by the board and the alerts, all served"))
}

/// The image's files serve from an empty folder, as the user that the Dockerfile names.
fn image(folder: &Path) -> Result<()> {
    let tree = folder.join("image");
    command(Command::new("packaging/lay.sh").arg(&tree).arg(binary()))?;
    let port = free_port()?;
    // The port that is free here; all else is as the image has it.
    let file = tree.join("etc/trunkline/trunkline.yaml");
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.contains("0.0.0.0:7400"), "the image's configuration does not listen on 7400");
    std::fs::write(&file, text.replace("0.0.0.0:7400", &format!("127.0.0.1:{port}")))?;
    let mut chroot = Command::new("chroot");
    chroot.args(["--userspec=65532:65532", "--groups="]).arg(&tree).arg("/usr/bin/trunkline");
    chroot.args(["serve", "--config", "/etc/trunkline/trunkline.yaml"]).env("OPERATOR_KEY", KEY);
    let server = Process::start(&mut chroot, port, &folder.join("image.log"))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    ensure!(
        status.contains("Uid:\t65532\t65532") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );
    let health = http(port, "GET", "/healthz", "")?;
    http(port, "GET", "/admin/overview", "")?;
    say(&format!("the image's files serve as a user without rights: {health}"))
}

// Finding: N-A8, N-D
/// The package is what Debian expects, installs into a bare Debian, serves there, and goes without a trace.
fn package(folder: &Path) -> Result<()> {
    let file = folder.join("trunkline.deb");
    command(Command::new("packaging/deb.sh").arg(binary()).arg(&file))?;
    command(Command::new("lintian").args(["--fail-on", "error", "--allow-root"]).arg(&file))?;
    let licence = std::fs::read_to_string(root().join("LICENSE")).context("there is no LICENSE")?;
    ensure!(licence.contains("Apache License") && licence.contains("Version 2.0"), "LICENSE is another text");
    let bare = folder.join("debian");
    std::fs::create_dir(&bare)?;
    command(Command::new("tar").arg("xf").arg(debian_root()?).arg("-C").arg(&bare))?;
    std::fs::copy(&file, bare.join("trunkline.deb"))?;
    let inside = |line: &str| output(Command::new("chroot").arg(&bare).args(["sh", "-ec", line]));
    inside("dpkg -i /trunkline.deb")?;
    let modes = inside(
        "stat -c '%a %U %G %n' /etc/trunkline/keys /etc/trunkline/trunkline.yaml /var/lib/trunkline; \
         test -s /usr/share/man/man1/trunkline.1.gz; test -s /usr/share/bash-completion/completions/trunkline",
    )?;
    let expected = "600 root root /etc/trunkline/keys\n640 root trunkline /etc/trunkline/trunkline.yaml\n\
                    700 trunkline trunkline /var/lib/trunkline\n";
    ensure!(modes == expected, "the package's files have other modes or owners:\n{modes}");
    let keys = std::fs::read_to_string(bare.join("etc/trunkline/keys"))?;
    let key = keys.trim().strip_prefix("OPERATOR_KEY=").context("no key was made")?;
    ensure!(key.len() > 40, "the key that was made is short");
    let port = free_port()?;
    inside(&format!("sed -i s/:7400/:{port}/ /etc/trunkline/trunkline.yaml"))?;
    // As the unit starts it: systemd reads the keys, the service runs as its user.
    let mut chroot = Command::new("chroot");
    chroot.args(["--userspec=trunkline:trunkline", "--groups="]).arg(&bare).arg("/usr/bin/trunkline");
    chroot.args(["serve", "-c", "/etc/trunkline/trunkline.yaml"]).env("OPERATOR_KEY", key);
    let server = Process::start(&mut chroot, port, &folder.join("package.log"))?;
    let reach = format!("TRUNKLINE_KEY={key} trunkline queue ls --url http://127.0.0.1:{port}");
    inside(&reach)?;
    drop(server);
    // An upgrade keeps key and data, a purge leaves nothing.
    inside("dpkg -i /trunkline.deb")?;
    let kept = std::fs::read_to_string(bare.join("etc/trunkline/keys"))?;
    ensure!(kept == keys, "the upgrade changed the key");
    ensure!(bare.join("var/lib/trunkline/data").is_dir(), "the upgrade took the data away");
    inside(
        "dpkg -P trunkline; test ! -e /etc/trunkline; test ! -e /var/lib/trunkline; test ! -e /usr/bin/trunkline",
    )?;
    std::fs::remove_dir_all(&bare)?;
    say("the package installs into a bare Debian 12, serves, keeps its data over an upgrade, and is purged")
}
