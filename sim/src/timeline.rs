//! What members went through: role, log, disk, clock and life as they were seen all through a run.
//!
//! A track is one number of one member over time; only its changes are written down. Points of a track are in order
//! of time, and no two neighbours have the same value. The timeline is for people: no oracle reads it, and nothing
//! of it goes into the trace, so that looking at a run never changes it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quorate_check::types::Nanos;
use serde::Serialize;

use crate::plan::MemberIndex;

/// One number of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// Whether its process runs: see [`Phase`].
    Phase,
    /// 1 while it stands still.
    Paused,
    /// Its role: see [`Role`].
    Role,
    /// Its Raft term.
    Term,
    /// The place of the leader it follows, counted from 1; 0 is none.
    Leader,
    /// The last entry in its log; 0 is none, as for the next four.
    Last,
    /// The last entry it knows committed.
    Committed,
    /// The last entry it has applied.
    Applied,
    /// The last entry covered by its snapshot.
    Snapshot,
    /// The last entry purged from its log.
    Purged,
    /// Its store's revision.
    Revision,
    /// The first 52 bits of its state's hash: enough to see that two differ, and exact in a double.
    Hash,
    /// Bytes handed to writes of its disk.
    DiskBytes,
    /// Syncs of its disk.
    DiskSyncs,
    /// Calls of its disk that a fault other than a stall struck.
    DiskErrors,
    /// Calls of its disk that a stall struck.
    DiskStalls,
    /// Times that its machine lost power.
    PowerLosses,
    /// Sectors that those took.
    SectorsLost,
    /// Sectors that those tore.
    SectorsTorn,
    /// What its monotonic clock shows beyond simulated time at the moment of the point, nanoseconds. Between two
    /// points it drifts by [`Track::ClockRate`].
    ClockOffset,
    /// How much too fast its monotonic clock runs, in millionths.
    ClockRate,
    /// By how much its wall clock is wrong, milliseconds.
    WallOffset,
}

/// The values of [`Track::Phase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No process runs.
    Down,
    /// The process recovers from its disk.
    Starting,
    /// It serves.
    Up,
}

/// The values of [`Track::Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It follows, or looks for a leader.
    Follower,
    /// It leads.
    Leader,
    /// It has no vote.
    Learner,
}

/// The points of one track.
pub type Points = Vec<(Nanos, i64)>;

/// All tracks of all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    members: BTreeMap<MemberIndex, BTreeMap<Track, Points>>,
}

/// One track as a line of a file.
#[derive(Serialize)]
struct Line<'a> {
    member: MemberIndex,
    track: Track,
    at: Vec<Nanos>,
    value: Vec<&'a i64>,
}

impl From<Phase> for i64 {
    fn from(phase: Phase) -> i64 {
        match phase {
            Phase::Down => 0,
            Phase::Starting => 1,
            Phase::Up => 2,
        }
    }
}

impl From<Role> for i64 {
    fn from(role: Role) -> i64 {
        match role {
            Role::Follower => 0,
            Role::Leader => 1,
            Role::Learner => 2,
        }
    }
}

impl Timeline {
    /// Writes down what a number is at this moment, if that is news.
    ///
    /// # Panics
    /// When time goes backwards.
    pub fn note(&mut self, at: Nanos, member: MemberIndex, track: Track, value: impl Into<i64>) {
        let points = self.members.entry(member).or_default().entry(track).or_default();
        let value = value.into();
        match points.last() {
            Some((_, same)) if *same == value => {}
            Some((before, _)) => {
                assert!(*before <= at, "points of a track are in order of time");
                points.push((at, value));
            }
            None => points.push((at, value)),
        }
    }

    /// The tracks of a member.
    pub fn tracks(&self, member: MemberIndex) -> impl Iterator<Item = (Track, &Points)> {
        self.members.get(&member).into_iter().flatten().map(|(track, points)| (*track, points))
    }

    /// What a number was at a moment, if it was known by then.
    pub fn at(&self, member: MemberIndex, track: Track, moment: Nanos) -> Option<i64> {
        let points = self.members.get(&member)?.get(&track)?;
        let known = points.partition_point(|(at, _)| *at <= moment);
        points.get(known.checked_sub(1)?).map(|(_, value)| *value)
    }

    /// The time of the last change.
    pub fn end(&self) -> Nanos {
        let tracks = self.members.values().flat_map(BTreeMap::values);
        tracks.filter_map(|points| points.last()).map(|(at, _)| *at).max().unwrap_or_default()
    }

    /// Writes one JSON record a line, a track each.
    ///
    /// # Errors
    /// Those of the target.
    pub fn write(&self, mut target: impl Write) -> io::Result<()> {
        for (member, tracks) in &self.members {
            for (track, points) in tracks {
                let at = points.iter().map(|(at, _)| *at).collect();
                let value = points.iter().map(|(_, value)| value).collect();
                let line = Line { member: *member, track: *track, at, value };
                serde_json::to_writer(&mut target, &line)?;
                target.write_all(b"\n")?;
            }
        }
        target.flush()
    }
}

/// A count or an index as a track holds it.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const M1: MemberIndex = MemberIndex(0);

    #[test]
    fn only_changes_are_written_down() {
        let mut timeline = Timeline::default();
        for (at, term) in [(1, 1), (2, 1), (5, 2), (6, 2)] {
            timeline.note(Nanos(at), M1, Track::Term, term);
        }
        let points: Vec<_> = timeline.tracks(M1).collect();
        assert_eq!(points, [(Track::Term, &vec![(Nanos(1), 1), (Nanos(5), 2)])]);
        assert_eq!(timeline.end(), Nanos(5));
    }

    #[test]
    fn a_number_is_what_it_was_last_seen_to_be() {
        let mut timeline = Timeline::default();
        timeline.note(Nanos(10), M1, Track::Role, Role::Leader);
        timeline.note(Nanos(20), M1, Track::Role, Role::Follower);
        let seen: Vec<_> = [9, 10, 19, 20].map(|at| timeline.at(M1, Track::Role, Nanos(at))).to_vec();
        assert_eq!(seen, [None, Some(1), Some(1), Some(0)]);
        assert_eq!(timeline.at(MemberIndex(1), Track::Role, Nanos(20)), None);
    }

    #[test]
    fn the_file_has_a_line_for_each_track() {
        let mut timeline = Timeline::default();
        timeline.note(Nanos(10), M1, Track::DiskBytes, 4_096_i64);
        timeline.note(Nanos(10), M1, Track::Phase, Phase::Up);
        let mut file = Vec::new();
        timeline.write(&mut file).unwrap();
        let expected = concat!(
            r#"{"member":0,"track":"phase","at":[10],"value":[2]}"#,
            "\n",
            r#"{"member":0,"track":"disk-bytes","at":[10],"value":[4096]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(file).unwrap(), expected);
    }
}
