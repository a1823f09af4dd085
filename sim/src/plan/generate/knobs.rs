//! Draws the product's knobs and the world's base conditions.

use crate::plan::dice::{Dice, Purpose};
use crate::plan::{Focus, Knobs, Span};

/// Enough for several elections with the longest time-outs over the slowest links, milliseconds.
const SETTLE_MS: u64 = 60_000;

/// The knobs of a seed.
pub(super) fn draw(seed: u64) -> Knobs {
    let mut dice = Dice::keyed(seed, Purpose::Knobs, 0);
    let focus = super::focus::draw(seed);
    let election_ms = dice.between(4, 12) * 100;
    let far = dice.permille(300);
    let slow_disk = dice.permille(250);
    let lossy = dice.permille(300);
    let late = dice.permille(500);
    let disturbed = dice.permille(700) || focus.is_some();
    // Then a follower that lags a little needs a snapshot, and there is always a newer one.
    let tiny_log = dice.permille(200) || focus == Some(Focus::CatchUp);
    let restless = focus == Some(Focus::History);
    let mut knobs = Knobs {
        heartbeat_ms: (election_ms / dice.between(5, 10)).max(40),
        election_ms,
        wal_segment_bytes: 64 << 10,
        snapshot_entries: if tiny_log { dice.between(5, 20) } else { dice.between(30, 80) },
        snapshot_wal_bytes: dice.between(128, 1024) << 10,
        // Next to nothing, now and then.
        keep_entries: if tiny_log || dice.permille(200) { dice.between(0, 4) } else { dice.between(5, 60) },
        batch_requests_max: dice.weighted(&[(3, 1), (3, 4), (6, 64)]).unwrap_or(64),
        latency_us: if far { Span::new(1_000, dice.between(5, 20) * 1000) } else { Span::new(100, 1_500) },
        loss_permille: if lossy { dice.between(1, 10) } else { 0 },
        client_latency_us: Span::new(1_000, dice.between(1, 8) * 1000),
        disk_sync_us: if slow_disk { Span::new(1_000, 12_000) } else { Span::new(100, 1_500) },
        disk_read_us: Span::new(5, if slow_disk { 1_000 } else { 100 }),
        late_job_permille: if late { dice.between(10, 200) } else { 0 },
        late_job_us: Span::new(1_000, dice.between(1, 10) * 1000),
        disturbance_permille: if disturbed { dice.between(5, 100) } else { 0 },
        engine_cache_bytes: engine_cache_bytes(seed, focus),
        maintenance_ms: maintenance_ms(seed, restless),
        watch_progress_ms: watch_progress_ms(seed, restless),
        settle_ms: SETTLE_MS,
        // Rare: little is written from the alarm until a client makes room and clears it.
        quota_bytes: dice.permille(120).then(|| dice.between(20, 100) << 10),
        compare_ms: None,
        compare_at_start: false,
        self_repair: false,
    };
    (knobs.compare_ms, knobs.compare_at_start) = compared(seed);
    if let Some(entries) = super::atlas::eager_snapshots(seed) {
        (knobs.snapshot_entries, knobs.keep_entries) = (entries, 0);
    }
    knobs
}

/// What is compacted is swept away at once, or late.
fn maintenance_ms(seed: u64, restless: bool) -> u64 {
    let mut dice = Dice::keyed_twice(seed, Purpose::Knobs, 0, 2);
    if restless || dice.permille(400) { dice.between(3, 30) } else { 100 }
}

/// Members are compared, now and then or often, and some at every start too.
fn compared(seed: u64) -> (Option<u64>, bool) {
    let mut dice = Dice::keyed_twice(seed, Purpose::Knobs, 0, 4);
    let often = dice.permille(400);
    let every = if often { dice.between(200, 1_000) } else { dice.between(1_000, 8_000) };
    (dice.permille(400).then_some(every), dice.permille(150))
}

fn watch_progress_ms(seed: u64, restless: bool) -> u64 {
    let mut dice = Dice::keyed_twice(seed, Purpose::Knobs, 0, 3);
    if restless || dice.permille(400) { dice.between(20, 200) } else { 700 }
}

/// Often so small that the engine reads its file all the time: what is damaged there is met while the member runs.
fn engine_cache_bytes(seed: u64, focus: Option<Focus>) -> Option<u64> {
    let mut dice = Dice::keyed_twice(seed, Purpose::Knobs, 0, 1);
    let small = dice.permille(400) || focus == Some(Focus::Rot);
    small.then(|| dice.between(16, if focus == Some(Focus::Rot) { 48 } else { 128 }) << 10)
}
