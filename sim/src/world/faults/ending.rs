//! What stays wrong with some members while the others are healed: nothing ends it but [`World::heal`].

use std::time::Duration;

use quorate_disk::{Call, Crash, FaultKind};

use super::damage;
use crate::net::weather::{Scope, Weather};
use crate::net::{Link, cuts};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::ending::{Breakage, Broken};
use crate::plan::{MemberIndex, Span};
use crate::record::OpenFault;
use crate::world::World;

/// Keys the crashes of members that stay down, and names the weather over links; beyond every planned fault's.
const ENDING: u64 = 1 << 40;

impl World {
    /// Heals all but what the plan's ending keeps broken: the members that are not, and the faults that this makes.
    /// `None`, and nothing is healed, when nobody can be broken and a quorum be left, because members have come and
    /// gone, or a disk is lost.
    pub fn heal_a_quorum(&self) -> Option<(Vec<MemberIndex>, Vec<OpenFault>)> {
        // Who has lost its log may need everybody who is to vote.
        if self.is_anybody_away() {
            return None;
        }
        let mut broken: Vec<(MemberIndex, Breakage)> = Vec::new();
        for Broken { target, how } in &self.plan().ending.broken {
            let member = self.settle(*target);
            let is_whole =
                |index: &MemberIndex| *index != member && broken.iter().all(|(other, _)| other != index);
            let seated = self.seated();
            let is_here = seated.contains(&member);
            let whole: Vec<MemberIndex> = seated.into_iter().filter(is_whole).collect();
            if is_here && broken.iter().all(|(other, _)| *other != member) && self.is_a_quorum(&whole) {
                broken.push((member, *how));
            }
        }
        if broken.is_empty() {
            return None;
        }
        let members: Vec<MemberIndex> = broken.iter().map(|(member, _)| *member).collect();
        self.heal_but(&members, |index| {
            broken.iter().any(|(member, how)| *member == index && matches!(how, Breakage::Down { .. }))
        });
        // Damage is bounded here too: who would be one too many stays whole.
        broken.retain(|(member, how)| {
            !matches!(how, Breakage::RottenDisk { .. }) || self.could_damage(*member)
        });
        let mut quorum = self.voting();
        quorum.retain(|index| broken.iter().all(|(member, _)| member != index));
        let faults = broken.into_iter().map(|(member, how)| self.break_for_good(member, how)).collect();
        Some((quorum, faults))
    }

    fn break_for_good(&self, member: MemberIndex, how: Breakage) -> OpenFault {
        let seat = self.seat(member);
        let open = self.record().fault_begins(self.now(), how.name(), Some(seat.id()), member.to_string());
        let event = ENDING + u64::from(member.0);
        match how {
            Breakage::Down { power } => {
                self.crash_again(member, if power { Crash::PowerLoss } else { Crash::Kill }, event);
            }
            Breakage::Paused {} => self.pause(member),
            Breakage::Cut { direction, from } => {
                let others: Vec<MemberIndex> = self
                    .members()
                    .filter(|other| *other == member || u32::from(from) >> u32::from(other.0) & 1 == 1)
                    .collect();
                let pairs = cuts::between(&others, direction, |index| index == member);
                self.network().cut(&World::links(&pairs));
            }
            Breakage::Slow { least_us, most_us } => {
                let weather = Weather::Delay(Span::new(least_us, most_us));
                self.network().open_window(event, Scope::Links(self.around(member)), weather);
            }
            Breakage::Lossy { permille } => {
                self.network().open_window(event, Scope::Links(self.around(member)), Weather::Loss(permille));
            }
            Breakage::FailingDisk { permille } => {
                for call in [Call::Write, Call::Sync] {
                    seat.disk.set_rate(call, FaultKind::Eio, permille.saturating_mul(1_000));
                }
            }
            Breakage::SlowDisk { sync_ms } => {
                let stalled = FaultKind::Stalled(Duration::from_millis(sync_ms));
                seat.disk.set_rate(Call::Sync, stalled, 1_000_000);
            }
            Breakage::FullDisk { free_bytes } => {
                self.take_space(member, free_bytes);
                // Who runs may need no more space for a long time; who starts needs some at once. A leader goes on, so
                // that it is seen what a cluster is worth whose leader has no space.
                if self.leader() != Some(member) {
                    self.hold(member, Crash::Kill, event);
                    self.release(member);
                }
            }
            Breakage::RottenDisk { area, key, unreadable } => {
                if self.may_damage(member) {
                    self.hold(member, Crash::Kill, event);
                    let dice = &mut Dice::keyed(key, Purpose::Damage, 0);
                    damage::plant(self, member, area, dice, unreadable);
                    self.nobody_rescues(member);
                    self.damage_done(member);
                    self.release(member);
                }
            }
        }
        open
    }

    /// All links of a member to others, both ways.
    pub(super) fn around(&self, member: MemberIndex) -> Vec<Link> {
        let others = self.members().filter(|other| *other != member);
        others.map(|other| World::link(member, other)).flat_map(|link| [link, link.back()]).collect()
    }
}
