//! The end of the process when it must not go on.

use std::io::Write;

use crate::env::Process;

/// This process.
#[derive(Debug)]
pub struct RealProcess;

impl Process for RealProcess {
    /// Aborts: an orderly exit would run handlers, and after a failed sync nothing may be written any more.
    fn fatal(&self, reason: &str) {
        tracing::error!(reason, "fatal: the process ends now");
        // Tracing may be off or filtered; this line must come out. Nobody is left to tell if it cannot.
        drop(writeln!(std::io::stderr(), "quorate: fatal: {reason}"));
        std::process::abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

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
        assert_eq!(child.status.signal(), Some(6), "ended by SIGABRT: {:?}", child.status);
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(said.contains("quorate: fatal: sync of segment 7 failed"), "{said}");
    }
}
