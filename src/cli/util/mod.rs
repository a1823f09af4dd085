//! `quorate util`: looks at files without a server, with the grammar and the output of `etcdutl`.
//!
//! What is here: `snapshot status`, `snapshot restore`, and `log dump`, which is ours alone. What is not yet is refused: `defrag`, `hashkv`, `migrate`.

mod log;
mod restore;
mod snapshot;

use clap::{Parser, Subcommand};

use crate::cli::ctl::error::CtlError;
use crate::cli::ctl::render::Style;
use crate::cli::ctl::{emit, exit_of, exit_of_words};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "quorate util",
    about = "Looks at the files of a store without its server",
    disable_version_flag = true,
    arg_required_else_help = true
)]
struct CommandLine {
    /// Output format: simple, json, fields or table
    #[arg(short = 'w', long, global = true, default_value = "simple")]
    write_out: String,
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Images of a store's state
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// A member's write-ahead log
    #[command(subcommand)]
    Log(Log),
}

/// `log …`.
#[derive(Debug, Subcommand)]
enum Log {
    /// What stands in it, as one line of JSON a request
    Dump(log::Dump),
}

/// `snapshot …`.
#[derive(Debug, Subcommand)]
enum Snapshot {
    /// What an image holds
    Status {
        /// The file
        #[arg(num_args = 0..)]
        words: Vec<String>,
    },
    /// Make a data directory of an image
    Restore(restore::Restore),
}

/// Runs the program; `args` begins with its name. Returns the process exit code.
pub fn run(args: &[String]) -> u8 {
    match CommandLine::try_parse_from(args) {
        Ok(line) => exit_of(execute(&line).and_then(|output| emit(&output))),
        Err(error) => exit_of_words(&error),
    }
}

fn execute(line: &CommandLine) -> Result<Vec<u8>, CtlError> {
    let style = Style::new(&line.write_out, false)?;
    match &line.command {
        Command::Snapshot(Snapshot::Status { words }) => snapshot::status(words, style),
        Command::Snapshot(Snapshot::Restore(command)) => restore::run(command, style),
        Command::Log(Log::Dump(command)) => log::dump(command),
    }
}
