//! Who leads an election: looked for, asked for, and observed.

use std::time::Duration;

use quorate_check::history::{Header, KeyValue, LeaderSeen, MemberAsked, NobodySeen, Observer};
use quorate_check::types::Nanos;
use tokio::sync::mpsc::unbounded_channel;

use super::{NOBODY_THERE_PAUSE, Session};
use crate::client::api::Lead;
use crate::client::resolve::{lock_name, lock_prefix};
use crate::plan::{MemberIndex, PlannedOp};

/// How a leader came to be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    at: Nanos,
    /// Since when it was asked, where that is not for the keys' own oracle to know.
    asked: Option<Nanos>,
    stream: u64,
}

impl Sight {
    /// By a read of the line at this time.
    pub(super) fn at(at: Nanos) -> Sight {
        Sight { at, asked: None, stream: 0 }
    }
}

impl Session {
    fn observer(&mut self, op: &PlannedOp, lock: u16) -> &mut Observer {
        self.seen.entry(lock).or_insert_with(|| Observer {
            client: self.id,
            member: MemberAsked { id: self.api.member_id(op.member), index: u32::from(op.member.0) },
            prefix: lock_prefix(lock),
            ..Observer::default()
        })
    }

    /// Notes who leads.
    pub(super) fn sees(
        &mut self,
        op: &PlannedOp,
        lock: u16,
        header: &Header,
        first: &KeyValue,
        sight: Sight,
    ) {
        let Sight { at, asked, stream } = sight;
        self.observer(op, lock).seen.push(LeaderSeen {
            at,
            asked,
            revision: header.revision,
            key: first.key.clone(),
            created: first.create_revision,
            modified: first.mod_revision,
            value: first.value.clone(),
            stream,
        });
    }

    /// Asks the election service who leads.
    pub(super) async fn ask_who_leads(&mut self, op: &PlannedOp, lock: u16) {
        let asked = self.time.now();
        let call = self.api.leader(op.member, op.id, lock_name(lock));
        let answer = madsim::time::timeout(Duration::from_millis(op.timeout_ms), call).await;
        let at = self.time.now();
        match answer {
            Ok(Lead::By(header, first)) => {
                self.sees(op, lock, &header, &first, Sight { at, asked: Some(asked), stream: 0 });
            }
            Ok(Lead::Nobody) => self.observer(op, lock).nobody.push(NobodySeen { asked, at }),
            Ok(Lead::Unsaid) | Err(_) => {}
        }
    }

    /// Observes an election for so long; where a stream ends before, the next member is asked for another.
    pub(super) async fn observe(&mut self, op: &PlannedOp, lock: u16, for_: Duration) {
        let until = self.time.now().0 + u64::try_from(for_.as_nanos()).unwrap_or(u64::MAX);
        for nth in 0_u64.. {
            let asked = self.time.now();
            let left = Duration::from_nanos(until.saturating_sub(asked.0));
            if left.is_zero() || self.record.is_over() {
                return;
            }
            self.streams += 1;
            let place = (u64::from(op.member.0) + nth) % u64::from(self.api.members());
            let member = MemberIndex(u8::try_from(place).unwrap_or(op.member.0));
            let (tell, mut told) = unbounded_channel();
            let call = self.api.observe(member, op.id, lock_name(lock), tell);
            // Whether it broke or nobody listens any more, what it told was told.
            drop(madsim::time::timeout(left, call).await);
            let mut since = Some(asked);
            while let Ok((at, header, leader)) = told.try_recv() {
                // What comes first is an answer to the question; what follows comes when it comes.
                let sight = Sight { at, asked: since.take(), stream: self.streams };
                self.sees(op, lock, &header, &leader, sight);
            }
            madsim::time::sleep(NOBODY_THERE_PAUSE).await;
        }
    }
}
