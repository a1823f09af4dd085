//! What a member does about members that have parted: it refuses to start as one, and as the leader it looks for others.
//!
//! - *At the start*, when it is told to, before clients are served: a member whose history is not that of a majority ends.
//!   One that differs from those that it hears, while no majority is heard, ends too: serving what may be wrong is worse
//!   than not serving.
//! - *Now and then*, as the leader: histories, and hashes of compactions, see [`comparison`]. Whoever differs from a
//!   majority gets the CORRUPT alarm, which stops all changes of keys until an operator has looked. Without a majority the
//!   alarm is nobody's in particular (member 0).
//!
//! Nothing here mends anything. Who says nothing is not judged.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::config::limits;
use crate::machine::command::{AlarmKind, Caller, Command};
use crate::machine::effects::RecordsError;
use crate::member::Member;
use crate::raft::comparison::{self, Compared, Verdict};
use crate::types::{LogId, MemberId};

/// Election timeouts that a starting member gives its peers to answer.
const START_PATIENCE_TIMEOUTS: u32 = 3;
/// How often in such a time it tries to hear them.
const START_ATTEMPTS_PER_TIMEOUT: u32 = 4;

/// Who the alarm is of when nobody knows whose.
const NOBODY: MemberId = MemberId(0);

impl Member {
    /// Begins to look after other members, as far as it is told to.
    pub(super) fn watch_for_corruption(self: &Arc<Self>) {
        let checks = self.config.knobs.corruption_checks;
        if let Some(every) = checks.every {
            tokio::spawn(compare_histories(Arc::downgrade(self), every));
        }
        if let Some(every) = checks.compact_hash_every {
            tokio::spawn(compare_compactions(Arc::downgrade(self), every));
        }
    }

    /// Compares this member's history with its peers', as far as they answer, when it is told to: whether it may serve.
    ///
    /// # Errors
    /// What speaks against it, in a line.
    pub async fn check_at_start(&self) -> Result<(), String> {
        if !self.config.knobs.corruption_checks.initial {
            return Ok(());
        }
        // Before there is a history nothing can differ, and alone there is nobody to differ from.
        if self.replica.state().applied().is_none() || self.is_alone() {
            return Ok(());
        }
        let election = self.config.knobs.election_timeout;
        let (patience, pause) = (election * START_PATIENCE_TIMEOUTS, election / START_ATTEMPTS_PER_TIMEOUT);
        let begun = self.env.clock.monotonic();
        loop {
            let timeout = self.config.knobs.request_timeout;
            let compared = comparison::histories(&self.replica, &self.peers, timeout).await;
            if let Some(compared) = compared.map_err(|error| error.to_string())? {
                return self.may_start(&compared);
            }
            let waited = self.env.clock.monotonic().saturating_sub(begun);
            if waited >= patience || self.is_stopping() {
                tracing::warn!("no other member answers: this one starts without being compared");
                return Ok(());
            }
            self.env.clock.sleep(pause).await;
        }
    }

    fn may_start(&self, compared: &Compared) -> Result<(), String> {
        let Compared { what, heard, verdict } = compared;
        let differs = || format!("its {what}, is not what others have (heard: {})", listed(heard));
        match verdict {
            Verdict::Agreed => Ok(()),
            Verdict::Undecided => Err(format!("{}, and no majority says which is right", differs())),
            Verdict::Differ(odd) if odd.contains(&self.config.member) => {
                Err(format!("{}, and they are a majority", differs()))
            }
            Verdict::Differ(odd) => {
                tracing::error!(members = %listed(odd), "members differ from this one and from a majority");
                Ok(())
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.replica.state().members().iter().all(|member| member.id == self.config.member)
    }

    /// Raises the alarm for whoever differs.
    async fn act_on(&self, compared: &Compared) {
        let odd = match &compared.verdict {
            Verdict::Agreed => return,
            Verdict::Differ(odd) => odd.clone(),
            Verdict::Undecided => BTreeSet::from([NOBODY]),
        };
        let (what, heard) = (&compared.what, listed(&compared.heard));
        tracing::error!(members = %listed(&odd), %heard, %what, "members differ: the cluster is corrupt");
        crate::sometimes!("members were found to differ");
        for member in odd {
            let alarm = (AlarmKind::Corrupt, member);
            if self.replica.state().alarms().iter().any(|raised| raised == alarm) {
                continue;
            }
            let raise = Command::Alarm { raise: true, member, kind: AlarmKind::Corrupt };
            if let Err(error) = self.propose(Caller::Member, raise).await {
                tracing::error!(%error, "the alarm could not be raised; the next comparison tries again");
            }
        }
    }
}

fn listed(members: &BTreeSet<MemberId>) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

async fn compare_histories(member: Weak<Member>, every: Duration) {
    while let Some(member) = next(&member, every).await {
        if !member.raft.is_leader() {
            continue;
        }
        match comparison::histories(&member.replica, &member.peers, limits::CHECKSUM_TIMEOUT).await {
            Ok(Some(compared)) => member.act_on(&compared).await,
            Ok(None) => {}
            Err(RecordsError(why)) => return member.replica.fatal(&why),
        }
    }
}

async fn compare_compactions(member: Weak<Member>, every: Duration) {
    let mut settled: BTreeSet<LogId> = BTreeSet::new();
    // Members differ there, and who lags may still say which of them are right: by the next time.
    let mut doubtful: BTreeSet<LogId> = BTreeSet::new();
    while let Some(member) = next(&member, every).await {
        if !member.raft.is_leader() {
            continue;
        }
        let remembered: BTreeSet<LogId> =
            member.replica.compaction_hashes().iter().map(|hash| hash.entry).collect();
        settled.retain(|entry| remembered.contains(entry));
        doubtful.retain(|entry| remembered.contains(entry));
        for (entry, compared) in comparison::compactions(&member.replica, &member.peers, &settled).await {
            if compared.verdict == Verdict::Agreed
                && comparison::is_everybody(&member.replica, &compared.heard)
            {
                settled.insert(entry);
            }
            if compared.verdict == Verdict::Undecided && doubtful.insert(entry) {
                continue;
            }
            member.act_on(&compared).await;
        }
    }
}

/// The member, when its next comparison is due; `None` once it has stopped. It is not held meanwhile.
async fn next(member: &Weak<Member>, every: Duration) -> Option<Arc<Member>> {
    let clock = member.upgrade()?.env.clock.clone();
    clock.sleep(every).await;
    member.upgrade().filter(|member| !member.is_stopping())
}
