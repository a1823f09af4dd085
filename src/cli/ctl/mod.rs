//! `quorate ctl`: a client with the grammar, the output and the exit codes of `etcdctl`.
//!
//! [`args`] is the grammar, [`discover`] finds endpoints, [`client`] is the connection, [`secure`] its TLS, [`render`] has the
//! formats; each command has a file.
//! Words are checked before the cluster is spoken to. What is not here yet: auth management, `elect`, `lock`, interactive
//! watching; asking for them is an error, never a silence.

pub mod alarm;
pub mod args;
pub mod client;
pub mod defrag;
pub mod discover;
pub mod downgrade;
pub mod endpoint;
pub mod error;
pub mod kv;
pub mod lease;
pub mod member;
pub mod move_leader;
pub mod number;
pub mod render;
pub mod secure;
pub mod snapshot;
pub mod txn;
pub mod watch;

use std::io::Write as _;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::cli::version::API_VERSION;
use crate::config::duration;
use args::{Command, CommandLine, Global};
use client::{Client, Target};
use error::{CtlError, Exit};
use render::Style;
use secure::Secure;

/// Runs the client; `args` begins with the program's name. Returns the process exit code.
pub fn run(args: Vec<String>, env: &[(String, String)]) -> u8 {
    let line = match CommandLine::try_parse_from(args::with_environment(args, env)) {
        Ok(line) => line,
        Err(error) => return exit_of_words(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_of(Err(CtlError::from(error))),
    };
    exit_of(runtime.block_on(execute(line)).and_then(|output| emit(&output)))
}

/// Prints what was asked of the grammar, or what is wrong with the words. Returns the process exit code.
pub(super) fn exit_of_words(error: &clap::Error) -> u8 {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return exit_of(emit(text.as_bytes()));
    }
    // The first letter is clap's lower case; scripts look for `Error: `.
    let text = text.strip_prefix("error: ").map_or(text.clone(), |rest| format!("Error: {rest}"));
    let _ = emit_error(&text);
    Exit::Error.code()
}

/// Tells an error. Returns the process exit code.
pub(super) fn exit_of(result: Result<(), CtlError>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            if !error.text.is_empty() {
                // Nothing can be said where standard error is closed; the exit code still speaks.
                let _ = emit_error(&format!("Error: {error}\n"));
            }
            error.exit.code()
        }
    }
}

async fn execute(line: CommandLine) -> Result<Vec<u8>, CtlError> {
    let style = Style::new(&line.global.write_out, line.global.hex)?;
    let target = target(&line.global, discover::endpoints(&line.global).await?)?;
    let connect = async || -> Result<Client, CtlError> { target.connect().await };
    match line.command {
        Command::Put(command) => kv::put(connect, style, command).await,
        Command::Get(command) => kv::get(connect, style, command).await,
        Command::Del(command) => kv::del(connect, style, command).await,
        Command::Txn(command) => txn::txn(connect, style, command).await,
        Command::Watch(command) => watch::watch(connect, style, command).await,
        Command::Lease(command) => lease::lease(connect, style, command).await,
        Command::Compaction(command) => kv::compaction(connect, command).await,
        Command::Member(command) => member::member(connect, style, command).await,
        Command::MoveLeader(command) => move_leader::move_leader(&target, style, command).await,
        Command::Snapshot(command) => snapshot::snapshot(&target, command).await,
        Command::Endpoint(command) => endpoint::endpoint(&target, style, command).await,
        Command::Alarm(command) => alarm::alarm(connect, style, command).await,
        Command::Defrag(command) => defrag::defrag(&target, &command).await,
        Command::Downgrade(command) => downgrade::downgrade(connect, style, command).await,
        Command::Version => Ok(version().into_bytes()),
    }
}

fn version() -> String {
    let level = API_VERSION.rsplit_once('.').map_or(API_VERSION, |(level, _)| level);
    format!("etcdctl version: {API_VERSION}\nAPI version: {level}\n")
}

/// How the cluster is reached that these options name.
///
/// # Errors
/// Options that do not stand together.
pub(super) fn target(global: &Global, endpoints: Vec<String>) -> Result<Target, CtlError> {
    let time = |name: &str, text: &str| -> Result<Duration, CtlError> {
        duration::parse(text).map_err(|why| {
            CtlError::new(Exit::Error, format!("invalid argument {text:?} for \"--{name}\" flag: {why}"))
        })
    };
    let user = match (global.user.split_once(':'), global.password.as_str()) {
        _ if global.user.is_empty() => None,
        (Some((name, password)), "") => Some((name.to_owned(), password.to_owned())),
        (None, "") => {
            return Err(CtlError::bad_args("--user needs a password: --user=name:password, or --password"));
        }
        // With --password, a colon is part of the name.
        (_, password) => Some((global.user.clone(), password.to_owned())),
    };
    let token = match global.auth_jwt_token.as_str() {
        "" => None,
        _ if user.is_some() => {
            return Err(CtlError::bad_args("--user and --auth-jwt-token exclude each other"));
        }
        token => Some(token.parse().map_err(|_| CtlError::bad_args("--auth-jwt-token: this is no token"))?),
    };
    Ok(Target {
        endpoints,
        secure: Secure::new(global)?,
        dial_timeout: time("dial-timeout", &global.dial_timeout)?,
        command_timeout: time("command-timeout", &global.command_timeout)?,
        keepalive_time: time("keepalive-time", &global.keepalive_time)?,
        keepalive_timeout: time("keepalive-timeout", &global.keepalive_timeout)?,
        user,
        token,
    })
}

/// Writes to standard output, at once: what is printed has happened.
pub(super) fn emit(bytes: &[u8]) -> Result<(), CtlError> {
    let mut output = std::io::stdout().lock();
    output.write_all(bytes)?;
    output.flush()?;
    Ok(())
}

/// Writes to standard error.
fn emit_error(text: &str) -> Result<(), CtlError> {
    std::io::stderr().lock().write_all(text.as_bytes())?;
    Ok(())
}
