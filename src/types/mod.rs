//! The small words of the system: one newtype for every integer that means something.
//!
//! Invariant: nothing here does I/O, allocates more than it holds, or knows any other module.

mod ids;
mod key_range;
mod level;
mod log_id;
mod revision;
mod ttl;

pub use ids::{ClusterId, Incarnation, LeaseId, MemberId, RequestId, WatchId};
pub use key_range::{KeyRange, RangeEnd};
pub use level::{ApiLevel, NotALevel};
pub use log_id::{LogId, LogIndex, Term};
pub use revision::{RevPair, Revision};
pub use ttl::TtlSecs;
