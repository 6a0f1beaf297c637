//! Runs jq programs for the judges in `tests/judges/jq_language.py`: each line of the standard input is a list of a program and the
//! text of its input, each line of the standard output what came of it. No part of what ships.

use hub::steps::try_program;
use message::{Address, Clock, Dice, Envelope, Kind};
use std::io::{BufRead, Write};

/// More results than any program of the judges has.
const RESULTS_MAX: usize = 100_000;

fn main() -> std::io::Result<()> {
    let (clock, dice) = (Clock::system(), Dice::seeded(1));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let (program, input): (String, String) = serde_json::from_str(&line?)?;
        let address = Address::new(Kind::Topic, "jq").map_err(std::io::Error::other)?;
        let envelope = Envelope::new(address, input, &clock, &dice);
        let answer = match try_program(&program, &envelope, RESULTS_MAX) {
            Ok(tried) => serde_json::json!({"results": tried.results, "error": tried.error}),
            Err(refusal) => serde_json::json!({"refused": refusal.to_string()}),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}
