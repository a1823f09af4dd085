//! The simulator's program: refuses to run in a build that cannot simulate, parses, obeys, exits.

use std::process::ExitCode;

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!(
        "this build cannot simulate: use `cargo sim ...` (and unset RUSTFLAGS, which would undo its flags)"
    );
    ExitCode::from(2)
}

#[cfg(madsim)]
fn main() -> ExitCode {
    use clap::Parser;
    quorate_sim::obey(quorate_sim::cli::Cli::parse())
}
