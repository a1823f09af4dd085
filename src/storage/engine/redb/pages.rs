//! Checksums of the file's pages as this process knows them, in memory.
//!
//! redb holds a page against its checksum when the file is opened, and trusts it from then on: what rots later would be
//! taken for content, copied when its neighbour is written, and given a sound checksum there. So every page that is read
//! is held against what was written, or read at the start, and the first wrong one is told by its place.
//!
//! Invariant: a page is known only by what is in the file whole. 4 bytes of memory for each page of 4 KiB.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The page that checksums are kept of; redb's are as large or a multiple, and begin at a multiple.
pub const PAGE_BYTES: u64 = 4096;

/// Checksums of pages, by number; 0 where the page is not known.
#[derive(Debug, Default)]
pub struct Pages(Mutex<Vec<u32>>);

impl Pages {
    fn sums(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bytes are about to be written: until they are, nobody knows what stands there.
    pub fn forget(&self, offset: u64, bytes: u64) {
        let mut sums = self.sums();
        let known = u64::try_from(sums.len()).unwrap_or(u64::MAX);
        let last = offset.saturating_add(bytes).div_ceil(PAGE_BYTES).min(known);
        for page in offset / PAGE_BYTES..last {
            set(&mut sums, page, 0);
        }
    }

    /// What stands there now.
    pub fn learn(&self, offset: u64, data: &[u8]) {
        let mut sums = self.sums();
        for (page, content) in whole(offset, data) {
            set(&mut sums, page, sum(content));
        }
    }

    /// The file ends here: nothing is known of what comes behind.
    pub fn end(&self, bytes: u64) {
        self.sums().truncate(usize::try_from(bytes / PAGE_BYTES).unwrap_or(usize::MAX));
    }

    /// The first page of what was read that is not what it was; its offset in the file.
    pub fn wrong(&self, offset: u64, data: &[u8]) -> Option<u64> {
        let sums = self.sums();
        let known = |page: u64| usize::try_from(page).ok().and_then(|page| sums.get(page)).copied();
        let wrong = whole(offset, data)
            .find(|(page, content)| known(*page).is_some_and(|known| known != 0 && known != sum(content)));
        wrong.map(|(page, _)| page.saturating_mul(PAGE_BYTES))
    }
}

/// The pages that these bytes hold whole.
fn whole(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let size = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let first = offset.div_ceil(PAGE_BYTES);
    let skipped =
        usize::try_from(first.saturating_mul(PAGE_BYTES).saturating_sub(offset)).unwrap_or(usize::MAX);
    (first..).zip(data.get(skipped..).unwrap_or_default().chunks_exact(size))
}

fn set(sums: &mut Vec<u32>, page: u64, sum: u32) {
    let Ok(page) = usize::try_from(page) else { return };
    if page >= sums.len() {
        sums.resize(page.saturating_add(1), 0);
    }
    if let Some(known) = sums.get_mut(page) {
        *known = sum;
    }
}

fn sum(content: &[u8]) -> u32 {
    crc32c::crc32c(content).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_what_was_written_whole() {
        let pages = Pages::default();
        let mut data = vec![7; 3 * 4096];
        pages.learn(4096, &data);
        assert_eq!(pages.wrong(4096, &data), None);
        data[4096 + 5] ^= 1;
        assert_eq!(pages.wrong(4096, &data), Some(8192));
        assert_eq!(pages.wrong(8192, &data[4096..]), Some(8192));
        // Parts of a page, and pages nobody has seen, are not judged.
        assert_eq!(pages.wrong(8193, &data[4097..]), None);
        assert_eq!(pages.wrong(0, &data[..4096]), None);
        pages.forget(8192 + 100, 10);
        assert_eq!(pages.wrong(4096, &data), None);
    }

    #[test]
    fn what_was_cut_off_is_not_known() {
        let pages = Pages::default();
        pages.learn(0, &[1; 8192]);
        pages.end(4096);
        assert_eq!(pages.wrong(4096, &[2; 4096]), None);
        assert_eq!(pages.wrong(0, &[2; 4096]), Some(0));
    }
}
