//! The whole program, started for real and driven by clients that others wrote.
fn main() {}
