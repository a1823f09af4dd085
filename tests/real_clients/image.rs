//! The state taken away by the real `etcdctl`, looked at and restored by the real `etcdutl`, and served by a real `etcd`.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate_jepsen::{ports, program};
use serde_json::{Value, json};

use crate::ctl::start;
use crate::etcdctl::{Ended, Etcdctl};

/// How long the restored server may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Keys whose values are too large for two of them to share a page: enough for branches below branches.
const KEYS: usize = 260;
const VALUE_BYTES: usize = 2_100;

/// A server of the reference over a restored folder; gone when dropped.
pub struct Restored {
    process: Child,
    pub ctl: Etcdctl,
}

impl Restored {
    /// Restores `image` with the real tools, and starts a member on it.
    pub fn from(image: &str, folder: &Path, ctl: &Etcdctl) -> Restored {
        let (etcd, etcdutl) = (program::reference("etcd").unwrap(), program::reference("etcdutl").unwrap());
        let (endpoint, peer) =
            (format!("127.0.0.1:{}", ports::free()), format!("http://127.0.0.1:{}", ports::free()));
        let client = format!("http://{endpoint}");
        let cluster = format!("default={peer}");
        let data = folder.join("restored");
        let data = data.to_str().unwrap();
        let status = Command::new(etcdutl)
            .args(["snapshot", "restore", image, "--data-dir", data, "--initial-cluster", &cluster])
            .args(["--initial-advertise-peer-urls", &peer])
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "etcdutl restores the image");
        let process = Command::new(etcd)
            .args(["--data-dir", data, "--initial-cluster", &cluster])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let restored = Restored { process, ctl: ctl.at(endpoint) };
        let start = Instant::now();
        // Who asks its clients who they are serves too.
        let serves = |ended: Ended| ended.code == Some(0) || ended.error.ends_with("user name is empty");
        while !serves(restored.ctl.end(&["get", "ready"], "")) {
            assert!(start.elapsed() < READY_WITHIN, "etcd does not serve what was restored");
        }
        restored
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn answer(ctl: &Etcdctl, args: &[&str]) -> Value {
    let output = ctl.run(&[args, &["-w", "json"]].concat());
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{args:?}: {error}: {output}"))
}

/// All keys as of a revision, with values, leases, and the revisions and the version of each.
pub fn content(ctl: &Etcdctl, revision: i64) -> Value {
    let kvs = answer(ctl, &["get", "", "--prefix", &format!("--rev={revision}")])["kvs"].take();
    assert!(kvs.as_array().is_some_and(|kvs| kvs.len() > KEYS / 2), "as of {revision}: {kvs}");
    kvs
}

/// Fills a store so that nothing an image can hold is missing; its revision, and the compacted one.
pub fn fill(ctl: &Etcdctl) -> (i64, i64) {
    for key in 0..KEYS {
        let value = format!("{key} {}", "x".repeat(VALUE_BYTES));
        assert_eq!(ctl.run_with(&["put", &format!("key{key:04}")], &value), "OK\n");
    }
    // Larger than many pages, twice, and than one page of a tree can hold beside others.
    let large = "large ".repeat(60_000);
    for _ in 0..2 {
        assert_eq!(ctl.run_with(&["put", "large"], &large), "OK\n");
    }
    let granted = ctl.run(&["lease", "grant", "4000"]);
    let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
    ctl.prints(&["put", "leased", "x", &format!("--lease={lease}")], "OK\n");
    ctl.prints(&["del", "key0003"], "1\n");
    let compacted = answer(ctl, &["get", "nothing"])["header"]["revision"].as_i64().unwrap();
    ctl.run(&["compact", &compacted.to_string()]);
    for key in ["key0004", "key0005"] {
        ctl.prints(&["del", key], "1\n");
    }
    ctl.prints(&["put", "key0004", "again"], "OK\n");
    assert!(ctl.run_with(&["txn"], "\n\nput a 1\nput b 2\ndel key0006 key0010\n\n").starts_with("SUCCESS"));
    ctl.prints(&["del", "large"], "1\n");
    (answer(ctl, &["get", "nothing"])["header"]["revision"].as_i64().unwrap(), compacted)
}

#[test]
fn what_etcdctl_takes_away_etcd_serves() {
    let (Some((_cluster, ctl)), Some(etcdutl)) = (start(), program::reference("etcdutl")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (now, compacted) = fill(&ctl);
    for (nth, member) in ctl.each().enumerate() {
        // A member that lags would give an older image, and be right.
        answer(&member, &["get", "nothing"]);
        let image = folder.path().join(format!("{nth}.db"));
        let image = image.to_str().unwrap();
        member.run(&["snapshot", "save", image]);
        let status =
            Command::new(&etcdutl).args(["snapshot", "status", image, "-w", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["revision"], json!(now), "{status}");
        assert!(status["totalKey"].as_i64().unwrap() > i64::try_from(KEYS).unwrap(), "{status}");
    }
    let image = folder.path().join("0.db");
    let restored = Restored::from(image.to_str().unwrap(), folder.path(), &ctl);
    for revision in compacted..=now {
        assert_eq!(content(&restored.ctl, revision), content(&ctl, revision), "as of revision {revision}");
    }
    restored.ctl.fails(
        &["get", "", "--prefix", &format!("--rev={}", compacted - 1)],
        "Error: etcdserver: mvcc: required revision has been compacted",
    );
    assert_eq!(restored.ctl.run(&["lease", "list"]), ctl.run(&["lease", "list"]));
    let granted = |ctl: &Etcdctl| {
        let lease = ctl.run(&["lease", "list"]).lines().nth(1).unwrap().to_owned();
        let life = answer(ctl, &["lease", "timetolive", &lease, "--keys"]);
        (life["granted-ttl"].clone(), life["keys"].clone())
    };
    assert_eq!(granted(&restored.ctl), granted(&ctl));
    assert_eq!(granted(&ctl), (json!(4000), json!(["bGVhc2Vk"])));
    // It lives on where it was taken away.
    restored.ctl.prints(&["put", "key0001", "after"], "OK\n");
    let after = answer(&restored.ctl, &["get", "key0001"]);
    assert_eq!(
        (&after["header"]["revision"], &after["kvs"][0]["version"]),
        (&json!(now + 1), &json!(2)),
        "{after}"
    );
    // Nearly all of its tree goes, page by page: what is wrong with a page's place shows when it is merged with others.
    let gone = restored.ctl.run(&["del", "key", "--prefix"]);
    assert!(gone.trim().parse::<usize>().unwrap() > KEYS / 2, "{gone}");
    let last = answer(&restored.ctl, &["get", "nothing"])["header"]["revision"].as_i64().unwrap();
    restored.ctl.run(&["compact", &last.to_string(), "--physical"]);
    restored.ctl.prints(&["get", "leased"], "leased\nx\n");
    restored.ctl.run(&["defrag"]);
    restored.ctl.prints(&["get", "leased"], "leased\nx\n");
}

#[test]
fn the_image_of_an_empty_store_is_whole() {
    let (Some((_cluster, ctl)), Some(_)) = (start(), program::reference("etcdutl")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("empty.db");
    let image = image.to_str().unwrap();
    ctl.at(ctl.endpoints[0].clone()).run(&["snapshot", "save", image]);
    let restored = Restored::from(image, folder.path(), &ctl);
    assert_eq!(answer(&restored.ctl, &["get", "", "--prefix"])["header"]["revision"], json!(1));
}

/// Runs our own program in a folder.
pub fn quorate(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("ETCDCTL_ENDPOINTS")
        .output()
        .unwrap()
}

/// What it prints when it succeeds.
pub fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The one line with which it fails, and its exit code.
pub fn refusal(output: &Output) -> (Option<i32>, String) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error.lines().count(), 1, "{error}");
    (output.status.code(), error.trim_end().to_owned())
}

#[test]
fn our_own_tools_take_away_and_look_at_what_theirs_do() {
    let (Some((_cluster, ctl)), Some(etcdutl)) = (start(), program::reference("etcdutl")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (now, _) = fill(&ctl);
    let endpoint = ctl.endpoints[0].clone();
    answer(&ctl.at(endpoint.clone()), &["get", "nothing"]);
    let save = |endpoint: &str, name: &str| {
        printed(&quorate(folder, &["ctl", "snapshot", "save", name, "--endpoints", endpoint]))
    };
    assert_eq!(save(&endpoint, "ours.db"), "Snapshot saved at ours.db\nServer version 3.5.0\n");
    let restored = Restored::from(folder.join("ours.db").to_str().unwrap(), folder, &ctl);
    // An etcd of this level does not say which it is.
    assert_eq!(save(&restored.ctl.endpoints[0], "theirs.db"), "Snapshot saved at theirs.db\n");
    for image in ["ours.db", "theirs.db"] {
        for format in ["simple", "json", "table", "fields"] {
            let words = ["snapshot", "status", image, "-w", format];
            let theirs = Command::new(&etcdutl).args(words).current_dir(folder).output().unwrap();
            let ours = quorate(folder, &[&["util"], &words[..]].concat());
            // It has no fields for a status, and fails.
            if theirs.status.success() {
                assert_eq!(printed(&ours), printed(&theirs), "{image} {format}");
            }
        }
    }
    let status = printed(&quorate(folder, &["util", "snapshot", "status", "ours.db", "-w", "json"]));
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["revision"], json!(now), "{status}");
    assert!(!folder.join("ours.db.part").exists());
    let nowhere = quorate(folder, &["ctl", "snapshot", "save", "absent/x", "--endpoints", &endpoint]);
    let (code, line) = refusal(&nowhere);
    assert_eq!(code, Some(6), "{line}");
    assert!(line.starts_with("Error: absent/x.part: No such file"), "{line}");
}

#[test]
fn what_is_no_image_and_what_cannot_be_saved_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("short"), "short").unwrap();
    for (args, code, want) in [
        (&["util", "snapshot", "status", "short"][..], 1, "Error: short: it is no bbolt file"),
        (&["util", "snapshot", "status", "absent"], 1, "Error: absent: No such file"),
        (&["util", "snapshot", "status"], 128, "Error: snapshot status requires exactly one argument"),
        (
            &[
                "ctl",
                "snapshot",
                "save",
                "absent/x",
                "--endpoints",
                "127.0.0.1:1",
                "--dial-timeout",
                "100ms",
                "--command-timeout",
                "100ms",
            ],
            1,
            "Error: context deadline exceeded",
        ),
        (&["ctl", "snapshot", "save"], 128, "Error: snapshot save expects one argument"),
        (
            &["ctl", "snapshot", "save", "x", "--endpoints", "a:1,b:1"],
            5,
            "Error: snapshot must be requested to one selected node, not multiple [a:1 b:1]",
        ),
    ] {
        let (exit, line) = refusal(&quorate(folder, args));
        assert_eq!(exit, Some(code), "{args:?}: {line}");
        assert!(line.starts_with(want), "{args:?}: {line}");
    }
}
