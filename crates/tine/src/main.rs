//! The `tine` command.
#![forbid(unsafe_code)]
fn main() {}
