//! One file's bytes: what is on the platter, and what only the page cache knows.
//!
//! Three layers, the upper hiding the lower:
//! 1. *dirty*: sectors written and not yet synced, each with the versions it went through;
//! 2. *limbo*: sectors whose sync failed, or whose write was lost by the device. Reads see them, nothing will
//!    ever write them out, and they go at the next power loss or, with luck against them, at a kill;
//! 3. the *platter*: what a power loss cannot take.
//!
//! The length goes the same way: the visible one, those it went through since the last sync, and the platter's.
//!
//! Invariants: beyond the visible length all layers together read as zero; a sector is in at most one of dirty
//! and limbo. This file decides nothing: which sectors survive is told to it (see `crash.rs`).

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

use crate::harm::Harm;
use crate::platter::{PAGE_BYTES, Platter, SECTOR_BYTES, Sector, index, length};

/// Versions of one unsynced sector that are remembered; a middle one is forgotten beyond that.
const VERSIONS_MAX: usize = 4;
/// Unsynced lengths that are remembered.
const LENGTHS_MAX: usize = 16;

/// One state an unsynced sector went through.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    /// The disk-wide number of the call that wrote it: orders writes, keys no decision.
    pub(crate) time: u64,
    pub(crate) data: Sector,
}

/// What a power loss decides about one file.
pub(crate) trait Fate {
    /// What is left of a sector with these states since the platter's; `None` leaves the platter as it was.
    fn sector(&mut self, sector: u64, platter: &Sector, since: &[Version]) -> Option<Sector>;

    /// Which of the lengths is left: the platter's, or one of those since (time and length).
    fn length(&mut self, platter: u64, since: &[(u64, u64)]) -> u64;

    /// Whether space reserved and not synced stays reserved.
    fn keeps_allocation(&mut self) -> bool;
}

/// The bytes of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    platter: Platter,
    platter_len: u64,
    limbo: BTreeMap<u64, Sector>,
    dirty: BTreeMap<u64, Vec<Version>>,
    len: u64,
    /// Lengths since the last sync with the time of the call that set them, oldest first; the last one is
    /// visible. Empty when the visible length will not be written by a sync.
    lengths: Vec<(u64, u64)>,
    /// Where the furthest write since the last sync ends.
    written: u64,
    /// Sectors that cannot be read until they are rewritten.
    unreadable: BTreeSet<u64>,
    /// What damage took.
    harm: Harm,
    space: Allocation,
    /// The floor of the allocation at the last sync.
    platter_floor: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn platter_len(&self) -> u64 {
        self.platter_len
    }

    pub(crate) fn space(&self) -> &Allocation {
        &self.space
    }

    /// What a read sees.
    pub(crate) fn visible(&self, sector: u64) -> Sector {
        if let Some(version) = self.dirty.get(&sector).and_then(|versions| versions.last()) {
            return version.data.clone();
        }
        self.limbo.get(&sector).cloned().unwrap_or_else(|| self.platter.sector(sector))
    }

    /// The first unreadable sector that a read of this range would have to fetch from the platter.
    pub(crate) fn unreadable_in(&self, offset: u64, bytes: u64) -> Option<u64> {
        let cached = |sector: &u64| self.dirty.contains_key(sector) || self.limbo.contains_key(sector);
        self.unreadable.range(sectors(offset, bytes)).copied().find(|sector| !cached(sector))
    }

    /// Fills `buf` with what a read sees; the caller has checked the length.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) {
        let range = sectors(offset, length(buf.len()));
        self.platter.read(offset, buf);
        for (sector, data) in self.limbo.range(range.clone()) {
            overlay(offset, buf, *sector, data);
        }
        for (sector, versions) in self.dirty.range(range) {
            if let Some(version) = versions.last() {
                overlay(offset, buf, *sector, &version.data);
            }
        }
    }

    /// Fills `buf` with what is on the platter, zero beyond its length.
    pub(crate) fn read_platter(&self, offset: u64, buf: &mut [u8]) {
        self.platter.read(offset, buf);
        let kept = index(self.platter_len.saturating_sub(offset)).min(buf.len());
        buf.iter_mut().skip(kept).for_each(|byte| *byte = 0);
    }

    /// Writes into the page cache; the caller has reserved the space. `forget` picks which of too many versions
    /// goes: given a sector, a number that chooses.
    pub(crate) fn write(&mut self, time: u64, offset: u64, data: &[u8], forget: &dyn Fn(u64) -> u64) {
        let end = offset + length(data.len());
        for sector in sectors(offset, length(data.len())) {
            let start = sector * SECTOR_BYTES;
            let from = index(offset.max(start) - offset);
            let to = index(end.min(start + SECTOR_BYTES) - offset);
            let bytes = data.get(from..to).unwrap_or(&[]);
            let new = if length(bytes.len()) == SECTOR_BYTES {
                Sector::from_bytes(bytes)
            } else {
                let mut patched = self.visible(sector);
                patched.patch(index(offset.max(start) - start), bytes);
                patched
            };
            self.push(time, sector, new, forget);
        }
        if end > self.len {
            self.push_len(time, end);
        }
        self.written = self.written.max(end);
        self.space.take(offset / PAGE_BYTES, end.div_ceil(PAGE_BYTES));
    }

    /// Sets the visible length, and zeroes what a cut leaves behind so that growing again shows nothing old.
    pub(crate) fn set_len(&mut self, time: u64, len: u64, forget: &dyn Fn(u64) -> u64) {
        if len < self.len {
            let first = len / SECTOR_BYTES;
            let held: BTreeSet<u64> = self
                .platter
                .sectors_from(first)
                .chain(self.limbo.range(first..).map(|(sector, _)| *sector))
                .chain(self.dirty.range(first..).map(|(sector, _)| *sector))
                .collect();
            for sector in held {
                let keep = index(len.saturating_sub(sector * SECTOR_BYTES));
                if keep >= index(SECTOR_BYTES) {
                    continue;
                }
                let new = if keep == 0 {
                    Sector::ZERO
                } else {
                    let mut cut = self.visible(sector);
                    cut.cut(keep);
                    cut
                };
                if new.bytes() != self.visible(sector).bytes() {
                    self.push(time, sector, new, forget);
                }
            }
            self.space.free(len.div_ceil(PAGE_BYTES));
        }
        if len != self.len {
            self.push_len(time, len);
        }
    }

    /// Reserves the first `len` bytes and grows the file to them.
    pub(crate) fn allocate(&mut self, time: u64, len: u64) {
        self.space.take(0, len.div_ceil(PAGE_BYTES));
        if len > self.len {
            self.push_len(time, len);
        }
    }

    /// Makes all dirty data and the length durable. Limbo stays what it is; a length that a failed sync left doubtful
    /// too, but for what was written since.
    pub(crate) fn sync(&mut self) {
        let written = std::mem::take(&mut self.written);
        self.platter_len = self.platter_len.max(written.min(self.len));
        for (sector, mut versions) in std::mem::take(&mut self.dirty) {
            if let Some(version) = versions.pop() {
                self.burn(sector, &version.data);
            }
        }
        if self.lengths.pop().is_some() {
            self.platter_len = self.len;
        }
        self.lengths.clear();
        self.platter_floor = self.space.floor;
        self.harm.synced();
    }

    /// A sync that failed: each dirty sector reached the platter or is left in limbo, marked clean.
    pub(crate) fn fail_sync(&mut self, reached: &mut dyn FnMut(u64) -> bool, length_reached: bool) {
        for (sector, mut versions) in std::mem::take(&mut self.dirty) {
            let Some(version) = versions.pop() else { continue };
            if reached(sector) {
                self.burn(sector, &version.data);
            } else {
                self.limbo.insert(sector, version.data);
            }
        }
        if self.lengths.pop().is_some() && length_reached {
            self.platter_len = self.len;
        }
        self.lengths.clear();
        self.written = 0;
        self.harm.forget_astray();
    }

    /// A write that the device acknowledged and lost: its sectors stay visible, and nothing writes them out.
    pub(crate) fn lose(&mut self, offset: u64, bytes: u64) {
        for sector in sectors(offset, bytes) {
            if let Some(version) = self.dirty.remove(&sector).and_then(|mut versions| versions.pop()) {
                self.harm.strayed(sector, &version.data);
                self.limbo.insert(sector, version.data);
            }
        }
    }

    /// A write that the device put elsewhere: the cache still shows it in its place, the platter has it on other
    /// sectors of this file, picked by `wrong`. With no other sector to hit, it is only lost.
    pub(crate) fn misdirect(&mut self, offset: u64, bytes: u64, wrong: u64) {
        let range = sectors(offset, bytes);
        let written: Vec<Sector> = range.clone().map(|sector| self.visible(sector)).collect();
        self.lose(offset, bytes);
        let end = self.platter_len / SECTOR_BYTES;
        let Some(start) = wrong.checked_rem(end) else { return };
        let start = if start == range.start { (start + 1) % end } else { start };
        for (sector, data) in (start..end).zip(&written) {
            if !range.contains(&sector) {
                self.harm.spoilt(sector, &self.platter.sector(sector));
                self.platter.put(sector, data);
            }
        }
    }

    /// The time of the oldest call that is not durable.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let written = self.dirty.values().filter_map(|versions| versions.first()).map(|version| version.time);
        written.chain(self.lengths.first().map(|(time, _)| *time)).min()
    }

    /// Takes limbo sectors out of the page cache: reads see the platter again.
    pub(crate) fn evict(&mut self, evicted: &mut dyn FnMut(u64) -> bool) {
        // What lies at or beyond the end must go on reading as zero, whatever the platter has there.
        let whole = self.len / SECTOR_BYTES;
        self.limbo.retain(|sector, _| *sector >= whole || !evicted(*sector));
    }

    /// The power goes, and `fate` decides on everything that is not durable.
    pub(crate) fn power_loss(&mut self, fate: &mut dyn Fate) {
        for (number, versions) in std::mem::take(&mut self.dirty) {
            if let Some(survivor) = fate.sector(number, &self.platter.sector(number), &versions) {
                self.burn(number, &survivor);
            }
        }
        self.limbo.clear();
        self.harm.forget_astray();
        let len = fate.length(self.platter_len, &self.lengths);
        self.lengths.clear();
        self.written = 0;
        self.platter.cut(len);
        self.harm.cut(len);
        self.platter_len = len;
        self.len = len;
        self.unreadable.retain(|sector| sector * SECTOR_BYTES < len);
        if fate.keeps_allocation() {
            self.space.free(len.div_ceil(PAGE_BYTES));
        } else {
            let floor = self.platter_floor.min(len.div_ceil(PAGE_BYTES));
            self.space = Allocation { floor, extra: BTreeSet::new() };
            for page in self.platter.pages() {
                self.space.take(page, page + 1);
            }
        }
        self.platter_floor = self.space.floor;
    }

    /// Changes bytes behind the writer's back, on the platter and in every cached state.
    pub(crate) fn damage(&mut self, sector: u64, change: &dyn Fn(&mut Sector)) {
        let mut data = self.platter.sector(sector);
        self.harm.spoilt(sector, &data);
        change(&mut data);
        self.platter.put(sector, &data);
        if let Some(data) = self.limbo.get_mut(&sector) {
            change(data);
        }
        for version in self.dirty.get_mut(&sector).into_iter().flatten() {
            change(&mut version.data);
        }
    }

    /// Makes the sector unreadable until it is rewritten and that is synced.
    pub(crate) fn spoil(&mut self, sector: u64) {
        self.unreadable.insert(sector);
    }

    /// Whether the sector is on the platter and nothing newer is in the page cache.
    pub(crate) fn is_settled(&self, sector: u64) -> bool {
        let end = (sector + 1) * SECTOR_BYTES;
        // A cut that is not synced hides what the platter still has.
        end <= self.platter_len.min(self.len)
            && !self.dirty.contains_key(&sector)
            && !self.limbo.contains_key(&sector)
    }

    /// The sectors that cannot be read, or that hold something else than they should, with the bytes concerned.
    pub(crate) fn damaged(&self) -> Vec<(u64, bool, std::ops::Range<usize>)> {
        let mut all: Vec<(u64, bool, std::ops::Range<usize>)> =
            self.unreadable.iter().map(|sector| (*sector, true, 0..index(SECTOR_BYTES))).collect();
        for (sector, owed) in self.harm.owed().filter(|(sector, _)| !self.unreadable.contains(sector)) {
            let held = self.platter.sector(sector);
            let mut wrong =
                held.bytes().iter().zip(owed.bytes()).enumerate().filter(|(_, (held, owed))| held != owed);
            if let Some((first, _)) = wrong.next() {
                let last = wrong.next_back().map_or(first, |(last, _)| last);
                all.push((sector, false, first..last + 1));
            }
        }
        all.sort_unstable_by_key(|(sector, ..)| *sector);
        all
    }

    /// Fills `buf` with what the platter should hold, zero beyond its length.
    pub(crate) fn read_undamaged(&self, offset: u64, buf: &mut [u8]) {
        self.read_platter(offset, buf);
        for (sector, owed) in self.harm.owed() {
            overlay(offset, buf, sector, owed);
        }
    }

    /// Takes all damage back: the platter holds what it should, and what went astray waits for a sync again.
    pub(crate) fn mend(&mut self, time: u64) {
        let (owed, astray) = self.harm.settle();
        self.unreadable.clear();
        for (sector, data) in owed {
            self.platter.put(sector, &data);
            self.limbo.remove(&sector);
        }
        for (sector, data) in astray {
            self.limbo.remove(&sector);
            self.dirty.entry(sector).or_default().push(Version { time, data });
        }
    }

    /// How many sectors a power loss could take now, for figures.
    pub(crate) fn unsynced_sectors(&self) -> u64 {
        length(self.dirty.len() + self.limbo.len())
    }

    /// Adds everything to a hash: the platter, every unsynced state, both lengths.
    pub(crate) fn sum(&self, hasher: &mut Xxh3) {
        let lengths = self.lengths.iter().flat_map(|(time, len)| [*time, *len]);
        for number in [self.platter_len, self.len, self.written].into_iter().chain(lengths) {
            hasher.update(&number.to_le_bytes());
        }
        self.platter.sum(hasher);
        for (sector, data) in &self.limbo {
            hasher.update(&sector.to_le_bytes());
            hasher.update(data.bytes());
        }
        for (sector, versions) in &self.dirty {
            hasher.update(&sector.to_le_bytes());
            for version in versions {
                hasher.update(version.data.bytes());
            }
        }
    }

    fn burn(&mut self, sector: u64, data: &Sector) {
        self.platter.put(sector, data);
        self.unreadable.remove(&sector);
        self.harm.burnt(sector);
    }

    fn push(&mut self, time: u64, sector: u64, data: Sector, forget: &dyn Fn(u64) -> u64) {
        self.limbo.remove(&sector);
        self.harm.written(sector);
        let versions = self.dirty.entry(sector).or_default();
        if versions.len() >= VERSIONS_MAX {
            let victim = forget(sector).checked_rem(length(versions.len())).unwrap_or(0);
            versions.remove(index(victim));
        }
        versions.push(Version { time, data });
    }

    fn push_len(&mut self, time: u64, len: u64) {
        self.len = len;
        if self.lengths.len() >= LENGTHS_MAX {
            // The second half keeps every other one, so that old and new lengths both stay possible.
            let mut nth = 0_u64;
            self.lengths.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
        }
        self.lengths.push((time, len));
    }
}

/// The pages that one file has reserved: all below a floor, and some above it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allocation {
    floor: u64,
    extra: BTreeSet<u64>,
}

impl Allocation {
    pub(crate) fn pages(&self) -> u64 {
        self.floor + length(self.extra.len())
    }

    /// How many of the pages `first..end` are not reserved yet.
    pub(crate) fn missing(&self, first: u64, end: u64) -> u64 {
        let first = first.max(self.floor);
        end.saturating_sub(first).saturating_sub(length(self.extra.range(first..end.max(first)).count()))
    }

    /// Where the pages `first..end` stop fitting when only `free` more may be reserved.
    pub(crate) fn fits_until(&self, first: u64, end: u64, free: u64) -> u64 {
        let mut left = free;
        for page in first..end {
            if self.missing(page, page + 1) > 0 {
                if left == 0 {
                    return page;
                }
                left -= 1;
            }
        }
        end
    }

    fn take(&mut self, first: u64, end: u64) {
        if first <= self.floor {
            self.floor = self.floor.max(end);
            self.extra = self.extra.split_off(&self.floor);
            while self.extra.remove(&self.floor) {
                self.floor += 1;
            }
        } else {
            self.extra.extend(first..end);
        }
    }

    fn free(&mut self, from: u64) {
        self.floor = self.floor.min(from);
        drop(self.extra.split_off(&from));
    }
}

/// The sectors that a range of bytes touches.
pub(crate) fn sectors(offset: u64, bytes: u64) -> std::ops::Range<u64> {
    if bytes == 0 {
        return 0..0;
    }
    offset / SECTOR_BYTES..(offset + bytes).div_ceil(SECTOR_BYTES)
}

fn overlay(offset: u64, buf: &mut [u8], sector: u64, data: &Sector) {
    let start = sector * SECTOR_BYTES;
    let skip_data = index(offset.saturating_sub(start));
    let skip_buf = index(start.saturating_sub(offset));
    let source = data.bytes().iter().skip(skip_data);
    buf.iter_mut().skip(skip_buf).zip(source).for_each(|(place, byte)| *place = *byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &Content, offset: u64, bytes: usize) -> Vec<u8> {
        let mut buf = vec![9; bytes];
        content.read(offset, &mut buf);
        buf
    }

    #[test]
    fn reads_see_the_newest_write_before_and_after_a_sync() {
        let mut content = Content::default();
        content.write(1, 100, &[1; 2000], &|_| 0);
        content.write(2, 600, &[2; 10], &|_| 0);
        let mut want = vec![0; 100];
        want.extend([1; 2000]);
        want[600..610].fill(2);
        assert_eq!(read(&content, 0, 2100), want);
        content.sync();
        assert_eq!(read(&content, 0, 2100), want);
        assert_eq!(content.platter_len(), 2100);
        assert_eq!(content.unsynced_sectors(), 0);
    }

    #[test]
    fn growing_after_a_cut_shows_zeros() {
        let mut content = Content::default();
        content.write(1, 0, &[1; 9000], &|_| 0);
        content.sync();
        content.set_len(2, 700, &|_| 0);
        content.set_len(3, 9000, &|_| 0);
        assert_eq!(read(&content, 0, 700), [1; 700]);
        assert_eq!(read(&content, 700, 8300), [0; 8300]);
    }

    #[test]
    fn a_length_that_a_failed_sync_left_doubtful_is_durable_as_far_as_was_written_since() {
        let mut content = Content::default();
        content.write(1, 0, &[1; 1000], &|_| 0);
        content.sync();
        content.set_len(2, 9000, &|_| 0);
        content.fail_sync(&mut |_| false, false);
        content.sync();
        assert_eq!((content.len(), content.platter_len()), (9000, 1000));
        content.write(3, 5000, &[2; 10], &|_| 0);
        content.sync();
        assert_eq!((content.len(), content.platter_len()), (9000, 5010));
        content.write(4, 8999, &[3], &|_| 0);
        content.sync();
        assert_eq!(content.platter_len(), 9000);
    }

    #[test]
    fn allocation_counts_each_page_once() {
        let mut space = Allocation::default();
        space.take(3, 5);
        assert_eq!((space.pages(), space.missing(0, 6)), (2, 4));
        assert_eq!(space.fits_until(0, 6, 3), 5);
        space.take(0, 3);
        assert_eq!((space.floor, space.pages()), (5, 5));
        space.free(2);
        assert_eq!(space.pages(), 2);
    }
}
