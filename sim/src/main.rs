//! The simulator's program: refuses to run in a build that cannot simulate, parses, obeys, exits.

use std::process::ExitCode;

#[cfg(madsim)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    match quorate_sim::cli::Cli::try_parse() {
        Ok(cli) => quorate_sim::obey(cli),
        // `git bisect run` must not take an argument that an old commit does not know for a bug.
        Err(error) if error.use_stderr() && std::env::args().nth(1).as_deref() == Some("replay") => {
            drop(error.print());
            ExitCode::from(quorate_sim::replay::CANNOT_JUDGE)
        }
        Err(error) => error.exit(),
    }
}
