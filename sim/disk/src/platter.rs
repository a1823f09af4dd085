//! A sparse run of bytes: what one file holds on the medium, without regard to its length.
//!
//! Held as 4 KiB pages, absent where all is zero, so that a large file with holes costs only what was written
//! and one write never copies a file. Reads and writes are by sector; nothing here knows of caches or crashes.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::Xxh3;

/// The unit that a power loss keeps, loses or tears, in bytes.
pub const SECTOR_BYTES: u64 = 512;
/// The unit of storage and of allocation, in bytes.
pub const PAGE_BYTES: u64 = 4096;

const SECTOR_SIZE: usize = 512;
const PAGE_SIZE: usize = 4096;
const SECTORS_PER_PAGE: u64 = PAGE_BYTES / SECTOR_BYTES;

/// A sector of zeros.
static ZEROS: [u8; SECTOR_SIZE] = [0; SECTOR_SIZE];

/// One sector's bytes; `None` is all zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sector(Option<Box<[u8; SECTOR_SIZE]>>);

impl Sector {
    pub(crate) const ZERO: Self = Self(None);

    /// Takes at most a sector of bytes; what is missing is zero.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..SECTOR_SIZE).unwrap_or(bytes);
        // Files are made by writing zeros into them, so zeros must cost nothing.
        if Some(bytes) == ZEROS.get(..bytes.len()) {
            return Self::ZERO;
        }
        let mut sector = Box::new([0_u8; SECTOR_SIZE]);
        if let Some(place) = sector.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Self(Some(sector))
    }

    pub(crate) fn bytes(&self) -> &[u8; SECTOR_SIZE] {
        self.0.as_deref().unwrap_or(&ZEROS)
    }

    /// Overwrites from byte `at` on.
    pub(crate) fn patch(&mut self, at: usize, data: &[u8]) {
        let bytes = self.0.get_or_insert_with(|| Box::new([0; SECTOR_SIZE]));
        for (place, byte) in bytes.iter_mut().skip(at).zip(data) {
            *place = *byte;
        }
    }

    /// Zeroes everything from byte `at` on.
    pub(crate) fn cut(&mut self, at: usize) {
        if let Some(bytes) = self.0.as_mut() {
            bytes.iter_mut().skip(at).for_each(|byte| *byte = 0);
        }
    }

    /// The first `at` bytes of this sector and the rest of `other`: what a tear leaves.
    pub(crate) fn torn(&self, at: usize, other: &Self) -> Self {
        let mut torn = other.clone();
        torn.patch(0, self.bytes().get(..at).unwrap_or(self.bytes()));
        torn
    }
}

/// The pages of one file on the medium.
#[derive(Clone, Debug, Default)]
pub(crate) struct Platter {
    pages: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
}

impl Platter {
    pub(crate) fn sector(&self, sector: u64) -> Sector {
        match self.pages.get(&(sector / SECTORS_PER_PAGE)) {
            None => Sector::ZERO,
            Some(page) => Sector::from_bytes(page.get(within_page(sector)..).unwrap_or(&[])),
        }
    }

    pub(crate) fn put(&mut self, sector: u64, data: &Sector) {
        let number = sector / SECTORS_PER_PAGE;
        if data.0.is_none() && !self.pages.contains_key(&number) {
            return;
        }
        let page = self.pages.entry(number).or_insert_with(|| Box::new([0; PAGE_SIZE]));
        let start = within_page(sector);
        if let Some(place) = page.get_mut(start..start + SECTOR_SIZE) {
            place.copy_from_slice(data.bytes());
        }
    }

    /// Fills `buf` from byte `offset`, with zeros where nothing was written.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let start = index(at % PAGE_BYTES);
            let take = rest.len().min(PAGE_SIZE.saturating_sub(start));
            let (now, later) = rest.split_at_mut(take);
            match self.pages.get(&(at / PAGE_BYTES)).and_then(|page| page.get(start..start + take)) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            at += length(take);
            rest = later;
        }
    }

    /// Drops everything from byte `len` on.
    pub(crate) fn cut(&mut self, len: u64) {
        drop(self.pages.split_off(&len.div_ceil(PAGE_BYTES)));
        if let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES)) {
            page.iter_mut().skip(index(len % PAGE_BYTES)).for_each(|byte| *byte = 0);
        }
    }

    /// The sectors from `first` on that belong to a page that was ever written.
    pub(crate) fn sectors_from(&self, first: u64) -> impl Iterator<Item = u64> {
        self.pages
            .range(first / SECTORS_PER_PAGE..)
            .flat_map(|(page, _)| (0..SECTORS_PER_PAGE).map(move |n| page * SECTORS_PER_PAGE + n))
            .filter(move |sector| *sector >= first)
    }

    /// The numbers of the pages that hold something.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u64> {
        self.pages.keys().copied()
    }

    /// Adds the content to a hash: equal content gives equal sums, however it came to be.
    pub(crate) fn sum(&self, hasher: &mut Xxh3) {
        for (number, page) in &self.pages {
            if page.iter().any(|byte| *byte != 0) {
                hasher.update(&number.to_le_bytes());
                hasher.update(page.as_slice());
            }
        }
    }
}

fn within_page(sector: u64) -> usize {
    index((sector % SECTORS_PER_PAGE) * SECTOR_BYTES)
}

/// A count of bytes as an index.
#[expect(clippy::as_conversions, reason = "the simulator runs on 64-bit hosts, where this loses nothing")]
pub(crate) const fn index(n: u64) -> usize {
    const { assert!(usize::BITS >= u64::BITS, "the simulated disk needs a 64-bit host") };
    n as usize
}

/// An in-memory length as a count of bytes.
#[expect(clippy::as_conversions, reason = "no host has lengths wider than 64 bits")]
pub(crate) const fn length(n: usize) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zero_and_a_cut_forgets() {
        let mut platter = Platter::default();
        platter.put(9, &Sector::from_bytes(&[7; 512]));
        let mut buf = [1_u8; 1024];
        platter.read(9 * 512 - 256, &mut buf);
        assert_eq!(buf[..256], [0; 256]);
        assert_eq!(buf[256..768], [7; 512]);
        assert_eq!(buf[768..], [0; 256]);
        platter.cut(9 * 512 + 10);
        assert_eq!(platter.sector(9).bytes()[..10], [7; 10]);
        assert_eq!(platter.sector(9).bytes()[10..], [0; 502]);
        platter.cut(4096);
        assert_eq!(platter.pages().count(), 0);
    }

    #[test]
    fn a_torn_sector_has_the_head_of_one_and_the_tail_of_the_other() {
        let torn = Sector::from_bytes(&[1; 512]).torn(100, &Sector::from_bytes(&[2; 512]));
        assert_eq!(torn.bytes()[..100], [1; 100]);
        assert_eq!(torn.bytes()[100..], [2; 412]);
    }
}
