//! What follows from what members said of one and the same thing: who is right, as far as that can be told.
//!
//! What is compared is a matter of the log alone, so members that say different things have parted. Who has, a majority
//! of those that vote decides; where there is none on one side, nobody can tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::MemberId;

/// What one member said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<T> {
    /// Who said it.
    pub member: MemberId,
    /// Whether it votes; who does not cannot be part of a majority.
    pub votes: bool,
    /// What.
    pub what: T,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All that were heard say the same.
    Agreed,
    /// A majority says the same, and these say something else.
    Differ(BTreeSet<MemberId>),
    /// They differ, and no majority says which of them are right.
    Undecided,
}

/// The verdict on what was said in a cluster of so many voters. Who said nothing is not judged.
pub fn judge<T: Ord>(voters: usize, said: impl IntoIterator<Item = Said<T>>) -> Verdict {
    let mut groups: BTreeMap<T, Vec<(MemberId, bool)>> = BTreeMap::new();
    for Said { member, votes, what } in said {
        groups.entry(what).or_default().push((member, votes));
    }
    if groups.len() < 2 {
        return Verdict::Agreed;
    }
    let votes_of = |group: &Vec<(MemberId, bool)>| group.iter().filter(|(_, votes)| *votes).count();
    let is_majority = |group: &Vec<(MemberId, bool)>| votes_of(group) > voters / 2;
    if !groups.values().any(is_majority) {
        return Verdict::Undecided;
    }
    let odd = groups.values().filter(|group| !is_majority(group)).flatten();
    Verdict::Differ(odd.map(|(member, _)| *member).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(voters: usize, said: &[(u64, bool, &str)]) -> Verdict {
        let said = said.iter().map(|(member, votes, what)| Said {
            member: MemberId(*member),
            votes: *votes,
            what: (*what).to_owned(),
        });
        judge(voters, said)
    }

    fn differ(members: &[u64]) -> Verdict {
        Verdict::Differ(members.iter().copied().map(MemberId).collect())
    }

    #[test]
    fn a_majority_names_the_odd_ones_out() {
        let (x, y) = ("x", "y");
        assert_eq!(verdict(3, &[(1, true, x), (2, true, x), (3, true, x)]), Verdict::Agreed);
        assert_eq!(verdict(3, &[(1, true, x), (2, true, y), (3, true, x)]), differ(&[2]));
        assert_eq!(verdict(3, &[(1, true, y), (2, true, x), (3, true, x)]), differ(&[1]));
        let five = [(1, true, x), (2, true, y), (3, true, x), (4, true, "z"), (5, true, x)];
        assert_eq!(verdict(5, &five), differ(&[2, 4]));
    }

    #[test]
    fn without_a_majority_nobody_is_named() {
        let (x, y) = ("x", "y");
        assert_eq!(verdict(2, &[(1, true, x), (2, true, y)]), Verdict::Undecided);
        assert_eq!(verdict(3, &[(1, true, x), (2, true, y)]), Verdict::Undecided, "the third is silent");
        let four = [(1, true, x), (2, true, x), (3, true, y), (4, true, y)];
        assert_eq!(verdict(4, &four), Verdict::Undecided);
    }

    #[test]
    fn who_is_silent_is_not_judged() {
        assert_eq!(verdict(3, &[]), Verdict::Agreed);
        assert_eq!(verdict(3, &[(1, true, "x")]), Verdict::Agreed);
        assert_eq!(verdict(5, &[(1, true, "x"), (2, true, "x")]), Verdict::Agreed);
    }

    #[test]
    fn a_learner_is_judged_and_judges_nobody() {
        let (x, y) = ("x", "y");
        assert_eq!(verdict(3, &[(1, true, x), (2, true, x), (9, false, y)]), differ(&[9]));
        assert_eq!(verdict(3, &[(1, true, x), (8, false, x), (9, false, y)]), Verdict::Undecided);
    }
}
