//! What each bucket of an image becomes.

use quorate::machine::command::{AlarmKind, CommandError, Range};
use quorate::machine::effects::{Event, Record, Records, RecordsError};
use quorate::machine::mvcc::record::{decode_record, parse_record_key, record_key};
use quorate::machine::persist::Bucket;
use quorate::storage::engine::Reader;
use quorate::types::{
    KeyRange, LeaseId, LogId, LogIndex, MemberId, RangeEnd, RevPair, Revision, Term, TtlSecs,
};

use crate::image::{Image, place, rich};
use crate::{Found, find, order, restored};

/// The records that a view sees.
struct Stored<'a>(&'a dyn Reader);

impl Records for Stored<'_> {
    fn record(&self, at: RevPair) -> Result<Record, RecordsError> {
        let value = self.0.get(Bucket::Records, &record_key(at)).unwrap();
        decode_record(at, value.ok_or(RecordsError(format!("no record at {at:?}")))?)
    }

    fn scan(&self, from: RevPair, limit: usize) -> Result<Vec<(RevPair, Record)>, RecordsError> {
        let pairs = self.0.range(Bucket::Records, &record_key(from), limit).unwrap();
        pairs
            .into_iter()
            .map(|(key, value)| {
                let at = parse_record_key(&key)?;
                Ok((at, decode_record(at, value)?))
            })
            .collect()
    }
}

/// All keys as of a revision, as `key=value v<version> c<created> l<lease>`.
fn keys(found: &Found, revision: i64) -> Result<Vec<String>, CommandError> {
    let everything = Range {
        revision: Revision(revision),
        ..Range::of(KeyRange { start: "\0".into(), end: RangeEnd::Open })
    };
    let reply = found.state.range(&Stored(&*found.reader), &everything).unwrap()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = |kv: &quorate::machine::command::KeyValue| {
        format!(
            "{}={} v{} c{} l{}",
            text(&kv.key),
            text(&kv.value),
            kv.version,
            kv.create_revision,
            kv.lease.0
        )
    };
    Ok(reply.kvs.iter().map(shown).collect())
}

/// Every change that is stored, in order.
fn history(found: &Found) -> Vec<String> {
    let first = RevPair { main: Revision(2), sub: 0 };
    let records = Stored(&*found.reader).scan(first, 1_000).unwrap();
    let shown = |(at, record): &(RevPair, Record)| {
        let sign = if matches!(record.event, Event::Delete { .. }) { "-" } else { "+" };
        format!("{}/{}{sign}{}", at.main, at.sub, String::from_utf8_lossy(record.event.key()))
    };
    records.iter().map(shown).collect()
}

#[test]
fn keys_are_read_at_every_revision_from_the_compacted_one_on() {
    let (disk, made) = restored(&rich().bytes(), &order(0));
    let made = made.unwrap();
    let found = find(&disk);
    assert_eq!((made.revision, made.compacted), (Revision(11), Revision(6)));
    assert_eq!((made.hash, made.keys), (found.state.hash(), found.state.indexed_keys()));
    let (a2, a3) = ("a=a at 3 v2 c2 l0", "a=a at 7 v3 c2 l0");
    let (b, c6, c9) = ("b=b at 6 v1 c6 l7", "c=c at 6 v1 c6 l0", "c=c at 9 v1 c9 l8");
    let (d, e) = ("d=d at 9 v1 c9 l0", "e=e at 11 v1 c11 l0");
    for (revision, want) in [
        (6, vec![a2, b, c6]),
        (7, vec![a3, b, c6]),
        (8, vec![a3, b]),
        (9, vec![a3, b, c9, d]),
        (10, vec![a3, b, c9]),
        (11, vec![a3, b, c9, e]),
        (0, vec![a3, b, c9, e]),
    ] {
        assert_eq!(keys(&found, revision).unwrap(), want, "as of {revision}");
    }
    assert_eq!(keys(&found, 5), Err(CommandError::Compacted(Revision(6))));
    assert_eq!(keys(&found, 12), Err(CommandError::FutureRevision));
    // What the compaction takes away is not taken over, swept or not.
    let want = ["3/0+a", "6/0+b", "6/1+c", "7/0+a", "8/0-c", "9/0+c", "9/1+d", "10/0-d", "11/0+e"];
    assert_eq!(history(&found), want);
}

#[test]
fn how_far_the_image_was_swept_makes_no_difference() {
    let unswept = rich();
    let mut swept = rich();
    for (main, deletes) in [(2, false), (4, false), (5, true)] {
        swept.0.get_mut("key").unwrap().remove(&place(main, 0, deletes)).unwrap();
    }
    let swept = swept.compacted(6, 6);
    let hash = |image: &Image| restored(&image.bytes(), &order(0)).1.unwrap().hash;
    assert_eq!(hash(&unswept), hash(&swept));
    assert_ne!(hash(&rich().put(12, 0, "f", 12, 1, 0)), hash(&unswept));
}

#[test]
fn a_deletion_stays_exactly_at_the_compacted_revision() {
    let image = Image::new().put(2, 0, "a", 2, 1, 0).put(3, 0, "b", 3, 1, 0).delete(4, 0, "a");
    for (compacted, want) in [
        (3, vec!["2/0+a", "3/0+b", "4/0-a"]),
        // A watch from there delivers it.
        (4, vec!["3/0+b", "4/0-a"]),
    ] {
        let (disk, made) = restored(&image.clone().compacted(compacted, 0).bytes(), &order(0));
        assert_eq!(made.unwrap().compacted, Revision(compacted));
        assert_eq!(history(&find(&disk)), want, "compacted at {compacted}");
    }
    // Nothing of the current revision may be left; the store goes on at it all the same.
    let (disk, made) = restored(&Image::new().put(2, 0, "a", 2, 1, 0).compacted(9, 9).bytes(), &order(0));
    assert_eq!(made.unwrap().revision, Revision(9));
    assert_eq!(keys(&find(&disk), 9).unwrap(), ["a=a at 2 v1 c2 l0"]);
}

#[test]
fn leases_alarms_users_and_roles_come_along_and_members_do_not() {
    let (disk, made) =
        restored(&rich().with("members", vec![(b"abc".to_vec(), b"{}".to_vec())]).bytes(), &order(0));
    made.unwrap();
    let Found { state, .. } = find(&disk);
    let lease = |id| {
        let lease = state.lease(LeaseId(id)).unwrap();
        (lease.ttl, lease.remaining, lease.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(lease(7), (TtlSecs(60), Some(TtlSecs(20)), vec!["b".into()]));
    assert_eq!(lease(8), (TtlSecs(100), None, vec!["c".into()]));
    assert_eq!(state.alarms().iter().collect::<Vec<_>>(), [(AlarmKind::NoSpace, MemberId(0xabc))]);
    let auth = state.auth();
    assert_eq!((auth.is_enabled(), auth.revision()), (true, 9));
    let users: Vec<_> = auth.users().map(|(name, user)| (name, user.roles().collect::<Vec<_>>())).collect();
    assert_eq!(users, [("nobody", vec!["keys", "none"]), ("root", vec!["root"])]);
    assert_eq!(auth.user("root").unwrap().password().unwrap().0, "$2a$10$of root");
    assert!(auth.user("nobody").unwrap().password().is_none() && auth.user("root").unwrap().is_root());
    let given = auth.role("keys").unwrap().permissions().iter();
    let given: Vec<_> = given.map(|given| (given.range.start.clone(), given.range.wire_end())).collect();
    assert_eq!(given, [("a".into(), "".into()), ("a".into(), "b".into()), ("m".into(), "z".into())]);
    let members: Vec<_> = state.members().iter().map(|member| (member.id.0, member.name.as_str())).collect();
    assert_eq!(members, [(1, ""), (2, ""), (3, "")], "they have not started yet");
}

#[test]
fn an_empty_store_is_a_store() {
    let (disk, made) = restored(&Image::new().auth(false, 1).bytes(), &order(0));
    assert_eq!(made.unwrap().revision, Revision(1));
    let found = find(&disk);
    assert_eq!(keys(&found, 0).unwrap(), [""; 0]);
    assert_eq!(found.state.auth().revision(), 1);
}

#[test]
fn the_state_stands_at_an_entry_of_its_own_and_the_log_begins_behind_it() {
    let (disk, made) = restored(&rich().bytes(), &order(0));
    made.unwrap();
    let Found { state, log, .. } = find(&disk);
    let at = Some(LogId { term: Term(5), index: LogIndex(91) });
    assert_eq!((state.applied(), log.purged, log.committed), (at, at, at));
    let vote = log.vote.unwrap();
    assert_eq!((vote.term, vote.voted_for, vote.committed), (Term(5), None, false));
    assert_eq!((log.entries.len(), log.torn_tail), (0, None));
}

#[test]
fn a_raised_revision_makes_history_before_it_unreadable() {
    let (disk, made) = restored(&rich().bytes(), &order(1_000));
    let made = made.unwrap();
    assert_eq!((made.revision, made.compacted), (Revision(1_011), Revision(1_011)));
    let found = find(&disk);
    let now = keys(&found, 0).unwrap();
    assert_eq!(now.len(), 4);
    assert_eq!(keys(&found, 1_011).unwrap(), now);
    assert_eq!(keys(&found, 1_010), Err(CommandError::Compacted(Revision(1_011))));
    assert_eq!(
        found.state.applied().unwrap().index,
        LogIndex(1_091),
        "who was restored otherwise is elsewhere"
    );
    // A store that etcd raised in this way marks it with a value that is nothing.
    let marked = rich().with("key", vec![(place(1_011, 0, false), Vec::new())]).compacted(1_011, 6);
    let (disk, made) = restored(&marked.bytes(), &order(0));
    let again = made.unwrap();
    assert_eq!((again.revision, again.compacted), (Revision(1_011), Revision(1_011)));
    assert_eq!(keys(&find(&disk), 0).unwrap(), now);
}
