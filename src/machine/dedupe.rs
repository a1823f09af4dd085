//! Which requests have been applied: the reason why a retry changes nothing twice.
//!
//! A request is (member, incarnation, sequence). Of each member the machine knows one incarnation, the highest
//! it has seen, and of that the sequences applied, as runs. A sender says with each batch below which sequence
//! everything has been answered: what lies there can only be a late repetition, and its memory is given up.
//!
//! Invariants: runs ascend, do not touch, and end at or above the lowest unanswered sequence; a request of an
//! older incarnation, or below the lowest unanswered one, is never applied.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::types::{Incarnation, MemberId};

/// The requests seen from all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dedupe {
    senders: BTreeMap<MemberId, Sender>,
}

/// The requests seen from one member's incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    pub(crate) incarnation: Incarnation,
    pub(crate) lowest_unanswered: u64,
    /// First to last sequence of each run.
    pub(crate) runs: BTreeMap<u64, u64>,
}

/// The dedupe bucket's key for a member's incarnation.
pub fn dedupe_key(member: MemberId, incarnation: Incarnation) -> Bytes {
    let mut key = member.0.to_be_bytes().to_vec();
    key.extend_from_slice(&incarnation.0.to_be_bytes());
    key.into()
}

/// The member and incarnation that a dedupe bucket's key names.
pub fn parse_dedupe_key(key: &[u8]) -> Option<(MemberId, Incarnation)> {
    let (member, incarnation) = key.split_first_chunk::<8>()?;
    let incarnation = <[u8; 8]>::try_from(incarnation).ok()?;
    Some((MemberId(u64::from_be_bytes(*member)), Incarnation(u64::from_be_bytes(incarnation))))
}

impl Dedupe {
    /// What is known of a member's requests.
    pub fn sender(&self, member: MemberId) -> Option<&Sender> {
        self.senders.get(&member)
    }

    /// The sender of a batch, or `None` when a later incarnation of it has spoken. A later incarnation begins
    /// with nothing seen.
    pub(crate) fn admit(&mut self, member: MemberId, incarnation: Incarnation) -> Option<&mut Sender> {
        let sender = self.senders.entry(member).or_insert(Sender {
            incarnation,
            lowest_unanswered: 0,
            runs: BTreeMap::new(),
        });
        if sender.incarnation > incarnation {
            return None;
        }
        if sender.incarnation < incarnation {
            *sender = Sender { incarnation, lowest_unanswered: 0, runs: BTreeMap::new() };
        }
        Some(sender)
    }

    /// Takes over what was persisted.
    pub(crate) fn restore(&mut self, member: MemberId, sender: Sender) {
        self.senders.insert(member, sender);
    }
}

impl Sender {
    /// The incarnation known.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether a request of this sequence has been applied, or may have been.
    pub fn has_seen(&self, sequence: u64) -> bool {
        // The planted bug takes a run's last request for one that is still to come.
        let end = u64::from(crate::mutant!("dedupe-last-of-a-run-forgotten"));
        sequence < self.lowest_unanswered
            || self
                .runs
                .range(..=sequence)
                .next_back()
                .is_some_and(|(_, last)| sequence.saturating_add(end) <= *last)
    }

    /// Notes a sequence; whether it is new.
    pub(crate) fn note(&mut self, sequence: u64) -> bool {
        if self.has_seen(sequence) {
            return false;
        }
        let mut first = sequence;
        let mut last = sequence;
        if let Some((before, end)) =
            self.runs.range(..sequence).next_back().map(|(first, last)| (*first, *last))
            && end.checked_add(1) == Some(sequence)
        {
            first = before;
        }
        if let Some(after) = sequence.checked_add(1)
            && let Some(end) = self.runs.remove(&after)
        {
            last = end;
        }
        self.runs.insert(first, last);
        true
    }

    /// Gives up what lies below; never goes back.
    pub(crate) fn forget_below(&mut self, lowest_unanswered: u64) {
        if lowest_unanswered <= self.lowest_unanswered {
            return;
        }
        self.lowest_unanswered = lowest_unanswered;
        while let Some(first) = self.runs.first_entry().filter(|run| *run.key() < lowest_unanswered) {
            let last = first.remove();
            // The planted bug gives the whole run up.
            if last >= lowest_unanswered && !crate::mutant!("dedupe-run-given-up-whole") {
                self.runs.insert(lowest_unanswered, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> Sender {
        Sender { incarnation: Incarnation(1), lowest_unanswered: 0, runs: BTreeMap::new() }
    }

    #[test]
    fn neighbouring_sequences_melt_into_one_run() {
        let mut sender = sender();
        for sequence in [1, 5, 3, 2, 4, 9] {
            assert!(sender.note(sequence));
            assert!(!sender.note(sequence), "{sequence} a second time");
        }
        assert_eq!(sender.runs, BTreeMap::from([(1, 5), (9, 9)]));
    }

    #[test]
    fn what_is_answered_is_forgotten_and_never_applied_again() {
        let mut sender = sender();
        (1..=10).for_each(|sequence| assert!(sender.note(sequence)));
        sender.forget_below(8);
        sender.forget_below(3);
        assert_eq!(sender.runs, BTreeMap::from([(8, 10)]));
        assert!((0..=10).all(|sequence| !sender.note(sequence)));
        assert!(sender.note(11));
        let back = Sender::decode(Incarnation(1), sender.encode()).unwrap();
        assert_eq!(back, sender);
    }

    #[test]
    fn an_older_incarnation_is_turned_away_and_a_newer_one_starts_afresh() {
        let mut dedupe = Dedupe::default();
        let member = MemberId(7);
        assert!(dedupe.admit(member, Incarnation(2)).unwrap().note(1));
        assert!(dedupe.admit(member, Incarnation(1)).is_none());
        assert!(dedupe.admit(member, Incarnation(3)).unwrap().note(1));
        assert_eq!(parse_dedupe_key(&dedupe_key(member, Incarnation(3))), Some((member, Incarnation(3))));
    }
}
