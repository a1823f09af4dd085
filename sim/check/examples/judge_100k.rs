//! How much processor time a judgement takes, oracle by oracle: `cargo run --release -p quorate-check --example judge_100k
//! [operations] [rounds]`. The best of the rounds counts.

#![allow(clippy::print_stdout, reason = "it is here to print figures")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Shape, generate, time_used};
use quorate_check::history::History;
use quorate_check::lease::{self, LeaseBook};
use quorate_check::verdict::Violation;
use quorate_check::{Options, hash, header, judge, lock, log_order, revision_order, watch};
use std::process::ExitCode;
use std::time::Duration;

/// The best time of each part, in the order in which they run.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn take<T>(&mut self, name: &'static str, part: impl FnOnce() -> T) -> T {
        let started = time_used();
        let outcome = part();
        let took = time_used() - started;
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, best)) => *best = (*best).min(took),
            None => self.0.push((name, took)),
        }
        outcome
    }
}

/// Runs every oracle by itself; true if none complained.
fn parts(history: &History, options: &Options, times: &mut Times) -> bool {
    let mut found: Vec<Violation> = Vec::new();
    let book = times.take("lease book", || LeaseBook::new(history, options));
    let (replayed, violations) =
        times.take("revision order", || revision_order::check(history, &book, options));
    found.extend(violations);
    found.extend(times.take("header", || header::check(history, options)));
    found.extend(times.take("hash", || hash::check(history)));
    found.extend(times.take("watch", || watch::check(history, &replayed, options)));
    found.extend(times.take("lease", || lease::check(history, &book, &replayed, options)));
    found.extend(times.take("log order", || log_order::check(history, &replayed, options)));
    found.extend(times.take("lock", || lock::check(history, &replayed, options)));
    found.is_empty()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (operations, rounds) = (number(100_000), number(3));
    let shape = Shape { operations, keys: 40, unknown_percent: 5, watches: 10, ..Shape::default() };
    let options = Options::default();
    for full_watch in [true, false] {
        let history = generate(1, &Shape { full_watch, ..shape.clone() });
        let mut times = Times::default();
        let mut sound = true;
        for _ in 0..rounds {
            let verdict = times.take("all", || judge(&history, &options));
            sound &= verdict.is_pass() && parts(&history, &options, &mut times);
        }
        println!("{operations} operations, a watch of everything: {full_watch}");
        for (name, best) in &times.0 {
            println!("  {name:<16} {:>6} ms", best.as_millis());
        }
        if !sound {
            println!("{}", judge(&history, &options));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
