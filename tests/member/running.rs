//! Members that are told apart: each with what its process said at the end, in this runtime or in one of its own.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate::env::{Env, Process};
use quorate::member::{Member, MemberConfig};
use quorate::node::{StartError, start};
use quorate::pb::etcdserverpb as pb;
use quorate::pb::etcdserverpb::cluster_client::ClusterClient;
use quorate::pb::etcdserverpb::kv_client::KvClient;
use quorate::pb::etcdserverpb::maintenance_client::MaintenanceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::{Place, until};

/// A process that says why it was to end, and goes on.
#[derive(Debug, Default)]
pub struct Told(pub Mutex<Vec<String>>);

impl Process for Told {
    fn fatal(&self, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
}

/// A member, where its clients reach it, and what its process said at the end.
pub struct Running {
    pub member: Arc<Member>,
    url: String,
    pub told: Arc<Told>,
}

impl Running {
    pub async fn start(config: MemberConfig) -> Result<Running, StartError> {
        let told = Arc::new(Told::default());
        let env = Env { process: told.clone(), ..Env::real().unwrap() };
        let url = config.client_urls[0].clone();
        Ok(Running { member: start(config, env).await?, url, told })
    }

    /// The first member of a place, which founds its cluster alone and leads it.
    pub async fn alone(place: &Place) -> Running {
        let first = Running::start(place.founder()).await.unwrap();
        first.votes().await;
        first
    }

    pub fn id(&self) -> u64 {
        self.member.config().member.0
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    pub async fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel().await)
    }

    pub async fn add(
        &self,
        place: &Place,
        number: usize,
        is_learner: bool,
    ) -> Result<pb::MemberAddResponse, Status> {
        let peer_ur_ls = vec![format!("http://{}", place.addresses[number - 1])];
        let request = pb::MemberAddRequest { peer_ur_ls, is_learner };
        self.cluster().await.member_add(request).await.map(tonic::Response::into_inner)
    }

    pub async fn remove(&self, id: u64) -> Result<pb::MemberRemoveResponse, Status> {
        let removed = self.cluster().await.member_remove(pb::MemberRemoveRequest { id }).await;
        removed.map(tonic::Response::into_inner)
    }

    pub async fn update(&self, id: u64, peer_url: &str) -> Result<pb::MemberUpdateResponse, Status> {
        let request = pb::MemberUpdateRequest { id, peer_ur_ls: vec![peer_url.to_owned()] };
        self.cluster().await.member_update(request).await.map(tonic::Response::into_inner)
    }

    pub async fn put(&self, key: &str) -> Result<(), Status> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let request = pb::PutRequest { key, ..pb::PutRequest::default() };
        KvClient::new(self.channel().await).put(request).await.map(drop)
    }

    pub async fn move_leader(&self, target_id: u64) -> Result<(), Status> {
        let request = pb::MoveLeaderRequest { target_id };
        MaintenanceClient::new(self.channel().await).move_leader(request).await.map(drop)
    }

    /// Waits until this member votes and the cluster knows its name.
    pub async fn votes(&self) {
        until("a vote", || {
            let state = self.member.replica().state();
            let known =
                state.members().iter().any(|member| member.id.0 == self.id() && !member.name.is_empty());
            (known && !self.member.status().raft.is_learner && self.member.has_leader()).then_some(())
        })
        .await;
    }

    /// Waits until this member knows the names of so many: until then each has something of its own to say.
    pub async fn knows_names(&self, count: usize) {
        until("names", || {
            let state = self.member.replica().state();
            (state.members().iter().filter(|member| !member.name.is_empty()).count() == count).then_some(())
        })
        .await;
    }
}

/// A member in a process of its own, as far as one test can have several: a runtime of its own, on a thread.
pub struct Elsewhere {
    end: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Elsewhere {
    pub fn start(config: MemberConfig) -> Elsewhere {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _running = Running::start(config).await.unwrap();
                // A sender that is gone ends it as well.
                let _ended = ended.await;
            });
        });
        Elsewhere { end, thread }
    }

    pub fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}
