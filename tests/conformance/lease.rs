//! Leases.

use quorate::pb::etcdserverpb as pb;
use tonic::Code;

use crate::server::{Served, bytes, error, refused, soon};

async fn leased(served: &Served, key: &str, lease: i64) {
    let request = pb::PutRequest { key: bytes(key), lease, ..pb::PutRequest::default() };
    served.kv().put(request).await.unwrap();
}

/// Covers Lease/LeaseGrant, Lease/LeaseLeases; LeaseGrantRequest: TTL, ID; LeaseGrantResponse: header, ID, TTL, error;
/// LeaseLeasesResponse: header, leases; LeaseStatus: ID.
#[tokio::test]
async fn a_lease_is_granted_under_a_chosen_id_or_one_of_the_server_s() {
    let served = Served::start().await;
    let mut lease = served.lease();
    let chosen = lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap().into_inner();
    assert_eq!((chosen.id, chosen.ttl, chosen.error.as_str()), (5, 600, ""));
    assert_eq!(served.revision(chosen.header), 1, "a lease moves no revision");
    let given = lease.lease_grant(pb::LeaseGrantRequest { id: 0, ttl: 600 }).await.unwrap().into_inner();
    assert!(given.id > 0 && given.ttl == 600, "{given:?}");
    let listed = lease.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner();
    assert_eq!(served.revision(listed.header), 1);
    let mut ids: Vec<i64> = listed.leases.iter().map(|status| status.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [5, given.id]);

    let again = lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await;
    assert_eq!(refused(again), error(Code::FailedPrecondition, "lease already exists"));
    let long = lease.lease_grant(pb::LeaseGrantRequest { id: 6, ttl: 9_000_000_001 }).await;
    assert_eq!(refused(long), error(Code::OutOfRange, "too large lease TTL"));
}

/// Covers Lease/LeaseRevoke; LeaseRevokeRequest: ID; LeaseRevokeResponse: header.
#[tokio::test]
async fn a_revoked_lease_takes_its_keys_along_at_one_revision() {
    let served = Served::start().await;
    let mut lease = served.lease();
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    leased(&served, "a", 5).await;
    leased(&served, "b", 5).await;
    served.put("c", "stays").await;
    let gone = lease.lease_revoke(pb::LeaseRevokeRequest { id: 5 }).await.unwrap().into_inner();
    assert_eq!(served.revision(gone.header), 5);
    assert_eq!((served.get("a").await, served.get("b").await), (None, None));
    assert_eq!(served.get("c").await, Some(bytes("stays")));
    let again = lease.lease_revoke(pb::LeaseRevokeRequest { id: 5 }).await;
    assert_eq!(refused(again), error(Code::NotFound, "requested lease not found"));
}

/// Covers Lease/LeaseKeepAlive; LeaseKeepAliveRequest: ID; LeaseKeepAliveResponse: header, ID, TTL.
#[tokio::test]
async fn a_renewal_says_for_how_long_and_that_there_is_none() {
    let served = Served::start().await;
    let mut lease = served.lease();
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    let asks = tokio_stream::iter([5, 6, 5].map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut answers = lease.lease_keep_alive(asks).await.unwrap().into_inner();
    for (id, ttl) in [(5, 600), (6, 0), (5, 600)] {
        let answer = soon("a renewal", answers.message()).await.unwrap().unwrap();
        assert_eq!((answer.id, answer.ttl), (id, ttl));
        assert_eq!(served.revision(answer.header), 1);
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

/// Covers Lease/LeaseTimeToLive; LeaseTimeToLiveRequest: ID, keys; LeaseTimeToLiveResponse: header, ID, TTL, grantedTTL, keys.
#[tokio::test]
async fn a_lease_tells_its_time_and_its_keys() {
    let served = Served::start().await;
    let mut lease = served.lease();
    lease.lease_grant(pb::LeaseGrantRequest { id: 5, ttl: 600 }).await.unwrap();
    leased(&served, "a", 5).await;
    leased(&served, "b", 5).await;
    let mut life = async |id, keys| {
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let life = lease.lease_time_to_live(request).await.unwrap().into_inner();
        assert_eq!(served.revision(life.header), 3);
        life
    };
    let mut told = life(5, true).await;
    told.keys.sort();
    assert_eq!((told.id, told.granted_ttl, told.keys), (5, 600, vec![bytes("a"), bytes("b")]));
    assert!((500..=600).contains(&told.ttl), "{}", told.ttl);
    assert!(life(5, false).await.keys.is_empty(), "they were not asked for");
    let none = life(6, true).await;
    assert_eq!((none.id, none.ttl, none.granted_ttl, none.keys.len()), (6, -1, 0, 0));
}
