//! What a range must answer.
//!
//! Count is the whole range's, whatever limit and filters say. A limit without sort and filters cuts by key. With
//! them, everything is fetched, pruned, sorted, cut. A sort target without an order sorts ascending, but only what
//! the limit left by key; how many it left before the cut is not settled by the API, so both readings are allowed.

use super::{Expected, ExpectedRange, Model, Refusal};
use crate::history::{KeyValue, Range, SortOrder, SortTarget};
use crate::types::Revision;

impl Model {
    /// What the range answers when the present is `at`; an explicit revision in the request wins.
    pub fn range(&self, range: &Range, at: Revision) -> Result<Expected, Refusal> {
        let asked = range.revision > Revision(0);
        if asked && range.revision > at {
            return Err(Refusal::FutureRevision);
        }
        let all = self.live_pairs(&range.key, &range.range_end, if asked { range.revision } else { at });
        Ok(Expected::Range(Box::new(answer(range, all))))
    }
}

fn answer(range: &Range, all: Vec<KeyValue>) -> ExpectedRange {
    let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let limit = usize::try_from(range.limit).unwrap_or(0);
    if range.count_only {
        return ExpectedRange { count, ..ExpectedRange::of(range) };
    }
    let kept: Vec<KeyValue> = all.into_iter().filter(|kv| passes(range, kv)).collect();
    let more = limit > 0 && kept.len() > limit;
    let quirk = range.sort_target != SortTarget::Key && range.sort_order == SortOrder::None && limit > 0;
    let pools = if quirk && !has_filters(range) {
        let cut = |length: usize| kept.iter().take(length).cloned().collect::<Vec<_>>();
        vec![cut(limit), cut(limit.saturating_add(1))]
    } else {
        vec![kept]
    };
    let length = if limit > 0 { limit } else { usize::MAX };
    ExpectedRange { count, more, pools, length, ..ExpectedRange::of(range) }
}

fn has_filters(range: &Range) -> bool {
    [range.min_mod_revision, range.max_mod_revision, range.min_create_revision, range.max_create_revision]
        .iter()
        .any(|bound| *bound != Revision(0))
}

fn passes(range: &Range, kv: &KeyValue) -> bool {
    let at_least = |bound: Revision, found: Revision| bound == Revision(0) || found >= bound;
    let at_most = |bound: Revision, found: Revision| bound == Revision(0) || found <= bound;
    at_least(range.min_mod_revision, kv.mod_revision)
        && at_most(range.max_mod_revision, kv.mod_revision)
        && at_least(range.min_create_revision, kv.create_revision)
        && at_most(range.max_create_revision, kv.create_revision)
}
