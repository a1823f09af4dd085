//! Locks that the server keeps.

use quorate::pb::etcdserverpb as pb;
use quorate::pb::v3lockpb::lock_client::LockClient;
use quorate::pb::v3lockpb::{LockRequest, LockResponse, UnlockRequest};

use crate::server::{Served, bytes, soon, until_there};

/// Covers Lock/Lock, Lock/Unlock; LockRequest: name, lease; LockResponse: header, key; UnlockRequest: key;
/// UnlockResponse: header.
#[tokio::test]
async fn a_lock_is_held_under_a_key_until_that_is_given_back() {
    let served = Served::start().await;
    for id in [0x15, 0x16] {
        served.lease().lease_grant(pb::LeaseGrantRequest { id, ttl: 600 }).await.unwrap();
    }
    let lock_named = async |name: &str, lease| -> LockResponse {
        let request = LockRequest { name: bytes(name), lease };
        soon("the lock", LockClient::new(served.channel.clone()).lock(request)).await.unwrap().into_inner()
    };
    let lock = async |lease| lock_named("jobs", lease).await;
    let held = lock(0x15).await;
    assert_eq!((held.key.clone(), served.revision(held.header)), (bytes("jobs/15"), 2));
    assert_eq!(served.get("jobs/15").await, Some(bytes("")));
    let (second, ()) = tokio::join!(lock(0x16), async {
        // The second waits in line, below its own lease, until the first is given back.
        until_there(&served, "jobs/16").await;
        let request = UnlockRequest { key: held.key.clone() };
        let given = LockClient::new(served.channel.clone()).unlock(request).await.unwrap().into_inner();
        assert_eq!(served.revision(given.header), 4);
    });
    assert_eq!(second.key, bytes("jobs/16"));
    assert!(served.revision(second.header) >= 4, "it was held once the other was gone");
    assert_eq!(served.get("jobs/15").await, None);
    let own = lock_named("other", 0).await;
    let leases = served.lease().lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
    let made = leases.iter().find(|lease| !matches!(lease.id, 0x15 | 0x16)).expect("a lease was made for it");
    assert_eq!(own.key, bytes(&format!("other/{:x}", made.id)));
}
