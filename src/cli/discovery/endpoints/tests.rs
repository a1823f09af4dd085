//! Zones in, endpoints or one-line refusal out.

use std::time::Duration;

use quorate_jepsen::dns::{Manner, NameServer, Zone};

use super::*;

fn domain() -> SrvDomain {
    SrvDomain { domain: "x.test".to_owned(), name: "blue".to_owned() }
}

async fn look_up(server: &NameServer) -> Result<Vec<String>, String> {
    let resolver = Resolver::at(&[server.address()], Duration::from_millis(500));
    endpoints(&resolver, &domain()).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn those_with_tls_come_first_and_each_kind_in_its_order() {
    let zone = Zone::default()
        .srv("_etcd-client-blue._tcp.x.test", 0, 0, 2379, "p.x.test")
        .srv("_etcd-client-ssl-blue._tcp.x.test", 9, 0, 2379, "a.x.test")
        .srv("_etcd-client-ssl-blue._tcp.x.test", 1, 0, 2379, "b.x.test")
        .srv("_etcd-client._tcp.x.test", 0, 0, 2379, "green.x.test");
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
    let found = look_up(&server).await.unwrap();
    assert_eq!(found, ["https://b.x.test:2379", "https://a.x.test:2379", "http://p.x.test:2379"]);
}

#[tokio::test]
async fn nothing_to_be_found_is_one_line() {
    let server = NameServer::start("127.0.0.1:0".parse().unwrap(), Zone::default()).unwrap();
    let names = ["_etcd-client-ssl-blue._tcp.x.test", "_etcd-client-blue._tcp.x.test"];
    let [secure, plain] = names;
    assert_eq!(look_up(&server).await, Err(format!("there are no SRV records {secure} or {plain}")));
    server.behave(Manner::Fails);
    let why = format!("{}: SERVFAIL", server.address());
    let want = format!("no answer for {secure}: {why}; no answer for {plain}: {why}");
    assert_eq!(look_up(&server).await, Err(want));
}
