//! The tables inside a run page, as compact as JSON allows: a column an array, times as differences, each text once.
//!
//! The form is between this file and `assets/model.js`, which reads it; nobody else does.

use std::collections::BTreeMap;

use quorate_check::bytes::Bytes;
use quorate_check::history::{History, Operation, Outcome, Request, Txn, TxnOp, Watch, WatchEnd};
use quorate_check::types::{ClientId, MemberId, Nanos};
use serde::Serialize;

use super::words;
use crate::plan::{MemberIndex, Plan};
use crate::timeline::{Timeline, Track};

/// Times, each as the difference to the one before.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Times(Vec<u64>);

impl Times {
    /// Times that never go backwards.
    fn of(times: impl Iterator<Item = Nanos>) -> Times {
        let mut before = 0;
        Times(times.map(|at| at.0.saturating_sub(std::mem::replace(&mut before, at.0))).collect())
    }
}

/// Each text once.
#[derive(Default)]
pub(super) struct Texts {
    list: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: String) -> usize {
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        let place = self.list.len();
        self.list.push(text.clone());
        self.places.insert(text, place);
        place
    }

    /// The texts in order of their places.
    pub(super) fn into_list(self) -> Vec<String> {
        self.list
    }
}

/// A member.
#[derive(Serialize)]
pub(super) struct MemberData {
    name: String,
    tracks: BTreeMap<Track, (Times, Vec<i64>)>,
}

/// All client operations, by the time they were sent.
#[derive(Default, Serialize)]
pub(super) struct Operations {
    id: Vec<u64>,
    client: Vec<usize>,
    member: Vec<u32>,
    at: Times,
    took: Vec<u64>,
    /// Places in the texts.
    kind: Vec<usize>,
    /// 0 answered, 1 refused, 2 unknown.
    outcome: Vec<u8>,
    /// 2 for what surely changed the key space, 1 for what may have, 0 for what cannot.
    changes: Vec<u8>,
    /// That of the answer's header; 0 without one.
    revision: Vec<i64>,
    request: Vec<usize>,
    answer: Vec<usize>,
    /// Places in the key sets.
    keys: Vec<usize>,
}

/// A watch.
#[derive(Serialize)]
pub(super) struct WatchData {
    id: u64,
    client: usize,
    member: u32,
    from: Nanos,
    until: Nanos,
    request: usize,
    end: String,
    at: Times,
    revision: Vec<i64>,
    events: Vec<usize>,
    text: Vec<usize>,
}

/// A fault.
#[derive(Serialize)]
pub(super) struct FaultData {
    kind: String,
    what: String,
    member: Option<usize>,
    from: Nanos,
    until: Option<Nanos>,
}

/// Keys that a request names: firsts and ends, in the API's convention.
type KeySet = Vec<(String, String)>;

/// Builds the tables of one run.
pub(super) struct Tables<'a> {
    plan: &'a Plan,
    clients: BTreeMap<ClientId, usize>,
    pub(super) texts: Texts,
    key_sets: BTreeMap<KeySet, usize>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(plan: &'a Plan, history: &History) -> Tables<'a> {
        let asking = history.operations.iter().map(|operation| operation.client);
        let watching = history.watches.iter().map(|watch| watch.client);
        let mut clients: BTreeMap<ClientId, usize> =
            asking.chain(watching).map(|client| (client, 0)).collect();
        for (place, number) in clients.values_mut().enumerate() {
            *number = place;
        }
        Tables { plan, clients, texts: Texts::default(), key_sets: BTreeMap::new() }
    }

    fn client(&self, client: ClientId) -> usize {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    /// The clients' names in order of their places.
    pub(super) fn clients(&self) -> Vec<String> {
        self.clients.keys().map(ClientId::to_string).collect()
    }

    /// The key sets in order of their places.
    pub(super) fn key_sets(&self) -> Vec<&KeySet> {
        let mut sets: Vec<(&KeySet, &usize)> = self.key_sets.iter().collect();
        sets.sort_by_key(|(_, place)| **place);
        sets.into_iter().map(|(set, _)| set).collect()
    }

    /// The members with their tracks.
    pub(super) fn members(&self, timeline: &Timeline) -> Vec<MemberData> {
        let members = (0_u8..).zip(&self.plan.members).map(|(number, _)| {
            let index = MemberIndex(number);
            let columns = |points: &[(Nanos, i64)]| {
                (
                    Times::of(points.iter().map(|(at, _)| *at)),
                    points.iter().map(|(_, value)| *value).collect(),
                )
            };
            let tracks = timeline.tracks(index).map(|(track, points)| (track, columns(points)));
            MemberData { name: index.to_string(), tracks: tracks.collect() }
        });
        members.collect()
    }

    /// The operations, which are in order of the time they were sent.
    pub(super) fn operations(&mut self, operations: &[&Operation]) -> Operations {
        let mut table = Operations {
            at: Times::of(operations.iter().map(|operation| operation.invoked)),
            ..Operations::default()
        };
        for operation in operations {
            table.id.push(operation.id.0);
            table.client.push(self.client(operation.client));
            table.member.push(operation.member.index);
            table.took.push(operation.returned.0.saturating_sub(operation.invoked.0));
            table.kind.push(self.texts.place(operation.request.name().to_owned()));
            table.outcome.push(match operation.outcome {
                Outcome::Ok { .. } => 0,
                Outcome::Failed { .. } => 1,
                Outcome::Unknown { .. } => 2,
            });
            let changed = operation.answer().and_then(|(_, response)| response.tells_change());
            table.changes.push(match changed {
                Some(changed) => 2 * u8::from(changed),
                None => u8::from(operation.request.may_change()),
            });
            table.revision.push(operation.answer().map_or(0, |(header, _)| header.revision.0));
            table.request.push(self.texts.place(words::request(&operation.request)));
            table.answer.push(self.texts.place(words::outcome(operation)));
            let keys = keys_of(&operation.request);
            let next = self.key_sets.len();
            table.keys.push(*self.key_sets.entry(keys).or_insert(next));
        }
        table
    }

    /// The watches; one that is live when the run ends lasts until then.
    pub(super) fn watches(&mut self, watches: &[Watch], end: Nanos) -> Vec<WatchData> {
        watches.iter().map(|watch| self.watch(watch, end)).collect()
    }

    fn watch(&mut self, watch: &Watch, end: Nanos) -> WatchData {
        let (until, how) = match &watch.end {
            WatchEnd::Open => (end, "live to the end".to_owned()),
            WatchEnd::ClientCancel { at } => (*at, "cancelled by the client".to_owned()),
            WatchEnd::ServerCancel { at } => (*at, "cancelled by the server".to_owned()),
            WatchEnd::Broken { at, error } => (*at, format!("broken: {error}")),
        };
        let received = &watch.received;
        let reached = |response: &quorate_check::history::WatchReceived| {
            let events = response.events.iter().map(|event| event.kv.mod_revision.0);
            events.max().unwrap_or(response.header.revision.0)
        };
        WatchData {
            id: watch.id.0,
            client: self.client(watch.client),
            member: watch.member.index,
            from: watch.invoked,
            until: received.iter().map(|response| response.at).fold(until, Nanos::max),
            request: self.texts.place(words::watch(&watch.create)),
            end: how,
            at: Times::of(received.iter().map(|response| response.at)),
            revision: received.iter().map(reached).collect(),
            events: received.iter().map(|response| response.events.len()).collect(),
            text: received.iter().map(|response| self.texts.place(words::received(response))).collect(),
        }
    }

    /// The faults, by the time they struck, with the words of the plan.
    pub(super) fn faults(&self, history: &History, ids: &[MemberId]) -> Vec<FaultData> {
        let planned = |note: &str| {
            let id: u64 = note.split(' ').next()?.parse().ok()?;
            self.plan.faults.iter().find(|planned| planned.id == id)
        };
        let mut faults: Vec<FaultData> = history
            .faults
            .iter()
            .map(|fault| FaultData {
                kind: fault.kind.clone(),
                what: planned(&fault.note)
                    .filter(|planned| planned.fault.name() == fault.kind)
                    .map_or(fault.note.clone(), |planned| words::fault(&planned.fault)),
                member: fault.member.and_then(|id| ids.iter().position(|known| *known == id)),
                from: fault.from,
                until: fault.until,
            })
            .collect();
        faults.sort_by_key(|fault| fault.from);
        faults
    }
}

/// The keys that a request names.
fn keys_of(request: &Request) -> KeySet {
    let mut keys = KeySet::new();
    let mut add = |key: &Bytes, end: &Bytes| keys.push((key.to_string(), end.to_string()));
    let none = Bytes::default();
    match request {
        Request::Put(put) => add(&put.key, &none),
        Request::Range(range) => add(&range.key, &range.range_end),
        Request::DeleteRange(delete) => add(&delete.key, &delete.range_end),
        Request::Txn(txn) => {
            txn_keys(txn, &mut add);
        }
        _ => {}
    }
    keys.sort();
    keys.dedup();
    keys
}

fn txn_keys(txn: &Txn, add: &mut dyn FnMut(&Bytes, &Bytes)) {
    for compare in &txn.compare {
        add(&compare.key, &compare.range_end);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => add(&put.key, &Bytes::default()),
            TxnOp::Range(range) => add(&range.key, &range.range_end),
            TxnOp::DeleteRange(delete) => add(&delete.key, &delete.range_end),
            TxnOp::Txn(inner) => txn_keys(inner, add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_differences() {
        let times = Times::of([5, 5, 9, 20].into_iter().map(Nanos));
        assert_eq!(times, Times(vec![5, 0, 4, 11]));
    }

    #[test]
    fn a_text_is_there_once() {
        let mut texts = Texts::default();
        let places: Vec<usize> = ["a", "b", "a"].map(|text| texts.place(text.to_owned())).to_vec();
        assert_eq!(places, [0, 1, 0]);
        assert_eq!(texts.into_list(), ["a", "b"]);
    }
}
