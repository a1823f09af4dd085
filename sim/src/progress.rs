//! A line that says how far a command has come: on a terminal it is written over and over again, elsewhere (a file, a
//! log of continuous integration) it is a line of its own now and then.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the line is written where it cannot be written over.
const INTERVAL: Duration = Duration::from_secs(30);
/// Columns that are wiped: no earlier line shows through.
const WIDTH: usize = 108;

/// The line, on standard error. A line that does not show is no loss, so failures to write are passed over.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    last: Mutex<Option<Instant>>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { terminal: std::io::stderr().is_terminal(), last: Mutex::default() }
    }
}

impl Progress {
    /// Shows how far things are.
    pub fn show(&self, line: &str) {
        if self.terminal {
            eprint!("\r{line:<WIDTH$}");
            drop(std::io::stderr().flush());
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get_or_insert_with(Instant::now).elapsed() >= INTERVAL {
            *last = Some(Instant::now());
            eprintln!("{line}");
        }
    }

    /// Says something that stays.
    pub fn say(&self, line: &str) {
        let start = if self.terminal { "\r" } else { "" };
        eprintln!("{start}{line:<width$}", width = if self.terminal { WIDTH } else { 0 });
    }

    /// There is no more to come.
    pub fn end(&self) {
        if self.terminal {
            eprintln!();
        }
    }
}
