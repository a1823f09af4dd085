//! A history, judged as it would be from its file.

#![allow(clippy::unwrap_used, reason = "test code: a panic is a failed test")]

use quorate_check::history::History;
use quorate_check::verdict::Verdict;
use quorate_check::{Options, judge};

/// Judges a history, through the file form and back, so that every story also proves the recording.
pub fn judged(history: &History) -> Verdict {
    let mut file = Vec::new();
    history.write(&mut file).unwrap();
    let read = History::read(file.as_slice()).unwrap();
    assert_eq!(read, *history);
    judge(&read, &Options::default())
}
