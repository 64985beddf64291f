//! The project's own commands: tests, benchmarks.
#![forbid(unsafe_code)]

mod bench;

use clap::Parser;

/// What `cargo xtask` can do.
#[derive(Parser)]
enum Command {
    /// Measure tine beside its peers and against the limit.
    Bench(bench::Args),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    match Command::parse() {
        Command::Bench(args) => bench::run(&args),
    }
}
