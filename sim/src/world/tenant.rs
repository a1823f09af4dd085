//! Who sits in a place for members: places stay, members come and go.

use quorate_check::types::MemberId;

use super::product;
use crate::plan::{MemberIndex, Plan};

/// What the cluster has to do with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A member of the cluster is here.
    Member,
    /// Its removal has been asked for: it may end by itself, and does once it knows that it is removed.
    Leaving,
    /// Nobody is here, and nothing starts.
    Vacant,
}

/// Who sits in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    /// The member that is here, or was last.
    pub(super) id: MemberId,
    pub(super) standing: Standing,
    /// Counts the members that were here: each has a disk of its own, as far as it can tell.
    pub(super) generation: u32,
    /// Whether it joins a cluster that runs already.
    pub(super) joins: bool,
    /// The last member that was removed from here and left its disk behind: who, and of which generation.
    pub(super) left: Option<(MemberId, u32)>,
    /// Its log is lost, and whoever has its place by now does not vote yet, or does not follow where it is not to vote.
    pub(super) is_away: bool,
    /// The last one here that lost its log: it must never run again.
    pub(super) gone: Option<MemberId>,
}

impl Tenant {
    /// Who sits in a place at the start.
    pub(super) fn first(plan: &Plan, index: MemberIndex) -> Tenant {
        let founds = plan.founds(index);
        Tenant {
            id: MemberId(product::founder_id(index).0),
            standing: if founds { Standing::Member } else { Standing::Vacant },
            generation: 0,
            joins: !founds,
            left: None,
            is_away: false,
            gone: None,
        }
    }

    /// Nobody sits here any more; what was on the disk is lost.
    pub(super) fn vanish(&mut self) {
        self.standing = Standing::Vacant;
        self.generation += 1;
        self.is_away = false;
    }

    /// The disk is lost, and an empty one in its place; whoever starts on it is told to look for a cluster that runs.
    pub(super) fn lose_disk(&mut self) {
        self.generation += 1;
        self.joins = true;
        self.is_away = true;
        self.gone = Some(self.id);
    }

    /// By one change another member has the place, because the log of the one before is lost.
    pub(super) fn give_way(&mut self, by: MemberId) {
        self.gone = Some(self.id);
        self.id = by;
        self.is_away = self.standing != Standing::Vacant;
    }

    /// Nobody sits here any more; the disk stays where it is.
    pub(super) fn leave(&mut self) {
        self.left = Some((self.id, self.generation));
        self.vanish();
    }

    /// The machine of the last member that was removed from here is switched on again, if it is there and the place
    /// is free.
    pub(super) fn come_back(&mut self) -> bool {
        let left = self.left.filter(|_| self.standing == Standing::Vacant);
        if let Some((id, generation)) = left {
            *self = Tenant { id, generation, standing: Standing::Leaving, ..*self };
        }
        left.is_some()
    }

    /// The cluster did not let this member go.
    pub(super) fn stay(&mut self, id: MemberId) {
        if (self.standing, self.id) == (Standing::Leaving, id) {
            self.standing = Standing::Member;
        }
    }

    /// A new member moves in.
    pub(super) fn move_in(&mut self, id: MemberId) {
        *self = Tenant { id, standing: Standing::Member, joins: true, ..*self };
    }
}
