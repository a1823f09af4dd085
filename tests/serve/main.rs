//! The real program serving: when it is ready, how it stops, and the one clear line when it cannot start.

#![cfg(not(madsim))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected fails"
)]

mod bench;
mod discovery;
mod log;
mod namespace;
mod program;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use program::{PATIENCE, Program, QUORATE, free_ports};
use quorate_jepsen::ports::free_run;
use serde_json::Value;

/// What the log says when a member serves.
const READY: &str = "ready to serve client requests";

/// Options of a member alone, at ports of its own.
fn alone(client: u16, peer: u16) -> Vec<String> {
    vec![
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
    ]
}

fn alone_somewhere() -> Vec<String> {
    let ports = free_ports(2);
    alone(ports[0], ports[1])
}

/// Starts a member alone, with more options.
fn start_alone(dir: &Path, ports: &[u16], more: &[&str]) -> Program {
    let options = alone(ports[0], ports[1]);
    let args: Vec<&str> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Program::start(dir, &args)
}

/// What `quorate ctl` prints.
fn ctl(dir: &Path, client: u16, args: &[&str]) -> String {
    let endpoint = format!("--endpoints=127.0.0.1:{client}");
    Program::start(dir, &[&["ctl", &endpoint], args].concat()).end().printed()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
}

#[test]
fn a_member_becomes_ready_stops_when_asked_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(2);
    let mut written = Vec::new();
    for (signal, name) in [("TERM", "terminated"), ("INT", "interrupt"), ("TERM", "terminated")] {
        let mut member = start_alone(dir.path(), &ports, &[]);
        let ready = parsed(&member.wait_for(READY));
        assert_eq!(ready["address"], format!("127.0.0.1:{}", ports[0]));
        assert_eq!(ready["level"], "info");
        let kept = ctl(dir.path(), ports[0], &["get", "--prefix", "", "--keys-only"]);
        assert_eq!(kept.split_whitespace().collect::<Vec<_>>(), written);
        let key = format!("life-{}", written.len());
        assert_eq!(ctl(dir.path(), ports[0], &["put", &key, "v"]), "OK");
        written.push(key);
        member.signal(signal);
        let ended = member.end();
        assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.stderr);
        let lines: Vec<Value> = ended.stderr.iter().map(|line| parsed(line)).collect();
        for line in &lines {
            for key in ["level", "ts", "caller", "msg"] {
                assert!(line[key].is_string(), "{key} is missing: {line}");
            }
            let ts = line["ts"].as_str().unwrap();
            assert!(ts.len() == 24 && ts.ends_with('Z') && ts.starts_with("20"), "{ts}");
        }
        let first = &lines[0];
        assert_eq!(first["name"], "default");
        assert_eq!(first["data-dir"], "default.etcd");
        for key in ["version", "member-id", "cluster-id", "listen-client-urls", "listen-peer-urls"] {
            assert!(!first[key].as_str().unwrap().is_empty(), "{key}: {first}");
        }
        let asked = lines.iter().find(|line| line["msg"] == "received signal; shutting down").unwrap();
        assert_eq!(asked["signal"], name);
        let led = lines.iter().filter(|line| line["msg"] == "became leader").count();
        assert_eq!(led, 1, "{:#?}", ended.stderr);
        assert!(ended.last_line().contains("\"msg\":\"stopped\""), "{}", ended.last_line());
    }
    let mode = dir.path().join("default.etcd").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn ready_is_said_once_for_every_client_address() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(3);
    let both = format!("--listen-client-urls=http://127.0.0.1:{},http://localhost:{}", ports[0], ports[2]);
    // The last of two options counts.
    let mut member = start_alone(dir.path(), &ports, &[&both]);
    member.wait_for(READY);
    member.wait_for(READY);
    member.signal("TERM");
    let ended = member.end();
    let mut addresses: Vec<String> = ended
        .stderr
        .iter()
        .filter(|line| line.contains(READY))
        .map(|line| parsed(line)["address"].as_str().unwrap().to_owned())
        .collect();
    addresses.sort();
    let mut want = [format!("127.0.0.1:{}", ports[0]), format!("127.0.0.1:{}", ports[2])];
    want.sort();
    assert_eq!(addresses, want);
}

#[test]
fn a_data_directory_has_one_process_and_says_who_its_member_is() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(4);
    let mut member = start_alone(dir.path(), &ports, &[]);
    member.wait_for(READY);
    // The same member by its advertised address, at free ports: only the lock can stop it.
    let elsewhere = [
        format!("--listen-client-urls=http://127.0.0.1:{}", ports[2]),
        format!("--listen-peer-urls=http://127.0.0.1:{}", ports[3]),
    ];
    let second = start_alone(dir.path(), &ports, &[&elsewhere[0], &elsewhere[1]]).end();
    assert_eq!(second.status.code(), Some(1));
    let line = parsed(second.last_line());
    assert_eq!(line["level"], "error");
    assert_eq!(line["msg"], "write-ahead log default.etcd/wal is in use by another process");
    member.signal("TERM");
    assert_eq!(member.end().status.code(), Some(0));

    // Once there is a log, what the options say of the initial cluster counts no more.
    let ids = |ended: &program::Ended| {
        let first = parsed(&ended.stderr[0]);
        let starting =
            ended.stderr.iter().map(|line| parsed(line)).find(|line| line["msg"] == "starting a member");
        let starting = starting.unwrap_or(first);
        (starting["member-id"].clone(), starting["cluster-id"].clone())
    };
    let mut seen = Vec::new();
    for other in
        ["--initial-cluster-state=new", "--initial-cluster-token=another", "--initial-cluster-state=existing"]
    {
        let mut again = start_alone(dir.path(), &ports, &[other]);
        again.wait_for(READY);
        again.signal("TERM");
        let ended = again.end();
        assert_eq!(ended.status.code(), Some(0), "{other}");
        seen.push(ids(&ended));
    }
    assert!(seen.iter().all(|ids| *ids == seen[0]), "{seen:?}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap().port(), taken);
    for (client, peer, whom) in [(taken.0, ports[0], "clients"), (ports[0], taken.0, "peers")] {
        let ended = start_alone(dir.path(), &[client, peer], &[]).end();
        assert_eq!(ended.status.code(), Some(1));
        let line = parsed(ended.last_line());
        let want = format!("cannot listen to {whom} on 127.0.0.1:{}: address in use", taken.0);
        assert_eq!((&line["level"], &line["msg"]), (&Value::from("error"), &Value::from(want)));
    }
}

#[test]
fn options_that_cannot_be_are_one_line_and_the_right_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, want) in [
        (&["--no-such-flag"][..], 2, "quorate: flag provided but not defined: -no-such-flag"),
        (&["serve"], 2, "quorate: 'serve' is not a valid flag"),
        (&["--name"], 2, "quorate: flag needs an argument: -name"),
        (&["--election-timeout=x"], 1, "quorate: invalid value \"x\" for --election-timeout"),
        (&["--wal-dir=w"], 1, "quorate: --wal-dir is not supported yet"),
        (&["--cert-file=c.pem"], 1, "quorate: --cert-file and --key-file must be given together"),
        (&["--listen-peer-urls=https://127.0.0.1:1"], 1, "quorate: cannot listen on https://127.0.0.1:1"),
        (&["--config-file=absent.yml"], 1, "quorate: config file absent.yml"),
        (&["--log-outputs=absent/q.log"], 1, "quorate: cannot log to absent/q.log (--log-outputs)"),
        (
            &["--initial-cluster-state=existing"],
            1,
            "--initial-cluster-state=existing: cannot join: no member of the cluster answers",
        ),
        (&["--name=a", "--initial-cluster=b=http://127.0.0.1:1"], 1, "couldn't find local name"),
    ] {
        let ended = Program::start(dir.path(), args).end();
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {:#?}", ended.stderr);
        assert!(ended.last_line().contains(want), "{args:?}: {:#?}", ended.stderr);
        if want.starts_with("quorate: ") {
            ended.only_line();
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{args:?} left something behind");
    }
}

#[test]
fn the_environment_counts_and_warnings_are_log_lines() {
    let dir = tempfile::tempdir().unwrap();
    let options = alone_somewhere();
    let args: Vec<&str> = options.iter().map(String::as_str).collect();
    let env = [("ETCD_NAME", "by-env"), ("ETCD_MAX_WALS", "9"), ("ETCD_LOG_OUTPUTS", "stdout,q.log")];
    let mut member = Program::start_with(dir.path(), &args, &env);
    member.wait_for_output(READY);
    member.signal("TERM");
    let ended = member.end();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{:#?}", ended.stderr);
    let warning = ended.stdout.iter().find(|line| line.contains("--max-wals=9 has no effect")).unwrap();
    assert_eq!(parsed(warning)["level"], "warn");
    assert!(ended.stdout.iter().any(|line| parsed(line)["name"] == "by-env"));
    let file = std::fs::read_to_string(dir.path().join("q.log")).unwrap();
    assert_eq!(file.lines().collect::<Vec<_>>(), ended.stdout, "every line goes to every output");
}

#[test]
fn console_lines_are_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let mut member = start_alone(dir.path(), &free_ports(2), &["--log-format=console"]);
    let line = member.wait_for(READY);
    assert!(line.contains("Z INFO  serve/life.rs:") && line.contains(" address=127.0.0.1:"), "{line}");
    assert!(member.said().iter().all(|line| !line.starts_with('{')), "{:#?}", member.said());
}

#[test]
fn three_members_are_ready_together_and_two_of_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let cluster: Vec<String> =
        (0..3).map(|nth| format!("m{nth}=http://127.0.0.1:{}", ports[nth * 2 + 1])).collect();
    let cluster = format!("--initial-cluster={}", cluster.join(","));
    let start = |nth: usize| {
        let name = format!("--name=m{nth}");
        start_alone(dir.path(), &ports[nth * 2..], &[&name, &cluster])
    };
    let mut first = start(0);
    first.wait_for("waiting for a leader and a quorum");
    assert!(first.said().iter().all(|line| !line.contains(READY)), "one of three cannot serve");
    let mut others = [start(1), start(2)];
    first.wait_for(READY);
    others.iter_mut().for_each(|member| _ = member.wait_for(READY));

    let [second, third] = others;
    second.signal("TERM");
    assert_eq!(second.end().status.code(), Some(0));
    assert_eq!(ctl(dir.path(), ports[0], &["put", "while", "m1 is away"]), "OK");
    let mut second = start(1);
    second.wait_for(READY);
    let read = ["get", "--consistency=s", "while"];
    assert_eq!(ctl(dir.path(), ports[2], &read), "while\nm1 is away", "ready means caught up");
    let mut led = 0;
    for member in [first, second, third] {
        member.signal("TERM");
        let ended = member.end();
        assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.stderr);
        led += ended.stderr.iter().filter(|line| line.contains("became leader")).count();
        let loud = ended.stderr.iter().find(|line| parsed(line)["level"] == "error");
        assert_eq!(loud, None, "nothing here is an error");
    }
    assert!(led >= 1, "somebody led");
}

#[test]
fn a_member_joins_leads_moves_and_goes_by_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(5);
    let mut first = start_alone(dir.path(), &ports, &["--initial-cluster-token=t"]);
    first.wait_for(READY);
    let one = |args: &[&str]| ctl(dir.path(), ports[0], args);
    let urls = format!("--peer-urls=http://127.0.0.1:{}", ports[3]);
    let added = one(&["member", "add", "m2", "--learner", &urls]);
    let words: Vec<&str> = added.split_whitespace().collect();
    let ["Member", id, "added", "as", "learner", "to", "cluster", ..] = words[..] else { panic!("{added}") };
    // What was printed starts the newcomer, as it stands.
    let variables: Vec<(String, String)> = added
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(variables.len(), 4, "{added}");
    let start_second = |peer_port: u16| {
        let options = [
            format!("--listen-client-urls=http://127.0.0.1:{}", ports[2]),
            format!("--advertise-client-urls=http://127.0.0.1:{}", ports[2]),
            format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
        ];
        let args: Vec<&str> = options.iter().map(String::as_str).collect();
        Program::start_with(dir.path(), &args, &variables)
    };
    let mut second = start_second(ports[3]);
    second.wait_for(READY);
    let promoted = until(|| {
        let endpoint = format!("--endpoints=127.0.0.1:{}", ports[0]);
        let ended = Program::start(dir.path(), &["ctl", &endpoint, "member", "promote", id]).end();
        ended.status.success().then(|| ended.printed())
    });
    assert!(promoted.starts_with(&format!("Member {id} promoted in cluster ")), "{promoted}");

    let both = format!("--endpoints=127.0.0.1:{},127.0.0.1:{}", ports[0], ports[2]);
    let moved = Program::start(dir.path(), &["ctl", &both, "move-leader", id]).end().printed();
    assert!(
        moved.starts_with("Leadership transferred from ") && moved.ends_with(&format!(" to {id}")),
        "{moved}"
    );
    second.wait_for("became leader");

    // Another port for its peers: told first, then started there.
    let urls = format!("--peer-urls=http://127.0.0.1:{}", ports[4]);
    let updated = one(&["member", "update", id, &urls]);
    assert!(updated.starts_with(&format!("Member {id} updated in cluster ")), "{updated}");
    second.signal("TERM");
    assert_eq!(second.end().status.code(), Some(0));
    let mut second = start_second(ports[4]);
    second.wait_for(READY);
    assert_eq!(one(&["put", "moved", "yes"]), "OK");
    assert_eq!(ctl(dir.path(), ports[2], &["get", "moved"]), "moved\nyes");
    assert_eq!(one(&["member", "list"]).matches(&format!(":{}, ", ports[4])).count(), 1);

    let removed = one(&["member", "remove", id]);
    assert!(removed.starts_with(&format!("Member {id} removed from cluster ")), "{removed}");
    second.wait_for("removed");
    assert_ne!(second.end().status.code(), Some(0), "it says why it ends");
    assert_eq!(one(&["put", "alone", "again"]), "OK");
}

/// Asks again until there is an answer.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
    }
}

#[test]
fn dev_runs_three_members_and_takes_its_data_with_it() {
    let temp = tempfile::tempdir().unwrap();
    let base = free_run(6);
    let port = base.to_string();
    let args = ["dev", "--members", "3", "--base-port", &port, "--log-format=json", "--log-level=info"];
    let variables = [("TMPDIR", temp.path().to_str().unwrap())];
    let mut dev = Program::start_with(temp.path(), &args, &variables);
    let export = dev.wait_for_output("export ETCDCTL_ENDPOINTS=");
    let endpoints: Vec<String> = (0..3).map(|nth| format!("127.0.0.1:{}", base + 2 * nth)).collect();
    assert_eq!(export.trim(), format!("export ETCDCTL_ENDPOINTS={}", endpoints.join(",")));
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "the members' data");
    let variable = export.trim().trim_start_matches("export ETCDCTL_ENDPOINTS=");
    let env = [("ETCDCTL_ENDPOINTS", variable)];
    let health = Program::start_with(temp.path(), &["ctl", "endpoint", "health"], &env).end().printed();
    assert_eq!(health.matches(" is healthy").count(), 3, "{health}");
    // A second one finds the ports taken.
    let second = Program::start_with(temp.path(), &["dev", "--base-port", &port], &variables).end();
    assert_eq!(second.status.code(), Some(1));
    let want = format!("quorate dev: cannot listen to peers on 127.0.0.1:{}: address in use", base + 1);
    assert_eq!(second.only_line(), want);
    dev.signal("INT");
    let ended = dev.end();
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.stderr);
    let ready = ended.stderr.iter().filter(|line| line.contains(READY)).count();
    assert_eq!(ready, 3, "{:#?}", ended.stderr);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn dev_keeps_data_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_run(2).to_string();
    let args = ["dev", "--members=1", "--base-port", &port, "--data-dir=kept", "--log-level=info"];
    for _ in 0..2 {
        let mut dev = Program::start(dir.path(), &args);
        let line = dev.wait_for_output("1 member is ready");
        assert!(line.ends_with("Data in kept (kept)."), "{line}");
        dev.wait_for(READY);
        dev.signal("TERM");
        assert_eq!(dev.end().status.code(), Some(0));
        assert!(dir.path().join("kept/m1/wal").is_dir());
    }
    let help = Program::start(dir.path(), &["dev", "--help"]).end();
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stdout.iter().any(|line| line.contains("--members <MEMBERS>")), "{:#?}", help.stdout);
}

#[test]
fn links_named_after_the_reference_programs_are_those_programs() {
    let dir = tempfile::tempdir().unwrap();
    let link = |name: &str| {
        let path = dir.path().join(name);
        std::os::unix::fs::symlink(QUORATE, &path).unwrap();
        path
    };
    let (etcd, etcdctl) = (link("etcd"), link("etcdctl"));
    let ports = free_ports(2);
    let options = alone(ports[0], ports[1]);
    let args: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut server = Program::start_as(&etcd, dir.path(), &args, &[]);
    server.wait_for(READY);
    let endpoint = format!("127.0.0.1:{}", ports[0]);
    let env = [("ETCDCTL_ENDPOINTS", endpoint.as_str())];
    let put = Program::start_as(&etcdctl, dir.path(), &["put", "a", "1"], &env).end().printed();
    assert_eq!(put, "OK");
    let version = Program::start_as(&etcd, dir.path(), &["--version"], &[]).end().printed();
    assert!(version.starts_with("etcd Version: 3."), "{version}");
}

#[test]
fn a_service_manager_is_told_when_the_member_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let options = alone_somewhere();
    let args: Vec<&str> = options.iter().map(String::as_str).collect();
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut member = Program::start_with(dir.path(), &args, &env);
    let mut message = [0; 64];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    member.wait_for(READY);
}

#[test]
fn a_member_that_lost_its_directory_is_refused_with_what_to_run_or_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let cluster: Vec<String> =
        (0..3).map(|nth| format!("m{nth}=http://127.0.0.1:{}", ports[nth * 2 + 1])).collect();
    let cluster = format!("--initial-cluster={}", cluster.join(","));
    let start = |nth: usize, more: &[&str]| {
        let name = format!("--name=m{nth}");
        start_alone(dir.path(), &ports[nth * 2..], &[&[name.as_str(), &cluster], more].concat())
    };
    let mut members = [0, 1, 2].map(|nth| start(nth, &[]));
    members.iter_mut().for_each(|member| _ = member.wait_for(READY));
    assert_eq!(ctl(dir.path(), ports[0], &["put", "kept", "yes"]), "OK");
    let listed = ctl(dir.path(), ports[0], &["member", "list"]);
    let third = |listed: &str| {
        let line = listed.lines().find(|line| line.contains(", m2, ")).unwrap().to_owned();
        line.split(',').next().unwrap().to_owned()
    };
    let id = third(&listed);
    let [first, second, lost] = members;
    lost.signal("TERM");
    assert_eq!(lost.end().status.code(), Some(0));
    std::fs::remove_dir_all(dir.path().join("m2.etcd")).unwrap();

    // Whether its options found the cluster or join it.
    for state in ["new", "existing"] {
        let ended = start(2, &[&format!("--initial-cluster-state={state}")]).end();
        assert_eq!(ended.status.code(), Some(1), "{state}");
        let line = parsed(ended.last_line());
        let said = line["msg"].as_str().unwrap();
        let remove = format!("quorate ctl member remove {id};");
        let add = format!("quorate ctl member add m2 --peer-urls=http://127.0.0.1:{})", ports[5]);
        for want in [&remove[..], &add, "--initial-cluster-state=existing", "--self-repair"] {
            assert!(said.contains(want), "{state}: {want}: {said}");
        }
        assert!(!dir.path().join("m2.etcd/wal").exists(), "{state}");
    }
    let mut back = start(2, &["--initial-cluster-state=existing", "--self-repair"]);
    back.wait_for(READY);
    let now = third(&ctl(dir.path(), ports[0], &["member", "list"]));
    assert_ne!(now, id);
    assert_eq!(ctl(dir.path(), ports[4], &["get", "kept"]), "kept\nyes");
    back.signal("TERM");
    assert_eq!(back.end().status.code(), Some(0));
    // From here on its log says who it is, whatever its options say of the beginning.
    let mut again = start(2, &[]);
    again.wait_for(READY);
    assert_eq!(third(&ctl(dir.path(), ports[0], &["member", "list"])), now);
    for member in [first, second, again] {
        member.signal("TERM");
        assert_eq!(member.end().status.code(), Some(0));
    }
}
