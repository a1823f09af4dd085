//! The trace: a rolling 128-bit hash over every event of a run, and the events themselves when asked for.
//!
//! Two runs of one plan must have the same hash; where they differ, the written traces show the first event that
//! does. The hash is multiplicative, over words: it need not resist anybody, it must only be the same everywhere.
//!
//! Writing an event down takes longer than what it tells of, so an event's text is made only when somebody asked
//! for it; what is hashed is the event itself, which its text must show whole.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_check::types::Nanos;

use crate::replay::Stop;

/// What the hash of nothing is.
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
/// The golden ratio's first 128 bits: odd, and without a pattern.
const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

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

    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ u128::from(word)).wrapping_mul(FACTOR);
        // A product carries bits only upwards: exchanging the halves lets the next one carry them on.
        self.0 = self.0.rotate_left(64);
    }
}

impl Hasher for TraceHash {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        // The length marks where one ends: a short rest must not pass for a word.
        let mut last = [0_u8; 8];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        self.add(u64::from_le_bytes(last));
        self.add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    fn write_u8(&mut self, number: u8) {
        self.add(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(u64::try_from(number).unwrap_or(u64::MAX));
    }

    /// The upper half, which the last word has reached whole.
    fn finish(&self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or(u64::MAX)
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

    /// Takes in an event that happened at `at` nanoseconds of simulated time: `what` is all that it says, and
    /// `text` says it to people.
    pub fn event(&mut self, at: u64, what: &impl Hash, text: fmt::Arguments<'_>) {
        self.hash.write_u64(at);
        what.hash(&mut self.hash);
        self.events += 1;
        if let Some(counter) = &self.counter {
            counter.store(self.events, Ordering::Relaxed);
        }
        if self.sink.is_some() {
            self.write_down(at, text);
        }
        if self.stop.is_some() {
            self.look_at(at, text);
        }
    }

    /// Takes in an event whose text says it all.
    pub fn note(&mut self, at: u64, text: fmt::Arguments<'_>) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing into a string cannot fail.
        let written = fmt::Write::write_fmt(&mut line, text);
        assert!(written.is_ok(), "an event must have a text");
        self.event(at, &line, text);
        self.line = line;
    }

    fn write_down(&mut self, at: u64, text: fmt::Arguments<'_>) {
        let Some(sink) = &mut self.sink else { return };
        if writeln!(sink, "{at} {text}").is_err() {
            // The hash does not need the file; a trace that ends early is better than a run that does.
            self.sink = None;
        }
    }

    /// Shows an event to whoever waits for a moment.
    fn look_at(&mut self, at: u64, text: fmt::Arguments<'_>) {
        let come = self.stop.as_mut().is_some_and(|(stop, _)| stop.take(&format!("{at} {text}"), Nanos(at)));
        if come && let Some((stop, then)) = self.stop.take() {
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
    fn the_hash_is_the_same_everywhere_and_always() {
        let mut hash = TraceHash::default();
        assert_eq!(hash.to_string(), "6c62272e07bb014262b821756295c58d");
        (1_u64, 2_u8, "three", vec![4_i64], Some(5_u32)).hash(&mut hash);
        assert_eq!(hash.to_string(), "e639a55261f9dd5679559902eb0060f7");
    }

    #[test]
    fn every_bit_counts_and_where_one_field_ends() {
        let of = |what: &dyn Fn(&mut TraceHash)| {
            let mut hash = TraceHash::default();
            what(&mut hash);
            hash
        };
        let mut seen = std::collections::BTreeSet::new();
        for bit in 0..64 {
            let hash = of(&|hash| {
                hash.write_u64(1 << bit);
                hash.write_u64(0);
            });
            assert!(seen.insert(hash.to_string()), "bit {bit}");
            assert!(seen.insert(hash.finish().to_string()), "bit {bit} in short");
        }
        assert_ne!(of(&|hash| ("ab", "c").hash(hash)), of(&|hash| ("a", "bc").hash(hash)));
        assert_ne!(of(&|hash| hash.write(&[0; 8])), of(&|hash| hash.write(&[0; 16])));
        assert_ne!(of(&|hash| hash.write(&[0; 7])), of(&|hash| hash.write(&[0; 8])));
    }

    #[test]
    fn order_time_and_content_of_events_all_count() {
        let run = |events: &[(u64, &str)]| {
            let mut trace = Trace::default();
            for (at, what) in events {
                trace.note(*at, format_args!("{what}"));
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
            watched.note(at, format_args!("messages {at}"));
            plain.note(at, format_args!("messages {at}"));
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
            trace.note(7, format_args!("an event of {} words", 5));
            trace.event(8, &(1, "put"), format_args!("1 put"));
        }
        assert_eq!(silent.hash(), written.hash());
        assert_eq!(written.events(), 2);
    }
}
