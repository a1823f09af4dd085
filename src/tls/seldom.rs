//! Lines of the log that strangers could have written as often as they like: each kind once in a while, with the count of
//! those that were passed over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A kind is told of once in this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// Kinds that are told apart within it; what goes beyond is one kind.
const KINDS_MAX: usize = 64;

/// When a kind was told of.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Duration,
    passed_over: u64,
}

/// What was told of.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<BTreeMap<String, Told>>);

impl Seldom {
    /// Whether to tell of this `kind` at `now`, by a clock that never goes backwards: if so, how many of it were passed over
    /// since it was told of last.
    pub fn ask(&self, kind: &str, now: Duration) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains_key(kind) && told.len() >= KINDS_MAX {
            // What is due again and has nothing to be counted is as good as new.
            told.retain(|_, told| told.passed_over > 0 || now < told.at.saturating_add(INTERVAL));
        }
        let kind = if told.contains_key(kind) || told.len() < KINDS_MAX { kind } else { "" };
        match told.get_mut(kind) {
            Some(told) if now < told.at.saturating_add(INTERVAL) => {
                told.passed_over = told.passed_over.saturating_add(1);
                None
            }
            Some(told) => {
                told.at = now;
                Some(std::mem::take(&mut told.passed_over))
            }
            None => {
                told.insert(kind.to_owned(), Told { at: now, passed_over: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_of_once_in_a_while_with_what_was_passed_over() {
        let seldom = Seldom::default();
        let at = |secs| INTERVAL.saturating_mul(2) + Duration::from_secs(secs);
        assert_eq!((seldom.ask("a", at(0)), seldom.ask("b", at(1))), (Some(0), Some(0)));
        assert_eq!((seldom.ask("a", at(1)), seldom.ask("a", at(9))), (None, None));
        assert_eq!((seldom.ask("a", at(10)), seldom.ask("a", at(20))), (Some(2), Some(0)));
        assert_eq!(seldom.ask("b", at(20)), Some(0));
    }

    #[test]
    fn kinds_beyond_those_that_are_told_apart_are_one() {
        let seldom = Seldom::default();
        for nth in 0..KINDS_MAX {
            assert_eq!(seldom.ask(&format!("{nth}"), Duration::ZERO), Some(0));
        }
        assert_eq!(seldom.ask("one more", Duration::ZERO), Some(0));
        for nth in 0..1_000 {
            assert_eq!(seldom.ask(&format!("and {nth}"), Duration::ZERO), None);
        }
        assert!(seldom.0.lock().unwrap().len() <= KINDS_MAX + 1);
        assert_eq!(seldom.ask("later", INTERVAL), Some(0), "there is room again");
        assert_eq!(seldom.0.lock().unwrap().len(), 2, "and what was counted is not forgotten");
    }
}
