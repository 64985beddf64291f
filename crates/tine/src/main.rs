//! The `tine` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::CommandFactory;
use tine::cli::{self, Cli};

fn main() -> ExitCode {
    let words = cli::words::of_process(Cli::command);
    let cli = match Cli::read(words.clone()) {
        Ok(cli) => cli,
        Err(usage) => {
            let words: Vec<_> = words.iter().map(|it| it.to_string_lossy().into_owned()).collect();
            if let Some((said, code)) = cli::absent::said_of(&words, &usage) {
                eprintln!("tine: {said}");
                return code;
            }
            // Help and version go to standard output and are no error.
            let _ = usage.print();
            return if usage.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    cli::run(cli).unwrap_or_else(|error| {
        eprintln!("tine: {error:#}");
        cli::exit_code(&error)
    })
}
