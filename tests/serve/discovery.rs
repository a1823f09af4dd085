//! Members and clients that are told a domain and nothing else, beside a name server of the test's own; the reference's
//! server and client beside the same one.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};

use quorate::config::InitialCluster;
use quorate_jepsen::dns::{NameServer, Zone};
use quorate_jepsen::program::reference;
use serde_json::Value;

use crate::program::{Ended, Program, QUORATE};
use crate::{READY, namespace, parsed};

const DOMAIN: &str = "x.test";
const TOKEN: &str = "etcd-cluster";

/// The members as a list would have them.
const LISTED: &str = "m1=http://m1.x.test:2380,m2=http://m2.x.test:2380,m3=http://m3.x.test:2380";

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// The hosts of the members, and of one that is none.
fn hosts() -> Zone {
    (1..=4).fold(Zone::default(), |zone, number| zone.a(&format!("m{number}.x.test"), address(number)))
}

fn services() -> Zone {
    (1..=3).fold(hosts(), |zone, number| {
        let host = format!("M{number}.x.test");
        zone.srv("_etcd-server._tcp.x.test", 0, 0, 2380, &host).srv(
            "_etcd-client._tcp.x.test",
            0,
            0,
            2379,
            &host,
        )
    })
}

fn name_server(zone: Zone) -> NameServer {
    NameServer::start("127.0.0.1:53".parse().unwrap(), zone).unwrap()
}

/// Options of one member, which calls itself `own` towards the others.
fn options(number: u8, own: &str) -> Vec<String> {
    let address = address(number);
    vec![
        format!("--name=m{number}"),
        format!("--discovery-srv={DOMAIN}"),
        format!("--initial-advertise-peer-urls={own}"),
        format!("--listen-peer-urls=http://{address}:2380"),
        format!("--listen-client-urls=http://{address}:2379"),
        format!("--advertise-client-urls=http://m{number}.x.test:2379"),
    ]
}

fn start_as(program: &Path, dir: &Path, number: u8, own: &str) -> Program {
    let options = options(number, own);
    Program::start_as(program, dir, &options.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

fn start(dir: &Path, number: u8, own: &str) -> Program {
    start_as(Path::new(QUORATE), dir, number, own)
}

/// Three members, one of which knows itself by its address alone.
fn start_three(program: &Path, dir: &Path) -> Vec<Program> {
    [(1, "http://127.0.0.1:2380"), (2, "http://m2.x.test:2380"), (3, "http://M3.x.test:2380")]
        .map(|(number, own)| start_as(program, dir, number, own))
        .into()
}

fn ctl(dir: &Path, args: &[&str]) -> Ended {
    Program::start(dir, &[&["ctl"], args].concat()).end()
}

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).env("ETCDCTL_API", "3").output().unwrap()
}

/// Cluster, and id, name and peer URLs of every member.
fn members_in(list: &str) -> (u64, Vec<(u64, String, String)>) {
    let list: Value = parsed(list);
    let mut members: Vec<_> = list["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (member["ID"].as_u64().unwrap(), text(&member["name"]), text(&member["peerURLs"][0]))
        })
        .collect();
    members.sort_by(|a, b| a.1.cmp(&b.1));
    (list["header"]["cluster_id"].as_u64().unwrap(), members)
}

/// The same, as a list of the members would make it.
fn members_listed() -> (u64, Vec<(u64, String, String)>) {
    let listed = InitialCluster::parse(LISTED).unwrap();
    let url = |name: &str| listed.peer_urls(name).unwrap()[0].to_string();
    let ids = listed.member_ids(TOKEN);
    let members = ids.iter().map(|(name, id)| (id.0, (*name).to_owned(), url(name))).collect();
    (listed.cluster_id(TOKEN).0, members)
}

#[test]
fn three_members_find_each_other_and_clients_find_them() {
    if !namespace::is_own("discovery::three_members_find_each_other_and_clients_find_them") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let names = name_server(services());
    let mut members = start_three(Path::new(QUORATE), dir.path());
    members.iter_mut().for_each(|member| drop(member.wait_for(READY)));
    assert_eq!(ctl(dir.path(), &["-d", DOMAIN, "put", "k", "v"]).printed(), "OK");
    let list = ctl(dir.path(), &["--discovery-srv=x.test", "member", "list", "-w", "json"]).printed();
    assert_eq!(members_in(&list), members_listed());
    let healthy = ctl(dir.path(), &["-d", DOMAIN, "endpoint", "health"]);
    for number in 1..=3 {
        let endpoint = format!("http://m{number}.x.test:2379 is healthy");
        assert!(healthy.stdout.iter().any(|line| line.starts_with(&endpoint)), "{:#?}", healthy.stdout);
    }
    if let Some(etcdctl) = reference("etcdctl") {
        let got = run(&etcdctl, &["-d", DOMAIN, "get", "k", "--print-value-only"]);
        assert_eq!(String::from_utf8_lossy(&got.stdout), "v\n", "{}", String::from_utf8_lossy(&got.stderr));
    }

    // A data directory with a log says who its member is: no record is asked for, and there is none.
    names.serve(hosts());
    let asked =
        |names: &NameServer| names.asked().iter().filter(|name| name.contains("_etcd-server")).count();
    let before = asked(&names);
    let second = members.remove(1);
    second.signal("TERM");
    assert_eq!(second.end().status.code(), Some(0));
    let mut second = start(dir.path(), 2, "http://m2.x.test:2380");
    second.wait_for(READY);
    assert_eq!(asked(&names), before);
    // What was found once stands beside the log, and is looked at.
    let path = dir.path().join("m2.etcd/first-members");
    let kept = std::fs::read_to_string(&path).unwrap();
    let urls = ["m2", "m2", "m1", "m3"].map(|host| format!("http://{host}.x.test:2380\n"));
    assert_eq!(kept, urls.concat());
    second.signal("TERM");
    assert_eq!(second.end().status.code(), Some(0));
    std::fs::write(&path, "http://m2.x.test:2380").unwrap();
    let ended = start(dir.path(), 2, "http://m2.x.test:2380").end();
    assert!(ended.only_line().contains("first-members is damaged: remove it"), "{}", ended.only_line());
    std::fs::remove_file(&path).unwrap();
    let mut second = start(dir.path(), 2, "http://m2.x.test:2380");
    second.wait_for(READY);
    assert_eq!(asked(&names), before);

    // Without a log it is.
    let ended = start(dir.path(), 4, "http://m4.x.test:2380").end();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        parsed(ended.only_line())["msg"],
        "--discovery-srv=x.test: there are no SRV records _etcd-server-ssl._tcp.x.test or _etcd-server._tcp.x.test"
    );
    assert_eq!(asked(&names), before + 2);

    // One that was added joins those that the records name.
    let added = ctl(
        dir.path(),
        &["--endpoints=127.0.0.1:2379", "member", "add", "m4", "--peer-urls=http://m4.x.test:2380"],
    );
    assert!(added.status.success(), "{:#?}", added.stderr);
    names.serve(services().srv("_etcd-server._tcp.x.test", 0, 0, 2380, "m4.x.test"));
    let mut joining = options(4, "http://127.0.0.4:2380");
    joining.push("--initial-cluster-state=existing".to_owned());
    let mut fourth = Program::start(dir.path(), &joining.iter().map(String::as_str).collect::<Vec<_>>());
    fourth.wait_for(READY);
    let got = ctl(dir.path(), &["--endpoints=127.0.0.4:2379", "get", "k", "--print-value-only"]);
    assert_eq!(got.printed(), "v");
}

#[test]
fn a_domain_without_a_cluster_is_one_line_for_members_and_clients() {
    if !namespace::is_own("discovery::a_domain_without_a_cluster_is_one_line_for_members_and_clients") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Nobody answers at all yet.
    let ended = start(dir.path(), 1, "http://m1.x.test:2380").end();
    assert_eq!(ended.status.code(), Some(1));
    let line = parsed(ended.only_line());
    let said = line["msg"].as_str().unwrap().to_owned();
    assert!(
        said.starts_with(
            "--discovery-srv=x.test: no answer for _etcd-server-ssl._tcp.x.test: 127.0.0.1:53: "
        ),
        "{said}"
    );
    let ended = ctl(dir.path(), &["-d", DOMAIN, "get", "k"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.only_line().starts_with("Error: --discovery-srv=x.test: no answer for _etcd-client-ssl."));

    let _names = name_server(services());
    let ended = start(dir.path(), 4, "http://m4.x.test:2380").end();
    assert_eq!(ended.status.code(), Some(1));
    let line = parsed(ended.only_line());
    let want = "--discovery-srv=x.test: none of the targets is this member, http://m4.x.test:2380";
    assert!(line["msg"].as_str().unwrap().starts_with(want), "{line}");
    assert!(!dir.path().join("m4.etcd").exists(), "nothing was begun");

    let ended = ctl(dir.path(), &["-d", DOMAIN, "--insecure-discovery=false", "get", "k"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.len(), 4, "{:#?}", ended.stderr);
    assert_eq!(
        ended.stderr[0],
        "Passed over http://m1.x.test:2379: it is plain text (--insecure-discovery=false)"
    );
    assert_eq!(
        ended.last_line(),
        "Error: --discovery-srv=x.test: it names no endpoint with TLS (--insecure-discovery=false)"
    );
    let ended = ctl(dir.path(), &["-d", DOMAIN, "--discovery-srv-name=blue", "get", "k"]);
    let want = "Error: --discovery-srv=x.test: there are no SRV records _etcd-client-ssl-blue._tcp.x.test or \
                _etcd-client-blue._tcp.x.test";
    assert_eq!(ended.only_line(), want);
}

#[test]
fn the_reference_finds_the_same_cluster_by_the_same_records() {
    if !namespace::is_own("discovery::the_reference_finds_the_same_cluster_by_the_same_records") {
        return;
    }
    let Some(etcd) = reference("etcd") else { return };
    let dir = tempfile::tempdir().unwrap();
    let lower_case = (1..=3).fold(hosts(), |zone, number| {
        let host = format!("m{number}.x.test");
        zone.srv("_etcd-server._tcp.x.test", 0, 0, 2380, &host).srv(
            "_etcd-client._tcp.x.test",
            0,
            0,
            2379,
            &host,
        )
    });
    let _names = name_server(lower_case);
    let mut members = start_three(&etcd, dir.path());
    members.iter_mut().for_each(|member| drop(member.wait_for("ready to serve client requests")));
    let list = ctl(dir.path(), &["-d", DOMAIN, "member", "list", "-w", "json"]).printed();
    assert_eq!(members_in(&list), members_listed());
}
