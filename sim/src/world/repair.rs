//! Members that have themselves taken back: whose log is lost, who has whose place by now, and who is back.
//!
//! A log may be lost only where its member can be spared: a quorum is left whose disks are sound, and nobody is about to
//! leave. A disk may be lost whole only where beside that the cluster has heard the member's name, so that it can be told from one that has never run. From then on, or
//! from the moment in which the cluster puts another in its place, the place counts as damaged until that other one votes.
//!
//! Invariant: an id whose log is lost never runs again; whoever starts as that is a violation.

use quorate_check::types::MemberId;
use quorate_check::verdict::Class;

use super::tenant::{Standing, Tenant};
use super::{Seat, World, changes, product};
use crate::plan::MemberIndex;

impl World {
    /// Whether this member's disk may be lost now.
    pub(super) fn can_lose_its_disk(&self, index: MemberIndex) -> bool {
        let seat = self.seat(index);
        let Tenant { id, standing, .. } = *seat.tenant();
        if !self.plan().knobs.self_repair || standing != Standing::Member || !self.could_damage(index) {
            return false;
        }
        self.knows_by_name(id)
    }

    /// Whether this member's log may be lost now: nobody is about to leave, and those who vote already, and whose disks are
    /// sound, are a quorum.
    pub(super) fn can_spare_a_log(&self, index: MemberIndex) -> bool {
        self.nobody_leaves() && self.is_a_quorum(&self.sound_without(index))
    }

    /// Members beside this one whose disks are sound.
    pub(super) fn sound_without(&self, index: MemberIndex) -> Vec<MemberIndex> {
        let harmed = self.damaged();
        self.seated().into_iter().filter(|other| *other != index && !harmed.contains(other)).collect()
    }

    /// All that was on the member's disk is lost; it is down.
    pub(super) fn loses_its_disk(&self, index: MemberIndex) {
        self.seat(index).tenant().lose_disk();
        self.inner.record.note(self.now(), format_args!("lost the disk of {index}"));
        quorate::sometimes!("a member lost its whole disk");
    }

    /// The cluster has put another member in the place of one, for good. Told from inside a member's machine.
    pub(super) fn was_replaced(&self, gone: MemberId, by: MemberId) {
        let Some(seat) = self.inner.seats.iter().find(|seat| seat.id() == gone) else { return };
        seat.tenant().give_way(by);
        self.operators_follow(gone, by);
        self.inner.record.takes_over(self.now(), seat.index, by);
    }

    /// Notes which of those who are away vote again, as all who are up know, or follow again where they are not to vote.
    pub(super) fn note_who_is_back(&self) {
        let is_away = |seat: &&Seat| seat.tenant().is_away;
        for seat in self.inner.seats.iter().filter(is_away) {
            let Tenant { id, gone, .. } = *seat.tenant();
            let runs = seat.life().is_up() && gone != Some(id);
            if runs && (self.learners().contains(&id) || self.has_a_vote(id)) {
                seat.tenant().is_away = false;
                self.inner.record.note(self.now(), format_args!("back {}", seat.index));
                quorate::sometimes!("a member that lost its log votes again");
                self.check_who_is_listed(gone, id);
            }
        }
    }

    /// Who has come in the place of another is known to everybody: that other one is in no list any more.
    fn check_who_is_listed(&self, gone: Option<MemberId>, by: MemberId) {
        if let Some(gone) = gone.filter(|gone| self.is_listed(*gone)) {
            let sentence = format!("member {gone} was replaced by member {by}, and both are in the list");
            self.finding(Class::Safety, "member list", sentence);
        }
    }

    /// Whether somebody has lost its log and is not back yet.
    pub fn is_anybody_away(&self) -> bool {
        self.plan().knobs.self_repair && !self.damaged().is_empty()
    }

    /// Whether a member that says that it is not taken back yet has lost its log: then it is to try again.
    pub(super) fn asks_again(&self, seat: &Seat, words: &str) -> bool {
        let Tenant { is_away, standing, .. } = *seat.tenant();
        (is_away || standing == Standing::Leaving) && words.contains(product::NOT_READMITTED)
    }

    /// Holds who started in a place against what is known of the place. `false` when it must not run as that.
    pub(super) fn runs_rightly(&self, index: MemberIndex, runs_as: MemberId) -> bool {
        let Tenant { id, gone, .. } = *self.seat(index).tenant();
        if gone == Some(runs_as) {
            let sentence = format!("{index} runs again as member {runs_as}, whose log is lost");
            self.finding(Class::Safety, "identity", sentence);
        }
        gone != Some(runs_as) && id == runs_as
    }

    /// Once all are to be in order: whoever lost its log is back, and who it was is gone, as everybody knows.
    pub(super) fn check_who_is_back(&self) {
        for seat in &self.inner.seats {
            let Tenant { id, gone, is_away, .. } = *seat.tenant();
            if is_away {
                let sentence = format!("{} lost its log, and is not back as member {id}", seat.index);
                self.finding(Class::Liveness, "repair", sentence);
            }
            let Some(gone) = gone else { continue };
            for other in self.seated() {
                let knows = self.reach(other).is_none_or(|(_, member)| changes::knows_as_gone(&member, gone));
                if !knows {
                    let sentence = format!("{other} does not know that member {gone} is gone for good");
                    self.finding(Class::Safety, "repair", sentence);
                }
            }
        }
    }
}
