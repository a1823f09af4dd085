//! The bounds on what watches may hold in memory and do in one go.

/// Bounds of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchLimits {
    /// Bytes queued on one stream (as the wire would count them) at which its watchers get no more live
    /// events. One response may pass the limit, because a response is never split to fit.
    pub queue_bytes_max: usize,
    /// Responses queued on one stream at which its watchers get no more live events.
    pub queue_responses_max: usize,
    /// Watchers that one catch-up scan serves at most.
    pub scan_watchers_max: usize,
    /// Records asked of the store at a time while scanning: bounds what a scan holds of large values.
    pub scan_chunk_records: usize,
    /// Revisions that one catch-up response spans at most.
    pub message_revisions_max: u32,
    /// A scan over at most this many revisions that reaches the newest one counts as short (see
    /// [`Scan::is_short`](super::Scan::is_short)).
    pub short_scan_revisions: u32,
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits {
            queue_bytes_max: 8 * 1024 * 1024,
            queue_responses_max: 16 * 1024,
            scan_watchers_max: 512,
            scan_chunk_records: 64,
            message_revisions_max: 1000,
            short_scan_revisions: 128,
        }
    }
}

/// How much history one catch-up step may read. A revision is never cut, so one that is larger than the budget
/// is still read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpBudget {
    /// Records of history, matching or not.
    pub records: usize,
    /// Bytes of keys and values of those records.
    pub bytes: usize,
}

impl Default for CatchUpBudget {
    fn default() -> CatchUpBudget {
        CatchUpBudget { records: 1000, bytes: 1024 * 1024 }
    }
}
