//! A cluster of processes on loopback, in a folder that goes with it.
//!
//! Every start and end of a process is written into the history, if there is one, from just before the start to
//! just after the end: what a member answered in between came from that life.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate_check::types::MemberId;

use crate::client::{self, Standing};
use crate::member::Member;
use crate::program::Server;
use crate::recorder::Recorder;

/// How long a process may take to serve, with a majority there.
pub const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a process that is asked to end may take.
pub const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How long a cluster may take to agree on a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    initial: String,
    members: Vec<Member>,
    recorder: Option<(Arc<Recorder>, Vec<MemberId>)>,
    // Dropped last: the members' folders are in it.
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts `size` members and waits until all serve.
    pub fn start(server: Server, size: u32) -> Cluster {
        let folder =
            tempfile::Builder::new().prefix("quorate-jepsen-").tempdir().expect("a temporary folder");
        let members: Vec<Member> = (0..size).map(|index| Member::new(index, folder.path())).collect();
        let initial: Vec<String> =
            members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
        let mut cluster = Cluster { server, initial: initial.join(","), members, recorder: None, folder };
        cluster.start_down();
        cluster.wait_all_ready();
        cluster
    }

    /// From here on every life goes into this history. All members must run.
    pub async fn record(&mut self, recorder: Arc<Recorder>) -> Vec<MemberId> {
        let mut ids = Vec::new();
        for member in &self.members {
            let standing =
                client::standing(&member.endpoint()).await.expect("a ready member says how it stands");
            recorder.life_begins(standing.member);
            ids.push(standing.member);
        }
        self.recorder = Some((recorder, ids.clone()));
        ids
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server that runs.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The members in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where clients reach the members, in order.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    fn member(&mut self, index: usize) -> &mut Member {
        self.members.get_mut(index).expect("a member of this cluster")
    }

    /// Kills a member without a warning; true if it ran.
    pub fn kill(&mut self, index: usize) -> bool {
        let killed = self.member(index).kill();
        if killed {
            self.note_end(index);
        }
        killed
    }

    /// Stops a member where it stands, until it is resumed.
    pub fn pause(&mut self, index: usize) {
        self.member(index).pause();
    }

    /// Lets a paused member go on.
    pub fn resume(&mut self, index: usize) {
        self.member(index).resume();
    }

    /// Kills every member that runs, one right after the other; how many.
    pub fn kill_all(&mut self) -> usize {
        (0..self.members.len()).filter(|index| self.kill(*index)).count()
    }

    /// Asks a member to end, and demands that it ends well and in time.
    pub fn terminate(&mut self, index: usize) {
        let status = self.member(index).terminate(STOP_WITHIN);
        self.note_end(index);
        assert!(self.server.ended_well(status), "a member asked to end has ended with {status:?}");
    }

    fn note_end(&self, index: usize) {
        if let Some((recorder, ids)) = &self.recorder {
            recorder.life_ends(*ids.get(index).expect("every member has an id"));
        }
    }

    /// Starts a member that does not run; does not wait for it.
    pub fn restart(&mut self, index: usize) {
        if let Some((recorder, ids)) = &self.recorder {
            recorder.life_begins(*ids.get(index).expect("every member has an id"));
        }
        let (server, initial) = (self.server.clone(), self.initial.clone());
        self.member(index).start(&server, &initial);
    }

    /// Starts every member that does not run; does not wait for them.
    pub fn start_down(&mut self) {
        for index in 0..self.members.len() {
            if self.members.get(index).is_some_and(|member| !member.runs()) {
                self.restart(index);
            }
        }
    }

    /// Waits until a member serves.
    pub fn wait_ready(&mut self, index: usize) {
        self.member(index).wait_ready(READY_WITHIN);
    }

    /// Waits until every member that runs serves.
    pub fn wait_all_ready(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.runs()) {
            member.wait_ready(READY_WITHIN);
        }
    }

    /// How each member that runs stands, as far as it answers.
    pub async fn standings(&self) -> Vec<(usize, Standing)> {
        let mut standings = Vec::new();
        for (index, member) in self.members.iter().enumerate().filter(|(_, member)| member.runs()) {
            if let Some(standing) = client::standing(&member.endpoint()).await {
                standings.push((index, standing));
            }
        }
        standings
    }

    /// The place of the member that leads, once every member that runs says so.
    ///
    /// # Panics
    /// When they do not come to agree.
    pub async fn leader(&self) -> usize {
        let start = Instant::now();
        loop {
            let standings = self.standings().await;
            let leads = |(_, standing): &&(usize, Standing)| standing.member == standing.leader;
            if let Some((index, leader)) = standings.iter().find(leads)
                && standings.len() == self.members.iter().filter(|member| member.runs()).count()
                && standings.iter().all(|(_, standing)| standing.leader == leader.member)
            {
                return *index;
            }
            assert!(start.elapsed() < LEADER_WITHIN, "no leader that all know: {standings:?}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
