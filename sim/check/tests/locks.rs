//! Locks and elections by the client's recipe: the stories that keep the promise, and the nearest that break it.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

#[path = "common/judged.rs"]
mod judged;

use quorate_check::bytes::Bytes;
use quorate_check::history::*;
use quorate_check::model::Model;
use quorate_check::types::*;
use quorate_check::verdict::{Class, Oracle};

/// A store that answers one request at a time, a second each.
#[derive(Default)]
struct Store {
    model: Model,
    history: History,
}

impl Store {
    fn now(&self) -> u64 {
        self.history.operations.len() as u64 * 1000
    }

    /// Asks, and says at which revision it was answered.
    fn ask(&mut self, request: Request) -> (OpId, Revision) {
        let applied = self.model.apply(&request, self.model.revision().next()).unwrap();
        let (id, invoked) = (OpId(self.history.operations.len() as u64 + 1), self.now());
        let revision = self.model.revision();
        let header = Header { revision, member_id: MemberId(1), ..Header::default() };
        self.history.operations.push(Operation {
            id,
            client: ClientId(1),
            member: MemberAsked { id: MemberId(1), index: 0 },
            invoked: Nanos(invoked),
            returned: Nanos(invoked + 500),
            request,
            outcome: Outcome::Ok { header, response: applied.expected.to_response() },
        });
        (id, revision)
    }

    fn put(&mut self, key: &str, value: &str) -> Revision {
        self.ask(Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })).1
    }

    fn delete(&mut self, key: &str) -> Revision {
        self.ask(Request::DeleteRange(DeleteRange { key: key.into(), ..DeleteRange::default() })).1
    }

    /// A contender's key: written if it is not there.
    fn contend(&mut self, client: u64, key: &str) -> Contender {
        let absent = Compare {
            key: key.into(),
            range_end: Bytes::default(),
            result: CompareResult::Equal,
            target: CompareTarget::Create(Revision(0)),
        };
        let put = Put { key: key.into(), value: format!("{key} leads").as_str().into(), ..Put::default() };
        let txn = Txn { compare: vec![absent], success: vec![TxnOp::Put(put)], failure: Vec::new() };
        let (_, created) = self.ask(Request::Txn(txn));
        Contender {
            client: ClientId(client),
            prefix: "lock/".into(),
            key: key.into(),
            created,
            ..Contender::default()
        }
    }

    fn guarded(&mut self, contender: &mut Contender, value: &str) {
        let fence = Compare {
            key: contender.key.clone(),
            range_end: Bytes::default(),
            result: CompareResult::Equal,
            target: CompareTarget::Create(contender.created),
        };
        let put = Put { key: "work".into(), value: value.into(), ..Put::default() };
        let txn = Txn { compare: vec![fence], success: vec![TxnOp::Put(put)], failure: Vec::new() };
        contender.guarded.push(self.ask(Request::Txn(txn)).0);
    }

    fn granted(&self, revision: Revision) -> Option<Granted> {
        Some(Granted { at: Nanos(self.now()), revision })
    }
}

/// Two contenders, one after the other, and an observer of both.
fn story() -> Store {
    let mut store = Store::default();
    let mut one = store.contend(1, "lock/one");
    one.granted = store.granted(one.created);
    let mut two = store.contend(2, "lock/two");
    store.guarded(&mut one, "a");
    store.guarded(&mut one, "b");
    let gone = store.delete("lock/one");
    two.granted = store.granted(gone);
    store.guarded(&mut one, "too late");
    store.guarded(&mut two, "c");
    let sight = |contender: &Contender, revision| LeaderSeen {
        at: Nanos(store.now()),
        asked: None,
        revision,
        key: contender.key.clone(),
        created: contender.created,
        modified: contender.created,
        value: format!("{} leads", contender.key).as_str().into(),
        stream: 0,
    };
    let seen = vec![sight(&one, one.created), sight(&one, gone.previous()), sight(&two, gone)];
    let observer = Observer { prefix: "lock/".into(), seen, ..Observer::default() };
    store.history.contenders = vec![one, two];
    store.history.observers = vec![observer];
    store
}

fn judged(history: &History) -> (Class, Vec<(Oracle, String)>) {
    let verdict = judged::judged(history);
    let found = verdict.violations.into_iter().map(|violation| (violation.oracle, violation.sentence));
    (verdict.class, found.collect())
}

fn breaks(change: impl FnOnce(&mut Store), class: Class, words: &str) {
    let mut store = story();
    change(&mut store);
    let (found, violations) = judged(&store.history);
    assert_eq!(found, class, "{violations:?}");
    let oracle = if class == Class::Harness { Oracle::Harness } else { Oracle::Lock };
    let said = violations.iter().any(|(by, sentence)| *by == oracle && sentence.contains(words));
    assert!(said, "nobody said \"{words}\": {violations:?}");
}

#[test]
fn contenders_hold_one_after_the_other() {
    assert_eq!(judged(&story().history), (Class::Pass, Vec::new()));
}

#[test]
fn nobody_is_granted_before_the_predecessor_is_gone() {
    breaks(
        |store| {
            let granted = store.history.contenders[1].granted.as_mut().unwrap();
            granted.revision = granted.revision.previous();
        },
        Class::Safety,
        "while lock/one held",
    );
    breaks(
        |store| store.history.contenders[1].granted.as_mut().unwrap().at = Nanos(1500),
        Class::Safety,
        "was sent only at",
    );
    breaks(
        |store| store.history.contenders[1].granted.as_mut().unwrap().revision = Revision(2),
        Class::Safety,
        "before it stood there",
    );
}

#[test]
fn nobody_is_granted_whose_own_key_is_gone() {
    breaks(
        |store| {
            let gone = store.delete("lock/two");
            store.history.contenders[1].granted = store.granted(gone);
        },
        Class::Safety,
        "where nobody holds",
    );
    breaks(
        |store| {
            // Written again: the same key, but another holder.
            store.delete("lock/two");
            let again = store.contend(3, "lock/two");
            store.history.contenders[1].granted = store.granted(again.created);
        },
        Class::Safety,
        "while lock/two held",
    );
}

#[test]
fn a_grant_is_judged_by_its_key_where_nobody_knows_when_it_was_created() {
    let unknown = |store: &mut Store| {
        store.history.contenders[1].created = Revision(0);
        store.history.contenders[1].guarded.clear();
    };
    breaks(
        |store| {
            unknown(store);
            let granted = store.history.contenders[1].granted.as_mut().unwrap();
            granted.revision = granted.revision.previous();
        },
        Class::Safety,
        "while lock/one held",
    );
    let mut store = story();
    unknown(&mut store);
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
}

#[test]
fn what_is_guarded_happens_only_while_its_contender_holds() {
    // The late transaction is refused by its compare in the story; here its contender's key was never the first.
    breaks(
        |store| {
            let mut late = store.contend(3, "lock/late");
            store.guarded(&mut late, "d");
            late.granted = Some(Granted { at: Nanos(0), revision: late.created });
            store.history.contenders.push(late);
        },
        Class::Safety,
        "while lock/two held",
    );
}

#[test]
fn what_is_no_guarded_transaction_is_the_harness_failing() {
    breaks(
        |store| {
            let first = store.history.operations[4].id;
            store.history.contenders[1].guarded.push(first);
        },
        Class::Harness,
        "is no transaction guarded",
    );
    breaks(|store| store.history.contenders[1].granted = None, Class::Harness, "was never granted");
    breaks(|store| store.history.contenders[1].guarded.push(OpId(999)), Class::Harness, "is not recorded");
}

#[test]
fn observers_see_leaders_in_order_and_as_they_were() {
    breaks(|store| store.history.observers[0].seen.swap(1, 2), Class::Safety, "after one created at");
    breaks(
        |store| {
            let seen = &mut store.history.observers[0].seen[1];
            seen.key = "lock/two".into();
            seen.created = Revision(3);
        },
        Class::Safety,
        "while lock/one led",
    );
    breaks(
        |store| store.history.observers[0].seen[0].value = "somebody leads".into(),
        Class::Safety,
        "proclaiming somebody leads",
    );
    breaks(
        |store| {
            let gone = store.delete("lock/two");
            let mut seen = store.history.observers[0].seen[2].clone();
            seen.revision = gone;
            store.history.observers[0].seen.push(seen);
        },
        Class::Safety,
        "where nobody leads",
    );
}

#[test]
fn who_asks_who_leads_now_hears_no_old_answer() {
    let asked_late = |store: &mut Store, since: Option<Nanos>| {
        let seen = &mut store.history.observers[0].seen;
        seen.truncate(1);
        seen[0].asked = since;
    };
    // The whole story was over by then, and another led.
    breaks(
        |store| asked_late(store, Some(Nanos(store.now()))),
        Class::Safety,
        "had been acknowledged before it asked",
    );
    for since in [None, Some(Nanos(0))] {
        let mut store = story();
        asked_late(&mut store, since);
        assert_eq!(judged(&store.history), (Class::Pass, Vec::new()), "asked at {since:?}");
    }
}

/// The story's observer has it all from one stream, which tells nothing twice.
fn streamed(store: &mut Store) -> &mut Vec<LeaderSeen> {
    let seen = &mut store.history.observers[0].seen;
    seen.remove(1);
    seen.iter_mut().for_each(|seen| seen.stream = 1);
    seen
}

#[test]
fn a_stream_tells_of_leaders_in_order_and_of_nothing_twice() {
    let mut store = story();
    streamed(&mut store);
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
    // A stream that is opened anew begins with whoever leads.
    let again = store.history.observers[0].seen[1].clone();
    store.history.observers[0].seen.push(LeaderSeen { stream: 2, ..again });
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
    breaks(
        |store| {
            let seen = streamed(store);
            seen.push(seen[1].clone());
        },
        Class::Safety,
        "once more",
    );
    breaks(|store| streamed(store).swap(0, 1), Class::Safety, "after one created at");
    breaks(|store| streamed(store)[1].modified = Revision(9), Class::Safety, "proclaiming that since 9");
    breaks(
        |store| {
            let over = store.now();
            streamed(store)[0].asked = Some(Nanos(over));
        },
        Class::Safety,
        "had been acknowledged before it asked",
    );
}

#[test]
fn that_nobody_leads_is_told_only_where_nobody_did() {
    let told = |store: &mut Store, asked: u64, at: u64| {
        store.history.observers[0].nobody = vec![NobodySeen { asked: Nanos(asked), at: Nanos(at) }];
    };
    // The first leader's place was made by the first second's request, and the last one stands to the end.
    breaks(|store| told(store, 600, 4_000), Class::Safety, "was told that nobody leads");
    breaks(|store| told(store, 600, 100_000), Class::Safety, "was told that nobody leads");
    for (asked, at) in [(0, 100), (400, 4_000)] {
        let mut store = story();
        told(&mut store, asked, at);
        assert_eq!(judged(&store.history), (Class::Pass, Vec::new()), "asked at {asked}");
    }
    // Nobody leads between the end of the last one and the next.
    let mut store = story();
    let asked = store.now();
    store.delete("lock/two");
    store.contend(4, "lock/four");
    told(&mut store, asked, asked + 3_000);
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
    // It was over before the question was put.
    breaks(
        |store| {
            store.delete("lock/two");
            store.contend(4, "lock/four");
            let asked = store.now();
            told(store, asked, asked + 1_000);
        },
        Class::Safety,
        "while lock/four did",
    );
}

#[test]
fn who_was_told_that_it_has_let_go_holds_no_longer() {
    let released = |store: &mut Store, back: i64| {
        let gone = store.delete("lock/two");
        let revision = Revision(gone.0 - back);
        store.history.contenders[1].released = Some(Released { at: Nanos(store.now()), revision });
    };
    let mut store = story();
    released(&mut store, 0);
    assert_eq!(judged(&store.history), (Class::Pass, Vec::new()));
    breaks(|store| released(store, 1), Class::Safety, "is let go, which still held");
}

#[test]
fn fences_never_fall() {
    let mut store = story();
    let mut one = store.contend(1, "lock/one");
    store.put("lock/zero", "x");
    // A guarded write of the later contender first, then one of the earlier: each alone could be right.
    store.guarded(&mut one, "e");
    one.granted = Some(Granted { at: Nanos(0), revision: one.created });
    let mut two = store.history.contenders[1].clone();
    two.guarded.clear();
    store.guarded(&mut two, "f");
    store.history.contenders.extend([one, two]);
    let (class, violations) = judged(&store.history);
    assert_eq!(class, Class::Safety);
    let said =
        violations.iter().any(|(by, sentence)| *by == Oracle::Lock && sentence.contains("under fence"));
    assert!(said, "{violations:?}");
}
