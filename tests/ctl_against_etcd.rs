//! `quorate ctl` held against the real `etcdctl`, byte for byte, on a real `etcd`.
//!
//! The same script of commands runs twice, each time against a fresh server on the same addresses (so that ids and
//! revisions agree): once through `etcdctl`, once through `quorate ctl`. Standard output, the line that begins with
//! `Error:` and the exit code must be the same. What cannot be the same (ids, times taken) is named and replaced by a word; what Quorate prints on purpose as later versions of the API do is listed in `later_spelling`.
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

use prost::Message as _;
use quorate::config::{Url, ids};
use quorate::pb::etcdserverpb::alarm_request::AlarmAction;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, MemberAddResponse};
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
    /// Founds a cluster.
    fn start(reference: &Path, ports: Ports) -> Server {
        let server =
            Server::run(reference, ports, "default", &format!("default={}", ports.peer_url()), "new");
        let start = Instant::now();
        // A linearizable read is answered once the member leads.
        while !Client::etcdctl(reference, ports).run(&["get", "ready"], "").status.success() {
            assert!(start.elapsed() < PATIENCE, "etcd did not get ready");
        }
        server
    }

    fn run(reference: &Path, ports: Ports, name: &str, cluster: &str, state: &str) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let client_url = format!("http://{}", ports.endpoint());
        let process = Command::new(reference.join("etcd"))
            .args(["--name", name, "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &ports.peer_url()])
            .args(["--initial-advertise-peer-urls", &ports.peer_url()])
            .args(["--initial-cluster", cluster, "--initial-cluster-state", state])
            .arg("--unsafe-no-fsync")
            .arg("--experimental-watch-progress-notify-interval=100ms")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Server { process, _folder: folder }
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
    names: Vec<Name>,
    text: String,
}

/// Something that differs from run to run, and the word that stands for it, in commands and in what they print.
struct Name {
    word: &'static str,
    /// As a command takes it.
    given: String,
    /// As commands print it, and what the transcript has instead.
    printed: Vec<(String, String)>,
}

impl<'a> Transcript<'a> {
    fn new(client: &'a Client) -> Transcript<'a> {
        Transcript { client, names: Vec::new(), text: String::new() }
    }

    /// From here on `word` means this.
    fn name(&mut self, word: &'static str, given: String, printed: Vec<String>) {
        let printed = printed.into_iter().map(|printed| (printed, word.to_owned())).collect();
        self.name_as(word, given, printed);
    }

    fn name_as(&mut self, word: &'static str, given: String, printed: Vec<(String, String)>) {
        self.names.retain(|name| name.word != word);
        self.names.push(Name { word, given, printed });
    }

    fn name_lease(&mut self, id: i64) {
        self.name(
            "<lease>",
            format!("{id:x}"),
            vec![format!("{id:016x}"), format!("{id:x}"), id.to_string()],
        );
    }

    /// Where its id stands in a column it is filled up with spaces; elsewhere the space before it is the sentence's.
    fn name_member(&mut self, id: u64) {
        let word = "<member>";
        let in_column = (format!("Member {id:16x} "), format!("Member {word} "));
        let printed = [format!("{id:x}"), id.to_string()].map(|printed| (printed, word.to_owned()));
        self.name_as(word, format!("{id:x}"), [in_column].into_iter().chain(printed).collect());
    }

    fn given(&self, word: &str) -> &str {
        &self.names.iter().find(|name| name.word == word).unwrap().given
    }

    fn step(&mut self, args: &[&str]) {
        self.step_with(args, "", Compare::All);
    }

    fn step_with(&mut self, args: &[&str], input: &str, compare: Compare) {
        let meant = |arg: &str| {
            self.names.iter().fold(arg.to_owned(), |arg, name| arg.replace(name.word, &name.given))
        };
        let words: Vec<String> = args.iter().map(|arg| meant(arg)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.client.run(&words, input);
        self.note_end(args, &output, compare);
    }

    fn note_end(&mut self, args: &[&str], output: &Output, compare: Compare) {
        let code = output.status.code();
        let mut seen = String::new();
        if compare == Compare::All {
            seen.push_str(&String::from_utf8_lossy(&output.stdout));
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            for line in errors.lines().filter(|line| is_for_people(line)) {
                seen.push_str(&format!("2> {line}\n"));
            }
        }
        self.note(args, &format!("{seen}[exit {code:?}]\n"));
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
        self.name_lease(id.unwrap_or_else(|| panic!("no lease id in {seen}")));
        self.note(&["lease", "grant"], &seen);
    }

    /// Adds a member that is never started. Its id depends on the time, and answers list members by their ids: it is
    /// added again at another address until it stands where it stands for the other program too. (An id depends on the
    /// address as well: no address may come back within the second.)
    fn add_member(&mut self, format: &str, host: &str) {
        for port in 1..=64 {
            let url = format!("http://{host}:{port}");
            // The second address comes first in order of text.
            let urls = format!("--peer-urls={url},http://0.0.0.0:1");
            let output = self.client.run(&["-w", format, "member", "add", "new one", "--learner", &urls], "");
            let members = self.client.run(&["-w", "json", "member", "list"], "");
            let members = String::from_utf8(members.stdout).unwrap();
            let ids: Vec<u64> = members.split("\"ID\":").skip(1).filter_map(leading).collect();
            let [first, second] = ids[..] else { panic!("not two members: {members}") };
            let is_first = members.find(&url) < members.find("\"name\":\"default\"");
            let (id, founder) = if is_first { (first, second) } else { (second, first) };
            // Where there is more room for it.
            if is_first == (founder > u64::MAX / 2) {
                self.name_member(id);
                self.name("<url>", url.clone(), vec![url]);
                self.note_end(&["member", "add"], &output, Compare::All);
                return;
            }
            assert!(self.client.run(&["member", "remove", &format!("{id:x}")], "").status.success());
        }
        panic!("a coin that fell on the same side 64 times");
    }

    fn note(&mut self, args: &[&str], seen: &str) {
        let args = args.iter().map(|arg| format!("{arg:?}")).collect::<Vec<_>>().join(" ");
        let seen = without_times(&later_spelling(seen));
        let text = format!("$ {args}\n{seen}\n");
        self.text.push_str(&self.names.iter().fold(text, |text, name| {
            name.printed.iter().fold(text, |text, (printed, instead)| text.replace(printed, instead))
        }));
    }
}

/// The reference logs to standard error too; only lines for people are compared.
fn is_for_people(line: &str) -> bool {
    ["Error: ", "watch was canceled", "Failed to get", "Failed to defragment"]
        .iter()
        .any(|start| line.starts_with(start))
        || line.contains(" is unhealthy: ")
}

fn number_after<N: std::str::FromStr>(text: &str, label: &str) -> Option<N> {
    leading(text.split(label).nth(1)?)
}

/// The number that a text begins with.
fn leading<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

/// The reference here is of level 3.5; Quorate prints the words of level 3.7, which say more of a learner that was added:
/// its own are put back.
fn later_spelling(text: &str) -> String {
    text.replace("\"response_put\"", "\"ResponsePut\"")
        .replace("\"response_range\"", "\"ResponseRange\"")
        .replace("\"response_delete_range\"", "\"ResponseDeleteRange\"")
        .replace("added as learner to cluster", "added to cluster")
        .lines()
        .map(|line| match line.split_once("]. took ") {
            Some((member, _)) if line.starts_with("Finished defragmenting") => format!("{member}]\n"),
            _ => format!("{line}\n"),
        })
        .collect()
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
    let mut t = Transcript::new(client);
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
    let lease = t.given("<lease>").to_owned();
    t.follow(&["lease", "keep-alive", &lease], 1);
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
    for (w, host) in [("simple", "127.0.0.2"), ("json", "127.0.0.3")] {
        t.add_member(w, host);
        t.step(&["-w", w, "member", "list"]);
        t.step(&["-w", w, "member", "promote", "<member>"]);
        t.step(&["-w", w, "member", "update", "<member>", "--peer-urls=http://127.0.0.1:66"]);
        t.step(&["-w", w, "member", "remove", "<member>"]);
        t.step(&["-w", w, "member", "remove", "<member>"]);
    }
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
        &["member", "add"],
        &["member", "add", "a"],
        &["member", "add", "a", "b", "--peer-urls=http://127.0.0.1:1"],
        &["member", "add", "a", "--peer-urls=nope"],
        &["member", "add", "a", "--peer-urls=http://127.0.0.1"],
        &["member", "add", "a", "--peer-urls=http://127.0.0.1:1/path"],
        &["member", "remove"],
        &["member", "remove", "zz"],
        &["member", "remove", "0x12"],
        &["member", "remove", "1", "2"],
        &["member", "remove", "1234"],
        &["member", "update"],
        &["member", "update", "1234"],
        &["member", "update", "1234", "--peer-urls=nope"],
        &["member", "update", "1234", "--peer-urls=http://127.0.0.1:1"],
        &["member", "promote"],
        &["member", "promote", "1", "2"],
        &["member", "promote", "1234"],
        &["move-leader"],
        &["move-leader", "zz"],
        &["move-leader", "1", "2"],
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
    assert_same(&theirs, &ours);
}

fn assert_same(theirs: &str, ours: &str) {
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
fn an_id_with_fewer_digits_reads_as_any_other() {
    let client = Client { program: PathBuf::new(), first: &[], endpoint: String::new() };
    let read = |id: u64| {
        let mut t = Transcript::new(&client);
        t.name_member(id);
        t.note(&["move-leader", &format!("{id:x}")], &format!("transferred from 3a to {id:x}\n"));
        t.note(&["member", "remove"], &format!("Member {id:16x} removed from cluster 12\n"));
        t.text
    };
    let want = "$ \"move-leader\" \"<member>\"\ntransferred from 3a to <member>\n\n\
                $ \"member\" \"remove\"\nMember <member> removed from cluster 12\n\n";
    assert_eq!(read(0xabc_def0_1234_5678), want);
    assert_eq!(read(0xfabc_def0_1234_5678), want);
}

/// A second member joins, votes, leads, and goes.
fn second_member(reference: &Path, ports: Ports, client: &Client) -> String {
    let mut t = Transcript::new(client);
    let second = Ports::free();
    let url = second.peer_url();
    let added = client.run(&["-w", "json", "member", "add", "m2", "--learner", "--peer-urls", &url], "");
    let added = String::from_utf8(added.stdout).unwrap();
    let id = |label: &str| -> u64 {
        number_after(&added, label).unwrap_or_else(|| panic!("no {label} in {added}"))
    };
    let founder = format!("{:x}", id("\"member_id\":"));
    t.name_member(id("\"member\":{\"ID\":"));
    let cluster = format!("default={},m2={url}", ports.peer_url());
    let _second = Server::run(reference, second, "m2", &cluster, "existing");
    let member = t.given("<member>").to_owned();
    let promoted = until("promoted", || {
        let output = client.run(&["member", "promote", &member], "");
        output.status.success().then_some(output)
    });
    t.note_end(&["member", "promote"], &promoted, Compare::All);
    t.step(&["member", "promote", "<member>"]);

    let both = format!("--endpoints={},{}", ports.endpoint(), second.endpoint());
    // A leader's own words are taken for it: whoever follows may not know yet.
    let leads = |client: &Client, endpoint: &str, id: &str| {
        until("leads", || {
            let endpoint = format!("--endpoints={endpoint}");
            let status = client.run(&[&endpoint, "-w", "json", "endpoint", "status"], "");
            let status = String::from_utf8(status.stdout).unwrap();
            let leader: Option<u64> = number_after(&status, "\"leader\":");
            (leader.map(|leader| format!("{leader:x}")).as_deref() == Some(id)).then_some(())
        });
    };
    for endpoint in [ports.endpoint(), second.endpoint()] {
        leads(client, &endpoint, &founder);
    }
    // The addresses are each run's own.
    let mut step = |args: &[&str]| {
        let output = client.run(args, "");
        t.note_end(&args[1..], &output, Compare::All);
    };
    let alone = format!("--endpoints={}", second.endpoint());
    step(&[&both, "move-leader", "1234"]);
    step(&[&both, "move-leader", &member]);
    for endpoint in [ports.endpoint(), second.endpoint()] {
        leads(client, &endpoint, &member);
    }
    step(&[&both, "-w", "json", "move-leader", &founder]);
    for endpoint in [ports.endpoint(), second.endpoint()] {
        leads(client, &endpoint, &founder);
    }
    let refused = client.run(&[&alone, "move-leader", &founder], "");
    let refused = String::from_utf8(refused.stderr).unwrap();
    let want = format!("Error: no leader endpoint given at [{}]", second.endpoint());
    assert!(refused.lines().any(|line| line == want), "{refused}");
    t.step(&["member", "remove", "<member>"]);
    t.text
}

/// Asks again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "never {what}");
    }
}

#[test]
fn a_second_member_joins_leads_and_goes_alike() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let transcript = |client: &Client| {
        let _server = Server::start(&reference, ports);
        second_member(&reference, ports, client)
    };
    let theirs = transcript(&Client::etcdctl(&reference, ports));
    assert!(theirs.contains("Leadership transferred from"), "{theirs}");
    assert_same(&theirs, &transcript(&Client::ours(ports)));
}

/// Alarms come, are listed, and go; the file is written anew.
fn upkeep(reference: &Path, ports: Ports, client: &Client) -> String {
    let _server = Server::start(reference, ports);
    let mut t = Transcript::new(client);
    for w in FORMATS {
        t.step(&["-w", w, "alarm", "list"]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let endpoint = format!("http://{}", ports.endpoint());
        let mut maintenance = MaintenanceClient::connect(endpoint).await.unwrap();
        for (member_id, alarm) in [(7, AlarmType::Nospace), (8, AlarmType::Nospace), (7, AlarmType::Corrupt)]
        {
            let raise = AlarmRequest { action: AlarmAction::Activate.into(), member_id, alarm: alarm.into() };
            let raised = maintenance.alarm(raise).await.unwrap().into_inner();
            assert_eq!(raised.alarms, [AlarmMember { member_id, alarm: alarm.into() }]);
        }
    });
    // In which order the reference names them is left to chance.
    let listed = client.run(&["alarm", "list"], "");
    let mut lines: Vec<&str> = std::str::from_utf8(&listed.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    t.note(&["alarm", "list"], &lines.join("\n"));
    t.step(&["put", "a", "b"]);
    t.step(&["get", "a"]);
    // Here, too: word by word.
    let health = ["endpoint", "health", "--dial-timeout=1s"];
    let ended = client.run(&health, "");
    let errors = String::from_utf8(ended.stderr).unwrap();
    let mut words: Vec<&str> =
        errors.lines().filter(|line| is_for_people(line)).flat_map(|line| line.split(' ')).collect();
    words.sort_unstable();
    t.note(&health, &format!("{} {:?}", words.join(" "), ended.status.code()));
    let cleared = client.run(&["alarm", "disarm"], "");
    let mut lines: Vec<&str> = std::str::from_utf8(&cleared.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    t.note(&["alarm", "disarm"], &lines.join("\n"));
    t.step(&["alarm", "list"]);
    t.step(&["-w", "json", "alarm", "disarm"]);
    t.step(&["alarm", "list", "x"]);
    t.step(&["alarm", "disarm", "x"]);
    t.step(&["-w", "table", "alarm", "list"]);
    t.step(&["-w", "protobuf", "alarm", "list"]);
    t.step(&["put", "a", "b"]);
    t.step(&["defrag"]);
    t.step(&["-w", "json", "defrag", "--cluster"]);
    t.step(&["--endpoints=127.0.0.1:1", "--dial-timeout=100ms", "--command-timeout=300ms", "defrag"]);
    t.text
}

#[test]
fn alarms_and_defragmentation_read_the_same() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let theirs = upkeep(&reference, ports, &Client::etcdctl(&reference, ports));
    assert!(theirs.contains("memberID:7 alarm:NOSPACE") && theirs.contains("corrupt cluster"), "{theirs}");
    assert_same(&theirs, &upkeep(&reference, ports, &Client::ours(ports)));
}

#[test]
fn a_change_of_members_has_every_format() {
    let Some(reference) = reference() else { return };
    let ports = Ports::free();
    let _server = Server::start(&reference, ports);
    let ours = Client::ours(ports);
    let list = |format: &str| ours.run(&["-w", format, "member", "list"], "").stdout;
    let add = |format: &str, port: u16| {
        let url = format!("--peer-urls=http://127.0.0.1:{port}");
        let added = ours.run(&["-w", format, "member", "add", "new", "--learner", &url], "");
        assert!(added.status.success(), "{added:?}");
        added.stdout
    };
    assert_eq!(add("table", 1), list("table"), "the list afterwards, which etcdctl refuses to print");
    let newcomer = String::from_utf8(ours.run(&["member", "list"], "").stdout).unwrap();
    let newcomer = newcomer.lines().find(|line| line.contains("unstarted")).unwrap();
    let id = newcomer.split(',').next().unwrap();
    let removed = ours.run(&["-w", "fields", "member", "remove", id], "");
    assert_eq!((removed.status.code(), removed.stdout), (Some(0), list("fields")));
    // As on the wire: the answer's header, the newcomer, the members.
    let wire = MemberAddResponse::decode(add("protobuf", 2).as_slice()).unwrap();
    let newcomer = wire.member.unwrap();
    assert_eq!(newcomer.peer_ur_ls, ["http://127.0.0.1:2"]);
    assert!(wire.members.contains(&newcomer) && wire.members.len() == 2, "{:?}", wire.members);
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
