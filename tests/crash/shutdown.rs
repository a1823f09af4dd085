//! Members that are asked to end do so soon and well, and lose nothing.

use std::time::Duration;

use quorate_check::bytes::Bytes;
use quorate_check::history::{Outcome, Put, Range, Request, Response};
use quorate_jepsen::client::Connection;
use quorate_jepsen::cluster::Cluster;

const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn a_terminated_member_exits_well_and_comes_back_with_everything() {
    let _alone = super::alone();
    super::runtime().block_on(async {
        let mut cluster = Cluster::start(super::server(), 3);
        for round in 0..3_usize {
            let value = format!("round {round}");
            let put = Put { key: Bytes::from("k"), value: Bytes::from(value.as_str()), ..Put::default() };
            ask(&cluster, round, Request::Put(put)).await;
            // The leader in the first round, so that it ends with others following it.
            let victim = if round == 0 { cluster.leader().await } else { round };
            cluster.terminate(victim);
            let others = (victim + 1) % 3;
            assert_eq!(read(&cluster, others).await, value, "the others go on");
            cluster.restart(victim);
            cluster.wait_ready(victim);
            assert_eq!(read(&cluster, victim).await, value, "the member is back");
        }
        for member in 0..3 {
            cluster.terminate(member);
        }
        cluster.start_down();
        cluster.wait_all_ready();
        assert_eq!(read(&cluster, 0).await, "round 2", "the cluster is back");
    });
}

async fn ask(cluster: &Cluster, member: usize, request: Request) -> Response {
    let mut connection = Connection::new(cluster.members()[member].endpoint());
    assert!(connection.reach().await, "member {member} cannot be reached");
    match connection.call(&request, TIMEOUT).await {
        Outcome::Ok { response, .. } => response,
        other => panic!("member {member} answers a {} with {other:?}", request.name()),
    }
}

async fn read(cluster: &Cluster, member: usize) -> String {
    let range = Range { key: Bytes::from("k"), ..Range::default() };
    let Response::Range(found) = ask(cluster, member, Request::Range(range)).await else {
        panic!("a read was asked for")
    };
    found.kvs.iter().map(|pair| pair.value.to_string()).collect()
}
