//! One client at the end of a run: it demands answers, again and again, until they come or the time is up.

use std::time::Duration;

use madsim::runtime::NodeHandle;
use quorate_check::bytes::Bytes;
use quorate_check::history::{AlarmKind, DeleteRange, Put, Range, Request, Response};
use quorate_check::types::{ClientId, LeaseId, Nanos, OpId};

use super::{LOOK_INTERVAL, nanos};
use crate::client::{Session, Ways, Whom, every_alarm, value_of};
use crate::plan::MemberIndex;
use crate::plan::operation::{AlarmAsk, Ask, OPS_PER_CLIENT, op_id};
use crate::world::World;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Names beyond those of planned operations: the last ones of the client's.
const NAMES: u64 = 20_000;

/// A client at the end of a run.
pub(super) struct Asker {
    world: World,
    host: NodeHandle,
    session: Session,
    client: ClientId,
    asked: u64,
    /// Who answered last.
    answered_by: MemberIndex,
    /// Whether operators say that members differ, sooner or later.
    differs: bool,
}

/// What is demanded of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// Write one key; delete it where there is no space left, and clear the alarm where members are said to differ.
    Write,
    /// Read everything.
    Read,
}

impl Asker {
    pub(super) fn new(world: &World, ways: &Ways, client: ClientId) -> Asker {
        let session = Session::new(client, ways.api(), world.record().clone(), world.time().clone());
        let differ = Ask::RaiseAlarm { alarm: AlarmAsk::Corrupt };
        Asker {
            differs: world.plan().operations().any(|(_, planned)| planned.ask == differ),
            world: world.clone(),
            host: ways.host(client),
            session,
            client,
            asked: 0,
            answered_by: MemberIndex(0),
        }
    }

    /// Where this client's calls come from.
    pub(super) fn host(&self) -> NodeHandle {
        self.host.clone()
    }

    /// Whose it is.
    pub(super) fn client(&self) -> ClientId {
        self.client
    }

    /// Which leases there are, as the first of these members to answer says; `None` when none did until `deadline`.
    pub(super) async fn leases(&mut self, members: &[MemberIndex], deadline: Nanos) -> Option<Vec<LeaseId>> {
        match self.until_answered(members, deadline, |_, _, _| Request::LeaseLeases).await? {
            Response::LeaseLeases(leases) => Some(leases.leases),
            _ => None,
        }
    }

    /// Asks these members in turn until there is an answer; false when none came until `deadline`.
    pub(super) async fn get(&mut self, demand: Demand, members: &[MemberIndex], deadline: Nanos) -> bool {
        let ways = if self.differs { 3 } else { 2 };
        let request = |asker: &Asker, id, round: usize| match (demand, round.checked_rem(ways)) {
            (Demand::Read, _) => everything(),
            // Where the quota is used up a deletion is a write that is still allowed.
            (Demand::Write, Some(1)) => asker.delete(),
            (Demand::Write, Some(2)) => Request::Alarm(every_alarm(AlarmKind::Corrupt)),
            (Demand::Write, _) => asker.put(id),
        };
        self.until_answered(members, deadline, request).await.is_some()
    }

    /// Asks these members in turn, round after round, what `request` makes of a call's name and the round. An alarm that is
    /// cleared makes way for what comes next, and is no answer.
    async fn until_answered(
        &mut self,
        members: &[MemberIndex],
        deadline: Nanos,
        request: impl Fn(&Asker, OpId, usize) -> Request,
    ) -> Option<Response> {
        for (attempt, member) in members.iter().cycle().enumerate() {
            let id = self.name();
            let request = request(self, id, attempt / members.len());
            if let Some((_, answer)) =
                self.session.ask(id, Whom::Only(*member), ATTEMPT_TIMEOUT, request).await
                && !matches!(answer, Response::Alarm(_))
            {
                self.answered_by = *member;
                return Some(answer);
            }
            if self.world.time().now() >= deadline || self.world.record().is_over() {
                break;
            }
            self.world.time().sleep(LOOK_INTERVAL).await;
        }
        None
    }

    /// Tries so many writes more where the last was answered, whatever comes of them; not for longer than `most`.
    pub(super) async fn write_on(&mut self, count: u64, most: Duration) {
        let deadline = Nanos(self.world.time().now().0 + nanos(most));
        for _ in 0..count {
            let left = Duration::from_nanos(deadline.0.saturating_sub(self.world.time().now().0));
            if left.is_zero() || self.world.record().is_over() {
                return;
            }
            let id = self.name();
            let put = self.put(id);
            self.session.ask(id, Whom::Only(self.answered_by), left, put).await;
        }
    }

    fn delete(&self) -> Request {
        Request::DeleteRange(DeleteRange { key: self.key(), ..DeleteRange::default() })
    }

    fn put(&self, id: OpId) -> Request {
        Request::Put(Put { key: self.key(), value: value_of(id), ..Put::default() })
    }

    /// A key of the client's own, beyond those of planned operations.
    fn key(&self) -> Bytes {
        Bytes::from(format!("last-{}", self.client).as_str())
    }

    fn name(&mut self) -> OpId {
        let nth = self.asked.min(NAMES - 1);
        self.asked += 1;
        op_id(self.client, OPS_PER_CLIENT - NAMES + nth)
    }
}

fn everything() -> Request {
    let all = Bytes::from(&b"\0"[..]);
    Request::Range(Range { key: all.clone(), range_end: all, ..Range::default() })
}
