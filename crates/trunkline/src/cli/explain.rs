//! `trunkline explain`: the page of a fault code, without a server.

use super::{complain, say, table};
use anyhow::Result;
use message::Code;
use std::process::ExitCode;

pub(super) fn run(code: Option<&str>) -> Result<ExitCode> {
    let Some(code) = code else {
        let row = |entry: &message::Entry| {
            vec![entry.id.into(), entry.title.into(), entry.side.as_str().into(), entry.retry.as_str().into()]
        };
        table(&["CODE", "TITLE", "WHOSE", "RETRY"], &Code::all().iter().map(row).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    };
    match Code::find(code) {
        Some(entry) => {
            say(entry.page.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let ids = Code::all().iter().map(|entry| entry.id);
            let near = message::nearest(&code.to_uppercase(), ids).map(|id| format!("; did you mean {id}?"));
            complain(&format!(
                "error: there is no fault code {code:?}{}\n  all of them: trunkline explain",
                near.unwrap_or_default()
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}
