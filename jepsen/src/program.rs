//! Which programs run: the server under test, and the reference's own tools.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use quorate_check::Options;

use crate::observer::Resume;

/// A server program that takes the reference's flags.
#[derive(Clone, Debug)]
pub struct Server {
    path: PathBuf,
    extra: Vec<String>,
}

impl Server {
    /// The server that `QUORATE_SERVER` names, or else this one, with the words of `QUORATE_SERVER_FLAGS` as further flags.
    pub fn from_env(ours: impl Into<PathBuf>) -> Server {
        let path = std::env::var_os("QUORATE_SERVER").map_or(ours.into(), PathBuf::from);
        assert!(path.is_file(), "there is no server program at {}", path.display());
        let flags = std::env::var("QUORATE_SERVER_FLAGS").unwrap_or_default();
        Server { path, extra: flags.split_whitespace().map(str::to_owned).collect() }
    }

    /// The same server with further flags.
    pub fn with(mut self, flags: &[&str]) -> Server {
        self.extra.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Where the program is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flags beyond those that make a cluster.
    pub fn extra(&self) -> &[String] {
        &self.extra
    }

    /// Whether this is the reference itself.
    pub fn is_reference(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "etcd")
    }

    /// Where a watch goes on that was told of a compaction.
    pub fn resume(&self) -> Resume {
        if self.is_reference() { Resume::BehindCompaction } else { Resume::AtCompaction }
    }

    /// What the judge may hold this server to. The reference answers questions about leases from what the asked member has.
    pub fn promises(&self) -> Options {
        Options { lease_reads_linearizable: !self.is_reference(), ..Options::default() }
    }

    /// Whether a process that was asked to end has ended well: with code 0. The reference tidies up and then sends the signal
    /// to itself once more.
    pub fn ended_well(&self, status: ExitStatus) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        status.success() || (self.is_reference() && status.signal() == Some(15))
    }
}

/// The reference's `etcdctl`, from the folder that `QUORATE_ETCD_DIR` names; `None`, said loudly, without it.
///
/// # Panics
/// Under `CI=true` when it is missing, and always when the folder does not hold it.
pub fn etcdctl() -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("QUORATE_ETCD_DIR") else {
        skip("the suite of the real etcdctl", "set QUORATE_ETCD_DIR to a folder with etcdctl");
        return None;
    };
    let path = PathBuf::from(folder).join("etcdctl");
    assert!(path.is_file(), "there is no {}", path.display());
    Some(path)
}

/// Says past the test runner's capture that something was not tested, so that nobody takes the silence for a pass.
///
/// # Panics
/// Under `CI=true`, where nothing may be left out.
pub fn skip(what: &str, remedy: &str) {
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{what} may not be skipped under CI=true: {remedy}"
    );
    std::io::stderr()
        .write_all(format!("\n*** SKIPPED: {what} ({remedy}) ***\n").as_bytes())
        .expect("standard error is open");
}
