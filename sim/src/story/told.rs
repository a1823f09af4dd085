//! What happened in a run, event by event of note: read from its history, and from its trace what the history does
//! not hold (who led, who came up).
//!
//! Times are of the run's one clock. Nothing here judges, and nothing is left out for want of room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use quorate_check::history::{
    CompareTarget, History, Operation, Outcome, Request, Response, Txn, TxnOp, Watch,
};
use quorate_check::types::{ClientId, MemberId, Nanos, OpId};
use quorate_check::verdict::Class;

use crate::plan::{MemberIndex, Plan};
use crate::report::Finding;

/// Whose event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A member's.
    Member(MemberIndex),
    /// A client's.
    Client(ClientId),
    /// Everybody's.
    All,
}

/// One event of note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Nanos,
    /// Whose.
    pub lane: Lane,
    /// What, in few words.
    pub text: String,
    /// The operation that it belongs to, and whether this is its end.
    pub operation: Option<(OpId, bool)>,
}

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many members there are.
    pub members: u8,
    /// The events, by time.
    pub notes: Vec<Note>,
}

impl Told {
    /// Reads what a run has left behind.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(
        plan: &Plan,
        finding: Option<&Finding>,
        trace: &Path,
        history: &Path,
    ) -> Result<Told, String> {
        let open = |path: &Path| {
            File::open(path).map(BufReader::new).map_err(|error| format!("{}: {error}", path.display()))
        };
        let history = History::read(open(history)?).map_err(|error| error.to_string())?;
        let mut notes = Vec::new();
        for line in open(trace)?.lines() {
            let line = line.map_err(|error| format!("{}: {error}", trace.display()))?;
            notes.extend(of_trace(&line));
        }
        Ok(Told::new(plan, finding, &history, notes))
    }

    /// The events of a history, and those that were read from the trace, up to what is wrong.
    pub fn new(plan: &Plan, finding: Option<&Finding>, history: &History, mut notes: Vec<Note>) -> Told {
        let index = members(history);
        let lane = |id: MemberId| index.get(&id).map_or(Lane::All, |index| Lane::Member(*index));
        // What clients ask at the end is the harness's, not the plan's: it is told where it is what is wrong.
        let demanded = finding.is_some_and(|finding| finding.class == Class::Liveness);
        let involved = |id: OpId| finding.is_some_and(|finding| finding.spot.operations.contains(&id));
        let planned = |operation: &&Operation| plan.operations().any(|(_, op)| op.id == operation.id);
        let belongs = |operation: &&Operation| demanded || involved(operation.id) || planned(operation);
        for operation in history.operations.iter().filter(belongs) {
            notes.extend(of_operation(operation));
        }
        let note = |at, lane, text: String| Note { at, lane, text, operation: None };
        for life in history.incarnations.iter().filter(|life| life.started > Nanos::default()) {
            notes.push(note(life.started, lane(life.member), "starts".to_owned()));
        }
        for fault in &history.faults {
            let lane = fault.member.map_or(Lane::All, lane);
            // What an ending keeps broken has no number.
            let number = fault.note.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            let name = number.map_or(String::new(), |number| format!(" {number}"));
            notes.push(note(fault.from, lane, format!("FAULT{name}: {}", fault.kind)));
            if let Some(until) = fault.until.filter(|until| *until > fault.from) {
                let name = if name.is_empty() { format!(" {}", fault.kind) } else { name };
                notes.push(note(until, lane, format!("end of fault{name}")));
            }
        }
        let watches = finding.map(|finding| finding.spot.watches.as_slice()).unwrap_or_default();
        for watch in history.watches.iter().filter(|watch| watches.contains(&watch.id)) {
            notes.extend(of_watch(watch));
        }
        if let Some(at) = finding.filter(|finding| finding.class != Class::Liveness).and_then(|it| it.spot.at)
        {
            notes.retain(|note| note.at <= at);
        }
        notes.sort_by_key(|note| (note.at, note.operation));
        Told { members: u8::try_from(plan.members.len()).unwrap_or(u8::MAX), notes }
    }

    /// The clients that asked anything.
    pub fn clients(&self) -> Vec<ClientId> {
        let mut clients: Vec<ClientId> = self
            .notes
            .iter()
            .filter_map(|note| if let Lane::Client(client) = note.lane { Some(client) } else { None })
            .collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }
}

/// Members' places by their ids, from whoever asked them anything.
fn members(history: &History) -> BTreeMap<MemberId, MemberIndex> {
    let watched = history.watches.iter().map(|watch| watch.member);
    let asked = history.operations.iter().map(|operation| operation.member);
    let known = watched
        .chain(asked)
        .filter_map(|asked| Some((asked.id, MemberIndex(u8::try_from(asked.index).ok()?))));
    known.collect()
}

/// What a line of the trace tells beyond the history.
fn of_trace(line: &str) -> Option<Note> {
    let (at, what) = line.split_once(' ')?;
    let at = Nanos(at.parse().ok()?);
    let (kind, rest) = what.split_once(' ').unwrap_or((what, ""));
    let member = |text: &str| {
        let number: u8 = text.split(' ').next()?.strip_prefix('m')?.parse().ok()?;
        Some(Lane::Member(MemberIndex(number.checked_sub(1)?)))
    };
    let (lane, text) = match kind {
        "leader" => (member(rest)?, "leads"),
        "up" => (member(rest)?, "up"),
        "heal" => (Lane::All, "everything is healed"),
        _ => return None,
    };
    Some(Note { at, lane, text: text.to_owned(), operation: None })
}

fn of_operation(operation: &Operation) -> [Note; 2] {
    let lane = Lane::Client(operation.client);
    let whom = MemberIndex(u8::try_from(operation.member.index).unwrap_or(u8::MAX));
    let asked = format!("{} ->{whom}", asked(&operation.request));
    [
        Note { at: operation.invoked, lane, text: asked, operation: Some((operation.id, false)) },
        Note {
            at: operation.returned,
            lane,
            text: answered(operation),
            operation: Some((operation.id, true)),
        },
    ]
}

/// What a watch that is involved showed.
fn of_watch(watch: &Watch) -> Vec<Note> {
    let lane = Lane::Member(MemberIndex(u8::try_from(watch.member.index).unwrap_or(u8::MAX)));
    let note = |at, text| Note { at, lane, text, operation: None };
    let begins = note(watch.invoked, format!("{} watches from @{}", watch.id, watch.create.start_revision));
    let showing = watch.received.iter().filter(|response| !response.events.is_empty());
    let shows = showing.map(|response| {
        let mut revisions: Vec<i64> = response.events.iter().map(|event| event.kv.mod_revision.0).collect();
        revisions.dedup();
        let revisions: Vec<String> = revisions.iter().map(|revision| format!("@{revision}")).collect();
        note(response.at, format!("{} shows {}", watch.id, revisions.join(" ")))
    });
    std::iter::once(begins).chain(shows).collect()
}

fn asked(request: &Request) -> String {
    match request {
        Request::Put(put) => format!("put {}", put.key),
        Request::Range(range) if range.range_end.is_empty() => {
            let how = if range.serializable { "read stale" } else { "read" };
            let at = if range.revision.0 > 0 { format!(" @{}", range.revision) } else { String::new() };
            format!("{how} {}{at}", range.key)
        }
        Request::Range(range) if range.serializable => "read stale range".to_owned(),
        Request::Range(_) => "read range".to_owned(),
        Request::DeleteRange(delete) if delete.range_end.is_empty() => format!("delete {}", delete.key),
        Request::DeleteRange(_) => "delete range".to_owned(),
        Request::Txn(txn) => transaction(txn),
        Request::Compact(compact) => format!("compact {}", compact.revision),
        Request::LeaseGrant(grant) => format!("grant {} s", grant.ttl_secs),
        other => other.name().to_owned(),
    }
}

fn transaction(txn: &Txn) -> String {
    let about = txn.compare.first().map(|compare| {
        let what = match compare.target {
            CompareTarget::Version(_) => "version",
            CompareTarget::Create(_) => "create",
            CompareTarget::Mod(_) => "mod",
            CompareTarget::Value(_) => "value",
            CompareTarget::Lease(_) => "lease",
        };
        format!("if {what} of {} ", compare.key)
    });
    let step = txn.success.iter().chain(&txn.failure).next();
    let step = step.map_or("nothing".to_owned(), |step| match step {
        TxnOp::Put(put) => format!("put {}", put.key),
        TxnOp::Range(range) => format!("read {}", range.key),
        TxnOp::DeleteRange(delete) => format!("delete {}", delete.key),
        TxnOp::Txn(_) => "txn".to_owned(),
    });
    let more = if txn.success.len() + txn.failure.len() > 1 { " .." } else { "" };
    format!("txn {}{step}{more}", about.unwrap_or_default())
}

fn answered(operation: &Operation) -> String {
    match &operation.outcome {
        Outcome::Ok { header, response } => {
            let what = match response {
                Response::Range(range) => match range.kvs.as_slice() {
                    [] => "none".to_owned(),
                    [only] => format!("{} of @{}", only.key, only.mod_revision),
                    several => format!("{} keys", several.len()),
                },
                Response::Txn(txn) => if txn.succeeded { "ok, then" } else { "ok, else" }.to_owned(),
                Response::LeaseKeepAlive(alive) => format!("{} s", alive.ttl_secs),
                _ => "ok".to_owned(),
            };
            format!("= {what} @{}", header.revision)
        }
        Outcome::Failed { message, .. } => format!("= refused: {}", short(message)),
        Outcome::Unknown { reason } => format!("= unknown: {}", short(reason)),
    }
}

/// The text without the prefix that all of the server's errors have.
fn short(message: &str) -> &str {
    message.strip_prefix("etcdserver: ").or_else(|| message.strip_prefix("mvcc: ")).unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_check::history::{Header, MemberAsked, Put, PutResponse};
    use quorate_check::types::Revision;

    #[test]
    fn the_trace_tells_who_led_and_who_came_up() {
        let note = of_trace("520003366 leader m2").expect("leadership is of note");
        assert_eq!(
            (note.at, note.lane, note.text.as_str()),
            (Nanos(520_003_366), Lane::Member(MemberIndex(1)), "leads")
        );
        assert_eq!(of_trace("7 up m1").map(|note| note.lane), Some(Lane::Member(MemberIndex(0))));
        assert_eq!(of_trace("9 heal").map(|note| note.lane), Some(Lane::All));
        for boring in ["529 disk m3 Create /data 0+0 0 true", "0 start a1", "", "x leader m1", "1 leader m0"]
        {
            assert_eq!(of_trace(boring), None, "{boring}");
        }
    }

    #[test]
    fn an_operation_is_told_at_both_its_ends() {
        let operation = Operation {
            id: OpId(700_001),
            client: ClientId(7),
            member: MemberAsked { id: MemberId(161), index: 0 },
            invoked: Nanos(1),
            returned: Nanos(2),
            request: Request::Put(Put { key: "k07".into(), ..Put::default() }),
            outcome: Outcome::Ok {
                header: Header { revision: Revision(4), ..Header::default() },
                response: Response::Put(PutResponse::default()),
            },
        };
        let [asked, answered] = of_operation(&operation);
        assert_eq!(asked.text, "put k07 ->m1");
        assert_eq!(answered.text, "= ok @4");
        assert_eq!(asked.lane, Lane::Client(ClientId(7)));
        assert_eq!(answered.operation, Some((OpId(700_001), true)));
    }
}
