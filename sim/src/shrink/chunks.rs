//! Delta debugging over a list: takes away chunks, large ones first, for as long as the rest still fails.
//!
//! Pure: what "fails" means is the caller's. Candidates are offered in a fixed order and the first that fails is
//! taken, so the outcome does not depend on how many of them are tried at a time.
//!
//! Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002); the complements
//! alone, because the part that was taken away hardly ever fails by itself.

/// Candidates, each the list with one chunk taken away, in order.
pub type Candidates<'a, T> = &'a mut dyn Iterator<Item = Vec<T>>;

/// Takes chunks away from `items` until none can go. `first_failing` says which of the candidates is the first
/// that still fails; when it says `None`, as it may when its time is up, nothing more of that size goes.
pub fn reduce<T: Clone>(
    mut items: Vec<T>,
    mut first_failing: impl FnMut(Candidates<'_, T>) -> Option<usize>,
) -> Vec<T> {
    let mut size = items.len();
    while size > 0 {
        let before = items.len();
        let mut start = 0;
        while start < items.len() {
            let starts: Vec<usize> = (start..items.len()).step_by(size).collect();
            let mut candidates = starts.iter().map(|start| without(&items, *start, size));
            let failing = first_failing(&mut candidates);
            let Some(at) = failing.and_then(|failing| starts.get(failing)).copied() else { break };
            items = without(&items, at, size);
            start = at;
        }
        // Single ones are tried again until none goes: what one needed may have gone after it was tried.
        if size > 1 {
            size = (size / 2).min(items.len());
        } else if items.len() == before {
            break;
        }
    }
    items
}

/// The list without `size` of its items from `start` on.
fn without<T: Clone>(items: &[T], start: usize, size: usize) -> Vec<T> {
    let end = start.saturating_add(size);
    items
        .iter()
        .enumerate()
        .filter(|(at, _)| *at < start || *at >= end)
        .map(|(_, item)| item.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Shrinks 0..count under a predicate; the outcome and how many candidates were tried.
    fn shrink(count: u32, fails: impl Fn(&[u32]) -> bool) -> (Vec<u32>, u32) {
        let tried = Cell::new(0);
        let left = reduce((0..count).collect(), |mut candidates| {
            Iterator::position(&mut candidates, |candidate: Vec<u32>| {
                tried.set(tried.get() + 1);
                fails(&candidate)
            })
        });
        (left, tried.get())
    }

    #[test]
    fn what_is_needed_stays_and_nothing_else() {
        for needed in [vec![], vec![0], vec![99], vec![3, 50, 51], vec![0, 33, 66, 99]] {
            let (left, _) = shrink(100, |items| needed.iter().all(|item| items.contains(item)));
            assert_eq!(left, needed);
        }
    }

    #[test]
    fn a_few_of_thousands_are_found_in_few_trials() {
        let (left, tried) = shrink(4_000, |items| [1_234, 3_999].iter().all(|item| items.contains(item)));
        assert_eq!(left, [1_234, 3_999]);
        assert!(tried < 100, "{tried} trials");
    }

    #[test]
    fn the_outcome_is_minimal_even_where_parts_need_each_other() {
        // An even number needs its successor: alone neither goes without the failure going too.
        let fails = |items: &[u32]| {
            items.contains(&7) && items.iter().all(|item| item % 2 == 1 || items.contains(&(item + 1)))
        };
        let (left, _) = shrink(64, fails);
        assert!(fails(&left));
        for at in 0..left.len() {
            assert!(!fails(&without(&left, at, 1)), "{left:?} can do without its item {at}");
        }
    }

    #[test]
    fn when_the_time_is_up_what_was_reached_is_kept() {
        let trials = Cell::new(0);
        let left = reduce((0..64_u32).collect(), |mut candidates| {
            Iterator::position(&mut candidates, |candidate: Vec<u32>| {
                trials.set(trials.get() + 1);
                trials.get() <= 3 && candidate.contains(&5)
            })
        });
        assert!(left.contains(&5) && left.len() < 64 && left.len() > 1, "{left:?}");
    }

    #[test]
    fn how_many_are_tried_at_a_time_changes_nothing() {
        let fails = |items: &[u32]| items.iter().filter(|item| **item % 5 == 0).count() >= 3;
        let one = reduce((0..50).collect(), |mut candidates| {
            Iterator::position(&mut candidates, |items: Vec<u32>| fails(&items))
        });
        let eager = reduce((0..50).collect(), |candidates| {
            let all: Vec<bool> = candidates.map(|items| fails(&items)).collect();
            all.iter().position(|failed| *failed)
        });
        assert_eq!(one, eager);
    }
}
