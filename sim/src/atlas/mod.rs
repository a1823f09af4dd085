//! The disk atlas: what damage to a disk the product must survive, must notice, or cannot see, and what a member that
//! gives up over damage must say.
//!
//! The bound: with n members at most (n-1)/2 are damaged at once, and none of them twice, until each is repaired (by
//! writing anew, or by its owner). Within it everything acknowledged must stay, and each damaged member runs on with
//! right answers or stops with an error that names file and offset. Beyond it the clean refusal is the only right
//! outcome. What the product states it cannot see is never left on a disk when its process ends.
//!
//! Plain data and bytes: `log_map` reads where the log's batches stand, `sight` says what can be seen of damage,
//! `refusal` judges last words. The world's own `atlas` plants, counts and rescues.

mod log_map;
mod refusal;
mod sight;

pub use log_map::{Batch, BatchKind, SegmentMap};
pub use refusal::{Place, names_damage, tells_of_no_space};
pub use sight::{Neighbours, Sight, sight_in_engine, sight_in_log};

/// How many of this many members may be damaged at once so that survival is required.
pub fn damaged_members_max(members: usize) -> usize {
    members.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_never_damaged() {
        assert_eq!([1, 2, 3, 4, 5].map(damaged_members_max), [0, 0, 1, 1, 2]);
    }
}
