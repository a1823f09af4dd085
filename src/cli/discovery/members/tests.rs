//! Zones in, first members or one-line refusal out.

use std::time::Duration;

use quorate_jepsen::dns::{Manner, NameServer, Zone};

use super::*;

const SECURE: &str = "_etcd-server-ssl._tcp.x.test";
const PLAIN: &str = "_etcd-server._tcp.x.test";

async fn look_up(zone: Zone, name: &str, own: &str) -> Result<FirstMembers, MembersError> {
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
    let resolver = Resolver::at(&[server.address()], Duration::from_secs(5));
    let domain = SrvDomain { domain: "x.test".to_owned(), name: name.to_owned() };
    first_members(&resolver, &domain, &Url::parse(own).unwrap()).await
}

fn three() -> Zone {
    ["m3.x.test", "M1.x.test", "m2.x.test"]
        .iter()
        .fold(Zone::default(), |zone, host| zone.srv(PLAIN, 0, 0, 2380, host))
}

fn told(found: &FirstMembers) -> (String, Vec<String>) {
    (found.own.to_string(), found.others.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_member_finds_itself_by_what_is_written() {
    let found = look_up(three(), "", "http://M2.X.test:2380").await.unwrap();
    let others = ["http://m1.x.test:2380", "http://m3.x.test:2380"].map(str::to_owned);
    assert_eq!(told(&found), ("http://m2.x.test:2380".to_owned(), others.to_vec()));
}

#[tokio::test]
async fn a_member_finds_itself_by_its_address() {
    // Only the port tells the two apart that are at one address, and the third has none.
    let zone = three().srv(PLAIN, 0, 0, 7001, "localhost").srv(PLAIN, 0, 0, 7002, "localhost");
    let found = look_up(zone, "", "http://127.0.0.1:7002").await.unwrap();
    assert_eq!(found.own.as_str(), "http://localhost:7002");
    assert_eq!(found.others.len(), 4, "a host without an address is a member all the same");
}

#[tokio::test]
async fn both_kinds_of_records_make_one_cluster_of_the_name_that_was_asked_for() {
    let zone = Zone::default()
        .srv("_etcd-server-ssl-blue._tcp.x.test", 0, 0, 2380, "a.x.test")
        .srv("_etcd-server-blue._tcp.x.test", 0, 0, 2380, "b.x.test")
        .srv(PLAIN, 0, 0, 2380, "green.x.test");
    let found = look_up(zone, "blue", "https://a.x.test:2380").await.unwrap();
    assert_eq!(told(&found), ("https://a.x.test:2380".to_owned(), vec!["http://b.x.test:2380".to_owned()]));
}

#[tokio::test]
async fn what_makes_no_cluster_is_one_line() {
    let several = Zone::default().srv(PLAIN, 0, 0, 7001, "localhost").srv(PLAIN, 0, 0, 7001, "127.0.0.1");
    for (zone, own, want) in [
        (
            Zone::default(),
            "http://a.x.test:1",
            "there are no SRV records _etcd-server-ssl._tcp.x.test or _etcd-server._tcp.x.test",
        ),
        (
            three(),
            "http://m4.x.test:2380",
            "none of the targets is this member, http://m4.x.test:2380 (--initial-advertise-peer-urls): \
             http://m1.x.test:2380, http://m2.x.test:2380, http://m3.x.test:2380",
        ),
        (three(), "http://m1.x.test:2381", "none of the targets is this member"),
        (
            three(),
            "https://m1.x.test:2380",
            "the records have this member as http://m1.x.test:2380, but --initial-advertise-peer-urls is https:",
        ),
        (
            three().srv(SECURE, 0, 0, 2380, "m1.x.test"),
            "http://m1.x.test:2380",
            "m1.x.test:2380 stands there with TLS and without",
        ),
        (several, "http://[::ffff:127.0.0.1]:7001", "none of the targets is this member"),
    ] {
        let error = look_up(zone, "", own).await.unwrap_err().to_string();
        assert!(error.contains(want) && !error.contains('\n'), "{own}: {error}");
    }
}

#[test]
fn several_at_one_address_are_not_told_apart() {
    let [own, a, b, c] =
        ["http://o:1", "http://a:1", "http://b:1", "http://c:1"].map(|url| Url::parse(url).unwrap());
    let at = |address: &str| BTreeSet::from([address.parse::<IpAddr>().unwrap()]);
    let addresses = [at("10.0.0.1"), at("10.0.0.1"), BTreeSet::new(), at("10.0.0.1")];
    let urls = [a.clone(), b.clone(), c.clone()];
    let here = at_its_address(&[&a, &b, &c], &addresses);
    assert_eq!(here, [&a, &c]);
    let error = sort_out(&own, &here, &urls).unwrap_err().to_string();
    assert!(error.contains("several targets are at the address of this member, http://o:1"), "{error}");
    assert!(error.ends_with("http://a:1, http://c:1"), "{error}");
}

/// A member that took silence for nothing would found another cluster than those who were told.
#[tokio::test]
async fn half_an_answer_is_none() {
    let bad = NameServer::start("127.0.0.1:0".parse().unwrap(), three()).unwrap();
    bad.behave(Manner::Fails);
    let resolver = Resolver::at(&[bad.address()], Duration::from_millis(200));
    let domain = SrvDomain { domain: "x.test".to_owned(), name: String::new() };
    let own = Url::parse("http://m1.x.test:2380").unwrap();
    let error = first_members(&resolver, &domain, &own).await.unwrap_err();
    assert!(
        matches!(&error, MembersError::Lookup(LookupError::NoAnswer { question, .. }) if question == SECURE)
    );
}
