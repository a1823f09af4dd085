//! Members that find each other by records of services with TLS, and clients that ask of them to be known by the domain.

use quorate_jepsen::dns::{NameServer, Zone};
use quorate_jepsen::program;

use crate::authority::{Authority, Wanted};
use crate::member::{READY, options};
use crate::namespace;
use crate::program::{Ended, Program};

#[test]
fn whoever_is_found_is_known_by_its_name_or_by_the_domain() {
    if !namespace::is_own("discovery::whoever_is_found_is_known_by_its_name_or_by_the_domain") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let hosts = (1..=2).fold(Zone::default(), |zone, number| {
        let host = format!("m{number}.x.test");
        zone.srv("_etcd-server-ssl._tcp.x.test", 0, 0, 2380, &host).a(&host, [127, 0, 0, number].into())
    });
    let clients_of = |host: &str| hosts.clone().srv("_etcd-client-ssl._tcp.x.test", 0, 0, 2379, host);
    let names = NameServer::start("127.0.0.1:53".parse().unwrap(), hosts.clone()).unwrap();
    let ca = Authority::new(dir.path(), "ca");
    // To its peers each is known by its own name; to clients one of them by the domain too.
    let start = |number: u8, more: &[&str]| {
        let (name, host) = (format!("m{number}"), format!("m{number}.x.test"));
        let for_clients = [&[host.as_str()], more].concat();
        let for_peers = [host.as_str(), "127.0.0.1"];
        let cert = |name: &str, hosts: &[&str]| ca.sign(name, &Wanted { hosts, ..Wanted::default() });
        let own = [
            format!("--name={name}"),
            "--discovery-srv=x.test".to_owned(),
            format!("--initial-advertise-peer-urls=https://{host}:2380"),
            format!("--listen-peer-urls=https://127.0.0.{number}:2380"),
            format!("--listen-client-urls=https://127.0.0.{number}:2379"),
            format!("--advertise-client-urls=https://{host}:2379"),
            ca.option("peer-trusted-ca-file"),
        ];
        let clients = cert(&format!("{name}-clients"), &for_clients).options("cert-file", "key-file");
        let peers = cert(&format!("{name}-peers"), &for_peers).options("peer-cert-file", "peer-key-file");
        let all = options([&own[..], &clients, &peers]);
        Program::start(dir.path(), &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut members = [start(1, &["x.test"]), start(2, &[])];
    members.iter_mut().for_each(|member| _ = member.wait_for(READY));

    let trust = ca.option("cacert");
    let ctl = |args: &[&str]| -> Ended {
        let common = ["ctl", "-d", "x.test", &trust, "--command-timeout=20s"];
        Program::start(dir.path(), &[&common, args].concat()).end()
    };
    let by_domain = "--insecure-discovery=false";
    names.serve(clients_of("m1.x.test"));
    assert_eq!(ctl(&["put", "k", "v"]).printed(), "OK");
    assert_eq!(ctl(&[by_domain, "get", "k", "--print-value-only"]).printed(), "v");
    let reference = program::etcdctl();
    let etcdctl = |args: &[&str]| {
        let mut command = std::process::Command::new(reference.as_ref()?);
        command.args(["-d", "x.test", &trust, by_domain, "--command-timeout=2s"]).args(args);
        let output = command.env("ETCDCTL_API", "3").output().unwrap();
        Some((output.status.code(), String::from_utf8(output.stdout).unwrap()))
    };
    let served = etcdctl(&["get", "k"]);
    assert!(served.is_none_or(|answer| answer == (Some(0), "k\nv\n".to_owned())));

    names.serve(clients_of("m2.x.test"));
    assert_eq!(ctl(&["get", "k", "--print-value-only"]).printed(), "v");
    let refused = ctl(&[by_domain, "get", "k"]);
    assert_eq!(refused.status.code(), Some(2));
    let why = "Error: cannot connect to https://m2.x.test:2379: its certificate is not for x.test but for ";
    assert!(refused.only_line().starts_with(why), "{}", refused.only_line());
    assert!(etcdctl(&["get", "k"]).is_none_or(|(code, _)| code == Some(1)), "the reference refuses it too");
}

#[test]
fn members_found_by_tls_need_something_to_be_known_by() {
    if !namespace::is_own("discovery::members_found_by_tls_need_something_to_be_known_by") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let service = "_etcd-server-ssl._tcp.x.test";
    let zone = Zone::default().srv(service, 0, 0, 2380, "m1.x.test").srv(service, 0, 0, 2380, "m2.x.test");
    let _names = NameServer::start("127.0.0.1:53".parse().unwrap(), zone).unwrap();
    let ca = Authority::new(dir.path(), "ca");
    let own = [
        "--discovery-srv=x.test".to_owned(),
        "--listen-peer-urls=https://127.0.0.1:2380".to_owned(),
        "--initial-advertise-peer-urls=https://m1.x.test:2380".to_owned(),
    ];
    let peers = ca.sign("m1", &Wanted::default()).options("peer-cert-file", "peer-key-file");
    let all = options([&own[..], &peers]);
    let ended = Program::start(dir.path(), &all.iter().map(String::as_str).collect::<Vec<_>>()).end();
    assert_eq!(ended.status.code(), Some(1));
    let want = "--discovery-srv=x.test has https://m2.x.test:2380, which cannot be known for who it is without \
                --peer-trusted-ca-file (or --peer-auto-tls)";
    assert!(ended.last_line().contains(want), "{}", ended.last_line());
}
