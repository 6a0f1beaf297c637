//! The command line: what people type, and which part does it. Commands that talk to a server use its public APIs only.

mod api;
mod config;
mod doctor;
mod explain;
mod generate;
mod models;
mod queue;
mod reload;
mod route;
mod tools;
mod topic;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// One program through which agents, services and devices exchange messages under control.
#[derive(Parser)]
#[command(name = "trunkline", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// How to reach a server.
#[derive(Args, Clone)]
struct Reach {
    /// The server's URL.
    #[arg(long, env = "TRUNKLINE_URL", default_value = "http://127.0.0.1:7400", global = true)]
    url: String,
    /// The API key.
    #[arg(long, env = "TRUNKLINE_KEY", hide_env_values = true, global = true)]
    key: Option<String>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server with a configuration file.
    Serve {
        /// The configuration file.
        #[arg(short, long, default_value = "trunkline.yaml")]
        config: PathBuf,
    },
    /// Run the server with the example configuration and a little traffic of its own.
    Demo {
        /// Where to listen: an IP address and a port. Default 127.0.0.1:7400, or what the folder's configuration says.
        #[arg(long)]
        listen: Option<std::net::SocketAddr>,
        /// Where to keep the configuration, the key and the data. By default a temporary folder that goes with the demo.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Publish one message to a topic, queue or stream.
    Publish(topic::Publish),
    /// Follow topics until interrupted.
    Subscribe(topic::Subscribe),
    /// Look into queues and settle what is in them.
    Queue(queue::Queue),
    /// List the routes, and try one on a message.
    Route(route::Route),
    /// List and call the tools that agents see.
    Tools(tools::Tools),
    /// List and ask the models.
    Models(models::Models),
    /// Make, check and describe configuration files.
    Config(config::Config),
    /// Have the server read its configuration file again.
    Reload(reload::Reload),
    /// Check this machine and, when one is running, the server.
    Doctor(doctor::Doctor),
    /// Tell what a fault code means and what to do: `trunkline explain TL0012`.
    Explain {
        /// The code; without one all codes are listed.
        code: Option<String>,
    },
    /// Print a shell's completions: `trunkline completion bash > /etc/bash_completion.d/trunkline`.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands into a folder.
    Man {
        /// The folder, such as `/usr/local/share/man/man1`.
        folder: Option<PathBuf>,
    },
    /// Print the version.
    Version,
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let line = Line::parse();
    match run(line.command) {
        Ok(code) => code,
        Err(error) => {
            let text = format!("error: {error:#}");
            match fault_code(&text).filter(|_| !text.contains("trunkline explain")) {
                Some(code) => complain(&format!("{text}\n  more: trunkline explain {code}")),
                None => complain(&text),
            }
            ExitCode::FAILURE
        }
    }
}

/// The first fault code that a text names.
fn fault_code(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.starts_with("TL") && message::Code::find(word).is_some())
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve { config } => server()?.block_on(crate::serve::run(&config))?,
        Command::Demo { listen, data } => server()?.block_on(crate::demo::run(listen, data))?,
        Command::Publish(publish) => client()?.block_on(publish.run())?,
        Command::Subscribe(subscribe) => client()?.block_on(subscribe.run())?,
        Command::Queue(queue) => client()?.block_on(queue.run())?,
        Command::Route(route) => return client()?.block_on(route.run()),
        Command::Tools(tools) => client()?.block_on(tools.run())?,
        Command::Models(models) => client()?.block_on(models.run())?,
        Command::Config(config) => return client()?.block_on(config.run()),
        Command::Reload(reload) => client()?.block_on(reload.run())?,
        Command::Doctor(doctor) => return client()?.block_on(doctor.run()),
        Command::Explain { code } => return explain::run(code.as_deref()),
        Command::Completion { shell } => generate::completion(shell)?,
        Command::Man { folder } => generate::man(folder.as_deref())?,
        Command::Version => say(&format!("trunkline {}", env!("CARGO_PKG_VERSION")))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The first of a server's threads; the others are made by `net::Tasks::on_cores`.
fn server() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("core-0")
        .enable_all()
        .build()?)
}

/// One thread is plenty for a command.
fn client() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// One line to the standard output. A reader that went away ends the command, as in any filter.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// One line to the standard error output; when that is gone there is nobody to tell.
pub(crate) fn complain(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Rows under headings, as wide as they need to be.
fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    say(&line(headings.to_vec()))?;
    for row in rows {
        say(&line(row.iter().map(String::as_str).collect()))?;
    }
    if rows.is_empty() && std::io::stdout().is_terminal() {
        say("(none)")?;
    }
    Ok(())
}
