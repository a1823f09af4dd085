//! `quorate ctl` held against the real `etcdctl`, byte for byte, on a real `etcd`.
//!
//! The same script of commands runs twice, each time against a fresh server on the same addresses (so that ids and
//! revisions agree): once through `etcdctl`, once through `quorate ctl`. Standard output, the line that begins with
//! `Error:` and the exit code must be the same. What cannot be the same (lease ids, times taken) is named and
//! replaced by a word; what Quorate prints on purpose as later versions of the API do is listed in `later_spelling`.
//!
//! `QUORATE_ETCD_DIR` names the folder with `etcd` and `etcdctl`. Without it the suite says that it was skipped;
//! under `CI=true` that is a failure.
#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test stop it where they stand"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quorate::config::{Url, ids};
use quorate_jepsen::ports;
use quorate_jepsen::program::skip;

/// How long anything may take before the test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the reference programs, or a loud refusal.
fn reference() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("QUORATE_ETCD_DIR") {
        let dir = PathBuf::from(dir);
        assert!(dir.join("etcd").exists() && dir.join("etcdctl").exists(), "{dir:?} lacks etcd or etcdctl");
        return Some(dir);
    }
    skip("comparison with etcdctl", "set QUORATE_ETCD_DIR to a folder with etcd and etcdctl");
    None
}

/// Addresses that two servers use one after the other.
#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    peer: u16,
}

impl Ports {
    fn free() -> Ports {
        Ports { client: ports::free(), peer: ports::free() }
    }

    fn endpoint(self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    fn peer_url(self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }
}

/// A reference server with an empty folder; gone when dropped.
struct Server {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(reference: &Path, ports: Ports) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let client_url = format!("http://{}", ports.endpoint());
        let process = Command::new(reference.join("etcd"))
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &ports.peer_url()])
            .args(["--initial-advertise-peer-urls", &ports.peer_url()])
            .arg(format!("--initial-cluster=default={}", ports.peer_url()))
            .arg("--unsafe-no-fsync")
            .arg("--experimental-watch-progress-notify-interval=100ms")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { process, _folder: folder };
        let start = Instant::now();
        // A linearizable read is answered once the member leads.
        while !Client::etcdctl(reference, ports).run(&["get", "ready"], "").status.success() {
            assert!(start.elapsed() < PATIENCE, "etcd did not get ready");
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One of the two programs under comparison.
struct Client {
    program: PathBuf,
    first: &'static [&'static str],
    endpoint: String,
}

impl Client {
    fn etcdctl(reference: &Path, ports: Ports) -> Client {
        Client { program: reference.join("etcdctl"), first: &[], endpoint: ports.endpoint() }
    }

    fn ours(ports: Ports) -> Client {
        Client { program: env!("CARGO_BIN_EXE_quorate").into(), first: &["ctl"], endpoint: ports.endpoint() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.first).args(args).env("ETCDCTL_API", "3");
        // The reference refuses an endpoint given twice.
        if args.iter().any(|arg| arg.starts_with("--endpoints")) {
            command.env_remove("ETCDCTL_ENDPOINTS");
        } else {
            command.env("ETCDCTL_ENDPOINTS", &self.endpoint);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        // A program that does not read its input closes it early.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that does not end, until it has printed `lines` lines; returns them.
    fn run_until(&self, args: &[&str], lines: usize) -> String {
        let mut child = self.command(args).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut seen = String::new();
        for count in 0..lines {
            let line = receiver
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("{args:?}: {count} of {lines} lines:\n{seen}"));
            seen.push_str(&line);
            seen.push('\n');
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        seen
    }
}

/// What is compared of a command's end.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// Output, error line and exit code.
    All,
    /// The exit code: the words of usage errors are each program's own.
    Exit,
}

/// Runs the script through one client and writes down what it saw.
struct Transcript<'a> {
    client: &'a Client,
    lease: Option<i64>,
    text: String,
}

impl Transcript<'_> {
    fn step(&mut self, args: &[&str]) {
        self.step_with(args, "", Compare::All);
    }

    fn step_with(&mut self, args: &[&str], input: &str, compare: Compare) {
        let lease = format!("{:x}", self.lease.unwrap_or_default());
        let args: Vec<String> = args.iter().map(|arg| arg.replace("<lease>", &lease)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.client.run(&args, input);
        let code = output.status.code();
        let mut seen = String::new();
        if compare == Compare::All {
            seen.push_str(&String::from_utf8_lossy(&output.stdout));
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            for line in errors.lines().filter(|line| is_for_people(line)) {
                seen.push_str(&format!("2> {line}\n"));
            }
        }
        self.note(&args, &format!("{seen}[exit {code:?}]\n"));
    }

    fn follow(&mut self, args: &[&str], lines: usize) {
        let seen = self.client.run_until(args, lines);
        self.note(args, &seen);
    }

    fn grant(&mut self, format: &str, ttl: &str) {
        let output = self.client.run(&["-w", format, "lease", "grant", ttl], "");
        let seen = String::from_utf8(output.stdout).unwrap();
        let id = match format {
            "simple" => seen.split(' ').nth(1).and_then(|hex| i64::from_str_radix(hex, 16).ok()),
            "json" => number_after(&seen, "\"ID\":"),
            _ => number_after(&seen, "\"ID\" : "),
        };
        self.lease = Some(id.unwrap_or_else(|| panic!("no lease id in {seen}")));
        self.note(&["lease", "grant"], &seen);
    }

    fn note(&mut self, args: &[&str], seen: &str) {
        let mut seen = seen.to_owned();
        if let Some(lease) = self.lease {
            seen = seen.replace(&format!("{lease:016x}"), "<lease>").replace(&lease.to_string(), "<lease>");
        }
        let args = args.iter().map(|arg| format!("{arg:?}")).collect::<Vec<_>>().join(" ");
        let args = match self.lease {
            Some(lease) => args.replace(&format!("{lease:x}"), "<lease>"),
            None => args,
        };
        self.text.push_str(&format!("$ {args}\n{}\n", without_times(&later_spelling(&seen))));
    }
}

/// The reference logs to standard error too; only lines for people are compared.
fn is_for_people(line: &str) -> bool {
    ["Error: ", "watch was canceled", "Failed to get"].iter().any(|start| line.starts_with(start))
        || line.contains(" is unhealthy: ")
}

fn number_after(text: &str, label: &str) -> Option<i64> {
    let rest = text.split(label).nth(1)?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// The reference here is of level 3.5; Quorate prints the names of level 3.7.
fn later_spelling(text: &str) -> String {
    text.replace("\"response_put\"", "\"ResponsePut\"")
        .replace("\"response_range\"", "\"ResponseRange\"")
        .replace("\"response_delete_range\"", "\"ResponseDeleteRange\"")
}

/// Replaces the time that something took.
fn without_times(text: &str) -> String {
    let mut text = text.to_owned();
    for (label, end) in [("took = ", '\n'), ("\"took\":\"", '"'), ("\"Took\" : ", '\n')] {
        let mut parts = text.split(label);
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.find(end).map_or("", |at| &part[at..]);
            replaced.push_str(&format!("{label}<time>{rest}"));
        }
        text = replaced;
    }
    text
}

const FORMATS: &[&str] = &["simple", "json", "fields"];

const WRITE: &str = "ver(\"a\") > \"0\"\ncreate(\"a\") > \"0\"\nval(\"a\") != \"x\"\n\n\
                     put a \"1\\n2\" --prev-kv\nput \"a b\" c\ndel b\nget a\nget --prefix z\n\n\n";

fn script(client: &Client) -> String {
    let mut t = Transcript { client, lease: None, text: String::new() };
    for w in FORMATS {
        let w = &["-w", w][..];
        let step = |t: &mut Transcript<'_>, args: &[&str]| t.step(&[w, args].concat());
        step(&mut t, &["put", "a", "1"]);
        step(&mut t, &["put", "a", "2", "--prev-kv"]);
        step(&mut t, &["put", "q", "<&> \"quoted\" \u{fc}\n\ttwo"]);
        step(&mut t, &["put", "a", "--ignore-value", "--prev-kv"]);
        step(&mut t, &["put", "a/1", "x"]);
        step(&mut t, &["put", "a/2", ""]);
        step(&mut t, &["get", "a"]);
        step(&mut t, &["get", "q"]);
        step(&mut t, &["get", "nope"]);
        step(&mut t, &["get", "a", "b", "--limit=1"]);
        step(&mut t, &["get", "a", "b", "--limit", "1", "--order=DESCEND"]);
        step(&mut t, &["get", "--prefix", "a/", "--sort-by=create", "--order", "descend"]);
        step(&mut t, &["get", "--prefix", "", "--keys-only"]);
        step(&mut t, &["get", "--from-key", "a/2", "--consistency=s"]);
        step(&mut t, &["get", "a", "--rev=2"]);
        step(&mut t, &["get", "a", "--rev=999"]);
        step(&mut t, &["get", "--prefix", "a", "--count-only"]);
        step(&mut t, &["get", "--prefix", "a", "--print-value-only"]);
        step(&mut t, &["get", "a", "--hex"]);
        step(&mut t, &["del", "a/1", "--prev-kv"]);
        step(&mut t, &["del", "nope"]);
        step(&mut t, &["del", "--prefix", "a/"]);
        step(&mut t, &["get", ""]);
        t.step_with(&[w, &["put", "stdin"]].concat(), "from afar\n", Compare::All);
        step(&mut t, &["get", "stdin"]);
        t.step_with(&[w, &["txn"]].concat(), WRITE, Compare::All);
        t.step_with(&[w, &["txn", "-i"]].concat(), "mod(\"a\") = \"1\"\n\n\nget a\n\n", Compare::All);
        t.step_with(&[w, &["txn"]].concat(), "\nput k v\nput k w\n\n\n", Compare::All);
        step(&mut t, &["member", "list"]);
        step(&mut t, &["endpoint", "health"]);
        step(&mut t, &["lease", "timetolive", "1234"]);
        step(&mut t, &["lease", "revoke", "1234"]);
        step(&mut t, &["lease", "keep-alive", "--once", "1234"]);
        t.grant(w[1], "5000000");
        step(&mut t, &["put", "leased", "v", "--lease=<lease>"]);
        step(&mut t, &["get", "leased"]);
        step(&mut t, &["lease", "list"]);
        step(&mut t, &["lease", "keep-alive", "--once", "<lease>"]);
        step(&mut t, &["lease", "revoke", "<lease>"]);
        step(&mut t, &["get", "leased"]);
    }
    t.grant("simple", "30");
    t.follow(&["lease", "keep-alive", &format!("{:x}", t.lease.unwrap())], 1);
    for w in ["simple", "json", "fields"] {
        // The first events of key `a`: a put, a put.
        let lines = match w {
            "simple" => 3 + 5,
            "json" => 1,
            _ => 4 + 7 + 13,
        };
        t.follow(&["-w", w, "watch", "a", "--rev=2", "--prev-kv"], lines);
    }
    t.follow(&["watch", "--prefix", "a/", "--rev=1", "--hex"], 6);
    for (w, lines) in [("simple", 1), ("json", 2), ("fields", 1 + 4)] {
        t.follow(&["-w", w, "watch", "quiet", "--progress-notify"], lines);
    }
    t.step(&["-w", "table", "member", "list"]);
    t.step(&["-w", "table", "put", "a", "b"]);
    t.step(&["-w", "protobuf", "get", "a"]);
    t.step(&["-w", "protobuf", "endpoint", "health"]);
    t.step(&["compaction", "10"]);
    t.step(&["compaction", "10"]);
    t.step(&["get", "a", "--rev=3"]);
    for w in FORMATS {
        t.step(&["-w", w, "watch", "a", "--rev=3"]);
    }
    for args in [
        &["get"][..],
        &["get", "a", "b", "--prefix"],
        &["get", "a", "--from-key", "--prefix"],
        &["get", "a", "--order=foo"],
        &["get", "a", "--sort-by=foo"],
        &["get", "a", "--consistency=x"],
        &["get", "a", "b", "c"],
        &["put"],
        &["put", "a"],
        &["put", "a", "b", "--ignore-value"],
        &["put", "a", "b", "--lease=zz"],
        &["put", "a", "b", "--lease=1234"],
        &["del"],
        &["del", "a", "b", "c"],
        &["lease", "grant"],
        &["lease", "grant", "x"],
        &["lease", "revoke"],
        &["lease", "revoke", "zz"],
        &["lease", "timetolive"],
        &["compaction"],
        &["compaction", "x"],
        &["watch"],
        &["-w", "nope", "get", "a"],
        &["--endpoints=127.0.0.1:1", "--dial-timeout=100ms", "--command-timeout=300ms", "get", "a"],
        &["--endpoints=127.0.0.1:1", "--dial-timeout=100ms", "--command-timeout=300ms", "endpoint", "status"],
        &["--endpoints=127.0.0.1:1", "--dial-timeout=100ms", "--command-timeout=300ms", "endpoint", "health"],
    ] {
        t.step(args);
    }
    for input in
        ["valu(\"a\") = \"2\"\n\n\n\n", "mod(\"a\") = \"x\"\n\n\n\n", "\nfoo a\n\n\n", "mod(\"a\") = \"0\"\n"]
    {
        t.step_with(&["txn"], input, Compare::All);
    }
    for args in [&["nope"][..], &["get", "--nope"], &["get", "a", "--limit=x"]] {
        t.step_with(args, "", Compare::Exit);
    }
    t.text
}

#[test]
fn the_same_script_reads_the_same() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let theirs = {
        let _server = Server::start(&reference, ports);
        script(&Client::etcdctl(&reference, ports))
    };
    let ours = {
        let _server = Server::start(&reference, ports);
        script(&Client::ours(ports))
    };
    assert!(theirs.lines().count() > 500, "the script must have run:\n{theirs}");
    if theirs == ours {
        return;
    }
    let their_steps: Vec<&str> = theirs.split("\n$ ").collect();
    let our_steps: Vec<&str> = ours.split("\n$ ").collect();
    let mut report = String::new();
    for (theirs, ours) in their_steps.iter().zip(&our_steps).filter(|(theirs, ours)| theirs != ours) {
        report.push_str(&format!("--- etcdctl\n{theirs}\n--- quorate ctl\n{ours}\n\n"));
    }
    panic!("the outputs differ ({} and {} steps):\n{report}", their_steps.len(), our_steps.len());
}

#[test]
fn status_tells_what_the_server_told_and_ids_are_derived_alike() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let _server = Server::start(&reference, ports);
    let ours = Client::ours(ports);
    let theirs = Client::etcdctl(&reference, ports);
    assert!(ours.run(&["put", "a", "1"], "").status.success());
    let json = &["-w", "json", "endpoint", "status"];
    for args in [json, &["-w", "json", "endpoint", "hashkv"]] {
        let ask = |client: &Client| String::from_utf8(client.run(args, "").stdout).unwrap();
        let begin = Instant::now();
        // The server writes its file in the background, which changes the sizes that it tells: only what it tells
        // before and after alike can be compared.
        loop {
            let (before, shown, after) = (ask(&theirs), ask(&ours), ask(&theirs));
            if before == after {
                assert_eq!(shown, before);
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "the server never tells the same twice: {before} {after}");
        }
    }
    let member = ids::member_id(&Url::parse_list(&ports.peer_url()).unwrap(), "etcd-cluster", None);
    let cluster = ids::cluster_id(&[member]);
    let status = String::from_utf8(ours.run(json, "").stdout).unwrap();
    assert!(status.contains(&format!("\"cluster_id\":{},\"member_id\":{}", cluster.0, member.0)), "{status}");
    let simple = String::from_utf8(ours.run(&["endpoint", "status", "--cluster"], "").stdout).unwrap();
    let want = format!("http://{}, {member}, 3.5.1, , ", ports.endpoint());
    assert!(simple.starts_with(&want), "{simple}");
    assert_eq!(simple.trim_end().split(", ").count(), 15 + 1, "{simple}");
}

#[test]
fn a_lease_that_ends_ends_its_keep_alive() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let _server = Server::start(&reference, ports);
    let ours = Client::ours(ports);
    let granted = String::from_utf8(ours.run(&["lease", "grant", "3"], "").stdout).unwrap();
    let id = granted.split(' ').nth(1).unwrap();
    let mut renewing = ours.command(&["lease", "keep-alive", id]).spawn().unwrap();
    let mut output = BufReader::new(renewing.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert_eq!(first, format!("lease {id} keepalived with TTL(3)\n"));
    assert!(ours.run(&["lease", "revoke", id], "").status.success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with(&format!("lease {id} expired or revoked.\n")), "{rest}");
    assert!(renewing.wait().unwrap().success());
}
