//! Bytes that rot and sectors that cannot be read any more.
//!
//! Damage strikes one place of one file, and only sectors that are durable as they are: what is damaged in the page
//! cache alone is no damage to a disk.

use std::path::Path;
use std::time::Duration;

use quorate_disk::{Crash, SECTOR_BYTES};

use super::{SECOND, Strike, unknown};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::DamageArea;
use crate::plan::{Fault, MemberIndex};
use crate::world::atlas::{damage as damage_of, is_followed, segment, segments};
use crate::world::{Seat, World, product};

/// The most sectors that one damage strikes, outside the log.
const SECTORS_MAX: u64 = 8;
/// The engine's pages.
const PAGE_BYTES: u64 = 4096;
/// Damages of a thousand to the engine that begin at the head of a page.
const PAGE_HEAD_PERMILLE: u64 = 400;
/// Those that strike a page which was read lately.
const PAGE_READ_PERMILLE: u64 = 600;
/// The head of a page: its kind, how many records it holds, and where the first of them end.
const PAGE_HEAD_BYTES: u64 = 24;
/// The head of redb's part of the engine's file, which begins after a page of our own: what it is, and two copies of where
/// everything stands.
const HEAD_BYTES: u64 = 320;
/// How redb's file is laid out stands in so many bytes of it.
const LAYOUT_BYTES: u64 = 40;
/// How long a process that was damaged while it ran is down before it must read what is left.
const DOWN_AFTER: Duration = Duration::from_millis(200);

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    let (area, key, down, unreadable) = match fault {
        Fault::Rot { area, key, down, .. } => (area, key, down, false),
        Fault::Unreadable { area, key, down, .. } => (area, key, down, true),
        Fault::RotBeyond { key } => return beyond(strike, key).await,
        other => return unknown(other),
    };
    if !world.may_damage(struck) {
        return;
    }
    let plant = || plant(world, struck, area, &mut Dice::keyed(key, Purpose::Damage, 0), unreadable);
    if down {
        world.hold(struck, Crash::Kill, strike.id);
        plant();
        strike.last().await;
    } else {
        plant();
        strike.last().await;
        world.hold(struck, Crash::Kill, strike.id);
        strike.wait(DOWN_AFTER).await;
    }
    world.damage_done(struck);
    world.release(struck);
}

/// Damages the logs of a majority where every start must read them.
async fn beyond(strike: &Strike<'_>, key: u64) {
    let world = strike.world;
    let mut members: Vec<MemberIndex> = world.seated();
    let majority = members.len() / 2 + 1;
    let mut dice = Dice::keyed(key, Purpose::Damage, 0);
    while members.len() > majority {
        let leaves = usize::try_from(dice.below(u64::try_from(members.len()).unwrap_or(1))).unwrap_or(0);
        members.remove(leaves);
    }
    // One place at a time: who is damaged already stays as it is, and so does who has only just got another log.
    members
        .retain(|member| !world.seat(*member).tenant().is_away && damage_of(world.seat(*member)).is_empty());
    for member in &members {
        world.hold(*member, Crash::Kill, strike.id);
    }
    members.retain(|member| {
        let mut dice = Dice::keyed(key, Purpose::Damage, u64::from(member.0) + 1);
        let planted = plant_vouched(world, *member, &mut dice);
        world.must_refuse(*member);
        if !planted {
            world.release(*member);
        }
        planted
    });
    let repairs = world.plan().knobs.self_repair;
    let ids: Vec<_> = members.iter().map(|member| (*member, world.member_id(*member))).collect();
    if repairs {
        members.iter().for_each(|member| world.is_to_be_rescued(*member));
    }
    strike.wait(strike.for_ / 2).await;
    for member in &members {
        world.release(*member);
    }
    strike.wait(strike.for_ / 2).await;
    // Where most of those who were struck had no vote, the others could take them back.
    members.retain(|member| ids.contains(&(*member, world.member_id(*member))));
    for member in members.iter().filter(|member| !world.has_refused(**member)) {
        world.runs_on_damage(*member);
    }
    if repairs {
        world.put_right(&members, strike.id + SECOND);
    }
}

/// Damages one place in the area, if there is one.
pub(super) fn plant(world: &World, struck: MemberIndex, area: DamageArea, dice: &mut Dice, unreadable: bool) {
    let seat = world.seat(struck);
    let segments = segments(seat);
    let path = match (area, segments.split_last()) {
        (DamageArea::Engine | DamageArea::EngineHead, _) => {
            Some(product::engine_file(world.generation(struck)))
        }
        (DamageArea::LogTail, Some((newest, _))) => Some(newest.clone()),
        (DamageArea::SealedLog, Some((_, older))) => dice.pick(older).cloned(),
        (_, None) => None,
    };
    let Some(path) = path else { return };
    let (from, bytes) = match area {
        DamageArea::Engine => in_engine(seat, &path, dice),
        DamageArea::EngineHead => (in_head(dice), 1),
        DamageArea::SealedLog | DamageArea::LogTail => in_log(seat, &path, dice),
    };
    damage(seat, &path, from, bytes, dice, unreadable);
    world.note_damage(struck);
}

/// Often where a page begins: what stands there says how the rest is to be read. Often in a page that was read lately:
/// most of the file is free, and what is read is not.
fn in_engine(seat: &Seat, path: &str, dice: &mut Dice) -> (u64, u64) {
    let (mut from, bytes) = anywhere(seat, path, dice);
    if dice.permille(PAGE_READ_PERMILLE)
        && let Some(read) = dice.pick(&seat.disk.recent_reads(Path::new(path)).unwrap_or_default())
    {
        from = read + from % PAGE_BYTES;
    }
    let head = dice.permille(PAGE_HEAD_PERMILLE).then(|| dice.below(PAGE_HEAD_BYTES));
    (head.map_or(from, |head| from - from % PAGE_BYTES + head), bytes)
}

/// Where the head of redb's part says how all else is laid out, or in its copies of where everything stands. Our own page
/// before it is written once, and hardly anything of it is read: what rots there stays for ever and harms nobody.
fn in_head(dice: &mut Dice) -> u64 {
    let bytes = if dice.permille(500) { LAYOUT_BYTES } else { HEAD_BYTES };
    PAGE_BYTES + dice.below(bytes)
}

/// Mostly in a batch, where it counts; else anywhere in the file.
fn in_log(seat: &Seat, path: &str, dice: &mut Dice) -> (u64, u64) {
    let map = segment(seat, path);
    match dice.pick(&map.batches) {
        Some(batch) if dice.permille(850) => {
            (batch.content.start + dice.below(batch.content.end - batch.content.start), 1)
        }
        _ => (anywhere(seat, path, dice).0, 1),
    }
}

fn anywhere(seat: &Seat, path: &str, dice: &mut Dice) -> (u64, u64) {
    let len = seat.disk.undamaged_bytes(Path::new(path)).map_or(0, |bytes| bytes.len());
    let from = dice.below(u64::try_from(len).unwrap_or(0));
    (from, dice.between(0, SECTORS_MAX - 1) * SECTOR_BYTES + 1)
}

/// Flips a bit in each sector of the range, or makes them unreadable.
fn damage(seat: &Seat, path: &str, from: u64, bytes: u64, dice: &mut Dice, unreadable: bool) {
    let path = Path::new(path);
    let last = (from + bytes - 1) / SECTOR_BYTES;
    for sector in from / SECTOR_BYTES..=last {
        let start = sector * SECTOR_BYTES;
        let at = if start <= from { from } else { start + dice.below(SECTOR_BYTES) };
        let bit = u32::try_from(dice.below(8)).unwrap_or(0);
        if !seat.disk.is_settled(path, start).unwrap_or(false) {
            continue;
        }
        // A place that cannot be struck any more is one damage less.
        let done = if unreadable {
            seat.disk.make_unreadable(path, start, 1)
        } else {
            seat.disk.flip_bit(path, at, bit)
        };
        debug_assert!(done.is_ok(), "a settled sector can be damaged: {done:?}");
    }
}

/// Damages a batch of the newest segment in use that something behind it vouches for; whether there was one.
fn plant_vouched(world: &World, struck: MemberIndex, dice: &mut Dice) -> bool {
    let seat = world.seat(struck);
    let segments = segments(seat);
    let Some(path) = segments.iter().rev().find(|path| segment(seat, path).is_used()) else { return false };
    let map = segment(seat, path);
    let settled = |at: u64| seat.disk.is_settled(Path::new(path), at).unwrap_or(false);
    let vouched = |at: u64| {
        let mut later = map.batches.iter();
        later.any(|later| later.vouches > at && later.content.start > at && settled(later.content.start))
    };
    let places: Vec<u64> = map.batches.iter().map(|batch| batch.content.start).collect();
    let places: Vec<u64> =
        places.into_iter().filter(|at| vouched(*at) && settled(*at) && !is_followed(seat, path)).collect();
    let Some(at) = dice.pick(&places) else { return false };
    damage(seat, path, at + dice.below(80), 1, dice, false);
    world.note_damage(struck);
    !damage_of(seat).is_empty()
}

/// Writes that are acknowledged and go astray; then the power goes, and with it what the page cache made good.
pub(super) async fn astray(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    let Fault::WriteAstray { area, nth, lost, .. } = fault else { return unknown(fault) };
    if world.is_down(struck) || !world.may_damage(struck) {
        return;
    }
    let kind = if lost { quorate_disk::FaultKind::Lost } else { quorate_disk::FaultKind::Misdirected };
    let path = super::disk::path_of(strike, area);
    let disk = &world.seat(struck).disk;
    disk.inject(quorate_disk::Fault { call: quorate_disk::Call::Write, path, nth, kind });
    strike.last().await;
    world.note_damage(struck);
    world.hold(struck, Crash::PowerLoss, strike.id + SECOND);
    strike.wait(DOWN_AFTER).await;
    disk.take_back(kind);
    world.damage_done(struck);
    world.release(struck);
}
