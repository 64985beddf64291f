//! The project's own commands: tests, benchmarks.
#![forbid(unsafe_code)]
fn main() {}
