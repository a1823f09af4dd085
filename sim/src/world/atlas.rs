//! Damaged and full disks of the world's members: who may be damaged now, what a member's end over it means, and the
//! rescue of a disk.
//!
//! A member that refuses to start over damage is answered by its operator: its disk is put back as it should be (it
//! was rescued by its owner), and the member starts again, so no vote and no entry is ever forgotten; in the ending only
//! once everything is healed, where the plan says so. One that stops while it runs is started again as it is, and must
//! then run or refuse.
//!
//! Invariants: at most [`damaged_members_max`] members are damaged at once, but for the faults that are meant to go
//! beyond; damage that the product states it cannot see is taken back before the next process starts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use quorate_check::verdict::Class;
use quorate_disk::{Config, Crash, Damage};

use super::{Seat, World, product};
use crate::atlas::{
    Neighbours, Place, SegmentMap, Sight, damaged_members_max, names_damage, sight_in_engine, sight_in_log,
    tells_of_no_space,
};
use crate::plan::MemberIndex;

/// How long an operator takes to rescue a disk.
const RESCUE_AFTER: Duration = Duration::from_secs(1);
/// Ends over one damage while the process runs, before its operator rescues the disk all the same.
const ENDS_MAX: u32 = 3;

/// What is known of one member's disk.
#[derive(Default)]
pub(super) struct Case {
    /// Faults that are about to damage it, or may have.
    pending: u32,
    /// Whether any ever was, or may have been.
    ever: bool,
    /// Places that were damaged since it was last whole.
    places: BTreeSet<Place>,
    /// Whether any of it can make the member give up.
    grave: bool,
    /// Ends over damage since then.
    ends: u32,
    /// Whether it refused to start over damage since it was last planted.
    refused: bool,
    /// It is down, and its operator about to rescue its disk.
    waits: bool,
    /// Nobody rescues it before everything is healed.
    lasts: bool,
    /// Faults that keep it full.
    full: u32,
    /// Whether it was full in the life of the process.
    was_full: bool,
}

/// What follows an end of a member over its disk.
pub(super) enum Followed {
    /// Nothing speaks for it: it is the product's fault.
    Nothing,
    /// It starts again as it is.
    Start,
    /// Its disk is rescued, and then it starts.
    Rescue,
}

impl World {
    /// Whether this member's disk may be damaged now, which is then about to happen; to be ended with
    /// [`World::damage_done`].
    pub(super) fn may_damage(&self, index: MemberIndex) -> bool {
        let may = self.could_damage(index);
        if may {
            let mut life = self.seat(index).life();
            life.case.pending += 1;
            life.case.ever = true;
        }
        may
    }

    /// Members whose disks are damaged, or about to be, and those that have lost their logs and are not back yet.
    pub(super) fn damaged(&self) -> Vec<MemberIndex> {
        let is_damaged = |seat: &&Seat| {
            let is_away = seat.tenant().is_away;
            is_away || seat.life().case.pending > 0 || !damage(seat).is_empty()
        };
        self.inner.seats.iter().filter(is_damaged).map(|seat| seat.index).collect()
    }

    /// Whether [`World::may_damage`] would let this member's disk be damaged now.
    pub(super) fn could_damage(&self, index: MemberIndex) -> bool {
        let damaged = self.damaged();
        // A disk that is lost counts as one that is damaged, until its member is out of the list.
        let harmed = damaged.len() + usize::from(self.is_a_disk_lost());
        // Who loses its log costs its cluster a vote for a while.
        let spared = !self.plan().knobs.self_repair || self.can_spare_a_log(index);
        spared && !damaged.contains(&index) && harmed < damaged_members_max(self.voting().len())
    }

    /// Whether anything was ever wrong with the member's disk.
    pub(super) fn was_ever_damaged(&self, index: MemberIndex) -> bool {
        self.seat(index).life().case.ever
    }

    /// Ends [`World::may_damage`].
    pub(super) fn damage_done(&self, index: MemberIndex) {
        let mut life = self.seat(index).life();
        life.case.pending = life.case.pending.saturating_sub(1);
    }

    /// What is wrong with the member's disk lasts until everything is healed.
    pub(super) fn nobody_rescues(&self, index: MemberIndex) {
        self.seat(index).life().case.lasts = true;
    }

    /// From now on the member must refuse to start; [`World::has_refused`] says whether it has.
    pub(super) fn must_refuse(&self, index: MemberIndex) {
        self.seat(index).life().case.refused = false;
    }

    /// Whether the member has refused to start since [`World::must_refuse`], or has not come up yet.
    pub(super) fn has_refused(&self, index: MemberIndex) -> bool {
        let life = self.seat(index).life();
        life.case.refused || !life.is_up()
    }

    /// Fills the member's file system up to this many free bytes, until [`World::give_space`].
    pub(super) fn take_space(&self, index: MemberIndex, free_bytes: u64) {
        let seat = self.seat(index);
        seat.disk.leave_free(free_bytes);
        let mut life = seat.life();
        life.case.full += 1;
        life.case.was_full = true;
    }

    /// Ends one [`World::take_space`].
    pub(super) fn give_space(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let mut life = seat.life();
        life.case.full = life.case.full.saturating_sub(1);
        if life.case.full == 0 {
            seat.disk.set_capacity(Config::new(0).capacity_bytes);
        }
    }

    /// Notes that damage was planted. Who runs may meet it also when it is gone by the time the process ends: in a file
    /// that was replaced meanwhile, and is still read.
    pub(super) fn note_damage(&self, index: MemberIndex) {
        let seat = self.seat(index);
        let damage = damage(seat);
        for Damage { path, offset, bytes, unreadable } in &damage {
            let how = if *unreadable { "unreadable" } else { "wrong" };
            let now = self.now();
            self.inner.record.note(now, format_args!("damage {index} {path} {offset}+{bytes} {how}"));
        }
        self.learn_of_damage(seat);
    }

    /// Notes the damage that is there now.
    fn learn_of_damage(&self, seat: &Seat) {
        let damage = damage(seat);
        let sights = sights(seat, &damage);
        seat.life().case.learn(&sights, damage);
    }

    /// All faults end: there is space, and who waits for a rescue is rescued.
    pub(super) fn end_case(&self, seat: &Seat) {
        let mut life = seat.life();
        life.case.full = 0;
        life.case.lasts = false;
        // A fault that was under way has been broken off.
        life.case.pending = 0;
        seat.disk.set_capacity(Config::new(0).capacity_bytes);
        if std::mem::take(&mut life.case.waits) {
            life.case.mend(seat);
        }
    }

    /// No process runs, or the disk is fenced: takes back what the next could not see, and notes the rest.
    pub(super) fn examine(&self, seat: &Seat) {
        let damage = damage(seat);
        if damage.is_empty() {
            return;
        }
        let sights = sights(seat, &damage);
        let mut life = seat.life();
        if sights.values().any(|sight| *sight == Sight::Unseen) {
            self.inner.record.note(self.now(), format_args!("spared {}", seat.index));
            life.case.mend(seat);
            return;
        }
        life.case.learn(&sights, damage);
    }

    /// What follows when a member ended itself with these words; `starting` says whether it had not come up. What is wrong
    /// with its disk in this moment counts: what the next start could not see is taken back afterwards, as the process
    /// [ends](World::examine).
    pub(super) fn judge_end(&self, seat: &Seat, starting: bool, words: &str) -> Followed {
        self.learn_of_damage(seat);
        let mut life = seat.life();
        let case = &mut life.case;
        if case.was_full && tells_of_no_space(words, product::DATA_DIR) {
            quorate::sometimes!("a member stopped because its disk was full");
            return Followed::Start;
        }
        // A start reads everything, one after the other, so it knows where it is; who runs may have read it long ago, and
        // redb may give up over a sound page that a damaged one led it to, before its pages can be verified.
        let near = starting && !product::NOT_NEAR.iter().any(|not_near| words.contains(not_near));
        if !case.grave || !names_damage(words, near, case.places.iter()) {
            return Followed::Nothing;
        }
        // A log that is lost is its owner's to give up, and neither to be kept nor to be put right.
        let of_log = |(path, _): &Place| product::is_segment(path) && words.contains(path.as_str());
        if self.plan().knobs.self_repair && starting && case.places.iter().any(of_log) {
            case.refused = true;
            return if words.contains(product::NOT_READMITTED) { Followed::Start } else { Followed::Nothing };
        }
        case.ends += 1;
        if !starting && case.ends < ENDS_MAX {
            quorate::sometimes!("a member stopped over damage");
            return Followed::Start;
        }
        quorate::sometimes!("a member refused to start over damage");
        if case.lasts {
            quorate::sometimes!("a member on a disk that nobody rescues refused to start");
        }
        case.refused = true;
        case.waits = true;
        Followed::Rescue
    }

    /// Lets the member wait for its rescue, and start then; where nobody rescues it, it starts on what there is.
    pub(super) fn rescue_later(&self, index: MemberIndex) {
        let world = self.clone();
        self.inner.supervisor.spawn(async move {
            world.inner.time.sleep(RESCUE_AFTER).await;
            {
                let seat = world.seat(index);
                let mut life = seat.life();
                // Who starts waits no more: a rescue must not come under a process that runs.
                if std::mem::take(&mut life.case.waits) && !life.case.lasts {
                    life.case.mend(seat);
                    world.inner.record.note(world.now(), format_args!("rescued {index}"));
                }
            }
            world.release(index);
        });
    }

    /// The member's disk is put right when everything is healed, at the latest.
    pub(super) fn is_to_be_rescued(&self, index: MemberIndex) {
        self.seat(index).life().case.waits = true;
    }

    /// Puts the logs of these members right at once, unless they have others by now: whoever is down, or asks in vain to be
    /// taken back, goes on as who it was.
    pub(super) fn put_right(&self, members: &[MemberIndex], event: u64) {
        let down: Vec<MemberIndex> =
            members.iter().copied().filter(|member| !self.seat(*member).life().is_up()).collect();
        for member in &down {
            self.hold(*member, Crash::Kill, event);
        }
        for member in &down {
            let seat = self.seat(*member);
            let mut life = seat.life();
            life.case.waits = false;
            life.case.mend(seat);
            self.inner.record.note(self.now(), format_args!("put right {member}"));
        }
        for member in down {
            self.release(member);
        }
    }

    /// A member runs where it must refuse.
    pub(super) fn runs_on_damage(&self, index: MemberIndex) {
        let sentence =
            format!("{index} runs on a log whose durable part was damaged, and has not refused to start");
        self.finding(Class::Safety, "atlas", sentence);
    }
}

impl Case {
    /// A process begins: what its disk went through before is history, unless it still goes on.
    pub(super) fn begin(&mut self, seat: &Seat) {
        self.was_full = self.full > 0;
        self.forget_what_is_gone(seat);
    }

    /// What was damaged and is not any more, only a process could meet that read it before this moment.
    pub(super) fn forget_what_is_gone(&mut self, seat: &Seat) {
        if damage(seat).is_empty() {
            self.forget();
        }
    }

    fn learn(&mut self, sights: &BTreeMap<String, Sight>, damage: Vec<Damage>) {
        self.ever |= !damage.is_empty();
        // An engine is read while its member runs, which may see what the next start could not; a log is read by starts
        // alone.
        let is_grave = |(path, sight): (&String, &Sight)| match sight {
            Sight::Seen => true,
            Sight::Unseen => product::is_engine(path),
            Sight::Harmless => false,
        };
        self.grave |= sights.iter().any(is_grave);
        self.places.extend(damage.into_iter().map(|damage| (damage.path, damage.offset)));
    }

    fn mend(&mut self, seat: &Seat) {
        seat.disk.mend();
        self.forget();
    }

    /// There is no damage any more, and nobody who could still meet what there was.
    fn forget(&mut self) {
        self.places.clear();
        self.grave = false;
        self.ends = 0;
    }
}

/// Whether the member's engine was set aside since it is damaged.
pub(super) fn was_set_aside(seat: &Seat) -> bool {
    seat.disk.files().iter().any(|path| product::is_engine_aside(path))
}

/// The damage that somebody may meet.
pub(super) fn damage(seat: &Seat) -> Vec<Damage> {
    let mut damage = seat.disk.damage();
    damage.retain(|damage| !product::is_aside(&damage.path));
    damage
}

/// What can be seen of the damage in each file.
fn sights(seat: &Seat, damage: &[Damage]) -> BTreeMap<String, Sight> {
    let mut by_file: BTreeMap<&str, Vec<&Damage>> = BTreeMap::new();
    for one in damage {
        by_file.entry(one.path.as_str()).or_default().push(one);
    }
    let sight = |path: &str, damage: &[&Damage]| {
        if product::is_segment(path) {
            let map = segment(seat, path);
            let first = segments(seat).first().is_none_or(|oldest| oldest.as_str() >= path);
            sight_in_log(&map, damage, Neighbours { first, followed: is_followed(seat, path) })
        } else if product::is_engine(path) {
            sight_in_engine(damage)
        } else {
            // Spares, and files under construction: a start removes them.
            Sight::Harmless
        }
    };
    by_file.into_iter().map(|(path, damage)| (path.to_owned(), sight(path, &damage))).collect()
}

/// The log's segments, oldest first.
pub(super) fn segments(seat: &Seat) -> Vec<String> {
    let folder = product::wal_dir(seat.tenant().generation);
    let here = |path: &String| product::is_segment(path) && Path::new(path).starts_with(&folder);
    seat.disk.files().into_iter().filter(here).collect()
}

/// The segment as it should be.
pub(super) fn segment(seat: &Seat, path: &str) -> SegmentMap {
    SegmentMap::read(&seat.disk.undamaged_bytes(Path::new(path)).unwrap_or_default())
}

/// Whether a later segment is in use, so that it states where this one ends.
pub(super) fn is_followed(seat: &Seat, path: &str) -> bool {
    segments(seat).iter().filter(|later| later.as_str() > path).any(|later| segment(seat, later).is_used())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_may_meet_what_the_next_start_could_not_see() {
        let engine = product::engine_file(0);
        let log = format!("{}/0000000000000001.wal", product::wal_dir(0).display());
        let learned = |path: &str, sight| {
            let mut case = Case::default();
            let damage = vec![Damage { path: path.to_owned(), offset: 4_105, bytes: 1, unreadable: false }];
            case.learn(&BTreeMap::from([(path.to_owned(), sight)]), damage);
            assert!(case.places.contains(&(path.to_owned(), 4_105)));
            case.grave
        };
        assert!(learned(&engine, Sight::Seen) && learned(&log, Sight::Seen));
        assert!(learned(&engine, Sight::Unseen));
        assert!(!learned(&log, Sight::Unseen), "nobody who runs reads the log");
        assert!(!learned(&engine, Sight::Harmless), "nobody may end over what harms nobody");
    }
}
