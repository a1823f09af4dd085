//! `log dump`: what stands in a member's write-ahead log, as one line of JSON a request.
//!
//! Nothing of the data directory is changed, and the member may run meanwhile. What is told of the log as a whole, and where
//! its end is not whole, goes to standard error: what goes to standard output is requests alone. Passwords and tokens are
//! not shown.

mod line;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cli::ctl::error::{CtlError, Exit};
use crate::env::Disk;
use crate::env::real::RealDisk;
use crate::raft::codec::content;
use crate::storage::data_dir::wal_dir;
use crate::storage::wal::{Identity, Inspected, Wal, identity_of, inspect};
use crate::types::LogId;

/// The flags of the command.
#[derive(Debug, Args)]
pub struct Dump {
    /// Stray words are told of
    #[arg(num_args = 0.., hide = true)]
    words: Vec<String>,
    /// The member's data directory
    #[arg(long, default_value = "")]
    data_dir: String,
    /// The first index to print
    #[arg(long, default_value_t = 0)]
    from_index: u64,
    /// The last index to print
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    to_index: u64,
}

/// Runs the command, which prints as it goes.
///
/// # Errors
/// Bad words; there is no log, or one that a member would refuse; an entry that this version cannot read, after all others
/// were printed.
pub fn dump(command: &Dump) -> Result<Vec<u8>, CtlError> {
    if !command.words.is_empty() {
        return Err(CtlError::bad_args("log dump takes no arguments: name the directory with --data-dir"));
    }
    if command.data_dir.is_empty() {
        return Err(CtlError::bad_args("log dump needs --data-dir"));
    }
    if command.from_index > command.to_index {
        return Err(CtlError::bad_args("--from-index is behind --to-index"));
    }
    let (identity, log) = look(&wal_dir(&PathBuf::from(&command.data_dir)))?;
    tell_of(identity, &log);
    let mut output = std::io::stdout().lock();
    let mut unread = Vec::new();
    let committed = log.committed;
    let wanted = command.from_index..=command.to_index;
    for entry in log.entries.into_iter().filter(|entry| wanted.contains(&entry.log_id.index.0)) {
        let at = entry.log_id;
        let payload = entry.payload.clone();
        let lines = content(at, entry.payload).map_or_else(
            |error| {
                unread.push(error.to_string());
                vec![line::unreadable(at, &payload)]
            },
            |content| line::lines(at, Some(at) <= committed, &content),
        );
        for line in lines {
            writeln!(output, "{line}")?;
        }
    }
    output.flush()?;
    match unread.first() {
        None => Ok(Vec::new()),
        Some(error) => {
            let text = format!("{error} (entries that cannot be read: {})", unread.len());
            Err(CtlError::new(Exit::Error, text))
        }
    }
}

fn look(dir: &Path) -> Result<(Identity, Inspected), CtlError> {
    let failed = |what: &dyn std::fmt::Display| CtlError::new(Exit::Error, what.to_string());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let none = || CtlError::new(Exit::Error, format!("{}: there is no log", dir.display()));
    let identity =
        identity_of(&*disk, dir).map_err(|error| failed(&format!("{}: {error}", dir.display())))?;
    let identity = match identity {
        Some(identity) => identity,
        None if Wal::exists(&*disk, dir).map_err(|error| failed(&error))? => {
            return Err(failed(&format!("{}: no segment has a header that is whole", dir.display())));
        }
        None => return Err(none()),
    };
    let log = inspect(&disk, dir, identity).map_err(|error| failed(&error))?.ok_or_else(none)?;
    Ok((identity, log))
}

/// What there is beside requests.
fn tell_of(identity: Identity, log: &Inspected) {
    let shown = |at: Option<LogId>| at.map_or("none".to_owned(), |at| at.to_string());
    let (first, last) = (log.entries.first(), log.entries.last());
    eprintln!(
        "log of member {} in cluster {}: entries {} to {}, forgotten through {}, known to be committed through {}",
        identity.member,
        identity.cluster,
        shown(first.map(|entry| entry.log_id)),
        shown(last.map(|entry| entry.log_id)),
        shown(log.purged),
        shown(log.committed)
    );
    if let Some(vote) = &log.vote {
        let whom = vote.voted_for.map_or("nobody".to_owned(), |member| member.to_string());
        let won = if vote.committed { ", which leads" } else { "" };
        eprintln!("vote of term {}: for {whom}{won}", vote.term.0);
    }
    if let Some(torn) = &log.torn_tail {
        eprintln!(
            "the last batch is not whole: torn, or still being written ({} at offset {}); nothing in it is shown",
            torn.file, torn.offset
        );
    }
}
