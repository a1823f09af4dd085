//! The program `quorate-explore`: parses, obeys, exits.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    quorate_models::cli::Cli::parse().obey()
}
