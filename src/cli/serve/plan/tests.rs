//! Options in, member or one-line refusal out; data directories in a folder of the test's own.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::{CorruptionChecks, Settings};
use crate::types::{ClusterId, MemberId};

fn config(args: &[&str]) -> ServeConfig {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    ServeConfig::from_settings(Settings::from_args(&args, &[]).unwrap()).unwrap().config
}

#[test]
fn without_options_a_member_is_the_well_known_cluster_of_one() {
    let member = member_config(&config(&[])).unwrap();
    assert_eq!(member.name, "default");
    assert_eq!(member.data_dir, Path::new("default.etcd"));
    assert_eq!(member.member, MemberId(0x8e9e_05c5_2164_694d));
    assert_eq!(member.cluster, ClusterId(0xcdf8_1819_4e3a_8c32));
    assert_eq!(member.peer_listen, "127.0.0.1:2380".parse().unwrap());
    assert_eq!(member.client_listen, ["127.0.0.1:2379".parse().unwrap()]);
    assert_eq!(member.client_urls, ["http://localhost:2379"]);
    assert_eq!(member.members.len(), 1);
    assert_eq!(member.knobs.snapshot_entries, 10_000);
    assert_eq!(member.knobs.corruption_checks, CorruptionChecks::default());
    let checked = ["--experimental-initial-corrupt-check=true", "--corrupt-check-time=5m"];
    let every = Some(std::time::Duration::from_secs(300));
    let checks = CorruptionChecks { initial: true, every, compact_hash_every: None };
    assert_eq!(member_config(&config(&checked)).unwrap().knobs.corruption_checks, checks);
}

#[test]
fn one_of_three_knows_the_others_and_every_address_once() {
    let member = member_config(&config(&[
        "--name=m2",
        "--listen-peer-urls=http://0.0.0.0:2380",
        "--listen-client-urls=http://localhost:2379,http://127.0.0.1:2379,http://[::1]:2379,http://:2479",
        "--advertise-client-urls=http://m2.example:2379",
        "--initial-advertise-peer-urls=http://m2.example:2380",
        "--initial-cluster=m1=http://m1.example:2380,m2=http://m2.example:2380",
        "--election-timeout=2000",
    ]))
    .unwrap();
    let peers: Vec<_> = member.members.iter().map(|info| (info.name.as_str(), &info.peer_urls[..])).collect();
    assert_eq!(
        peers,
        [("m1", &["http://m1.example:2380".to_owned()][..]), ("m2", &["http://m2.example:2380".to_owned()])]
    );
    assert_eq!(member.member, member.members[1].id);
    let listen: Vec<String> = member.client_listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:2479", "127.0.0.1:2379", "[::1]:2379"]);
    assert_eq!(member.knobs.request_timeout.as_secs(), 9);
}

#[test]
fn what_cannot_be_done_is_one_line_that_names_the_flag() {
    for (args, want) in [
        (
            &["--listen-peer-urls=http://127.0.0.1:1,http://127.0.0.1:2"][..],
            "--listen-peer-urls: one address is supported yet, found 2",
        ),
        (&["--name=x", "--initial-cluster=a=http://localhost:2380"], "couldn't find local name \"x\""),
    ] {
        let error = member_config(&config(args)).unwrap_err().to_string();
        assert!(error.contains(want) && !error.contains('\n'), "{args:?}: {error}");
    }
}

#[test]
fn a_new_data_directory_is_private_and_an_open_one_is_warned_about() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let config = config(&[&format!("--data-dir={}", dir.display())]);
    assert_eq!(prepare_data_dir(&config).unwrap(), None);
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let warning = prepare_data_dir(&config).unwrap().unwrap();
    assert!(warning.contains("has mode 0755"), "{warning}");
}

#[test]
fn a_file_in_the_place_of_the_data_directory_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("f");
    std::fs::write(&file, "").unwrap();
    let error = prepare_data_dir(&config(&[&format!("--data-dir={}", file.display())])).unwrap_err();
    assert!(error.to_string().starts_with(&format!("data directory {}", file.display())), "{error}");
}

#[test]
fn a_port_in_use_is_named_with_whom_it_is_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut member = member_config(&config(&[])).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (member.peer_listen, member.client_listen) = (free, vec![address]);
    let error = check_ports(&member).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen to clients on {address}: address in use"));
    (member.peer_listen, member.client_listen) = (address, Vec::new());
    let error = check_ports(&member).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen to peers on {address}: address in use"));
    drop(taken);
    member.client_listen = vec![address];
    assert!(check_ports(&member).is_err(), "one address for two purposes");
    member.client_listen = vec![free];
    check_ports(&member).unwrap();
}
