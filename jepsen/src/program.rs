//! Which programs run: the server under test, and the reference's own tools.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Once;

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
    /// Either variable may be left over from another day, so what they do is said, once.
    ///
    /// # Panics
    /// When there is no such program, and under `CI=true` when it is not this one.
    pub fn from_env(ours: impl Into<PathBuf>) -> Server {
        static SAID: Once = Once::new();
        let named = std::env::var_os("QUORATE_SERVER").map(PathBuf::from);
        let is_other = named.is_some();
        let path = named.unwrap_or_else(|| ours.into());
        if is_other {
            assert!(!is_ci(), "QUORATE_SERVER may not be set under CI=true: it names {}", path.display());
        }
        assert!(path.is_file(), "there is no server program at {}", path.display());
        let flags = std::env::var("QUORATE_SERVER_FLAGS").unwrap_or_default();
        if is_other || !flags.is_empty() {
            SAID.call_once(|| {
                say(&format!("UNDER TEST BY THE ENVIRONMENT'S WISH: {} {flags}", path.display()))
            });
        }
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

/// The reference's `etcdctl`: see [`reference()`].
///
/// # Panics
/// As [`reference()`].
pub fn etcdctl() -> Option<PathBuf> {
    reference("etcdctl")
}

/// A program of the reference's, from the folder that `QUORATE_ETCD_DIR` names; `None`, said loudly, without it.
///
/// # Panics
/// Under `CI=true` when it is missing, and always when the folder does not hold it.
pub fn reference(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("QUORATE_ETCD_DIR") else {
        let (what, remedy) = (format!("the suite of the real {name}"), format!("a folder with {name}"));
        skip(&what, &format!("set QUORATE_ETCD_DIR to {remedy}"));
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    assert!(path.is_file(), "there is no {}", path.display());
    Some(path)
}

/// Says past the test runner's capture that something was not tested, so that nobody takes the silence for a pass.
///
/// # Panics
/// Under `CI=true`, where nothing may be left out.
pub fn skip(what: &str, remedy: &str) {
    assert!(!is_ci(), "{what} may not be skipped under CI=true: {remedy}");
    say(&format!("SKIPPED: {what} ({remedy})"));
}

fn is_ci() -> bool {
    std::env::var("CI").as_deref() == Ok("true")
}

/// Writes past the test runner's capture.
fn say(text: &str) {
    std::io::stderr().write_all(format!("\n*** {text} ***\n").as_bytes()).expect("standard error is open");
}
