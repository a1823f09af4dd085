//! A network and a `resolv.conf` of a test's own: there the name server at 127.0.0.1:53 is the test's.
//!
//! A test that needs one runs once more, as a process in new namespaces, and its first run waits for that. Where the
//! system gives no namespaces the test says loudly that it was skipped; under `CI=true` that is a failure.

use std::path::Path;
use std::process::Command;

use quorate_jepsen::program::skip;

/// Set where the network is the test's own.
const INSIDE: &str = "QUORATE_TEST_NAMESPACE";

/// The network is up, and names are asked for here; then the test begins. Words: `resolv.conf`, the test program, the test.
const BEGIN: &str =
    "ip link set lo up && mount --bind \"$1\" /etc/resolv.conf && exec \"$2\" --exact \"$3\" --nocapture";

/// Whether this is the run in a network of its own; otherwise that run of the test of this name has taken place.
pub fn is_own(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let possible = Command::new("unshare").args(["-rnm", "true"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(test, "unshare -rnm must be allowed to make namespaces");
        return false;
    }
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n").unwrap();
    let program = std::env::current_exe().unwrap();
    let words: [&Path; 3] = [&conf, &program, Path::new(test)];
    let mut command = Command::new("unshare");
    command.args(["-rnm", "sh", "-c", BEGIN, "sh"]).args(words).env(INSIDE, "1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
    // What was left out inside is said here.
    eprint!("{}", complained.lines().filter(|line| line.contains("***")).collect::<String>());
    false
}
