//! What came of a load: how long each answer took, and which there were none to.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Status;

use super::process::Costs;

/// The longest latency that is told from longer ones, microseconds.
const LONGEST_US: u64 = 600_000_000;
/// Decimal digits that a latency is exact to.
const DIGITS: u8 = 3;

/// Latencies, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        // The bounds are constants that the histogram takes; with an empty one it could not be made smaller.
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS);
        Latencies(histogram.unwrap_or_else(|_| unreachable!("the bounds are in order")))
    }
}

impl Latencies {
    /// One answer came after this time.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US).max(1));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that so many of a hundred do not pass.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of operations that were answered.
    pub latencies: Latencies,
    /// What others came to, and how many to each.
    pub errors: BTreeMap<String, u64>,
    /// In an open loop: those that were due and have not been answered by the end.
    pub unanswered: u64,
    /// Where writes are watched: those that were answered. The latencies are then those of events.
    pub writes: u64,
    /// Keys that reads brought.
    pub keys_read: u64,
    /// How long was measured.
    pub measured: Duration,
    /// What it cost processes.
    pub costs: Costs,
}

impl Tally {
    /// One operation was not answered.
    pub fn fail(&mut self, status: &Status) {
        *self.errors.entry(format!("{:?}: {}", status.code(), status.message())).or_default() += 1;
    }

    /// Takes in what came of another part of the same load.
    pub fn add(&mut self, other: &Tally) {
        // Made with the same bounds.
        let _same = self.latencies.0.add(&other.latencies.0);
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.writes += other.writes;
        self.keys_read += other.keys_read;
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        let seconds = self.measured.as_secs_f64();
        if seconds > 0.0 { to_f64(self.latencies.count()) / seconds } else { 0.0 }
    }

    /// What each answer has cost, of this time, in microseconds.
    pub fn micros_each(&self, spent: Duration) -> f64 {
        let count = self.latencies.count();
        if count > 0 { spent.as_secs_f64() * 1e6 / to_f64(count) } else { 0.0 }
    }
}

/// A count as a number that can be divided; exact up to 2^53.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a rounded figure for people")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let mut whole = Tally::default();
        for millis in [1, 2, 3] {
            let mut part = Tally::default();
            part.latencies.record(Duration::from_millis(millis));
            part.fail(&Status::unavailable("away"));
            whole.add(&part);
        }
        whole.measured = Duration::from_secs(2);
        assert_eq!(whole.latencies.count(), 3);
        assert!((whole.rate() - 1.5).abs() < 1e-9);
        assert_eq!(whole.errors.get("Unavailable: away"), Some(&3));
        let median = whole.latencies.percentile(50.0);
        assert!(median >= Duration::from_millis(2) && median < Duration::from_micros(2_010), "{median:?}");
        assert_eq!(whole.micros_each(Duration::from_micros(30)), 10.0);
    }
}
