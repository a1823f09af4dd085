//! Each invariant with a story that keeps it, and with the same story broken in one place.

use super::*;
use crate::types::{Digest, LogId, LogIndex, Term};
use crate::verdict::Oracle;
use std::collections::BTreeSet;

const A: MemberId = MemberId(0xa1);
const B: MemberId = MemberId(0xa2);
const C: MemberId = MemberId(0xa3);

fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

fn ballot(term: u64, candidate: MemberId, won: bool) -> Ballot {
    Ballot { term: Term(term), candidate, won }
}

fn vote(term: u64, candidate: MemberId) -> Observation {
    Observation::Voted(ballot(term, candidate, false))
}

fn won(term: u64, leader: MemberId) -> Observation {
    Observation::Voted(ballot(term, leader, true))
}

/// An entry whose bytes follow from its name.
fn append(term: u64, index: u64) -> Observation {
    Observation::Appended { entry: id(term, index), digest: Digest(term * 100 + index) }
}

fn apply(term: u64, index: u64) -> Observation {
    Observation::Applied { entry: id(term, index), digest: Digest(term * 100 + index) }
}

fn commit(term: u64, index: u64) -> Observation {
    Observation::Committed { upto: id(term, index) }
}

fn durable(term: u64, index: u64) -> Observation {
    Observation::Durable { upto: id(term, index) }
}

fn truncate(after: Option<LogId>) -> Observation {
    Observation::Truncated { after }
}

fn recovered(purged: Option<LogId>, vote: Option<Ballot>, entries: &[(u64, u64)]) -> Observation {
    let entries =
        entries.iter().map(|(term, index)| (id(*term, *index), Digest(term * 100 + index))).collect();
    Observation::Recovered { purged, vote, entries }
}

type Story = Vec<(MemberId, Observation)>;

/// The oracles that complain, in the order of the story.
fn judge(story: &Story) -> Vec<Oracle> {
    let mut invariants = Invariants::default();
    story
        .iter()
        .flat_map(|(member, seen)| invariants.note(*member, seen))
        .map(|violation| violation.oracle)
        .collect()
}

/// Three members: A leads term 1 and commits two entries; B leads term 2, cuts what A left at C, commits one more;
/// A comes back from its disk, forgets its first entries, and C takes a snapshot.
fn sound() -> Story {
    vec![
        (A, recovered(None, None, &[])),
        (B, recovered(None, None, &[])),
        (C, recovered(None, None, &[])),
        (A, vote(1, A)),
        (B, vote(1, A)),
        (A, won(1, A)),
        (A, append(1, 0)),
        (A, durable(1, 0)),
        (B, won(1, A)),
        (B, append(1, 0)),
        (B, durable(1, 0)),
        (A, commit(1, 0)),
        (A, apply(1, 0)),
        (B, apply(1, 0)),
        (A, append(1, 1)),
        (C, won(1, A)),
        (C, append(1, 0)),
        (C, append(1, 1)),
        (C, durable(1, 1)),
        (A, durable(1, 1)),
        // A falls silent with an entry that only C has; B is elected by C, who holds more than is committed.
        (A, append(1, 2)),
        (C, append(1, 2)),
        (B, append(1, 1)),
        (B, durable(1, 1)),
        (A, commit(1, 1)),
        (B, vote(2, B)),
        (B, won(2, B)),
        (B, append(2, 2)),
        (C, won(2, B)),
        (C, truncate(Some(id(1, 1)))),
        (C, append(2, 2)),
        (C, durable(2, 2)),
        (B, durable(2, 2)),
        (B, commit(2, 2)),
        (B, apply(1, 1)),
        (B, apply(2, 2)),
        (A, recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1), (1, 2)])),
        (A, Observation::Loaded { applied: Some(id(1, 0)) }),
        (A, won(2, B)),
        (A, truncate(Some(id(1, 1)))),
        (A, append(2, 2)),
        (A, apply(1, 1)),
        (A, apply(2, 2)),
        (A, Observation::Purged { upto: id(1, 1) }),
        (A, recovered(Some(id(1, 1)), Some(ballot(2, B, true)), &[(2, 2)])),
        (C, Observation::Installed { upto: Some(id(2, 2)) }),
        (C, Observation::Purged { upto: id(2, 2) }),
        (B, append(2, 3)),
        (C, append(2, 3)),
        (C, apply(2, 3)),
    ]
}

/// The story with what stands at the first place of `old` replaced.
fn with(old: (MemberId, Observation), new: Vec<(MemberId, Observation)>) -> Story {
    let mut story = sound();
    let place = story.iter().position(|seen| *seen == old).expect("the story has this place");
    story.splice(place..=place, new);
    story
}

fn first(story: &Story) -> Option<Oracle> {
    judge(story).first().copied()
}

#[test]
fn a_sound_story_keeps_every_invariant() {
    assert_eq!(judge(&sound()), []);
}

#[test]
fn a_term_has_one_leader() {
    let two = with((C, won(2, B)), vec![(C, won(2, B)), (A, won(2, A))]);
    assert_eq!(first(&two), Some(Oracle::ElectionSafety));
}

#[test]
fn a_member_votes_once_a_term_whatever_happens_to_its_process() {
    let twice = with((B, vote(1, A)), vec![(B, vote(1, A)), (B, vote(1, C))]);
    assert_eq!(first(&twice), Some(Oracle::ElectionSafety));
    let again = with((B, vote(1, A)), vec![(B, vote(1, A)), (B, vote(1, A))]);
    assert_eq!(judge(&again), [], "a repeated request for the same vote is granted again");
    let backwards = with((A, append(1, 2)), vec![(A, vote(3, A)), (A, vote(2, A))]);
    assert_eq!(first(&backwards), Some(Oracle::ElectionSafety));
    let lost = with(
        (A, recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1), (1, 2)])),
        vec![(A, recovered(None, None, &[(1, 0), (1, 1), (1, 2)]))],
    );
    assert_eq!(first(&lost), Some(Oracle::ElectionSafety));
}

#[test]
fn a_leader_takes_nothing_back() {
    let cut = with((A, append(1, 2)), vec![(A, append(1, 2)), (A, truncate(Some(id(1, 1))))]);
    assert_eq!(first(&cut), Some(Oracle::LeaderAppendOnly));
    let nothing = with((A, append(1, 2)), vec![(A, append(1, 2)), (A, truncate(Some(id(1, 2))))]);
    assert_eq!(judge(&nothing), [], "a cut behind the last entry deletes nothing");
}

#[test]
fn one_entry_has_one_content_and_one_past() {
    let other = Observation::Appended { entry: id(1, 1), digest: Digest(7) };
    assert_eq!(first(&with((C, append(1, 1)), vec![(C, other)])), Some(Oracle::LogMatching));
    // C keeps A's entry 2 and gets B's entry 3 behind it.
    let spliced = with((C, truncate(Some(id(1, 1)))), vec![(B, append(2, 3)), (C, append(2, 3))]);
    assert_eq!(first(&spliced), Some(Oracle::LogMatching));
    let hole = with((C, append(1, 1)), vec![]);
    assert_eq!(first(&hole), Some(Oracle::LogMatching));
}

#[test]
fn a_recovered_log_matches_too() {
    let mut story = sound();
    let other = Observation::Recovered {
        purged: None,
        vote: Some(ballot(1, A, true)),
        entries: vec![(id(1, 0), Digest(100)), (id(1, 1), Digest(5))],
    };
    story.truncate(36);
    story.push((A, other));
    assert_eq!(first(&story), Some(Oracle::LogMatching));
}

#[test]
fn a_leader_holds_what_was_committed_before_it() {
    // B never got entry 1, which A and C have.
    let mut missing = with((B, append(1, 1)), vec![]);
    missing.retain(|seen| *seen != (B, durable(1, 1)) && *seen != (B, append(2, 2)));
    missing.truncate(25);
    assert_eq!(judge(&missing)[..], [Oracle::LeaderCompleteness]);
}

#[test]
fn what_turns_out_later_to_have_been_committed_is_held_against_the_leader() {
    let mut late = with((A, commit(1, 1)), vec![]);
    late.retain(|seen| *seen != (B, append(1, 1)) && *seen != (B, durable(1, 1)));
    late.truncate(24);
    assert_eq!(late.last(), Some(&(B, won(2, B))));
    assert_eq!(judge(&late), []);
    late.push((A, commit(1, 1)));
    assert_eq!(judge(&late), [Oracle::LeaderCompleteness]);
}

#[test]
fn machines_apply_the_same_entries_in_the_same_order() {
    let other = Observation::Applied { entry: id(1, 1), digest: Digest(7) };
    assert_eq!(first(&with((A, apply(1, 1)), vec![(A, other)])), Some(Oracle::StateMachineSafety));
    assert_eq!(first(&with((A, apply(1, 1)), vec![])), Some(Oracle::StateMachineSafety), "a gap");
    let again = with((A, apply(1, 1)), vec![(A, apply(1, 1)), (A, apply(1, 1))]);
    assert_eq!(first(&again), Some(Oracle::StateMachineSafety));
    let back = with(
        (C, Observation::Installed { upto: Some(id(2, 2)) }),
        vec![
            (C, Observation::Installed { upto: Some(id(2, 2)) }),
            (C, Observation::Installed { upto: Some(id(1, 1)) }),
        ],
    );
    assert_eq!(first(&back), Some(Oracle::StateMachineSafety));
    let foreign = with(
        (A, Observation::Loaded { applied: Some(id(1, 0)) }),
        vec![(A, Observation::Loaded { applied: Some(id(1, 2)) })],
    );
    assert!(judge(&foreign).contains(&Oracle::StateMachineSafety), "an entry that was never committed");
}

#[test]
fn a_committed_entry_stays_in_every_log_that_holds_it() {
    let mut cut = with((C, truncate(Some(id(1, 1)))), vec![(C, truncate(Some(id(1, 0))))]);
    let enough = judge(&cut);
    assert!(!enough.contains(&Oracle::CommittedNeverLost), "A and B have it durable: {enough:?}");
    cut.retain(|seen| *seen != (B, durable(1, 1)));
    assert_eq!(first(&cut), Some(Oracle::CommittedNeverLost), "A alone is no majority");
    // Which majority counts is the configuration's word: a voter that was removed holds nothing up.
    let d = MemberId(0xa4);
    let voters = |sets: &[&[MemberId]]| Observation::Configured {
        entry: id(1, 0),
        voters: sets.iter().map(|set| set.iter().copied().collect()).collect(),
    };
    for (sets, enough) in [(&[&[A, C][..]][..], false), (&[&[A]], true), (&[&[A], &[A, B, d]], false)] {
        let mut story = vec![(A, voters(sets))];
        story.extend(cut.iter().cloned());
        assert_eq!(!judge(&story).contains(&Oracle::CommittedNeverLost), enough, "{sets:?}");
    }
    let twice = with((B, commit(2, 2)), vec![(B, commit(2, 2)), (A, commit(1, 2))]);
    assert!(judge(&twice).contains(&Oracle::CommittedNeverLost));
}

#[test]
fn what_was_said_to_be_durable_survives_a_restart() {
    let came_back = (A, recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1), (1, 2)]));
    let owed = recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1)]);
    let mut kept = with(came_back.clone(), vec![(A, owed)]);
    kept.truncate(37);
    assert_eq!(judge(&kept), [], "entry 2 was never said to be durable");
    let lost = recovered(None, Some(ballot(1, A, true)), &[(1, 0)]);
    assert_eq!(first(&with(came_back.clone(), vec![(A, lost)])), Some(Oracle::CommittedNeverLost));
    let mut forgotten = with(came_back, vec![]);
    forgotten.truncate(36);
    let mut invariants = Invariants::default();
    for (member, seen) in &forgotten {
        assert_eq!(invariants.note(*member, seen), []);
    }
    invariants.forget(A);
    assert_eq!(invariants.note(A, &recovered(None, None, &[])), [], "a lost disk owes nothing");
    assert_eq!(invariants.observations(), 37);
}

#[test]
fn a_late_word_of_durability_promises_nothing_about_what_took_the_place() {
    let late = with((C, append(2, 2)), vec![(C, append(2, 2)), (C, durable(1, 2))]);
    let mut story = late;
    story.truncate(32);
    story.push((C, recovered(None, Some(ballot(2, B, true)), &[(1, 0), (1, 1)])));
    assert_eq!(judge(&story), []);
}

#[test]
fn an_entry_is_acknowledged_when_it_is_durable() {
    let acknowledged = |term, index| (A, Observation::Acknowledged { upto: id(term, index) });
    let story = |rest: &[(MemberId, Observation)]| -> Story {
        let of_a = [append(1, 0), append(1, 1), append(1, 2), durable(1, 2), append(2, 3), append(2, 4)];
        let begin: Story = of_a.into_iter().map(|seen| (A, seen)).collect();
        begin.iter().chain(rest).cloned().collect()
    };
    let early = vec![Oracle::AcknowledgedDurable];
    assert_eq!(judge(&story(&[acknowledged(1, 2)])), []);
    assert_eq!(judge(&story(&[acknowledged(2, 3)])), early);
    assert_eq!(judge(&story(&[(A, durable(2, 3)), acknowledged(2, 3)])), []);
    assert_eq!(judge(&story(&[(A, durable(2, 3)), acknowledged(2, 4)])), early);
    // A snapshot counts once it stands, and another member's log never.
    let installed = (A, Observation::Installed { upto: Some(id(2, 9)) });
    assert_eq!(judge(&story(&[acknowledged(2, 9)])), early);
    assert_eq!(judge(&story(&[installed, acknowledged(2, 9)])), []);
    let of_b = [append(1, 0), append(1, 1), append(1, 2), append(2, 3), durable(2, 3)];
    let of_b: Story = of_b.into_iter().map(|seen| (B, seen)).chain([acknowledged(2, 3)]).collect();
    assert_eq!(judge(&story(&of_b)), early);
    // What is durable dies with nothing but the disk; what is not, with the process.
    let again = (A, recovered(None, None, &[(1, 0), (1, 1), (1, 2), (2, 3)]));
    assert_eq!(judge(&story(&[(A, durable(2, 3)), again, acknowledged(2, 4)])), early);
}

#[test]
fn who_was_replaced_is_gone_for_good() {
    const NEXT: MemberId = MemberId(0xb1);
    let configured = |term, index, voters: &[MemberId]| {
        (
            B,
            Observation::Configured {
                entry: id(term, index),
                voters: vec![voters.iter().copied().collect()],
            },
        )
    };
    let to_vote = BTreeSet::new;
    let replaced = |at: LogId, by| (B, Observation::Replaced { entry: at, gone: A, by, to_vote: to_vote() });
    let story = |rest: Story| -> Story {
        let begin = vec![
            configured(1, 0, &[A, B, C]),
            (A, vote(1, B)),
            replaced(id(1, 3), NEXT),
            // Whoever lags applies it later.
            (C, Observation::Replaced { entry: id(1, 3), gone: A, by: NEXT, to_vote: to_vote() }),
            configured(1, 4, &[B, C]),
        ];
        begin.into_iter().chain(rest).collect()
    };
    let broken = vec![Oracle::GoneForGood];
    let started = || (NEXT, recovered(None, None, &[]));
    let back = || configured(1, 7, &[NEXT, B, C]);
    assert_eq!(judge(&story(vec![started(), (NEXT, vote(2, C)), back()])), []);
    // Its log may be put right until the other one starts, and then acts as it did.
    assert_eq!(judge(&story(vec![(A, vote(2, C))])), []);
    assert_eq!(judge(&story(vec![started(), (A, vote(2, C))])), broken);
    assert_eq!(judge(&story(vec![started(), (A, recovered(None, Some(ballot(1, B, false)), &[]))])), broken);
    // Nor does it get its vote back, and its successor is somebody new.
    assert_eq!(judge(&story(vec![configured(1, 7, &[A, B, C])])), broken);
    assert_eq!(judge(&story(vec![(C, configured(1, 0, &[A, B, C]).1)])), [], "it lags");
    assert_eq!(judge(&story(vec![replaced(id(1, 9), MemberId(0xb2))])), broken);
    let old = (B, Observation::Replaced { entry: id(1, 9), gone: NEXT, by: C, to_vote: to_vote() });
    assert_eq!(judge(&story(vec![started(), back(), old])), broken);
}

#[test]
fn who_is_put_in_a_voters_place_votes_before_the_next_is_put_in_anothers() {
    const NEXT: MemberId = MemberId(0xb1);
    const LATER: MemberId = MemberId(0xb2);
    let configured = |index, voters: &[MemberId]| {
        let voters = vec![voters.iter().copied().collect()];
        (B, Observation::Configured { entry: id(1, index), voters })
    };
    let replaced = |index, gone, by, to_vote: &[MemberId]| {
        let to_vote = to_vote.iter().copied().collect();
        (B, Observation::Replaced { entry: id(1, index), gone, by, to_vote })
    };
    let story = |voters: &[MemberId], rest: Story| -> Story {
        let begin = vec![configured(0, voters), replaced(3, A, NEXT, &[NEXT, B, C])];
        begin.into_iter().chain(rest).collect()
    };
    let (second, broken) = (|| replaced(7, C, LATER, &[NEXT, B, LATER]), vec![Oracle::OneByOne]);
    assert_eq!(judge(&story(&[A, B, C], vec![second()])), broken);
    assert_eq!(judge(&story(&[A, B, C], vec![configured(4, &[B, C]), second()])), broken);
    assert_eq!(judge(&story(&[A, B, C], vec![configured(5, &[NEXT, B, C]), second()])), []);
    assert_eq!(judge(&story(&[B, C], vec![second()])), [], "a learner's heir is promised no vote");
    // Operators may let it go before it votes, and it may lose its log itself; another tells of both later.
    assert_eq!(judge(&story(&[A, B, C], vec![replaced(7, C, LATER, &[B, LATER])])), []);
    let again = replaced(7, NEXT, LATER, &[B, C, LATER]);
    assert_eq!(judge(&story(&[A, B, C], vec![again.clone(), (C, again.1)])), []);
}

#[test]
fn a_start_takes_off_what_a_peers_state_contradicts() {
    let mut story = with((A, append(1, 2)), vec![(A, append(1, 2)), (A, durable(1, 2))]);
    let found = (A, recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1), (1, 2)]));
    let place = story.iter().position(|seen| *seen == found).expect("the story has this place");
    let left = (A, recovered(None, Some(ballot(1, A, true)), &[(1, 0), (1, 1)]));
    story.splice(place..=place, vec![left]);
    assert_eq!(first(&story), Some(Oracle::CommittedNeverLost), "entry 2 of term 1 was said to be durable");
    // A led, and does not any more: B has committed another entry in that place.
    story.insert(place, (A, Observation::Contradicted { after: Some(id(1, 1)) }));
    assert_eq!(judge(&story), []);
}
