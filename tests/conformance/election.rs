//! Elections that the server keeps.

use quorate::pb::etcdserverpb as pb;
use quorate::pb::v3electionpb::election_client::ElectionClient;
use quorate::pb::v3electionpb::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use tonic::transport::Channel;

use crate::server::{Served, bytes, refused, soon, until_there};

fn election(served: &Served) -> ElectionClient<Channel> {
    ElectionClient::new(served.channel.clone())
}

async fn campaign(served: &Served, lease: i64, value: &str) -> LeaderKey {
    let request = CampaignRequest { name: bytes("chair"), lease, value: bytes(value) };
    let won = soon("the office", election(served).campaign(request)).await.unwrap().into_inner();
    served.revision(won.header);
    won.leader.unwrap()
}

async fn leases(served: &Served) {
    for id in [0x15, 0x16] {
        served.lease().lease_grant(pb::LeaseGrantRequest { id, ttl: 600 }).await.unwrap();
    }
}

/// Covers Election/Campaign, Election/Proclaim, Election/Leader, Election/Resign; CampaignRequest: name, lease, value;
/// CampaignResponse: header, leader; LeaderKey: name, key, rev, lease; LeaderRequest: name; LeaderResponse: header, kv;
/// ProclaimRequest: leader, value; ProclaimResponse: header; ResignRequest: leader; ResignResponse: header.
#[tokio::test]
async fn an_office_is_won_spoken_from_and_given_up() {
    let served = Served::start().await;
    leases(&served).await;
    let look = async || election(&served).leader(LeaderRequest { name: bytes("chair") }).await;
    assert_eq!(refused(look().await).1, "election: no leader");
    let first = campaign(&served, 0x15, "one").await;
    let want = LeaderKey { name: bytes("chair"), key: bytes("chair/15"), rev: 2, lease: 0x15 };
    assert_eq!(first, want);
    let seen = look().await.unwrap().into_inner();
    let pair = seen.kv.unwrap();
    assert_eq!((served.revision(seen.header), pair.key, pair.value), (2, bytes("chair/15"), bytes("one")));
    let proclaim = async |leader: &LeaderKey, value: &str| {
        let request = ProclaimRequest { leader: Some(leader.clone()), value: bytes(value) };
        election(&served).proclaim(request).await
    };
    let said = proclaim(&first, "two").await.unwrap().into_inner();
    assert_eq!(served.revision(said.header), 3);
    assert_eq!(look().await.unwrap().into_inner().kv.unwrap().value, bytes("two"));

    let (second, ()) = tokio::join!(campaign(&served, 0x16, "three"), async {
        until_there(&served, "chair/16").await;
        let request = ResignRequest { leader: Some(first.clone()) };
        let gone = election(&served).resign(request).await.unwrap().into_inner();
        assert_eq!(served.revision(gone.header), 5);
    });
    assert_eq!((second.key, second.rev), (bytes("chair/16"), 4));
    assert_eq!(look().await.unwrap().into_inner().kv.unwrap().value, bytes("three"));
    assert_eq!(refused(proclaim(&first, "late").await).1, "election: not leader");
}

/// Covers Election/Observe; LeaderRequest: name; LeaderResponse: header, kv.
#[tokio::test]
async fn an_observer_hears_of_every_leader() {
    let served = Served::start().await;
    leases(&served).await;
    // The reference says nothing at all before there is a leader.
    let mut elections = election(&served);
    let observing =
        tokio::spawn(async move { elections.observe(LeaderRequest { name: bytes("chair") }).await });
    let first = campaign(&served, 0x15, "one").await;
    let mut seen = soon("the stream", observing).await.unwrap().unwrap().into_inner();
    let mut next = async || {
        let answer = soon("a leader", seen.message()).await.unwrap().unwrap();
        served.revision(answer.header);
        let pair = answer.kv.unwrap();
        (pair.key, pair.value)
    };
    assert_eq!(next().await, (bytes("chair/15"), bytes("one")));
    let request = ProclaimRequest { leader: Some(first.clone()), value: bytes("two") };
    election(&served).proclaim(request).await.unwrap();
    assert_eq!(next().await, (bytes("chair/15"), bytes("two")));
    election(&served).resign(ResignRequest { leader: Some(first) }).await.unwrap();
    campaign(&served, 0x16, "three").await;
    assert_eq!(next().await, (bytes("chair/16"), bytes("three")));
}
