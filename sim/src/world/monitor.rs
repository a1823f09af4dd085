//! What is looked at all through a run: who leads, what is purged, and the counts.
//!
//! It judges one thing, that nobody raises the alarm about members that have parted before one was made to: what members'
//! logs and machines do is told and judged as it happens (see `witness`).

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::types::LogId;
use quorate_check::verdict::Class;

use super::World;
use super::product::Status;
use crate::plan::MemberIndex;

/// How often members are looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// How often the network's message count goes into the trace, in looks.
const LOOKS_PER_MESSAGE_COUNT: u64 = 5;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Seen {
    looks: u64,
    /// The last leader seen.
    last_leader: Option<MemberIndex>,
    /// How far each member has purged its log.
    purged: BTreeMap<MemberIndex, LogId>,
}

impl World {
    /// Watches the members for as long as the run lasts.
    pub fn start_monitor(&self) {
        let world = self.clone();
        self.inner.supervisor.spawn(async move {
            loop {
                world.look();
                world.inner.time.sleep(INTERVAL).await;
            }
        });
    }

    /// Looks at every running member once.
    pub fn look(&self) {
        let statuses = self.statuses();
        let now = self.now();
        self.note_members(now, &statuses);
        self.note_who_is_back();
        if !self.has_parted()
            && let Some(parted) = statuses.iter().find_map(|(_, status)| status.parted)
        {
            let sentence = format!("member {parted} is said to have parted from the others, and has not");
            self.finding(Class::Safety, "monitor", sentence);
        }
        {
            let mut seen = self.monitor();
            for (index, status) in &statuses {
                if seen.purge(*index, status) {
                    self.inner.record.count(|figures| figures.installs_and_purges += 1);
                }
            }
            let leading = statuses.iter().filter(|(_, status)| status.is_leader);
            if leading.clone().count() > 1 {
                quorate::sometimes!("two leaders of different terms at once");
            }
            if let Some((leader, _)) = leading.max_by_key(|(_, status)| status.term)
                && seen.last_leader != Some(*leader)
            {
                let change = seen.last_leader.replace(*leader).is_some();
                self.inner.record.note(now, format_args!("leader {leader}"));
                self.inner.record.count(|figures| figures.leader_changes += u64::from(change));
            }
            seen.looks += 1;
            if seen.looks.is_multiple_of(LOOKS_PER_MESSAGE_COUNT) {
                let messages = self.inner.network.messages();
                self.inner.record.note(now, format_args!("messages {messages}"));
                self.inner.record.count(|figures| figures.messages = messages);
            }
        }
    }

    /// The member that leads, as far as can be seen: of several that believe so, the one with the newest term.
    pub fn leader(&self) -> Option<MemberIndex> {
        let statuses = self.statuses();
        let leading = statuses.iter().filter(|(_, status)| status.is_leader);
        leading.max_by_key(|(_, status)| status.term).map(|(index, _)| *index)
    }
}

impl Seen {
    /// Whether the member has purged more of its log than ever before.
    fn purge(&mut self, index: MemberIndex, status: &Status) -> bool {
        let Some(purged) = status.purged else { return false };
        let before = self.purged.entry(index).or_default();
        let more = purged > *before;
        *before = purged.max(*before);
        more
    }
}
