//! Locks and elections that the cluster keeps, through their own services, side by side with the real `etcdctl`, which keeps
//! them by itself, by plain keys: both stand in the same lines.

use std::time::Duration;

use bytes::Bytes;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::v3electionpb::election_client::ElectionClient;
use quorate::pb::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ResignRequest,
};
use quorate::pb::v3lockpb::lock_client::LockClient;
use quorate::pb::v3lockpb::{LockRequest, UnlockRequest};
use quorate_jepsen::cluster::Cluster;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::ctl;

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Somebody who uses one member of the cluster.
#[derive(Clone)]
struct User {
    channel: Channel,
}

impl User {
    async fn of(cluster: &Cluster, member: usize) -> User {
        let url = format!("http://{}", cluster.endpoints()[member]);
        User { channel: Endpoint::from_shared(url).unwrap().connect().await.unwrap() }
    }

    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    fn election(&self) -> ElectionClient<Channel> {
        ElectionClient::new(self.channel.clone())
    }

    async fn lease(&self, id: i64, ttl: i64) {
        let request = pb::LeaseGrantRequest { id, ttl };
        LeaseClient::new(self.channel.clone()).lease_grant(request).await.unwrap();
    }

    async fn revoke(&self, id: i64) {
        LeaseClient::new(self.channel.clone()).lease_revoke(pb::LeaseRevokeRequest { id }).await.unwrap();
    }

    async fn leases(&self) -> Vec<i64> {
        let answer = LeaseClient::new(self.channel.clone()).lease_leases(pb::LeaseLeasesRequest {}).await;
        answer.unwrap().into_inner().leases.iter().map(|lease| lease.id).collect()
    }

    async fn lock(&self, name: &str, lease: i64) -> Result<(i64, String), Status> {
        let request = LockRequest { name: bytes(name), lease };
        let answer = soon("a lock", LockClient::new(self.channel.clone()).lock(request)).await?.into_inner();
        Ok((answer.header.unwrap().revision, String::from_utf8(answer.key.to_vec()).unwrap()))
    }

    async fn unlock(&self, key: &str) -> Result<i64, Status> {
        let request = UnlockRequest { key: bytes(key) };
        let answer = LockClient::new(self.channel.clone()).unlock(request).await?;
        Ok(answer.into_inner().header.unwrap().revision)
    }

    /// The keys below a name, in the order in which they were created.
    async fn places(&self, name: &str) -> Vec<String> {
        let request = pb::RangeRequest {
            key: bytes(&format!("{name}/")),
            range_end: bytes(&format!("{name}0")),
            sort_order: pb::range_request::SortOrder::Ascend.into(),
            sort_target: pb::range_request::SortTarget::Create.into(),
            ..pb::RangeRequest::default()
        };
        let answer = self.kv().range(request).await.unwrap().into_inner();
        answer.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
    }

    async fn until_places(&self, name: &str, count: usize) {
        let there = async {
            while self.places(name).await.len() != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("places in line", there).await;
    }

    async fn campaign(&self, name: &str, lease: i64, value: &str) -> Result<(i64, LeaderKey), Status> {
        let request = CampaignRequest { name: bytes(name), lease, value: bytes(value) };
        let answer = soon("an office", self.election().campaign(request)).await?.into_inner();
        Ok((answer.header.unwrap().revision, answer.leader.unwrap()))
    }

    async fn proclaim(&self, leader: Option<LeaderKey>, value: &str) -> Result<i64, Status> {
        let request = ProclaimRequest { leader, value: bytes(value) };
        Ok(self.election().proclaim(request).await?.into_inner().header.unwrap().revision)
    }

    async fn resign(&self, leader: Option<LeaderKey>) -> Result<i64, Status> {
        Ok(self.election().resign(ResignRequest { leader }).await?.into_inner().header.unwrap().revision)
    }

    async fn leader(&self, name: &str) -> Result<String, Status> {
        let answer = self.election().leader(LeaderRequest { name: bytes(name) }).await?.into_inner();
        Ok(say(&answer))
    }

    /// Whoever leads from now on; the call itself may be answered only when there is somebody.
    fn observe(&self, name: &str) -> mpsc::Receiver<String> {
        let (sender, seen) = mpsc::channel(16);
        let (mut election, name) = (self.election(), bytes(name));
        tokio::spawn(async move {
            let mut leaders = election.observe(LeaderRequest { name }).await.unwrap().into_inner();
            while let Ok(Some(leader)) = leaders.message().await {
                if sender.send(say(&leader)).await.is_err() {
                    return;
                }
            }
        });
        seen
    }
}

/// Who leads, and what it proclaims.
fn say(seen: &LeaderResponse) -> String {
    let kv = seen.kv.as_ref().unwrap();
    assert!(seen.header.as_ref().unwrap().revision >= kv.mod_revision, "{seen:?}");
    format!("{}={}", String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value))
}

async fn sees(observer: &mut mpsc::Receiver<String>) -> String {
    soon("a leader", observer.recv()).await.unwrap()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn because(code: Code, text: &str) -> (Code, String) {
    (code, text.to_owned())
}

#[tokio::test]
async fn a_lock_is_handed_on_in_the_order_of_coming_at_whichever_member() {
    let cluster = crate::cluster();
    let (first, second, third) =
        (User::of(&cluster, 0).await, User::of(&cluster, 1).await, User::of(&cluster, 2).await);
    for lease in [0xa1, 0xb2, 0xc3] {
        first.lease(lease, 600).await;
    }
    let (at, key) = first.lock("jobs", 0xa1).await.unwrap();
    assert_eq!((at, &*key), (2, "jobs/a1"));
    // Another name is another lock, and one that only begins alike is none of these.
    assert_eq!(second.lock("jobs/old", 0xb2).await.unwrap().1, "jobs/old/b2");
    second.unlock("jobs/old/b2").await.unwrap();
    assert_eq!(second.lock("job", 0xb2).await.unwrap().1, "job/b2");

    let waiter = |user: &User, lease: i64| {
        let user = user.clone();
        tokio::spawn(async move { user.lock("jobs", lease).await })
    };
    let next = waiter(&second, 0xb2);
    first.until_places("jobs", 2).await;
    let last = waiter(&third, 0xc3);
    first.until_places("jobs", 3).await;
    assert_eq!(first.places("jobs").await, ["jobs/a1", "jobs/b2", "jobs/c3"]);
    // Who holds it has it at once, whoever stands behind.
    assert_eq!(third.lock("jobs", 0xa1).await.unwrap().1, "jobs/a1");
    assert!(!next.is_finished() && !last.is_finished());

    let freed = third.unlock("jobs/a1").await.unwrap();
    let (at, key) = next.await.unwrap().unwrap();
    assert!(at >= freed, "the lock was had at {at} and freed at {freed}");
    assert_eq!(key, "jobs/b2");
    assert!(!last.is_finished(), "one at a time");
    // Whose lease ends holds no longer.
    first.revoke(0xb2).await;
    assert_eq!(last.await.unwrap().unwrap().1, "jobs/c3");
    assert_eq!(first.places("jobs").await, ["jobs/c3"]);
    // What is not there needs no unlocking.
    first.unlock("jobs/a1").await.unwrap();
    // The reference wraps what its own store refuses, and loses the code.
    assert_eq!(refused(first.unlock("").await).1, "etcdserver: key is not provided");
}

#[tokio::test]
async fn who_loses_its_place_while_it_waits_is_told_so() {
    let cluster = crate::cluster();
    let user = User::of(&cluster, 0).await;
    assert_eq!(refused(user.lock("jobs", 0xdead).await).1, "etcdserver: requested lease not found");
    for lease in [0xa1, 0xb2] {
        user.lease(lease, 600).await;
    }
    let (_, held) = user.lock("jobs", 0xa1).await.unwrap();
    let waiter = {
        let user = user.clone();
        tokio::spawn(async move { user.lock("jobs", 0xb2).await })
    };
    user.until_places("jobs", 2).await;
    user.revoke(0xb2).await;
    // At once, or, of the reference, when its turn would have come.
    user.unlock(&held).await.unwrap();
    let expired = because(Code::Unknown, "mutex: session is expired");
    assert_eq!(refused(waiter.await.unwrap()), expired);
    assert_eq!(user.places("jobs").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_client_without_a_lease_is_given_one() {
    let cluster = crate::cluster();
    let user = User::of(&cluster, 1).await;
    let (_, key) = user.lock("jobs", 0).await.unwrap();
    let [lease] = user.leases().await[..] else { panic!("one lease") };
    assert_eq!(key, format!("jobs/{lease:x}"));
    let ask = pb::LeaseTimeToLiveRequest { id: lease, keys: true };
    let life = LeaseClient::new(user.channel.clone()).lease_time_to_live(ask).await.unwrap().into_inner();
    assert_eq!((life.granted_ttl, life.keys), (60, vec![bytes(&key)]));
}

#[tokio::test]
async fn the_real_etcdctl_stands_in_the_same_line() {
    let Some((cluster, etcdctl)) = ctl::start() else { return };
    let user = User::of(&cluster, 0).await;
    user.lease(0xa1, 600).await;
    let (_, held) = user.lock("jobs", 0xa1).await.unwrap();
    let waits = etcdctl.start(&["lock", "jobs", "--ttl", "20"]);
    user.until_places("jobs", 2).await;
    let theirs = user.places("jobs").await.pop().unwrap();
    user.unlock(&held).await.unwrap();
    // It says by what key it holds.
    waits.prints(&[&theirs]);
    let waiter = {
        let user = user.clone();
        tokio::spawn(async move { user.lock("jobs", 0xa1).await })
    };
    user.until_places("jobs", 2).await;
    assert!(!waiter.is_finished(), "it is held");
    user.kv()
        .delete_range(pb::DeleteRangeRequest { key: bytes(&theirs), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(waiter.await.unwrap().unwrap().1, "jobs/a1");
    drop(waits);

    // And it is observed, and observes.
    let leads = etcdctl.start(&["elect", "chair", "from etcdctl"]);
    user.until_places("chair", 1).await;
    let theirs = user.places("chair").await.pop().unwrap();
    leads.prints(&[&theirs, "from etcdctl"]);
    assert_eq!(user.leader("chair").await.unwrap(), format!("{theirs}=from etcdctl"));
    let listens = etcdctl.start(&["elect", "chair", "--listen"]);
    listens.prints(&[&theirs, "from etcdctl"]);
    user.kv()
        .delete_range(pb::DeleteRangeRequest { key: bytes(&theirs), ..Default::default() })
        .await
        .unwrap();
    let (_, leader) = user.campaign("chair", 0xa1, "from a service").await.unwrap();
    assert_eq!(leader.key, bytes("chair/a1"));
    listens.prints(&["chair/a1", "from a service"]);
}

#[tokio::test]
async fn an_office_is_won_spoken_from_and_passed_on() {
    let cluster = crate::cluster();
    let (one, two) = (User::of(&cluster, 0).await, User::of(&cluster, 2).await);
    for lease in [0xa1, 0xb2] {
        one.lease(lease, 600).await;
    }
    let nobody = because(Code::Unknown, "election: no leader");
    assert_eq!(refused(one.leader("chair").await), nobody);
    let mut observer = two.observe("chair");

    let (at, leader) = one.campaign("chair", 0xa1, "one").await.unwrap();
    let key = LeaderKey { name: bytes("chair"), key: bytes("chair/a1"), rev: at, lease: 0xa1 };
    assert_eq!((at, &leader), (2, &key));
    assert_eq!(two.leader("chair").await.unwrap(), "chair/a1=one");
    assert_eq!(sees(&mut observer).await, "chair/a1=one");

    let waiter = {
        let two = two.clone();
        tokio::spawn(async move { two.campaign("chair", 0xb2, "two").await })
    };
    one.until_places("chair", 2).await;
    one.proclaim(Some(leader.clone()), "one more").await.unwrap();
    assert_eq!(sees(&mut observer).await, "chair/a1=one more");
    // A campaign of the one that leads only proclaims.
    let (_, again) = one.campaign("chair", 0xa1, "one again").await.unwrap();
    assert_eq!(again, leader);
    assert_eq!(sees(&mut observer).await, "chair/a1=one again");
    // Who comes later sees where things stand.
    assert_eq!(sees(&mut one.observe("chair")).await, "chair/a1=one again");
    assert!(!waiter.is_finished());

    // Who means an office of another time does nothing, be it to speak or to leave.
    let gone = LeaderKey { rev: leader.rev - 1, ..leader.clone() };
    let not_leader = because(Code::Unknown, "election: not leader");
    assert_eq!(refused(one.proclaim(Some(gone.clone()), "late").await), not_leader);
    one.resign(Some(gone)).await.unwrap();
    assert_eq!(one.leader("chair").await.unwrap(), "chair/a1=one again");
    let nowhere = LeaderKey { key: bytes("chair/c3"), rev: 0, lease: 0xa1, ..leader.clone() };
    if !cluster.server().is_reference() {
        // The reference writes the key.
        assert_eq!(refused(one.proclaim(Some(nowhere), "from nowhere").await), not_leader);
    }
    let missing = because(Code::Unknown, "\"leader\" field must be provided");
    assert_eq!(refused(one.proclaim(None, "x").await), missing);
    assert_eq!(refused(one.resign(None).await), missing);

    one.resign(Some(leader.clone())).await.unwrap();
    let (_, second) = waiter.await.unwrap().unwrap();
    assert_eq!((&second.key, second.lease), (&bytes("chair/b2"), 0xb2));
    assert_eq!(sees(&mut observer).await, "chair/b2=two");
    assert_eq!(refused(one.proclaim(Some(leader), "still me").await), not_leader);
    one.revoke(0xb2).await;
    assert_eq!(refused(one.leader("chair").await), nobody);
    // An observer waits through the time without a leader.
    one.campaign("chair", 0xa1, "back").await.unwrap();
    assert_eq!(sees(&mut observer).await, "chair/a1=back");
}
