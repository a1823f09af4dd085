//! Generated histories of a correct store pass.

#![allow(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: numbers are small, and a panic is a failed test"
)]

mod common;

use common::{Shape, generate};
use proptest::prelude::*;
use quorate_check::{Options, judge};

fn shapes() -> impl Strategy<Value = Shape> {
    (
        1usize..160,
        1u64..8,
        0u64..30,
        0u64..10,
        1u64..200,
        any::<bool>(),
        0usize..6,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(operations, keys, unknown, refused, overlap, full, watches, leases, compactions, log)| Shape {
                operations,
                keys,
                unknown_percent: unknown,
                refused_percent: refused,
                overlap_ms: overlap,
                full_watch: full,
                watches,
                leases,
                compactions,
                log,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn a_correct_store_passes(seed in any::<u64>(), shape in shapes()) {
        let history = generate(seed, &shape);
        let verdict = judge(&history, &Options::default());
        prop_assert!(verdict.is_pass(), "{verdict}");
        prop_assert_eq!(verdict.counts.operations, history.operations.len() as u64);
    }
}
