//! The oracles' work grows with the history about as the history does.
//!
//! Ten thousand operations against forty thousand: linear work takes four times as long, quadratic work sixteen
//! times. Processor time is compared, the best of a few measurements of each taken in turns, so that a busy machine
//! disturbs neither more than the other.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

mod common;

use common::{Shape, generate, time_used};
use quorate_check::history::History;
use quorate_check::{Options, judge};
use std::time::Duration;

const ROUNDS: u32 = 4;
/// Between four (linear) and sixteen (quadratic).
const GROWTH_MAX: u32 = 9;

fn judged_in(history: &History) -> Duration {
    let started = time_used();
    let verdict = judge(history, &Options::default());
    assert!(verdict.is_pass(), "{verdict}");
    time_used() - started
}

#[test]
fn four_times_the_history_takes_nowhere_near_sixteen_times_as_long() {
    let shape = Shape { keys: 40, unknown_percent: 5, watches: 10, ..Shape::default() };
    for full_watch in [true, false] {
        let of = |operations| generate(7, &Shape { operations, full_watch, ..shape.clone() });
        let (small, large) = (of(10_000), of(40_000));
        let mut best = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            best = (best.0.min(judged_in(&small)), best.1.min(judged_in(&large)));
        }
        assert!(
            best.1 < best.0 * GROWTH_MAX,
            "10,000 operations took {:?}, 40,000 took {:?} (watch of everything: {full_watch})",
            best.0,
            best.1
        );
    }
}
