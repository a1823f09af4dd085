//! The `quorate` program: parse, run, exit code; nothing else.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    quorate::cli::main()
}

/// The simulated build has no program of its own: the simulator's runs everything.
#[cfg(madsim)]
fn main() {}
