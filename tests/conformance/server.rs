//! The server that is asked, and what holds for each of its answers.

use std::time::Duration;

use bytes::Bytes;
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::auth_client::AuthClient;
use quorate::pb::etcdserverpb::cluster_client::ClusterClient;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::lease_client::LeaseClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::pb::etcdserverpb::watch_client::WatchClient;
use quorate_jepsen::cluster::Cluster;
use quorate_jepsen::program::{self, Server};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of processes and a connection to its first member.
pub struct Served {
    cluster: Cluster,
    pub channel: Channel,
    /// The ids of the cluster and of the first member.
    ids: (u64, u64),
    /// The second number of the version that it says to be.
    level: u32,
}

impl Served {
    /// One member.
    pub async fn start() -> Served {
        Served::of(1).await
    }

    /// One member with further flags.
    pub async fn with(flags: &[&str]) -> Served {
        Served::run(1, flags).await
    }

    /// One member that speaks at least the API of version 3.`level`; `None`, said loudly, where the server is older.
    pub async fn at_level(level: u32) -> Option<Served> {
        let served = Served::start().await;
        if served.level < level {
            program::skip("a call of the API", &format!("take a server of version 3.{level}"));
            return None;
        }
        Some(served)
    }

    /// So many members.
    pub async fn of(members: u32) -> Served {
        Served::run(members, &[]).await
    }

    async fn run(members: u32, flags: &[&str]) -> Served {
        let server = Server::from_env(env!("CARGO_BIN_EXE_quorate")).with(flags);
        let cluster = Cluster::start(server, members);
        cluster.leader().await;
        let channel = connect(&cluster, 0).await;
        let status = MaintenanceClient::new(channel.clone()).status(pb::StatusRequest {}).await;
        let status = status.unwrap().into_inner();
        let header = status.header.unwrap();
        let level = status.version.split('.').nth(1).unwrap().parse().unwrap();
        Served { cluster, channel, ids: (header.cluster_id, header.member_id), level }
    }

    /// Whether the server speaks the API of version 3.`level`.
    pub fn speaks(&self, level: u32) -> bool {
        self.level >= level
    }

    /// A connection to the member of this number.
    pub async fn member(&self, number: usize) -> Channel {
        connect(&self.cluster, number).await
    }

    /// The number of the member that leads.
    pub async fn leader(&self) -> usize {
        self.cluster.leader().await
    }

    /// The id of the first member.
    pub fn id(&self) -> u64 {
        self.ids.1
    }

    /// The revision of an answer of the first member, whose header must be whole.
    pub fn revision(&self, header: Option<pb::ResponseHeader>) -> i64 {
        let header = header.expect("every answer has a header");
        assert_eq!((header.cluster_id, header.member_id), self.ids, "{header:?}");
        assert!(header.raft_term > 0 && header.revision > 0, "{header:?}");
        header.revision
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone())
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    pub fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channel.clone())
    }

    /// Sets a key; the revision at which it stands.
    pub async fn put(&self, key: &str, value: &str) -> i64 {
        let request = pb::PutRequest { key: bytes(key), value: bytes(value), ..pb::PutRequest::default() };
        self.revision(self.kv().put(request).await.unwrap().into_inner().header)
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Option<Bytes> {
        let request = pb::RangeRequest { key: bytes(key), ..pb::RangeRequest::default() };
        self.kv().range(request).await.unwrap().into_inner().kvs.pop().map(|pair| pair.value)
    }
}

/// Waits until a key is there.
pub async fn until_there(served: &Served, key: &str) {
    soon(key, async {
        while served.get(key).await.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn connect(cluster: &Cluster, number: usize) -> Channel {
    let url = format!("http://{}", cluster.endpoints()[number]);
    Endpoint::from_shared(url).unwrap().connect().await.unwrap()
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What is waited for, within reason.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// What `answer` was refused with.
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// An error as clients know it.
pub fn error(code: Code, text: &str) -> (Code, String) {
    (code, format!("etcdserver: {text}"))
}
