//! What a look at the members leaves in the timeline.
//!
//! Starts, ends and pauses are noted when they happen; all else at the monitor's looks. Nothing here changes the
//! world, and nothing of it reaches the trace.

use quorate::types::LogId;
use quorate_check::types::Nanos;

use super::product::Status;
use super::{Seat, World};
use crate::plan::MemberIndex;
use crate::timeline::{Phase, Role, Timeline, Track, number};

/// Bits of a state's hash that the timeline leaves out.
const HASH_BITS_DROPPED: u32 = 128 - 52;

impl World {
    /// Notes where a process is in its life.
    pub(super) fn note_phase(&self, seat: &Seat, phase: Phase) {
        let now = self.now();
        self.inner.record.watch_members(|timeline| timeline.note(now, seat.index, Track::Phase, phase));
    }

    /// Notes whether a process stands still.
    pub(super) fn note_pause(&self, seat: &Seat, paused: bool) {
        let now = self.now();
        self.inner.record.watch_members(|timeline| timeline.note(now, seat.index, Track::Paused, paused));
    }

    /// Notes what members show of themselves, their disks and their clocks.
    pub(super) fn note_members(&self, now: Nanos, statuses: &[(MemberIndex, Status)]) {
        self.inner.record.watch_members(|timeline| {
            for (index, status) in statuses {
                self.note_status(timeline, now, *index, status);
            }
            for seat in &self.inner.seats {
                note_host(timeline, now, seat);
            }
        });
    }

    fn note_status(&self, timeline: &mut Timeline, now: Nanos, index: MemberIndex, status: &Status) {
        let mut note = |track, value| timeline.note(now, index, track, value);
        let role = match (status.is_leader, status.is_learner) {
            (true, _) => Role::Leader,
            (false, true) => Role::Learner,
            (false, false) => Role::Follower,
        };
        let place = |id: quorate::types::MemberId| {
            let seat = self.inner.seats.iter().find(|seat| seat.id().0 == id.0);
            seat.map_or(0, |seat| i64::from(seat.index.0) + 1)
        };
        let index_of = |entry: Option<LogId>| entry.map_or(0, |entry| number(entry.index.0));
        let (applied, hash) = status.hash;
        note(Track::Role, i64::from(role));
        note(Track::Term, number(status.term.0));
        note(Track::Leader, status.leader.map_or(0, place));
        note(Track::Last, status.last.map_or(0, number));
        note(Track::Committed, index_of(status.committed));
        note(Track::Applied, index_of(applied));
        note(Track::Snapshot, index_of(status.snapshot));
        note(Track::Purged, index_of(status.purged));
        note(Track::Revision, status.revision.0);
        note(Track::Hash, i64::try_from(hash >> HASH_BITS_DROPPED).unwrap_or_default());
    }
}

fn note_host(timeline: &mut Timeline, now: Nanos, seat: &Seat) {
    let disk = seat.disk.counters();
    let clock = seat.clock.reading();
    let mut note = |track, value| timeline.note(now, seat.index, track, value);
    note(Track::DiskBytes, number(disk.bytes_written));
    note(Track::DiskSyncs, number(disk.syncs));
    note(Track::DiskErrors, number(disk.faults));
    note(Track::DiskStalls, number(disk.stalls));
    note(Track::PowerLosses, number(disk.power_losses));
    note(Track::SectorsLost, number(disk.toll.sectors_lost));
    note(Track::SectorsTorn, number(disk.toll.sectors_torn));
    note(Track::ClockRate, clock.ppm);
    note(Track::WallOffset, clock.wall_offset_ms);
    // The offset grows between two changes of the clock; it is what it was at the last one.
    let since = Nanos(u64::try_from(clock.since.as_nanos()).unwrap_or(u64::MAX));
    timeline.note(since, seat.index, Track::ClockOffset, clock.offset_ns);
}
