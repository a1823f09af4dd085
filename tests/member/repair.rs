//! Members whose disks have lost something: a rotten engine is built anew, a lost log costs the member its id.
//!
//! What was a member runs elsewhere until it is damaged, so that nothing of it is left in this process when it comes
//! back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::env::Env;
use quorate::member::{Knobs, MemberConfig};
use quorate::node::{StartError, repair, wal_dir};
use quorate::peer::join::{Place as Found, kept_place};
use quorate::peer::{Dialer, Peers};
use quorate::storage::engine::EngineKind;
use quorate::storage::wal::{Entry, Identity, Recovered, Vote, Wal, WalOptions, WalRecord};
use quorate::types::{ClusterId, LogId, LogIndex, MemberId, Term};

use crate::cluster::{Place, quick, soon, until};
use crate::running::{Elsewhere, Running};

/// The engine's pages, and what batches of the log are aligned to.
const PAGE: usize = 4096;
/// What a batch of records begins with.
const RECORDS: &[u8] = b"QBAT\x01";
/// Where its records begin.
const BATCH_HEADER: usize = 80;
pub const LOST: Identity = Identity { cluster: ClusterId(7), member: MemberId(3) };

/// What members allow that have themselves taken back.
pub fn repairing(config: MemberConfig) -> MemberConfig {
    MemberConfig { knobs: Knobs { self_repair: true, ..config.knobs.clone() }, ..config }
}

pub fn flip(file: &Path, places: impl Iterator<Item = usize>) {
    let mut bytes = fs::read(file).unwrap();
    places.for_each(|at| bytes[at] ^= 1);
    fs::write(file, bytes).unwrap();
}

/// Flips a bit of the first record in the first segment, which was committed long ago. Answers the file, and where the
/// record begins.
pub fn rot_the_log(place: &Place, number: usize) -> (PathBuf, usize) {
    let file = wal_dir(&place.data_dir(number)).join("0000000000000001.wal");
    let bytes = fs::read(&file).unwrap();
    let batch = (0..bytes.len()).step_by(PAGE).find(|at| bytes[*at..].starts_with(RECORDS)).unwrap();
    flip(&file, std::iter::once(batch + BATCH_HEADER));
    (file, batch + BATCH_HEADER)
}

/// Flips a bit in every page of the engine.
fn rot_the_engine(place: &Place, number: usize) {
    let file = place.data_dir(number).join("state/state.redb");
    let pages = fs::read(&file).unwrap().len() / PAGE;
    flip(&file, (1..pages).map(|page| page * PAGE + 77));
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Members 1 and 2 here, and the others elsewhere, all of whom have said their names.
pub async fn cluster_of(place: &Place, count: usize) -> (Vec<Running>, Vec<Elsewhere>) {
    let elsewhere = (3..=count).map(|number| Elsewhere::start(place.config(number))).collect();
    let mut running = Vec::new();
    for number in 1..=2 {
        running.push(Running::start(place.config(number)).await.unwrap());
    }
    for running in &running {
        running.knows_names(count).await;
    }
    for key in 0..5 {
        running[0].put(&format!("before-{key}")).await.unwrap();
    }
    (running, elsewhere)
}

/// Waits until a member votes as somebody new, has all that the others have, and its old id is nowhere.
pub async fn is_back(back: &Running, others: &[Running], gone: &[u64]) {
    back.votes().await;
    back.put("written by who came back").await.unwrap();
    let revision = back.member.revision();
    for member in others.iter().chain([back]) {
        until("one state", || (member.member.revision() == revision).then_some(())).await;
        let state = member.member.replica().state();
        for id in gone {
            assert!(state.members().is_removed(MemberId(*id)), "{id} is gone for good");
            assert!(state.members().get(MemberId(*id)).is_none());
        }
    }
    let voters = back.member.voters();
    assert!(gone.iter().all(|id| voters.iter().all(|set| !set.contains(&MemberId(*id)))), "{voters:?}");
}

pub async fn stop(members: impl IntoIterator<Item = &Running>) {
    for running in members {
        running.member.stop().await;
    }
}

/// Has member 3, which is away, replaced by another, as it would itself; answers who that is.
pub async fn replace(place: &Place, witness: &Running) -> MemberId {
    let peers = Peers::new(Env::real().unwrap().clock, Dialer::default(), ClusterId(7), MemberId(3));
    let urls = |number: usize| vec![format!("http://{}", place.addresses[number - 1])];
    let leader = || witness.member.status().raft.leader.filter(|leader| *leader != MemberId(3));
    let leader = until("another leader", leader).await;
    peers.learn(leader, &urls(usize::try_from(leader.0).unwrap()));
    soon("a yes", async {
        loop {
            let answer = peers.readmit(leader, Duration::from_secs(20), urls(3)).await.unwrap();
            if answer.member != 0 {
                return MemberId(answer.member);
            }
            // It was there a moment ago.
            assert_eq!(answer.why, "member 3 answers: it has not lost its log");
        }
    })
    .await
}

/// A cluster of three members whose third has served and is away, its folder free; and the two others.
pub async fn without_the_third(dir: &Path) -> (Place, Vec<Running>) {
    let place = Place::new(dir, 3, EngineKind::Redb, quick());
    let (others, mut elsewhere) = cluster_of(&place, 3).await;
    elsewhere.remove(0).end();
    place.unlocked(3).await;
    (place, others)
}

/// Waits until the cluster knows who has the place of member 3 by now, and that one votes.
pub async fn second_third(witness: &Running) -> MemberId {
    let second = until("the new member", || {
        let state = witness.member.replica().state();
        state.members().iter().find(|member| member.id.0 > 9 && !member.name.is_empty()).map(|m| m.id)
    })
    .await;
    until("its vote", || {
        let sets = witness.member.voters();
        (sets.len() == 1 && sets[0].contains(&second)).then_some(())
    })
    .await;
    second
}

#[tokio::test]
async fn a_rotten_log_is_refused_with_the_commands_to_run_and_repaired_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let (file, at) = rot_the_log(&place, 3);
    let damaged = fs::read(&file).unwrap();

    let before = names(&place.data_dir(3));
    let refused = Running::start(place.config(3)).await.err().unwrap();
    assert!(matches!(refused, StartError::LogLost { .. }), "{refused}");
    let line = refused.to_string();
    let url = format!("http://{}", place.addresses[2]);
    for want in [
        &format!("{} is corrupt at offset {at}:", file.display())[..],
        "quorate ctl member remove 3;",
        &format!("quorate ctl member add m3 --peer-urls={url})"),
        "--initial-cluster-state=existing",
        "--self-repair",
    ] {
        assert!(line.contains(want) && !line.contains('\n'), "{want}: {line}");
    }
    assert_eq!(names(&place.data_dir(3)), before, "nothing was touched");
    assert_eq!(fs::read(&file).unwrap(), damaged);
    others[1].put("meanwhile").await.unwrap();

    let back = Running::start(repairing(place.config(3))).await.unwrap();
    assert_ne!(back.id(), 3);
    is_back(&back, &others, &[3]).await;
    assert_eq!(names(&place.data_dir(3)), ["damaged-3", "repair.lock", "state", "wal"]);
    let aside = place.data_dir(3).join("damaged-3");
    assert_eq!(names(&aside), ["state", "wal"]);
    assert_eq!(fs::read(aside.join("wal").join(file.file_name().unwrap())).unwrap(), damaged);
    stop(others.iter().chain([&back])).await;
}

/// Not even whose it was can be told: it is a lost log all the same, and no empty directory.
#[tokio::test]
async fn a_log_without_a_whole_header_is_refused_untouched_and_repaired_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let log = wal_dir(&place.data_dir(3));
    let segments = names(&log).into_iter().filter(|name| name.ends_with(".wal"));
    segments.for_each(|name| flip(&log.join(name), [9, PAGE + 9].into_iter()));
    assert_eq!(kept_place(&*Env::real().unwrap().disk, &log, None).unwrap(), None);

    let before = names(&place.data_dir(3));
    let refused = Running::start(place.config(3)).await.err().unwrap();
    let StartError::LogLost { why, .. } = &refused else { panic!("{refused}") };
    assert!(matches!(**why, StartError::Wal(_)), "{refused}");
    assert_eq!(names(&place.data_dir(3)), before, "nothing was touched");

    let back = Running::start(repairing(place.config(3))).await.unwrap();
    is_back(&back, &others, &[3]).await;
    assert_eq!(names(&place.data_dir(3)), ["damaged-3", "repair.lock", "state", "wal"]);
    stop(others.iter().chain([&back])).await;
}

#[tokio::test]
async fn a_lost_disk_is_refused_or_repaired_and_may_be_lost_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    fs::remove_dir_all(place.data_dir(3)).unwrap();

    let refused = Running::start(place.config(3)).await.err().unwrap();
    let StartError::LogLost { why, .. } = &refused else { panic!("{refused}") };
    assert!(matches!(**why, StartError::Wiped { member: MemberId(3), .. }), "{refused}");
    assert!(refused.to_string().contains("quorate ctl member remove 3;"), "{refused}");
    assert!(!wal_dir(&place.data_dir(3)).exists(), "a log would pass for that of a member that had started");

    let back = Elsewhere::start(repairing(place.config(3)));
    let second = second_third(&others[0]).await.0;
    back.end();
    place.unlocked(3).await;
    fs::remove_dir_all(place.data_dir(3)).unwrap();

    // Its options still name who it was at first.
    let refused = Running::start(place.config(3)).await.err().unwrap();
    assert!(matches!(refused, StartError::Removed { member: MemberId(3), .. }), "{refused}");
    let back = Running::start(repairing(place.config(3))).await.unwrap();
    assert!(back.id() != 3 && back.id() != second);
    is_back(&back, &others, &[3, second]).await;
    stop(others.iter().chain([&back])).await;
}

#[tokio::test]
async fn two_of_five_that_lose_their_logs_at_once_come_back_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 5, EngineKind::Redb, quick());
    let (others, mut elsewhere) = cluster_of(&place, 5).await;
    let (_third, lost) = (elsewhere.remove(0), elsewhere);
    lost.into_iter().for_each(Elsewhere::end);
    for number in [4, 5] {
        place.unlocked(number).await;
    }
    rot_the_log(&place, 4);
    fs::remove_dir_all(place.data_dir(5)).unwrap();
    let both = [4, 5].map(|number| Running::start(repairing(place.config(number))));
    let [fourth, fifth] = both;
    let (fourth, fifth) = futures_util::future::join(fourth, fifth).await;
    let (fourth, fifth) = (fourth.unwrap(), fifth.unwrap());
    is_back(&fourth, &others, &[4, 5]).await;
    is_back(&fifth, &others, &[4, 5]).await;
    assert_eq!(fifth.member.voters()[0].len(), 5, "the cluster is back to full strength");
    stop(others.iter().chain([&fourth, &fifth])).await;
}

#[tokio::test]
async fn whoever_is_alone_or_was_let_go_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let config = repairing(place.founder());
    let alone = Elsewhere::start(config.clone());
    until("its log", || wal_dir(&config.data_dir).join("0000000000000001.wal").exists().then_some(())).await;
    until("its state", || place.data_dir(1).join("state/state.redb").exists().then_some(())).await;
    alone.end();
    place.unlocked(1).await;
    let (file, _) = rot_the_log(&place, 1);
    let refused = Running::start(config).await.err().unwrap().to_string();
    assert!(refused.contains(&file.display().to_string()), "{refused}");
    assert!(refused.contains("nobody can take it back") && !refused.contains('\n'), "{refused}");
    assert_eq!(names(&place.data_dir(1)), ["state", "wal"], "nothing was touched");

    // A member that operators have removed stays removed.
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    rot_the_log(&place, 3);
    others[0].remove(3).await.unwrap();
    let refused = Running::start(repairing(place.config(3))).await.err().unwrap();
    assert!(matches!(refused, StartError::Removed { member: MemberId(3), .. }), "{refused}");
    // Nor does it take the place of whoever came after it, who is away just now.
    let added = others[0].add(&place, 3, false).await.unwrap().member.unwrap().id;
    let next = MemberConfig { data_dir: dir.path().join("next"), ..place.joiner(3).await.unwrap() };
    let next = Elsewhere::start(next);
    until("its name", || {
        let state = others[0].member.replica().state();
        state.members().get(MemberId(added)).filter(|member| !member.name.is_empty()).map(drop)
    })
    .await;
    next.end();
    let refused = Running::start(repairing(place.config(3))).await.err().unwrap();
    let StartError::Replaced { member: MemberId(3), by, .. } = refused else { panic!("{refused}") };
    assert_eq!(by, MemberId(added));
    assert!(others[0].member.replica().state().members().get(MemberId(added)).is_some());
    stop(&others).await;
}

#[tokio::test]
async fn who_answers_is_not_replaced_by_one_that_says_to_be_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let (others, _third) = cluster_of(&place, 3).await;
    let leader = until("a leader", || others[0].member.status().raft.leader).await;
    let victim = MemberId(if leader == MemberId(3) { 1 } else { 3 });
    let peers = Peers::new(Env::real().unwrap().clock, Dialer::default(), ClusterId(7), victim);
    let url = |id: MemberId| vec![format!("http://{}", place.addresses[usize::try_from(id.0).unwrap() - 1])];
    peers.learn(leader, &url(leader));
    let answer = peers.readmit(leader, Duration::from_secs(20), url(victim)).await.unwrap();
    assert_eq!(answer.why, format!("member {victim} answers: it has not lost its log"));
    assert_eq!(answer.member, 0);
    assert!(others[0].member.replica().state().members().get(victim).is_some());
    stop(&others).await;
}

/// The process of a member that is being repaired ends at every step, and the next one goes on.
#[tokio::test]
async fn a_repair_goes_on_wherever_it_was_broken_off() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let (file, _) = rot_the_log(&place, 3);
    let data = place.data_dir(3);
    let env = Env::real().unwrap();

    // Nobody can take it back: it asks, and its process ends. Nothing was touched.
    let nowhere = vec!["http://127.0.0.1:1".to_owned()];
    let nobody = MemberConfig { members: Vec::new(), seeds: nowhere, ..place.config(3) };
    let before = fs::read(&file).unwrap();
    {
        let starting = std::pin::pin!(Running::start(repairing(nobody)));
        let asked = until("the question", || data.join("repair.lock").exists().then_some(()));
        futures_util::future::select(starting, std::pin::pin!(asked)).await;
    }
    assert_eq!(names(&data), ["repair.lock", "state", "wal"]);
    assert_eq!(fs::read(&file).unwrap(), before);

    // It was taken back, and its process ended before it heard so.
    let next = replace(&place, &others[0]).await;

    // The note is there, and one of two folders is moved. Nobody needs leave for the rest: its place is there.
    repair::disk_is_lost(&env, &data, LOST).unwrap();
    fs::create_dir(data.join("damaged-3")).unwrap();
    fs::rename(data.join("wal"), data.join("damaged-3/wal")).unwrap();
    let back = Elsewhere::start(place.config(3));
    until("the new member's name", || {
        let state = others[0].member.replica().state();
        state.members().get(next).filter(|member| !member.name.is_empty()).map(drop)
    })
    .await;
    until("the end of the note", || (!data.join("lost-member").exists()).then_some(())).await;
    back.end();
    place.unlocked(3).await;

    assert_eq!(names(&data), ["damaged-3", "repair.lock", "state", "wal"]);
    assert_eq!(names(&data.join("damaged-3")), ["state", "wal"]);

    // Its log was there, and its process ended before the note was gone.
    repair::place_is_empty(&env, &data, LOST).unwrap();
    let found = kept_place(&*env.disk, &wal_dir(&data), None).unwrap().unwrap();
    let Found { member, members, joins, .. } = found;
    assert_eq!(member, next);
    let seeds = vec![format!("http://{}", place.addresses[0])];
    let back =
        Running::start(MemberConfig { member, members, joins, seeds, ..place.config(3) }).await.unwrap();
    is_back(&back, &others, &[3]).await;
    assert!(!data.join("lost-member").exists());
    stop(others.iter().chain([&back])).await;
}

#[tokio::test]
async fn a_learner_that_loses_its_disk_comes_back_as_a_learner() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, quick());
    let first = Running::alone(&place).await;
    let added = first.add(&place, 2, true).await.unwrap().member.unwrap().id;
    let config = place.joiner(2).await.unwrap();
    let learner = Elsewhere::start(config.clone());
    until("its name", || {
        let state = first.member.replica().state();
        state.members().get(MemberId(added)).filter(|member| !member.name.is_empty()).map(drop)
    })
    .await;
    learner.end();
    place.unlocked(2).await;
    fs::remove_dir_all(place.data_dir(2)).unwrap();
    let back = Running::start(repairing(config)).await.unwrap();
    assert_ne!(back.id(), added);
    first.put("after").await.unwrap();
    let revision = first.member.revision();
    until("what it lacks", || (back.member.revision() == revision).then_some(())).await;
    {
        let state = first.member.replica().state();
        assert!(state.members().get(MemberId(back.id())).is_some_and(|member| member.is_learner));
        assert!(state.members().is_removed(MemberId(added)));
    }
    assert_eq!(first.member.voters(), [[MemberId(1)].into()]);
    stop([&first, &back]).await;
}

/// Knobs under which the log is purged every few writes.
fn purging() -> Knobs {
    Knobs { snapshot_entries: 20, keep_entries: 5, ..quick() }
}

#[tokio::test]
async fn a_rotten_engine_is_built_anew_from_the_log_or_from_a_peer() {
    for (knobs, purges) in [(quick(), false), (purging(), true)] {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), 3, EngineKind::Redb, knobs);
        let (others, mut rotten) = cluster_of(&place, 3).await;
        for key in 0..60 {
            others[0].put(&format!("more-{key}")).await.unwrap();
        }
        if purges {
            until("purged logs", || {
                let purged =
                    |running: &Running| running.member.status().raft.purged.is_some_and(|at| at.index.0 > 30);
                others.iter().all(purged).then_some(())
            })
            .await;
            for key in 60..120 {
                others[0].put(&format!("more-{key}")).await.unwrap();
            }
        }
        rotten.remove(0).end();
        place.unlocked(3).await;
        let (_, recovered) = log_of(&place, 3, LOST);
        assert_eq!(recovered.purged.is_some(), purges, "the log has everything, or not any more");
        rot_the_engine(&place, 3);
        // No leave is needed: nothing that was promised is lost.
        let back = Running::start(place.config(3)).await.unwrap();
        assert_eq!(back.id(), 3);
        is_back(&back, &others, &[]).await;
        assert_eq!(names(&place.data_dir(3).join("state")), ["state.redb", "state.redb.aside-1"]);
        assert_eq!(back.member.status().hash.1, others[0].member.status().hash.1);
        stop(others.iter().chain([&back])).await;
    }
}

/// Who has joined knows nobody by its log, and one of two has no quorum alone that could say who belongs to the cluster.
#[tokio::test]
async fn a_joiner_builds_its_engine_anew_from_a_peer_that_has_no_quorum_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 2, EngineKind::Redb, purging());
    let first = Running::alone(&place).await;
    let added = first.add(&place, 2, false).await.unwrap().member.unwrap().id;
    let config = place.joiner(2).await.unwrap();
    let seeds = vec![format!("http://{}", place.addresses[0])];
    let config = MemberConfig { members: Vec::new(), seeds, ..config };
    let second = Elsewhere::start(config.clone());
    until("its vote", || first.member.voters()[0].contains(&MemberId(added)).then_some(())).await;
    for key in 0..120 {
        first.put(&format!("key-{key}")).await.unwrap();
    }
    second.end();
    place.unlocked(2).await;
    let lost = Identity { cluster: config.cluster, member: config.member };
    assert!(log_of(&place, 2, lost).1.purged.is_some(), "the log has not everything any more");
    rot_the_engine(&place, 2);
    let back = Running::start(config).await.unwrap();
    assert_eq!(back.id(), added);
    is_back(&back, std::slice::from_ref(&first), &[]).await;
    stop([&first, &back]).await;
}

/// Opens a member's log, as nobody does while it runs.
fn log_of(place: &Place, number: usize, identity: Identity) -> (Wal, Recovered) {
    let (env, dir) = (Env::real().unwrap(), wal_dir(&place.data_dir(number)));
    Wal::open(env.disk, &dir, identity, WalOptions::default(), env.entropy).unwrap()
}

/// It was elected, took an entry, and its process ended before it had given that to anybody: the others, who went on in a
/// later term, have another one there. That its log ends before their state must not keep it from going on.
///
/// The election is made up of what it leaves on the disks, so that no clock decides it. It has to be one that could have
/// been: by the vote of somebody whose log does not reach further, in a term in which nobody else can have led. A term
/// that its leader or a majority knows nothing of can never come, and the core may wait for ever where one did.
#[tokio::test]
async fn a_log_that_ends_before_the_state_of_a_peer_is_forgotten_with_all_that_only_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, purging());
    let elsewhere = [2, 3].map(|number| Elsewhere::start(place.config(number)));
    let first = Running::start(place.config(1)).await.unwrap();
    first.knows_names(3).await;
    for key in 0..120 {
        first.put(&format!("key-{key}")).await.unwrap();
    }
    elsewhere.into_iter().for_each(Elsewhere::end);
    // Both are away before either log is read: without them nobody can have been elected since.
    let mut logs = Vec::new();
    for (number, member) in [(2, MemberId(2)), (3, MemberId(3))] {
        place.unlocked(number).await;
        logs.push((number, member, log_of(&place, number, Identity { member, ..LOST })));
    }
    let voted = logs.iter().filter_map(|(_, _, (_, recovered))| recovered.vote).map(|vote| vote.term.0).max();
    let term = Term(voted.unwrap() + 1);
    logs.sort_by_key(|(_, _, (_, recovered))| recovered.reach().last);
    let (number, leader, (mut log, recovered)) = logs.pop().unwrap();
    let (voter, _, (mut voters, _)) = logs.pop().unwrap();
    let vote = Vote { term, voted_for: Some(leader), committed: false };
    voters.commit(&[WalRecord::Vote(vote)], None).unwrap();
    assert!(recovered.purged.is_some());
    let log_id = LogId { term, index: LogIndex(recovered.reach().last.unwrap().index.0 + 1) };
    let entry = Entry { log_id, payload: recovered.entries.last().unwrap().payload.clone() };
    let vote = Vote { committed: true, ..vote };
    log.commit(&[WalRecord::Vote(vote), WalRecord::Entry(entry)], None).unwrap();
    drop((log, voters));

    let others = [first, Running::start(place.config(voter)).await.unwrap()];
    until("a later term", || (others[0].member.status().raft.term > term).then_some(())).await;
    others[0].votes().await;
    for key in 0..60 {
        others[0].put(&format!("after-{key}")).await.unwrap();
    }
    let revision = others[0].member.revision();
    until("one state", || (others[1].member.revision() == revision).then_some(())).await;
    rot_the_engine(&place, number);
    let back = Running::start(place.config(number)).await.unwrap();
    // It begins as the leader of its own term, and a snapshot may yet carry it past what it is asked: nobody would be told
    // what came of that. Who has an entry of the others' follows them.
    others[0].put("while it comes back").await.unwrap();
    let revision = others[0].member.revision();
    until("what the others wrote", || (back.member.revision() == revision).then_some(())).await;
    is_back(&back, &others, &[]).await;
    assert_eq!(back.told.0.lock().unwrap().as_slice(), <[String; 0]>::default());
    stop(others.iter().chain([&back])).await;
}

/// What a log has lost its owner may still have: an older copy of it, in its place by mistake, is not written over.
#[tokio::test]
async fn a_log_that_is_behind_its_engine_is_refused_and_left_as_it_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 1, EngineKind::Redb, quick());
    let data = place.data_dir(1);
    let (older, mixed) = (dir.path().join("older"), dir.path().join("mixed"));
    let before = Elsewhere::start(place.founder());
    until("its state", || data.join("state/state.redb").exists().then_some(())).await;
    before.end();
    place.unlocked(1).await;
    copy_dir(&wal_dir(&data), &older);
    let alone = Running::alone(&place).await;
    for key in 0..20 {
        alone.put(&format!("key-{key}")).await.unwrap();
    }
    alone.member.stop().await;
    copy_dir(&data, &mixed);
    fs::remove_dir_all(wal_dir(&mixed)).unwrap();
    copy_dir(&older, &wal_dir(&mixed));
    let content = || {
        let log = wal_dir(&mixed);
        names(&log).into_iter().map(|name| (name.clone(), fs::read(log.join(name)).unwrap())).collect()
    };
    let before: Vec<(String, Vec<u8>)> = content();
    let refused =
        Running::start(MemberConfig { data_dir: mixed.clone(), ..place.founder() }).await.err().unwrap();
    let StartError::LogLost { why, .. } = &refused else { panic!("{refused}") };
    assert!(matches!(**why, StartError::LogBehind { .. }), "{refused}");
    assert!(content() == before, "nothing of the log was touched");
}

#[tokio::test]
async fn a_rotten_engine_whose_log_begins_behind_it_is_refused_by_who_is_alone() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 1, EngineKind::Redb, purging());
    let alone = Running::alone(&place).await;
    for key in 0..60 {
        alone.put(&format!("key-{key}")).await.unwrap();
    }
    until("a purged log", || alone.member.status().raft.purged.filter(|at| at.index.0 > 30)).await;
    alone.member.stop().await;
    let copy = dir.path().join("copy");
    copy_dir(&place.data_dir(1), &copy);
    let file = copy.join("state/state.redb");
    let pages = fs::read(&file).unwrap().len() / PAGE;
    flip(&file, (1..pages).map(|page| page * PAGE + 77));
    let rotten = fs::read(&file).unwrap();
    let refused = Running::start(MemberConfig { data_dir: copy, ..place.founder() }).await.err().unwrap();
    assert!(matches!(refused, StartError::Engine(_)), "{refused}");
    assert!(refused.to_string().contains(&file.display().to_string()), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), rotten, "nothing was touched");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn who_was_given_up_never_starts_again_without_leave_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    let env = Env::real().unwrap();
    repair::disk_is_lost(&env, &place.data_dir(3), LOST).unwrap();
    // Nobody answers: without the note it would found its cluster once more.
    let refused = Running::start(place.config(3)).await.err().unwrap();
    assert!(matches!(refused, StartError::GivenUp { member: MemberId(3), .. }), "{refused}");
    let line = refused.to_string();
    assert!(line.contains("quorate ctl member remove 3;") && !line.contains('\n'), "{line}");
    assert_eq!(names(&place.data_dir(3)), ["lost-member", "repair.lock"]);

    // What was moved aside tells as much as the note.
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 3, EngineKind::Redb, quick());
    fs::create_dir_all(place.data_dir(3).join("damaged-3")).unwrap();
    let refused = Running::start(place.config(3)).await.err().unwrap();
    assert!(matches!(refused, StartError::GivenUp { member: MemberId(3), .. }), "{refused}");
    assert!(!wal_dir(&place.data_dir(3)).exists());
}
