//! Images of members' states: one that is the state behind its entry passes, and every near miss of it is found.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

#[path = "common/judged.rs"]
mod judged;

use quorate_check::history::*;
use quorate_check::model::Model;
use quorate_check::types::*;
use quorate_check::verdict::{Class, Oracle};

/// A store that carries out one request at a time, a second each, and whose log is seen.
struct Store {
    model: Model,
    history: History,
    changes: Vec<Event>,
}

impl Store {
    fn new() -> Store {
        Store { model: Model::exact(), history: History::default(), changes: Vec::new() }
    }

    fn ask(&mut self, request: Request) {
        let number = self.history.operations.len() as u64 + 1;
        let response = match &request {
            Request::LeaseGrant(grant) => {
                self.model.grant(grant.id).unwrap();
                Response::LeaseGrant(LeaseGrantResponse { id: grant.id, ttl_secs: grant.ttl_secs })
            }
            Request::LeaseRevoke(revoke) => {
                self.model.end_known_lease(revoke.id);
                self.changes.extend(self.model.expire(revoke.id, self.model.revision().next()));
                Response::LeaseRevoke
            }
            Request::Compact(compact) => {
                self.model.compact(compact.revision).unwrap();
                Response::Compact
            }
            request => {
                let applied = self.model.apply(request, self.model.revision().next()).unwrap();
                self.changes.extend(applied.events);
                applied.expected.to_response()
            }
        };
        let revision = self.model.revision();
        let header = Header { revision, member_id: MemberId(1), ..Header::default() };
        self.history.operations.push(Operation {
            id: OpId(number),
            client: ClientId(1),
            member: MemberAsked { id: MemberId(1), index: 0 },
            invoked: Nanos(number * 1000),
            returned: Nanos(number * 1000 + 500),
            request,
            outcome: Outcome::Ok { header, response },
        });
        let entry = LogId { term: Term(1), index: LogIndex(number) };
        let operation = Some(OpId(number));
        self.history.log.push(Logged { entry, operation, revision, ..Logged::default() });
    }

    fn put(&mut self, key: &str, value: &str, lease: i64) {
        let lease = LeaseId(lease);
        self.ask(Request::Put(Put { key: key.into(), value: value.into(), lease, ..Put::default() }));
    }

    fn delete(&mut self, key: &str) {
        self.ask(Request::DeleteRange(DeleteRange { key: key.into(), ..DeleteRange::default() }));
    }

    fn grant(&mut self, id: i64) {
        self.ask(Request::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl_secs: 60 }));
    }

    /// The image of what stands now, nothing of it compacted.
    fn image(&self) -> Image {
        let stored = |event: &Event| Event { prev_kv: None, ..event.clone() };
        let now = Nanos(self.history.operations.len() as u64 * 1000 + 900);
        Image {
            member: MemberAsked { id: MemberId(1), index: 0 },
            asked: now,
            received: now,
            applied: self.history.log.last().unwrap().entry.index,
            revision: self.model.revision(),
            compacted: self.model.compacted(),
            changes: self.changes.iter().map(stored).collect(),
            leases: self.model.leases().map(|id| ImageLease { id, ttl_secs: 60 }).collect(),
            ..Image::default()
        }
    }
}

/// Writes, an end of a key, a lease with a key and one without, one that has ended; then an image, and writes after it.
fn story() -> Store {
    let mut store = Store::new();
    store.grant(7);
    store.grant(8);
    store.put("a", "1", 0);
    store.put("b", "2", 7);
    store.put("a", "3", 0);
    store.delete("a");
    store.grant(9);
    store.ask(Request::LeaseRevoke(LeaseRef { id: LeaseId(9) }));
    store.history.images.push(store.image());
    store.put("c", "4", 0);
    store
}

/// The same, compacted at the deletion of a key before the image is taken.
fn compacted_story() -> Store {
    let mut store = Store::new();
    store.put("a", "1", 0);
    store.put("b", "2", 0);
    store.put("b", "3", 0);
    store.delete("a");
    store.ask(Request::Compact(Compact { revision: Revision(5), physical: false }));
    store.put("c", "4", 0);
    let mut image = store.image();
    // What the compacted revision does not read is gone: the first writes of both keys.
    image.changes.drain(0..2);
    store.history.images.push(image);
    store
}

fn judged(history: &History) -> (Class, Vec<(Oracle, String)>) {
    let verdict = judged::judged(history);
    let found = verdict.violations.into_iter().map(|violation| (violation.oracle, violation.sentence));
    (verdict.class, found.collect())
}

fn breaks(mut store: Store, change: impl FnOnce(&mut Image), words: &str) {
    change(&mut store.history.images[0]);
    let (class, violations) = judged(&store.history);
    assert_eq!(class, Class::Safety, "{violations:?}");
    let said = violations.iter().any(|(by, sentence)| *by == Oracle::Image && sentence.contains(words));
    assert!(said, "nobody said \"{words}\": {violations:?}");
}

#[test]
fn an_image_is_the_state_behind_its_entry() {
    assert_eq!(judged(&story().history), (Class::Pass, Vec::new()));
    assert_eq!(judged(&compacted_story().history), (Class::Pass, Vec::new()));
}

#[test]
fn an_image_has_nothing_that_comes_after_its_entry_and_lacks_nothing_before() {
    breaks(story(), |image| image.applied = LogIndex(9), "instead of 6");
    breaks(story(), |image| image.applied = LogIndex(5), "goes on at revision 5 instead of 4");
    breaks(
        story(),
        |image| {
            let mut later = image.changes[0].clone();
            later.kv.mod_revision = Revision(6);
            image.changes.push(later);
        },
        "which the log does not have",
    );
    breaks(story(), |image| _ = image.changes.pop(), "leaves out the end of a at 5");
    breaks(story(), |image| _ = image.changes.remove(1), "instead of b at 3");
    breaks(story(), |image| image.changes[1].kv.value = "5".into(), "as 5 of version 1");
    breaks(story(), |image| image.changes[1].kv.lease = LeaseId(0), "on lease 0");
}

#[test]
fn an_image_has_the_leases_there_are() {
    breaks(story(), |image| _ = image.leases.pop(), "leaves out lease 8");
    breaks(
        story(),
        |image| image.leases.push(ImageLease { id: LeaseId(9), ttl_secs: 60 }),
        "which had ended",
    );
    breaks(story(), |image| image.leases[0].ttl_secs = 6, "for 6 s instead of 60");
}

#[test]
fn an_image_has_of_what_is_compacted_what_its_compacted_revision_reads() {
    breaks(compacted_story(), |image| image.compacted = Revision(4), "was compacted at 4 instead of 5");
    breaks(compacted_story(), |image| _ = image.changes.remove(0), "leaves out b, written at 4");
    breaks(
        compacted_story(),
        |image| {
            let mut old = image.changes[0].clone();
            old.kv.mod_revision = Revision(3);
            image.changes.insert(0, old);
        },
        "has a key twice below",
    );
    breaks(
        compacted_story(),
        |image| image.changes[1].kv.mod_revision = Revision(4),
        "which its compacted revision does not read",
    );
}

#[test]
fn an_image_is_no_older_than_what_its_member_has_answered() {
    let late = |store: &mut Store| store.history.images[0].asked = Nanos(60_000);
    let mut store = story();
    late(&mut store);
    breaks(store, |_| {}, "the member had answered as of 6 before");
    // In another life it may have answered what it has to learn again.
    let mut store = story();
    late(&mut store);
    let life = |started: u64, stopped| Incarnation { member: MemberId(1), started: Nanos(started), stopped };
    store.history.incarnations = vec![life(0, Some(Nanos(20_000))), life(30_000, None)];
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
}
