//! Builds the program in `tests/go` and runs it; kills and restarts members when the program asks for that.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quorate_jepsen::cluster::Cluster;
use quorate_jepsen::program;

/// Scenarios that the program has, at least: fewer mean that it ended early.
const SCENARIOS: usize = 13;

/// The built program; `None`, said loudly, without a Go toolchain.
fn build() -> Option<PathBuf> {
    let toolchain = Command::new("go").arg("version").stdout(Stdio::null()).status();
    if !toolchain.is_ok_and(|status| status.success()) {
        program::skip("the suite of the Go client", "install Go");
        return None;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-clients");
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
    let built =
        Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(module).status().unwrap();
    assert!(built.success(), "the Go program does not build");
    Some(path)
}

#[test]
fn the_go_client_runs_unmodified() {
    let Some(program) = build() else { return };
    let mut cluster = crate::cluster();
    let mut process = Command::new(program)
        .args(cluster.endpoints())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = process.stdin.take().unwrap();
    let mut passed = 0;
    // Every scenario has a time limit of its own, so this ends.
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["?", what, endpoint] => {
                obey(&mut cluster, what, endpoint);
                orders.write_all(b"done\n").unwrap();
            }
            ["ok", ..] => passed += 1,
            _ => {}
        }
        eprintln!("go: {line}");
    }
    let status = process.wait().unwrap();
    assert!(status.success(), "the Go program ended with {status}; its last line says why");
    assert!(passed >= SCENARIOS, "only {passed} scenarios");
}

fn obey(cluster: &mut Cluster, what: &str, endpoint: &str) {
    let member =
        cluster.endpoints().iter().position(|known| known == endpoint).expect("a member of the cluster");
    match what {
        "kill" => assert!(cluster.kill(member), "{endpoint} runs"),
        "restart" => {
            cluster.restart(member);
            cluster.wait_ready(member);
        }
        other => panic!("the program asks for {other:?}"),
    }
}
