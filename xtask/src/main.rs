//! The project's chores as one program, so that nothing but cargo is needed to run them: `cargo xtask` lists them.

#![expect(clippy::disallowed_methods, reason = "a chore runs on the machine's own clock")]
#![expect(clippy::indexing_slicing, reason = "a missing member of a JSON value is null, not a panic")]

mod bench;
mod docs;
mod findings;
mod fuzz;
mod peers;
mod run;
mod server;
mod test;
mod tidy;

use anyhow::{Result, bail};

const HELP: &str = "cargo xtask CHORE

  check           format, lints, tidy, generated documents: what every change must pass
  tidy            floors, file sizes, first lines, registries, licences, vendored files
  test [PART…]    installs the peers and runs every test and judge; `test --list` names the parts
  bench [NAME…]   the benchmarks, each as a ratio against a peer in the same run; `bench --list` names them
  fuzz NAME [S]   coverage-guided fuzzing of one parser, or `all`, for so many seconds; `fuzz --list` names them
  docs            makes the manual's generated pages; `docs --check` says whether they are fresh
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match arguments.first().map(String::as_str) {
        Some("check") => check(),
        Some("tidy") => tidy::run(),
        Some("test") => test::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("docs") => docs::run(rest.first() == Some(&"--check")),
        Some("help" | "--help" | "-h") | None => run::say(HELP),
        Some(other) => bail!("there is no chore {other:?}\n\n{HELP}"),
    }
}

fn check() -> Result<()> {
    run::cargo(&["fmt", "--all", "--check"])?;
    tidy::run()?;
    run::cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    docs::run(true)?;
    run::say("check: clean")
}
