//! The project's chores as one program, so that nothing but cargo is needed to run them.
fn main() {}
