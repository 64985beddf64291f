//! The project's own commands, `cargo xtask NAME`: one vocabulary for people and CI.
#![forbid(unsafe_code)]

mod bench;
mod chaos;
mod fuzz;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Xtask {
    Test(test::Args),
    Bench(bench::Args),
    Chaos(chaos::Args),
    Fuzz(fuzz::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    match Xtask::parse() {
        Xtask::Test(args) => test::run(&args),
        Xtask::Bench(args) => bench::run(&args),
        Xtask::Chaos(args) => chaos::run(&args),
        Xtask::Fuzz(args) => fuzz::run(&args),
    }
}
