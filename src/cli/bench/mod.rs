//! `quorate bench`: a load generator for any server of the etcd v3 API.
//!
//! [`args`] is the grammar, [`work`] what one operation is, [`watcher`] who is told of them, [`load`] who asks when, [`tally`] what
//! came of it, [`process`] what it cost the servers, [`report`] what is printed. Endpoints and security are those of `quorate ctl`.
//!
//! What is measured: operations that began and ended between the end of the warm-up and the end of the run. In a closed
//! loop each client asks the next thing when the last was answered. In an open loop (`--rate`) each operation has a time at
//! which it is due, and its latency counts from then, whether or not it could be sent: a server that stops for a second
//! is charged for all who waited, not for the one that was under way.

mod args;
mod load;
mod process;
mod report;
mod tally;
mod watcher;
mod work;

use std::process::id as own_pid;

use clap::Parser as _;

use crate::cli::ctl::args::with_environment;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::{discover, emit, exit_of, exit_of_words, target};
use args::CommandLine;
use report::Report;

/// Runs the load; `args` begins with the program's name. Returns the process exit code.
pub fn run(args: Vec<String>, env: &[(String, String)]) -> u8 {
    let line = match CommandLine::try_parse_from(with_environment(args, env)) {
        Ok(line) => line,
        Err(error) => return exit_of_words(&error),
    };
    exit_of(bench(&line))
}

fn bench(line: &CommandLine) -> Result<(), CtlError> {
    let format = report::Format::named(&line.global.write_out)?;
    let shape = line.load.shape()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoints = runtime.block_on(discover::endpoints(&line.global))?;
    let target = target(&line.global, endpoints)?;
    // Whoever is measured has to be there before the load is.
    for pid in &shape.pids {
        process::look(*pid).map_err(|why| CtlError::bad_args(format!("--pids: process {pid}: {why}")))?;
    }
    let tally = load::run(&target, &shape, &line.work)?;
    let cost = |pid: u32| tally.costs.of(pid).map_err(|why| gone(pid, &why));
    let servers = shape.pids.iter().map(|pid| Ok((*pid, cost(*pid)?)));
    let (servers, own) = (servers.collect::<Result<_, CtlError>>()?, cost(own_pid())?);
    let report = Report { line, shape: &shape, tally: &tally, servers, own };
    emit(report.text(format).as_bytes())?;
    if tally.latencies.is_empty() {
        let why = tally.errors.keys().next().map_or("nothing was answered", String::as_str);
        return Err(CtlError::new(Exit::Error, format!("no operation succeeded: {why}")));
    }
    Ok(())
}

fn gone(pid: u32, why: &std::io::Error) -> CtlError {
    CtlError::new(Exit::Error, format!("process {pid} could not be looked at once more: {why}"))
}
