//! How long a judgement takes: `cargo run --release -p quorate-check --example judge_100k [operations]`.

#![allow(clippy::print_stdout, reason = "it is here to print a figure")]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Shape, generate};
use quorate_check::{Options, judge};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let operations = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let shape = Shape { operations, keys: 40, unknown_percent: 5, watches: 10, ..Shape::default() };
    for full_watch in [true, false] {
        let history = generate(1, &Shape { full_watch, ..shape.clone() });
        let started = Instant::now();
        let verdict = judge(&history, &Options::default());
        let took = started.elapsed();
        print!("watch of everything: {full_watch}; judged in {} ms\n{verdict}", took.as_millis());
        if !verdict.is_pass() {
            return ExitCode::from(verdict.class.exit_code());
        }
    }
    ExitCode::SUCCESS
}
