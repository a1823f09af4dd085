//! Members on loopback ports, in one process and one runtime, each with a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::env::{Env, within};
use quorate::machine::command::{Answer, Command, Compact, Member as MemberInfo, Put};
use quorate::machine::effects::Event;
use quorate::machine::watch::{Body, Response, WatchSpec};
use quorate::member::{Credential, Knobs, Member, MemberConfig, Security};
use quorate::node::{StartError, start};
use quorate::peer::Dialer;
use quorate::peer::join::{self, JoinError, find_place};
use quorate::raft::watch_stream::WatchStream;
use quorate::storage::engine::EngineKind;
use quorate::types::{ClusterId, KeyRange, LeaseId, MemberId, Revision};
use quorate_jepsen::ports;
use tonic::transport::{Channel, Endpoint};

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the members of a cluster live: it outlasts their processes.
pub struct Place {
    pub root: PathBuf,
    pub addresses: Vec<SocketAddr>,
    /// Where clients reach the members, in the same order.
    pub clients: Vec<SocketAddr>,
    pub engine: EngineKind,
    pub knobs: Knobs,
    /// What stands before all of them.
    pub security: Security,
}

impl Place {
    /// A place for `count` members.
    pub fn new(root: &Path, count: u64, engine: EngineKind, knobs: Knobs) -> Place {
        let addresses = (0..count).map(|_| free_address()).collect();
        let clients = (0..count).map(|_| free_address()).collect();
        let security = Security::default();
        Place { root: root.to_owned(), addresses, clients, engine, knobs, security }
    }

    /// What the members know of each other.
    fn infos(&self) -> Vec<MemberInfo> {
        (1..)
            .zip(&self.addresses)
            .map(|(id, address)| MemberInfo {
                id: MemberId(id),
                name: format!("m{id}"),
                peer_urls: vec![format!("http://{address}")],
                ..MemberInfo::default()
            })
            .collect()
    }

    /// The data directory of the member of this number, from 1.
    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.root.join(format!("m{number}"))
    }

    /// What the member of this number, from 1, is started with.
    pub fn config(&self, number: usize) -> MemberConfig {
        let infos = self.infos();
        let info = &infos[number - 1];
        MemberConfig {
            name: info.name.clone(),
            member: info.id,
            cluster: ClusterId(7),
            data_dir: self.data_dir(number),
            peer_urls: info.peer_urls.clone(),
            peer_listen: self.addresses[number - 1],
            client_listen: vec![self.clients[number - 1]],
            client_urls: vec![format!("http://{}", self.clients[number - 1])],
            engine: self.engine,
            security: self.security.clone(),
            knobs: self.knobs.clone(),
            members: infos,
            joins: false,
            seeds: Vec::new(),
        }
    }

    /// Starts one member, once the process before it has let go of its log.
    pub async fn start(&self, number: usize) -> Result<Arc<Member>, StartError> {
        self.unlocked(number).await;
        start(self.config(number), Env::real().unwrap()).await
    }

    /// Waits until no process holds the log of this member.
    pub async fn unlocked(&self, number: usize) {
        let lock = self.data_dir(number).join("wal/lock");
        let env = Env::real().unwrap();
        until("the log's lock", || (!lock.exists() || env.disk.lock(&lock).is_ok()).then_some(())).await;
    }

    /// What the first member is started with when it founds its cluster alone.
    pub fn founder(&self) -> MemberConfig {
        let config = self.config(1);
        MemberConfig { members: config.members[..1].to_vec(), ..config }
    }

    /// What the member of this number, from 1, is started with when it joins a cluster that the others run: what
    /// they say of it.
    pub async fn joiner(&self, number: usize) -> Result<MemberConfig, JoinError> {
        let infos = self.infos();
        let asked: Vec<String> = infos.iter().flat_map(|info| info.peer_urls.clone()).collect();
        let env = Env::real().unwrap();
        let own = &infos[number - 1].peer_urls;
        let found = find_place(&*env.clock, &Dialer::default(), &asked, own, Duration::from_secs(1)).await?;
        let join::Place { cluster, member, members, joins } = found;
        Ok(MemberConfig { cluster, member, members, joins, ..self.config(number) })
    }

    /// Starts all members and waits until they have a leader.
    pub async fn start_all(&self) -> Cluster {
        let mut members = Vec::new();
        for number in 1..=self.addresses.len() {
            members.push(self.start(number).await.unwrap());
        }
        let cluster = Cluster { members, clients: self.clients.clone(), _dir: None };
        cluster.leader().await;
        cluster
    }
}

/// A running cluster.
pub struct Cluster {
    pub members: Vec<Arc<Member>>,
    /// Where the members' clients reach them, in the same order.
    clients: Vec<SocketAddr>,
    _dir: Option<tempfile::TempDir>,
}

/// An address on loopback that nobody else is given.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free()))
}

/// What the test waits for, or the test's end.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let env = Env::real().unwrap();
    within(&*env.clock, PATIENCE, future).await.unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Waits until `holds` answers something.
pub async fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = holds() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

impl Cluster {
    /// Starts `count` members in a folder of their own and waits until they have a leader.
    pub async fn start(count: u64, knobs: Knobs) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Place::new(dir.path(), count, EngineKind::Redb, knobs).start_all().await;
        Cluster { _dir: Some(dir), ..cluster }
    }

    /// Waits until all members stand at one entry, and answers the one hash that they all have there.
    pub async fn agreed_hash(&self) -> u128 {
        until("one state everywhere", || {
            let hashes: Vec<_> = self.members.iter().map(|member| member.status().hash).collect();
            let (at, hash) = *hashes.first()?;
            if hashes.iter().any(|(other, _)| *other != at) {
                return None;
            }
            assert!(hashes.iter().all(|(_, other)| *other == hash), "states differ at {at:?}: {hashes:x?}");
            Some(hash)
        })
        .await
    }

    /// A connection to a member, as a client has it.
    pub async fn connect(&self, member: usize) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.clients[member])).unwrap().connect().await.unwrap()
    }

    /// A member that leads and says so, once the others that have not stopped follow it.
    pub async fn leader(&self) -> Arc<Member> {
        self.leader_among(&self.members).await
    }

    /// As [`Cluster::leader`], among some.
    pub async fn leader_among(&self, members: &[Arc<Member>]) -> Arc<Member> {
        until("a leader", || {
            let ids: Vec<_> = members.iter().map(|member| member.status().raft.leader).collect();
            let id = ids.first().copied().flatten()?;
            let leader = members.iter().find(|member| member.config().member == id)?;
            (ids.iter().all(|seen| *seen == Some(id)) && leader.status().raft.is_leader)
                .then(|| leader.clone())
        })
        .await
    }

    /// The members but this one.
    pub fn others(&self, than: &Arc<Member>) -> Vec<Arc<Member>> {
        self.members.iter().filter(|member| !Arc::ptr_eq(member, than)).cloned().collect()
    }
}

/// Short timeouts, so that leases may be short and elections quick.
pub fn quick() -> Knobs {
    Knobs {
        heartbeat_interval: Duration::from_millis(50),
        election_timeout: Duration::from_millis(400),
        lease_tick: Duration::from_millis(50),
        request_timeout: Duration::from_secs(20),
        ..Knobs::default()
    }
}

/// Writes a key and answers the revision.
pub async fn put(member: &Member, key: &str, value: &str, lease: LeaseId) -> Revision {
    let put = Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease,
        ..Put::default()
    };
    done(member.propose_for(&Credential::None, Command::Put(put)).await.unwrap())
}

/// Forgets history.
pub async fn compact(member: &Member, revision: Revision) {
    done(member.propose_for(&Credential::None, Command::Compact(Compact { revision })).await.unwrap());
}

fn done(answer: Answer) -> Revision {
    assert!(answer.result.is_ok(), "{:?}", answer.result);
    answer.revision
}

/// A watch of every key from `start` on.
pub fn all_keys(start: Revision) -> WatchSpec {
    let everything = KeyRange::from_wire(Bytes::from_static(&[0]), Bytes::from_static(&[0]));
    WatchSpec { start, ..WatchSpec::new(everything) }
}

/// The next responses until `enough`.
pub async fn responses(stream: &WatchStream, mut enough: impl FnMut(&[Response]) -> bool) -> Vec<Response> {
    let mut found = Vec::new();
    while !enough(&found) {
        let more = soon("watch responses", stream.next(64)).await;
        assert!(!more.is_empty(), "the member stopped");
        found.extend(more);
    }
    found
}

/// The events in these responses, as `key=value@revision` or `-key@revision`.
pub fn events(responses: &[Response]) -> Vec<String> {
    let sets = responses.iter().filter_map(|response| match &response.body {
        Body::Events { set, .. } => Some(set.events()),
        _ => None,
    });
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    sets.flatten()
        .map(|event| match &event.event {
            Event::Put(kv) => format!("{}={}@{}", text(&kv.key), text(&kv.value), kv.mod_revision),
            Event::Delete { key, mod_revision } => format!("-{}@{mod_revision}", text(key)),
        })
        .collect()
}
