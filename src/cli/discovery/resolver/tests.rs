//! Questions to a name server of the test's own, which behaves and misbehaves.

use std::net::SocketAddr;
use std::time::Instant;

use domain::resolv::stub::conf::Transport;
use quorate_jepsen::dns::{Manner, NameServer, Zone};

use super::*;

const PATIENT: Duration = Duration::from_secs(5);
const IMPATIENT: Duration = Duration::from_millis(200);

impl Resolver {
    /// With these name servers, and nothing of the host's.
    pub(in crate::cli) fn at(servers: &[SocketAddr], timeout: Duration) -> Resolver {
        let mut conf = ResolvConf::new();
        conf.servers = servers.iter().map(|server| ServerConf::new(*server, Transport::UdpTcp)).collect();
        conf.options.timeout = timeout;
        conf.finalize();
        Resolver { conf }
    }
}

fn server(zone: Zone) -> NameServer {
    NameServer::start("127.0.0.1:0".parse().unwrap(), zone).unwrap()
}

fn zone() -> Zone {
    Zone::default()
        .srv("_s._tcp.x.test", 20, 0, 4, "late.x.test")
        .srv("_s._tcp.x.test", 10, 1, 3, "light.x.test")
        .srv("_s._tcp.x.test", 10, 9, 2, "Heavy.X.test")
        .srv("_s._tcp.x.test", 10, 9, 1, "heavy.x.test")
        .srv("_gone._tcp.x.test", 0, 0, 1, ".")
        .srv("_odd._tcp.x.test", 0, 0, 1, "a/b.x.test")
        .alias("_alias._tcp.x.test", "_s._tcp.x.test")
}

fn places(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::authority).collect()
}

const IN_ORDER: [&str; 4] = ["heavy.x.test:1", "heavy.x.test:2", "light.x.test:3", "late.x.test:4"];

#[tokio::test]
async fn records_come_in_order_and_in_one_form() {
    let server = server(zone());
    let resolver = Resolver::at(&[server.address()], PATIENT);
    assert_eq!(places(&resolver.srv("_s._tcp.x.test").await.unwrap()), IN_ORDER);
    assert_eq!(places(&resolver.srv("_alias._tcp.x.test.").await.unwrap()), IN_ORDER);
}

#[tokio::test]
async fn nothing_there_is_an_answer_and_nonsense_is_an_error() {
    let server = server(zone().a("_host._tcp.x.test", std::net::Ipv4Addr::LOCALHOST));
    let resolver = Resolver::at(&[server.address()], PATIENT);
    for question in ["_none._tcp.x.test", "_host._tcp.x.test", "_gone._tcp.x.test"] {
        assert_eq!(resolver.srv(question).await, Ok(Vec::new()), "{question}");
    }
    let odd = resolver.srv("_odd._tcp.x.test").await.unwrap_err().to_string();
    assert!(odd.contains("_odd._tcp.x.test names") && odd.contains("no host name"), "{odd}");
    let long = format!("{}.test", "a".repeat(64));
    assert_eq!(resolver.srv(&long).await, Err(LookupError::Name(long)));
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_asked_for_by_tcp() {
    let server = server(zone());
    server.behave(Manner::CutsShort);
    let resolver = Resolver::at(&[server.address()], PATIENT);
    assert_eq!(places(&resolver.srv("_s._tcp.x.test").await.unwrap()), IN_ORDER);
    assert_eq!(server.asked(), ["udp _s._tcp.x.test", "tcp _s._tcp.x.test"]);
}

#[tokio::test]
async fn a_server_that_fails_or_is_silent_leaves_it_to_the_next() {
    let (bad, good) = (server(Zone::default()), server(zone()));
    for manner in [Manner::Fails, Manner::Silent] {
        bad.behave(manner);
        let resolver = Resolver::at(&[bad.address(), good.address()], IMPATIENT);
        assert_eq!(places(&resolver.srv("_s._tcp.x.test").await.unwrap()), IN_ORDER, "{manner:?}");
    }
    assert_eq!(good.asked().len(), 2);
}

#[tokio::test]
async fn no_answer_is_one_line_in_time() {
    let server = server(zone());
    for (manner, why) in [(Manner::Silent, "nothing in time"), (Manner::Fails, "SERVFAIL")] {
        server.behave(manner);
        let before = (Instant::now(), server.asked().len());
        let resolver = Resolver::at(&[server.address()], IMPATIENT);
        let error = resolver.srv("_s._tcp.x.test").await.unwrap_err().to_string();
        assert_eq!(error, format!("no answer for _s._tcp.x.test: {}: {why}", server.address()));
        assert!(before.0.elapsed() < LOOKUP_TIMEOUT);
        assert!(server.asked().len() >= before.1 + 2, "it was asked again");
    }
}

#[test]
fn the_hosts_file_is_read_past_lines_that_mean_nothing_here() {
    let text = "lookup file bind\nnameserver 10.0.0.1\n; a remark\nnonsense\n  nameserver 10.0.0.2\nnameserver ::1\n\
                options timeout:3 attempts:4 ndots:5 rotate\nsearch a.test b.test\n";
    let conf = Resolver::of_text(text).conf;
    let servers: Vec<String> = conf.servers.iter().map(|server| server.addr.to_string()).collect();
    assert_eq!(servers, ["10.0.0.1:53", "10.0.0.2:53", "[::1]:53"]);
    assert_eq!((conf.options.timeout.as_secs(), conf.options.attempts), (3, 4));
    let alone = Resolver::of_text("").conf;
    assert_eq!(
        alone.servers.iter().map(|server| server.addr.to_string()).collect::<Vec<_>>(),
        ["127.0.0.1:53"]
    );
}

#[test]
fn the_search_list_completes_a_name_that_is_not_full() {
    let names = |options: &str, question: &str| -> Vec<String> {
        let resolver = Resolver::of_text(&format!("search a.test b.test\noptions {options}\n"));
        resolver.names(question).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("ndots:1", "_s._tcp.x"), ["_s._tcp.x", "_s._tcp.x.a.test", "_s._tcp.x.b.test"]);
    assert_eq!(names("ndots:5", "_s._tcp.x"), ["_s._tcp.x.a.test", "_s._tcp.x.b.test", "_s._tcp.x"]);
    assert_eq!(names("ndots:5", "_s._tcp.x."), ["_s._tcp.x"]);
}

#[tokio::test]
async fn a_host_has_the_addresses_that_connections_would_find() {
    let four: IpAddr = "127.0.0.1".parse().unwrap();
    assert!(Resolver::addresses("localhost", 1).await.contains(&four));
    assert_eq!(Resolver::addresses("127.0.0.1", 1).await, BTreeSet::from([four]));
    assert!(Resolver::addresses("no such host", 1).await.is_empty());
}
