//! Stories of single leases on a clock that stands until it is told to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deadlines::{Deadlines, Granted, Renewal};
use crate::types::{LeaseId, Term, TtlSecs};

const A: LeaseId = LeaseId(1);
const B: LeaseId = LeaseId(2);
const TERM: Term = Term(3);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn lease(id: LeaseId, ttl: i64) -> Granted {
    Granted { id, ttl: TtlSecs(ttl), remaining: None }
}

/// A leader since second 100 with these leases, checkpointing every minute at most.
fn leader(leases: &[Granted]) -> Deadlines {
    let mut deadlines = Deadlines::new(secs(60));
    deadlines.lead(TERM);
    deadlines.take_over(leases.iter().copied(), None, secs(100));
    deadlines
}

fn renewed(renewal: Renewal) -> TtlSecs {
    match renewal {
        Renewal::Renewed { ttl, reset: None } => ttl,
        other => panic!("expected a plain renewal, found {other:?}"),
    }
}

#[test]
fn a_lease_falls_due_at_its_ttl_and_not_before() {
    let mut deadlines = leader(&[lease(A, 10), lease(B, 5)]);
    assert!(deadlines.take_due(Duration::from_millis(104_999), 9).is_empty());
    assert_eq!(deadlines.take_due(secs(105), 9), [B]);
    assert_eq!(deadlines.take_due(secs(110), 9), [A]);
    assert!(deadlines.take_due(secs(999), 9).is_empty(), "proposed once, until that is settled");
}

#[test]
fn a_renewal_counts_anew_from_its_own_moment() {
    let mut deadlines = leader(&[lease(A, 10)]);
    assert_eq!(renewed(deadlines.renew(A, secs(109))), TtlSecs(10));
    assert_eq!(deadlines.remaining(A, secs(110)), Some(secs(9)));
    assert!(deadlines.take_due(secs(118), 9).is_empty());
    assert_eq!(deadlines.take_due(secs(119), 9), [A]);
}

#[test]
fn a_renewal_waits_while_expiry_is_proposed() {
    let mut deadlines = leader(&[lease(A, 10), lease(B, 10)]);
    assert_eq!(deadlines.take_due(secs(110), 9), [A, B]);
    assert_eq!(deadlines.renew(A, secs(110)), Renewal::Busy);
    // A was ended by the command; B was not: the command was refused.
    deadlines.ended(A);
    deadlines.expiry_settled(TERM, &[A, B], secs(113));
    assert_eq!(deadlines.renew(A, secs(111)), Renewal::Gone);
    assert!(deadlines.take_due(secs(112), 9).is_empty());
    assert_eq!(deadlines.take_due(secs(113), 9), [B], "tried again, but not at once");
    deadlines.expiry_settled(TERM, &[B], secs(116));
    assert_eq!(renewed(deadlines.renew(B, secs(114))), TtlSecs(10));
    assert!(deadlines.take_due(secs(123), 9).is_empty());
}

#[test]
fn due_leases_are_bounded_and_none_is_forgotten() {
    let many: Vec<_> = (1..=100_000).map(|id| lease(LeaseId(id), 5)).collect();
    let mut deadlines = leader(&many);
    let mut taken = BTreeMap::new();
    loop {
        let due = deadlines.take_due(secs(105), 500);
        if due.is_empty() {
            break;
        }
        assert!(due.len() <= 500);
        for id in due {
            assert_eq!(taken.insert(id, ()), None, "lease {id} was taken twice");
            deadlines.ended(id);
        }
    }
    assert_eq!(taken.len(), 100_000);
    assert!(deadlines.is_empty());
}

#[test]
fn a_new_leader_goes_on_from_the_checkpointed_remainder() {
    let mut deadlines = leader(&[Granted { id: A, ttl: TtlSecs(600), remaining: Some(TtlSecs(20)) }]);
    assert_eq!(deadlines.remaining(A, secs(100)), Some(secs(20)));
    // The remainder is replicated: a renewal must clear it first, and only that clearing counts.
    let Renewal::Renewed { ttl: TtlSecs(600), reset: Some(reset) } = deadlines.renew(A, secs(110)) else {
        panic!("a reset is due");
    };
    let again = deadlines.renew(A, secs(111));
    assert_eq!(again, Renewal::Renewed { ttl: TtlSecs(600), reset: Some(reset) }, "not cleared yet");
    deadlines.reset_done(TERM, A, reset);
    assert_eq!(renewed(deadlines.renew(A, secs(112))), TtlSecs(600));
}

#[test]
fn long_leases_are_checkpointed_rounded_up_and_short_ones_never() {
    let mut deadlines = leader(&[lease(A, 300), lease(B, 60)]);
    assert!(deadlines.take_checkpoints(secs(159), 9).is_empty());
    let now = Duration::from_millis(160_400);
    assert_eq!(deadlines.take_checkpoints(now, 9), [(A, TtlSecs(240))]);
    assert_eq!(deadlines.renew(A, now), Renewal::Busy, "the renewal must not overtake the checkpoint");
    deadlines.checkpoints_settled(TERM, [A], now);
    assert!(matches!(deadlines.renew(A, now), Renewal::Renewed { reset: Some(_), .. }));
    assert!(deadlines.take_checkpoints(secs(220), 9).is_empty(), "a renewal starts the wait anew");
    assert_eq!(deadlines.take_checkpoints(secs(221), 9), [(A, TtlSecs(240))]);
}

#[test]
fn clearing_an_earlier_checkpoint_does_not_hide_a_later_one() {
    let mut deadlines = leader(&[Granted { id: A, ttl: TtlSecs(300), remaining: Some(TtlSecs(200)) }]);
    let Renewal::Renewed { reset: Some(first), .. } = deadlines.renew(A, secs(110)) else {
        panic!("a reset is due");
    };
    assert_eq!(deadlines.take_checkpoints(secs(170), 9).len(), 1);
    deadlines.reset_done(TERM, A, first);
    deadlines.checkpoints_settled(TERM, [A], secs(171));
    assert!(matches!(deadlines.renew(A, secs(172)), Renewal::Renewed { reset: Some(_), .. }));
}

#[test]
fn a_very_long_lease_takes_at_most_ten_checkpoints() {
    let mut deadlines = leader(&[lease(A, 36_000)]);
    let mut checkpoints = 0;
    for now in (100..36_100).step_by(60) {
        for (id, _) in deadlines.take_checkpoints(secs(now), 9) {
            checkpoints += 1;
            deadlines.checkpoints_settled(TERM, [id], secs(now));
        }
    }
    assert!((8..=10).contains(&checkpoints), "{checkpoints} checkpoints");
}

#[test]
fn a_lease_due_while_it_is_checkpointed_expires_afterwards() {
    let mut deadlines = leader(&[lease(A, 61)]);
    assert_eq!(deadlines.take_checkpoints(secs(160), 9), [(A, TtlSecs(1))]);
    assert!(deadlines.take_due(secs(170), 9).is_empty());
    deadlines.checkpoints_settled(TERM, [A], secs(170));
    assert_eq!(deadlines.take_due(secs(170), 9), [A]);
}

#[test]
fn another_office_knows_nothing_of_the_last_one() {
    let mut deadlines = leader(&[lease(A, 10), lease(B, 300)]);
    assert_eq!(deadlines.take_due(secs(110), 9), [A]);
    deadlines.resign();
    assert_eq!((deadlines.term(), deadlines.is_complete()), (None, false));
    deadlines.granted(lease(A, 10), secs(111));
    assert!(deadlines.is_empty(), "who does not lead counts nothing");
    let next = Term(5);
    deadlines.lead(next);
    assert!(!deadlines.is_complete());
    deadlines.take_over([lease(A, 10)], Some(B), secs(120));
    assert_eq!(deadlines.resume(), Some(B));
    // A late outcome of the earlier office changes nothing.
    deadlines.expiry_settled(TERM, &[A], secs(121));
    deadlines.take_over([lease(B, 300)], None, secs(121));
    assert!(deadlines.is_complete());
    assert!(deadlines.take_due(secs(129), 9).is_empty());
    assert_eq!(deadlines.take_due(secs(130), 9), [A]);
}

#[test]
fn a_lease_granted_while_leases_are_taken_over_counts_from_the_later_moment() {
    let mut deadlines = Deadlines::new(secs(60));
    deadlines.lead(TERM);
    // The grant is applied first, and found in the state afterwards.
    deadlines.granted(lease(B, 10), secs(102));
    deadlines.take_over([lease(A, 10), lease(B, 10)], None, secs(103));
    assert_eq!(deadlines.remaining(B, secs(103)), Some(secs(9)));
    // Revoked and granted again under the same id: it is another lease.
    deadlines.ended(B);
    deadlines.granted(lease(B, 20), secs(105));
    assert_eq!(deadlines.remaining(B, secs(105)), Some(secs(20)));
    assert_eq!(deadlines.len(), 2);
}
