//! The end of the process when it must not go on.

use std::io::Write;

use crate::env::Process;

/// This process.
#[derive(Debug)]
pub struct RealProcess;

impl Process for RealProcess {
    /// Exits with code 1. No destructor runs: after a failed sync nothing may be written any more.
    fn fatal(&self, reason: &str) {
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(reason, "fatal: the process ends now");
        } else {
            // This line must come out even where nothing is logged. Nobody is left to tell if it cannot.
            drop(writeln!(std::io::stderr(), "quorate: fatal: {reason}"));
        }
        std::process::exit(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays both parts: run again with the variable set, it is the process that dies.
    #[test]
    fn a_fatal_error_ends_the_process_at_once_and_says_why() {
        const DYING: &str = "QUORATE_TEST_DYING";
        if std::env::var_os(DYING).is_some() {
            RealProcess.fatal("sync of segment 7 failed");
        }
        let name = "env::real::process::tests::a_fatal_error_ends_the_process_at_once_and_says_why";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", name])
            .env(DYING, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(1), "{:?}", child.status);
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("quorate: fatal: sync of segment 7 failed"), "{said}");
        let went_on = String::from_utf8_lossy(&child.stdout).contains("test result");
        assert!(!went_on, "the process ended where it said so");
    }
}
