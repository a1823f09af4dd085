//! The trace: a rolling 128-bit hash over every event of a run, and the events themselves when asked for.
//!
//! Two runs of one plan must have the same hash; where they differ, the written traces show the first event that
//! does. The hash is FNV-1a: it need not resist anybody, it must only be the same everywhere.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_check::types::Nanos;

use crate::replay::Stop;

/// FNV's offset basis for 128 bits.
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
/// FNV's prime for 128 bits.
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A rolling hash of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceHash(u128);

impl Default for TraceHash {
    fn default() -> TraceHash {
        TraceHash(BASIS)
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TraceHash {
    /// The hash as a number.
    pub fn value(self) -> u128 {
        self.0
    }

    /// Takes in some bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
}

/// The events of a run, hashed and perhaps written down.
#[derive(Default)]
pub struct Trace {
    hash: TraceHash,
    events: u64,
    line: String,
    sink: Option<Box<dyn Write + Send>>,
    stop: Option<(Stop, Stopped)>,
    counter: Option<Arc<AtomicU64>>,
}

/// What is done with a run whose moment has come; it may well not return.
pub type Stopped = Box<dyn FnOnce(&Stop) + Send>;

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("hash", &self.hash).field("events", &self.events).finish()
    }
}

impl Trace {
    /// A trace that is also written down, one event a line.
    pub fn written(sink: Box<dyn Write + Send>) -> Trace {
        Trace { sink: Some(sink), ..Trace::default() }
    }

    /// The trace with its number of events counted here too, and with something to do at a moment.
    pub fn watched(self, counter: Arc<AtomicU64>, stop: Option<(Stop, Stopped)>) -> Trace {
        Trace { stop, counter: Some(counter), ..self }
    }

    /// Takes in an event that happened at `at` nanoseconds of simulated time.
    pub fn event(&mut self, at: u64, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        self.line.clear();
        // Writing into a string cannot fail.
        let written = writeln!(self.line, "{at} {what}");
        assert!(written.is_ok(), "an event must have a text");
        self.hash.add(self.line.as_bytes());
        self.events += 1;
        if let Some(sink) = &mut self.sink
            && sink.write_all(self.line.as_bytes()).is_err()
        {
            // The hash does not need the file; a trace that ends early is better than a run that does.
            self.sink = None;
        }
        if let Some(counter) = &self.counter {
            counter.store(self.events, Ordering::Relaxed);
        }
        if self.stop.as_mut().is_some_and(|(stop, _)| stop.take(&self.line, Nanos(at)))
            && let Some((stop, then)) = self.stop.take()
        {
            self.flush();
            then(&stop);
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> TraceHash {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Brings what is written down to its file.
    pub fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && sink.flush().is_err()
        {
            self.sink = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        let mut hash = TraceHash::default();
        assert_eq!(hash.to_string(), "6c62272e07bb014262b821756295c58d");
        hash.add(b"a");
        assert_eq!(hash.to_string(), "d228cb696f1a8caf78912b704e4a8964");
        let mut hash = TraceHash::default();
        hash.add(b"foobar");
        assert_eq!(hash.to_string(), "343e1662793c64bf6f0d3597ba446f18");
    }

    #[test]
    fn order_time_and_content_of_events_all_count() {
        let run = |events: &[(u64, &str)]| {
            let mut trace = Trace::default();
            for (at, what) in events {
                trace.event(*at, format_args!("{what}"));
            }
            trace.hash()
        };
        let base = run(&[(1, "a"), (2, "b")]);
        assert_eq!(base, run(&[(1, "a"), (2, "b")]));
        for other in
            [run(&[(2, "b"), (1, "a")]), run(&[(1, "a"), (3, "b")]), run(&[(1, "a"), (2, "c")]), run(&[])]
        {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn what_is_due_at_a_moment_is_done_once_and_changes_no_hash() {
        use crate::moment::Moment;
        let counter = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = std::sync::mpsc::channel();
        let then: Stopped = Box::new(move |stop| sender.send(stop.shown()).unwrap());
        let mut watched = Trace::default().watched(counter.clone(), Some((Stop::at(Moment::Event(2)), then)));
        let mut plain = Trace::default();
        for at in 1..=4 {
            watched.event(at, format_args!("messages {at}"));
            plain.event(at, format_args!("messages {at}"));
        }
        assert_eq!(watched.hash(), plain.hash());
        assert_eq!(counter.load(Ordering::Relaxed), 4);
        let shown: Vec<String> = receiver.try_iter().collect();
        assert!(
            shown.len() == 1 && shown[0].contains("messages 2") && !shown[0].contains("messages 3"),
            "{shown:?}"
        );
    }

    #[test]
    fn writing_down_changes_nothing() {
        let mut silent = Trace::default();
        let mut written = Trace::written(Box::new(std::io::sink()));
        for trace in [&mut silent, &mut written] {
            trace.event(7, format_args!("an event of {} words", 5));
        }
        assert_eq!(silent.hash(), written.hash());
        assert_eq!(written.events(), 1);
    }
}
