//! What a member does unasked for as long as it lives: it writes the first member list, tells its name, deletes
//! what is compacted, and lets the log be purged. It ends the process when the consensus core has failed.

use std::sync::Arc;

use crate::machine::command::{Caller, Command, Member as MemberInfo};
use crate::member::Member;
use crate::member::config::MemberConfig;
use crate::storage::lost_member::{Note, Stage};
use crate::storage::wal::Identity;

/// Keys and records that one step of physical compaction touches; the state is locked for that long.
const COMPACT_STEP_BUDGET: usize = 200;

/// Turns of upkeep after which the simulator's operator may have space given back.
const TURNS_PER_DEFRAGMENT_OFFER: u64 = 100;

impl Member {
    /// Looks after the member for as long as it lives.
    pub(super) async fn maintain(self: Arc<Self>) {
        let (mut kept, mut turns) = (0, 0_u64);
        while !self.is_stopping() {
            self.env.clock.sleep(self.config.knobs.maintenance_interval).await;
            if let Some(reason) = self.raft.failure() {
                return self.replica.fatal(&reason);
            }
            if self.is_removed() {
                // Who asked this member for its own removal is still to be answered.
                self.env.clock.sleep(self.config.knobs.election_timeout).await;
                self.remember_the_end();
                let member = self.config.member;
                return self.replica.fatal(&format!("member {member} was removed from the cluster"));
            }
            self.bootstrap().await;
            self.announce().await;
            self.sweep().await;
            self.replica.sweep_sessions();
            if crate::buggify!("the engine is flushed early")
                && let Err(error) = self.replica.store().flush(&self.wal).await
            {
                tracing::error!(%error, "an early flush failed");
            }
            turns += 1;
            self.be_defragmented(turns).await;
            if crate::buggify!("a snapshot is taken early") {
                self.raft.snapshot().await;
            }
            let size = self.wal.size_bytes();
            // What is kept behind a snapshot does not call for the next one.
            kept = kept.min(size);
            if size - kept > self.config.knobs.snapshot_wal_bytes {
                self.raft.snapshot().await;
                kept = size;
            }
        }
    }

    /// Whether the cluster goes on without this member: as it knows itself, or as a peer has told it.
    fn is_removed(&self) -> bool {
        let member = self.config.member;
        let listed = self.replica.state().members().is_removed(member);
        (listed && !self.replica.has_a_say(member)) || self.peers.removed_by().is_some()
    }

    /// Writes down that the member is gone for good, where its next start may look for another place: one that was replaced
    /// while its log was away never runs again then, whoever answers that start.
    fn remember_the_end(&self) {
        if !self.config.knobs.self_repair {
            return;
        }
        let lost = Identity { cluster: self.config.cluster, member: self.config.member };
        let note = Note { lost, stage: Stage::Moving };
        if let Err(error) = note.write(&*self.env.disk, &self.config.data_dir) {
            tracing::error!(%error, "that the member is gone for good was not written down");
        }
    }

    /// An operator may ask for it at any time. The simulator's does, but not at every turn: it writes all of the state.
    async fn be_defragmented(&self, turns: u64) {
        if turns.is_multiple_of(TURNS_PER_DEFRAGMENT_OFFER)
            && crate::buggify!("an operator has space given back")
            && let Err(error) = self.defragment().await
        {
            tracing::warn!(%error, "space was not given back");
        }
    }

    /// As the first leader: writes the initial member list into the state.
    async fn bootstrap(&self) {
        let bootstrapped = self.replica.state().members().is_bootstrapped();
        if !bootstrapped && self.raft.is_leader() {
            // Names and client addresses come from the members themselves, once they have started.
            let unnamed = |member: &MemberInfo| MemberInfo {
                name: String::new(),
                client_urls: Vec::new(),
                ..member.clone()
            };
            let members = self.config.members.iter().map(unnamed).collect();
            if let Err(error) = self.propose(Caller::Member, Command::Bootstrap { members }).await {
                tracing::warn!(%error, "the initial member list is not written yet");
            }
        }
    }

    /// Tells the cluster this member's name and where its clients reach it, when the state says otherwise.
    async fn announce(&self) {
        let MemberConfig { member, name, client_urls, .. } = &self.config;
        let outdated = self
            .replica
            .state()
            .members()
            .get(*member)
            .is_some_and(|known| known.name != *name || known.client_urls != *client_urls);
        if outdated && self.raft.leader().is_some() {
            let attributes = Command::MemberAttributes {
                member: *member,
                name: name.clone(),
                client_urls: client_urls.clone(),
            };
            if let Err(error) = self.propose(Caller::Member, attributes).await {
                tracing::warn!(%error, "this member's name and addresses are not announced yet");
            }
        }
    }

    /// Deletes what a compaction has made unreadable, a step at a time, as far as nobody still reads it.
    pub async fn sweep(&self) {
        loop {
            let small = crate::buggify!("a compaction is swept in small steps");
            if !self.replica.compact_step(if small { 1 } else { COMPACT_STEP_BUDGET }) {
                return;
            }
            crate::disturb!("a compaction's sweep pauses", &*self.env.clock);
            self.replica.store().room().await;
            // There is room most of the time, and others have work as well.
            tokio::task::yield_now().await;
        }
    }
}
