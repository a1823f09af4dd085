//! Names of options at earlier levels of the API that are heeded, because clusters in use are started with them.
//!
//! What became of such an option later is a flag with another name, or a feature gate.

/// What a name of an earlier level of the API stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// A flag with another name.
    Flag(&'static str),
    /// A feature gate, opened or shut by a switch.
    Gate(&'static str),
}

/// Names of earlier levels that are heeded, because clusters in use are started with them.
pub const EARLIER: &[(&str, Earlier)] = &[
    ("initial-corrupt-check", Earlier::Gate("InitialCorruptCheck")),
    ("experimental-initial-corrupt-check", Earlier::Gate("InitialCorruptCheck")),
    ("compact-hash-check-enabled", Earlier::Gate("CompactHashCheck")),
    ("experimental-compact-hash-check-enabled", Earlier::Gate("CompactHashCheck")),
    ("experimental-corrupt-check-time", Earlier::Flag("corrupt-check-time")),
    ("experimental-compact-hash-check-time", Earlier::Flag("compact-hash-check-time")),
    ("experimental-watch-progress-notify-interval", Earlier::Flag("watch-progress-notify-interval")),
];

/// What this name stood for at an earlier level.
pub fn earlier(name: &str) -> Option<Earlier> {
    EARLIER.iter().find(|(earlier, _)| *earlier == name).map(|(_, meant)| *meant)
}
