//! Members called as objects: a task on the member's node, with a drawn delay on the way there and back.
//!
//! A kill of the member ends the task, and the client knows nothing. A client's own time-out leaves the task
//! running, as a cancelled call may still be carried out.

use std::future::Future;
use std::time::Duration;

use quorate::machine::command::CommandError;
use quorate::member::{Place, TurnError};
use quorate::node::Credential;
use quorate::raft::read_index::ReadError;
use quorate_check::bytes::Bytes;
use quorate_check::error_table::Code;
use quorate_check::history::{Header, Range, Request};
use quorate_check::types::{MemberId, OpId, Revision};

use super::api::{Answering, Api, Lead, Office, Reply, Sights, Turn, TurnAsk};
use super::convert::{self, Call};
use crate::plan::MemberIndex;
use crate::plan::dice::{Dice, Purpose};
use crate::world::World;
use crate::world::product::{self, Member, Refusal};
use crate::world::witness::asking;

/// Calls the members of a world.
#[derive(Clone)]
pub struct Direct {
    world: World,
}

impl Direct {
    /// A way to call the members of this world.
    pub fn new(world: World) -> Direct {
        Direct { world }
    }
}

impl Direct {
    /// Has a member end a turn, by this call.
    fn let_go<F>(
        &self,
        member: MemberIndex,
        call: impl FnOnce(Member) -> F + Send + 'static,
    ) -> Answering<Result<Header, Reply>>
    where
        F: Future<Output = Result<quorate::types::Revision, TurnError>> + Send + 'static,
    {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return Err(Reply::NotSent) };
            let task = node.spawn(async move {
                let gone = call(object.clone()).await;
                gone.map(|revision| header(&object, revision))
                    .map_err(|error| Reply::Unknown(error.to_string()))
            });
            task.await.unwrap_or_else(|_| Err(Reply::Unknown("the member died".to_owned())))
        })
    }
}

impl Api for Direct {
    fn call(&self, member: MemberIndex, id: OpId, attempt: u64, request: Request) -> Answering<Reply> {
        let mut dice = Dice::keyed_twice(self.world.plan().schedule_seed, Purpose::CallDelay, id.0, attempt);
        let latency = self.world.plan().knobs.client_latency_us;
        let there = Duration::from_micros(latency.draw(&mut dice));
        let back = Duration::from_micros(latency.draw(&mut dice));
        let world = self.world.clone();
        Box::pin(async move {
            madsim::time::sleep(there).await;
            let Some((node, object)) = world.reach(member) else { return Reply::NotSent };
            let task = node.spawn(async move {
                let reply = answer(&object, &Credential::None, id, &request).await;
                madsim::time::sleep(back).await;
                reply
            });
            task.await.unwrap_or_else(|_| Reply::Unknown("the member died".to_owned()))
        })
    }

    fn stream(
        &self,
        member: MemberIndex,
        _id: OpId,
        _attempt: u64,
        range: Range,
        pause: Duration,
    ) -> Answering<Reply> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return Reply::NotSent };
            let task = node.spawn(async move { streamed(&object, range, pause).await });
            task.await.unwrap_or_else(|_| Reply::Unknown("the member died".to_owned()))
        })
    }

    fn turn(&self, member: MemberIndex, id: OpId, ask: TurnAsk) -> Answering<Result<Turn, Reply>> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return Err(Reply::NotSent) };
            let task = node.spawn(async move { turn(&object, id, ask).await });
            task.await.unwrap_or_else(|_| Err(Reply::Unknown("the member died".to_owned())))
        })
    }

    fn proclaim(
        &self,
        member: MemberIndex,
        id: OpId,
        office: Office,
        value: Bytes,
    ) -> Answering<Result<Header, Reply>> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return Err(Reply::NotSent) };
            let task = node.spawn(async move {
                let place = place(&office);
                let value = bytes::Bytes::copy_from_slice(value.as_slice());
                let said = asking(id, object.proclaim(&Credential::None, &place, value)).await;
                said.map(|revision| header(&object, revision))
                    .map_err(|error| Reply::Unknown(error.to_string()))
            });
            task.await.unwrap_or_else(|_| Err(Reply::Unknown("the member died".to_owned())))
        })
    }

    fn resign(&self, member: MemberIndex, id: OpId, office: Office) -> Answering<Result<Header, Reply>> {
        self.let_go(member, move |object| async move {
            asking(id, object.resign(&Credential::None, &place(&office))).await
        })
    }

    fn unlock(&self, member: MemberIndex, id: OpId, key: Bytes) -> Answering<Result<Header, Reply>> {
        self.let_go(member, move |object| async move {
            let key = bytes::Bytes::copy_from_slice(key.as_slice());
            asking(id, object.unlock(&Credential::None, key)).await
        })
    }

    fn leader(&self, member: MemberIndex, _id: OpId, line: String) -> Answering<Lead> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return Lead::Unsaid };
            let task = node.spawn(async move {
                match object.leader_of(&Credential::None, line.into()).await {
                    Ok((revision, kv)) => Lead::By(header(&object, revision), convert::pair(kv)),
                    Err(TurnError::NoLeader) => Lead::Nobody,
                    Err(_) => Lead::Unsaid,
                }
            });
            task.await.unwrap_or(Lead::Unsaid)
        })
    }

    fn observe(&self, member: MemberIndex, _id: OpId, line: String, tell: Sights) -> Answering<()> {
        let reached = self.world.reach(member);
        let time = self.world.time().clone();
        Box::pin(async move {
            let Some((node, object)) = reached else { return };
            let task = node.spawn(async move {
                let mut leaders = object.leaders_of(&Credential::None, line.into());
                loop {
                    let next = async {
                        tokio::select! {
                            biased;
                            () = tell.closed() => None,
                            next = leaders.next() => next.ok(),
                        }
                    };
                    let Some((revision, kv)) = next.await else { return };
                    let sight = (time.now(), header(&object, revision), convert::pair(kv));
                    if tell.send(sight).is_err() {
                        return;
                    }
                }
            });
            drop(task.await);
        })
    }

    fn disarm(&self, member: MemberIndex, _id: OpId) -> Answering<()> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return };
            // What is refused now is asked again with the next of these operations.
            drop(node.spawn(async move { product::disarm(&object).await }).await);
        })
    }

    fn image(&self, _member: MemberIndex, _id: OpId) -> Answering<Option<Vec<u8>>> {
        // The service alone makes one.
        Box::pin(async { None })
    }

    fn defragment(&self, member: MemberIndex, _id: OpId) -> Answering<()> {
        let reached = self.world.reach(member);
        Box::pin(async move {
            let Some((node, object)) = reached else { return };
            // What it fails for leaves the member as it was.
            drop(node.spawn(async move { object.defragment().await }).await);
        })
    }

    fn members(&self) -> u8 {
        u8::try_from(self.world.plan().members.len()).unwrap_or(u8::MAX)
    }

    fn member_id(&self, member: MemberIndex) -> MemberId {
        self.world.member_id(member)
    }
}

/// A place as the product names it.
fn place(office: &Office) -> Place {
    Place {
        key: bytes::Bytes::copy_from_slice(office.key.as_slice()),
        created: quorate::types::Revision(office.created.0),
        lease: quorate::types::LeaseId(office.lease.0),
    }
}

/// A turn within its time; a call that is given up is dropped, as one is whose client has gone.
async fn turn(member: &Member, id: OpId, ask: TurnAsk) -> Result<Turn, Reply> {
    let TurnAsk { line, lease, proclaims, timeout } = ask;
    let (line, lease) = (bytes::Bytes::from(line), quorate::types::LeaseId(lease.0));
    let tells = proclaims.is_some();
    let call = async {
        match proclaims {
            Some(value) => {
                member
                    .campaign(&Credential::None, line, lease, bytes::Bytes::copy_from_slice(value.as_slice()))
                    .await
            }
            None => member.lock(&Credential::None, line, lease).await,
        }
    };
    let given = madsim::time::timeout(timeout, asking(id, call)).await;
    match given {
        Ok(Ok(turn)) => Ok(Turn {
            header: header(member, turn.revision),
            key: Bytes::from(turn.place.key.as_ref()),
            created: tells.then_some(Revision(turn.place.created.0)),
        }),
        Ok(Err(error)) => Err(Reply::Unknown(error.to_string())),
        Err(_) => Err(Reply::Unknown("no answer in time".to_owned())),
    }
}

/// A range put together of its pieces, each taken slowly.
async fn streamed(member: &Member, range: Range, pause: Duration) -> Reply {
    let linearizable = !range.serializable;
    let begun = member.range_pieces(&Credential::None, convert::range(&range), linearizable).await;
    let (revision, begun) = match begun {
        Ok(begun) => begun,
        Err(error) => return Reply::Unknown(error.to_string()),
    };
    let mut pieces = match begun {
        Ok(pieces) => pieces,
        Err(error) => return refused(error),
    };
    let (mut kvs, mut total) = (Vec::new(), None);
    loop {
        match member.next_piece(&mut pieces).await {
            Ok(Ok(Some(piece))) => {
                kvs.extend(piece.kvs);
                total = piece.total.or(total);
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return refused(error),
            Err(error) => return Reply::Unknown(error.to_string()),
        }
        madsim::time::sleep(pause).await;
    }
    let Some((count, more)) = total else { return Reply::Unknown("the last piece did not come".to_owned()) };
    let reply = quorate::machine::command::RangeReply { kvs, more, count };
    Reply::Answered(header(member, revision), convert::range_response(reply))
}

fn header(member: &Member, revision: quorate::types::Revision) -> Header {
    let status = product::status(member);
    Header {
        cluster_id: quorate_check::types::ClusterId(status.cluster.0),
        member_id: MemberId(status.member.0),
        revision: Revision(revision.0),
        raft_term: quorate_check::types::Term(status.term.0),
    }
}

/// What the member says, in the history's terms.
pub(super) async fn answer(member: &Member, who: &Credential, id: OpId, request: &Request) -> Reply {
    let header = |revision| header(member, revision);
    match convert::call(request) {
        Call::Propose(command) => match asking(id, product::propose(member, who, command)).await {
            Ok(answer) => match answer.result {
                Ok(reply) => match convert::response(request, reply) {
                    Some(response) => Reply::Answered(header(answer.revision), response),
                    None => Reply::Refused(Code::Internal, "an answer of another kind".to_owned()),
                },
                Err(error) => refused(error),
            },
            Err(refusal) => not_answered(refusal),
        },
        Call::Range { range, serializable } => {
            match product::range(member, who, range, !serializable).await {
                Ok((revision, Ok(reply))) => {
                    Reply::Answered(header(revision), convert::range_response(reply))
                }
                Ok((_, Err(error))) => refused(error),
                Err(refusal) => not_answered(refusal),
            }
        }
        Call::KeepAlive(id) => read(member.lease_keep_alive(who, id).await, |ttl| {
            Reply::Answered(header(member.revision()), convert::keep_alive_response(id, ttl))
        }),
        Call::TimeToLive { id, keys } => read(member.lease_time_to_live(who, id, keys).await, |life| {
            Reply::Answered(header(member.revision()), convert::time_to_live_response(id, life))
        }),
        Call::Leases => read(member.leases(who).await, |leases| {
            Reply::Answered(header(member.revision()), convert::leases_response(leases))
        }),
        Call::Unsupported => Reply::Refused(Code::Unimplemented, "not offered by an object".to_owned()),
    }
}

fn read<T>(answer: Result<Result<T, CommandError>, ReadError>, reply: impl FnOnce(T) -> Reply) -> Reply {
    match answer {
        Ok(Ok(answer)) => reply(answer),
        Ok(Err(error)) => refused(error),
        Err(error) => Reply::Unknown(error.to_string()),
    }
}

fn refused(error: CommandError) -> Reply {
    let (code, text) = convert::refusal(error);
    Reply::Refused(code, text)
}

fn not_answered(refusal: Refusal) -> Reply {
    match refusal {
        Refusal::NothingDone(code, text) => Reply::Refused(code, text),
        Refusal::Unknown(text) => Reply::Unknown(text),
    }
}
