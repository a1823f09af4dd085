//! When DNS is asked and when it is not, with a name server of the test's own and data directories on the real disk.

use std::time::Duration;

use quorate_jepsen::dns::{Manner, NameServer, Zone};

use super::*;
use crate::config::Settings;

fn config(dir: &Path, own: &str) -> ServeConfig {
    let args = [
        "--name=m1".to_owned(),
        "--discovery-srv=x.test".to_owned(),
        format!("--data-dir={}", dir.display()),
        format!("--initial-advertise-peer-urls={own}"),
    ];
    ServeConfig::from_settings(Settings::from_args(&args, &[]).unwrap()).unwrap().config
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[tokio::test]
async fn what_was_found_is_kept_and_asked_for_again_while_there_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("m1");
    let env = Env::real().unwrap();
    let zone = Zone::default().srv("_etcd-server._tcp.x.test", 0, 0, 2380, "m1.x.test").srv(
        "_etcd-server._tcp.x.test",
        0,
        0,
        2380,
        "m2.x.test",
    );
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
    let resolver = Resolver::at(&[server.address()], Duration::from_millis(200));
    let config = config(&data_dir, "http://M1.x.test:2380");
    let found = with_first_members(&config, &resolver, &env).await.unwrap();
    assert_eq!(found.initial_cluster.len(), 2);
    assert_eq!(found.advertise_peer_urls, [url("http://m1.x.test:2380")]);
    let kept = Kept::read(&*env.disk, &data_dir).unwrap().unwrap();
    assert_eq!(kept.advertised, url("http://M1.x.test:2380"));
    assert_eq!(
        kept.members,
        FirstMembers { own: url("http://m1.x.test:2380"), others: vec![url("http://m2.x.test:2380")] }
    );

    // A member without a log is to found or join: what was found yesterday is not good enough.
    server.behave(Manner::Fails);
    let error = with_first_members(&config, &resolver, &env).await.unwrap_err().to_string();
    assert!(
        error.starts_with("--discovery-srv=x.test: no answer for _etcd-server-ssl._tcp.x.test: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_record_is_one_url() {
    let dir = tempfile::tempdir().unwrap();
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), Zone::default()).unwrap();
    let resolver = Resolver::at(&[server.address()], Duration::from_millis(200));
    let config = config(dir.path(), "http://m1.x.test:1,http://m1.x.test:2");
    let error = with_first_members(&config, &resolver, &Env::real().unwrap()).await.unwrap_err().to_string();
    assert!(error.ends_with("a record is one peer URL, but --initial-advertise-peer-urls has 2"), "{error}");
}

#[tokio::test]
async fn without_a_domain_nobody_is_asked() {
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), Zone::default()).unwrap();
    let resolver = Resolver::at(&[server.address()], Duration::from_millis(200));
    let config = ServeConfig::from_settings(Settings::default()).unwrap().config;
    let env = Env::real().unwrap();
    assert_eq!(with_first_members(&config, &resolver, &env).await.unwrap(), config);
    assert_eq!(server.asked(), Vec::<String>::new());
}

#[test]
fn what_is_kept_is_read_back_whole_or_not_at_all() {
    let members =
        FirstMembers { own: url("https://a:1"), others: vec![url("https://b:1"), url("http://c:1")] };
    let kept = Kept { advertised: url("https://10.0.0.1:1"), members };
    let text = kept.encode();
    assert_eq!(text, "https://10.0.0.1:1\nhttps://a:1\nhttps://b:1\nhttp://c:1\n");
    assert_eq!(Kept::decode(text.as_bytes()), Some(kept));
    for damaged in [
        "",
        "\n",
        "https://a:1\n",
        "https://a:1\nhttp://c",
        "nonsense\nhttps://a:1\n",
        "https://a:1\nhttp://c:1\n\n",
    ] {
        assert_eq!(Kept::decode(damaged.as_bytes()), None, "{damaged:?}");
    }
}
