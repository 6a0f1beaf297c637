//! The demo as a newcomer runs it: what it prints works, on any address, in any folder, and nothing is left behind.

use crate::harness::{binary, signal, text};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

struct Demo {
    child: Child,
    printed: String,
    url: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let mut command = Command::new(binary());
        command.arg("demo").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        let url = printed.split_once("dashboard").unwrap().1.split_whitespace().next().unwrap();
        let url = url.trim_end_matches('/').to_owned();
        Demo { child, printed, url }
    }

    /// Runs a command with these words against it.
    fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new(binary()).args(arguments).env("TRUNKLINE_URL", &self.url).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn interrupt(&mut self) {
        signal("INT", self.child.id());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn on_all_addresses_any_port_and_a_folder_with_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a folder: of \"mine\"");
    let place = place.to_str().unwrap();
    let mut demo = Demo::start(&["--listen", "0.0.0.0:0", "--data", place]);
    assert!(demo.url.starts_with("http://127.0.0.1:"), "{}", demo.printed);
    assert!(demo.printed.contains(&format!("TRUNKLINE_URL={} ", demo.url)), "{}", demo.printed);
    assert!(demo.cli(&["models", "ask", "echo", "hello"]).contains("hello"));
    // The webhook of the example is the demo itself: it must know its own address.
    let delivered = demo.cli(&["subscribe", "orders/delivered", "-n", "1"]);
    assert!(delivered.contains("pump"), "{delivered}");

    let second =
        Command::new(binary()).args(["demo", "--listen", "127.0.0.1:0", "--data", place]).output().unwrap();
    let said = text(&second.stderr);
    assert!(!second.status.success() && said.contains("in use"), "{said}");
    demo.interrupt();

    // The folder keeps its key and configuration; another address is taken up all the same.
    let again = Demo::start(&["--listen", "127.0.0.1:0", "--data", place]);
    let key = |demo: &Demo| {
        demo.printed.split_once("demo key         ").unwrap().1.lines().next().map(str::to_owned)
    };
    assert_eq!(key(&again), key(&demo));
    assert_ne!(again.url, demo.url);
    again.cli(&["queue", "ls"]);
}

#[test]
fn a_temporary_folder_goes_with_the_demo_and_a_busy_port_is_named() {
    let mut demo = Demo::start(&["--listen", "127.0.0.1:0"]);
    let file = demo.printed.split_once("configuration    ").unwrap().1.lines().next().unwrap().to_owned();
    assert!(std::path::Path::new(&file).exists());
    let address = demo.url.trim_start_matches("http://").to_owned();
    let second = Command::new(binary()).args(["demo", "--listen", &address]).output().unwrap();
    let said = text(&second.stderr);
    assert!(said.contains("TL0036") && said.contains("choose another port"), "{said}");
    demo.interrupt();
    assert!(!std::path::Path::new(&file).exists(), "{file} was left behind");
}
