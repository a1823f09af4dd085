//! What goes wrong, and when: faults on chosen calls, rates of faults, and the call at which the machine dies.
//!
//! Only decisions live here; what each fault does to the content is in `state.rs` and `content.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The classes of calls that faults choose among. Latencies and counters tell apart all but `SyncDir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `read_at`.
    Read,
    /// `write_at`, `set_len` and `allocate`.
    Write,
    /// `sync_data` and `sync_dir`.
    Sync,
    /// `sync_dir` alone: for who chooses a call. It is counted, and takes its time, as what it is one of.
    SyncDir,
    /// Creating, renaming and removing names.
    Name,
}

impl Call {
    /// The class that it is counted under.
    pub(crate) const fn class(self) -> Call {
        match self {
            Call::SyncDir => Call::Sync,
            other => other,
        }
    }

    /// Whether `self`, which was chosen, means the call `made`.
    fn means(self, made: Call) -> bool {
        self == made || self == made.class()
    }
}

/// What a fault does to the call it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The call fails with EIO. A write may have been done in part. After a failed sync each unsynced sector is
    /// either durable or in limbo: visible, and no later sync makes it durable.
    Eio,
    /// A write, a sync or a name change fails with ENOSPC; a write may have been done in part, a sync has failed as
    /// with EIO.
    NoSpace,
    /// Reads: the first sector asked for becomes unreadable (EIO) until it is rewritten.
    Latent,
    /// Writes of bytes: the data lands on other sectors of the same file and the right place stays as it was; the
    /// call reports success, and the page cache shows what was meant until it is dropped.
    Misdirected,
    /// Writes of bytes: visible, but never written out, whatever is synced. Syncs: reported done, nothing was. This
    /// breaks what `Disk` may assume, so only detection can be asked of the product.
    Lost,
    /// The call succeeds and takes this much longer.
    Stalled(Duration),
}

impl FaultKind {
    /// Keys the decision, so that switching one rate off leaves the others' draws as they were.
    const fn number(self) -> u64 {
        match self {
            Self::Eio => 1,
            Self::NoSpace => 2,
            Self::Latent => 3,
            Self::Misdirected => 4,
            Self::Lost => 5,
            Self::Stalled(_) => 6,
        }
    }

    /// Whether such a fault means anything to such a call; one that does not would be counted and do nothing.
    const fn fits(self, call: Call) -> bool {
        match self {
            Self::Eio | Self::Stalled(_) => true,
            Self::NoSpace => !matches!(call, Call::Read),
            Self::Latent => matches!(call, Call::Read),
            Self::Misdirected => matches!(call, Call::Write),
            Self::Lost => matches!(call, Call::Write | Call::Sync | Call::SyncDir),
        }
    }
}

/// A fault on one chosen call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The class of calls counted.
    pub call: Call,
    /// Counts only calls on this path, or below it; all calls of the class when `None`. A file is known by the
    /// path it was opened under, a rename by the path it starts from.
    pub path: Option<PathBuf>,
    /// Strikes the `nth` such call from now; 1 is the next one.
    pub nth: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// The two ways a process ends without its will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed: what was written stays visible, and is still lost at a later power loss.
    Kill,
    /// The power goes: every unsynced sector, length and name is kept, lost or torn on its own.
    PowerLoss,
}

/// Dying inside a chosen call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// The class of calls counted.
    pub call: Call,
    /// Counts only calls on this path, or below it; all calls of the class when `None`.
    pub path: Option<PathBuf>,
    /// Dies inside the `nth` such call from now; 1 is the next one.
    pub nth: u64,
    /// How.
    pub crash: Crash,
    /// The plan's number of this event: keys what the crash does.
    pub event: u64,
}

/// What is to happen to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Proceed,
    Fault(FaultKind),
    Die(Crash, u64),
}

/// All switches of one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switchboard {
    chosen: Vec<Fault>,
    armed: Option<Arm>,
    rates: BTreeMap<(Call, FaultKind), u32>,
}

/// The unit of rates: faults in a million calls.
pub(crate) const MILLION: u64 = 1_000_000;

impl Switchboard {
    pub(crate) fn choose(&mut self, fault: Fault) {
        assert!(fault.kind.fits(fault.call) && fault.nth > 0, "a fault that can never strike: {fault:?}");
        self.chosen.push(fault);
    }

    pub(crate) fn arm(&mut self, arm: Option<Arm>) {
        self.armed = arm;
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    pub(crate) fn set_rate(&mut self, call: Call, kind: FaultKind, per_million: u32) {
        assert!(kind.fits(call), "a fault that can never strike: {kind:?} on {call:?}");
        if per_million == 0 {
            self.rates.remove(&(call, kind));
        } else {
            self.rates.insert((call, kind), per_million);
        }
    }

    pub(crate) fn take_back(&mut self, kind: FaultKind) {
        self.chosen.retain(|fault| fault.kind != kind);
    }

    pub(crate) fn clear(&mut self) {
        self.chosen.clear();
        self.rates.clear();
    }

    /// Counts a call and says what happens to it. `draw` gives this call's number below a million for a kind of
    /// fault, by the kind's number.
    pub(crate) fn judge(&mut self, call: Call, path: &Path, draw: impl Fn(u64) -> u64) -> Verdict {
        if let Some(arm) = self.armed.as_mut()
            && counts(&mut arm.nth, arm.call.means(call), arm.path.as_deref(), path)
        {
            let verdict = Verdict::Die(arm.crash, arm.event);
            self.armed = None;
            return verdict;
        }
        let mut struck = None;
        self.chosen.retain_mut(|fault| {
            let strikes = counts(&mut fault.nth, fault.call.means(call), fault.path.as_deref(), path);
            if strikes {
                struck.get_or_insert(fault.kind);
            }
            !strikes
        });
        if let Some(kind) = struck {
            return Verdict::Fault(kind);
        }
        for ((_, kind), rate) in self.rates.iter().filter(|((of, _), _)| of.means(call)) {
            if draw(kind.number()) < u64::from(*rate) {
                return Verdict::Fault(*kind);
            }
        }
        Verdict::Proceed
    }
}

/// Counts down when the call is meant; true when its turn has come.
fn counts(nth: &mut u64, same_call: bool, only: Option<&Path>, path: &Path) -> bool {
    if !same_call || only.is_some_and(|only| !path.starts_with(only)) {
        return false;
    }
    *nth = nth.saturating_sub(1);
    *nth == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_chooses_folders_strikes_no_file_and_who_chooses_syncs_strikes_both() {
        let mut board = Switchboard::default();
        let path = Some(PathBuf::from("/state"));
        board.choose(Fault { call: Call::SyncDir, path: path.clone(), nth: 1, kind: FaultKind::Eio });
        board.choose(Fault { call: Call::Sync, path, nth: 2, kind: FaultKind::Lost });
        let mut judge = |call, path: &str| board.judge(call, Path::new(path), |_| MILLION);
        assert_eq!(judge(Call::Sync, "/state/file"), Verdict::Proceed);
        assert_eq!(judge(Call::SyncDir, "/elsewhere"), Verdict::Proceed);
        assert_eq!(judge(Call::SyncDir, "/state"), Verdict::Fault(FaultKind::Eio));
        assert_eq!(judge(Call::SyncDir, "/state"), Verdict::Proceed, "both were due at the one before");
    }

    #[test]
    fn the_nth_call_on_the_chosen_path_is_struck_once() {
        let mut board = Switchboard::default();
        let path = Some(PathBuf::from("/wal"));
        board.choose(Fault { call: Call::Write, path, nth: 2, kind: FaultKind::Eio });
        let mut judge = |call, path: &str| board.judge(call, Path::new(path), |_| MILLION);
        assert_eq!(judge(Call::Write, "/wal/1"), Verdict::Proceed);
        assert_eq!(judge(Call::Write, "/engine"), Verdict::Proceed);
        assert_eq!(judge(Call::Sync, "/wal/1"), Verdict::Proceed);
        assert_eq!(judge(Call::Write, "/wal/2"), Verdict::Fault(FaultKind::Eio));
        assert_eq!(judge(Call::Write, "/wal/2"), Verdict::Proceed);
    }
}
