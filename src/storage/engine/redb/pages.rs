//! Checksums of the file's pages as this process knows them, in memory.
//!
//! redb holds a page against its checksum when the file is opened, and trusts it from then on: what rots later would be
//! taken for content, copied when its neighbour is written, and given a sound checksum there. So every page that is read
//! is held against what was written, or first read, and the first wrong one is told by its place.
//!
//! Invariant: a page is known only by what stands in the file whole; redb neither reads a page while it writes it nor
//! writes one that a reader may still need. 4 bytes of memory for each page of 4 KiB.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The page that checksums are kept of; redb's are as large or a multiple, and begin at a multiple.
const PAGE_BYTES: u64 = 4096;

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

    /// These bytes stand there now.
    pub fn wrote(&self, offset: u64, data: &[u8]) {
        let written: Vec<(u64, u32)> = sums_of(offset, data).collect();
        let mut sums = self.sums();
        for (page, sum) in written {
            set(&mut sums, page, sum);
        }
    }

    /// The file ends here: nothing is known of what comes behind.
    pub fn end(&self, bytes: u64) {
        self.sums().truncate(usize::try_from(bytes / PAGE_BYTES).unwrap_or(usize::MAX));
    }

    /// These bytes were read there. Pages that are not known are from now on.
    ///
    /// # Errors
    /// The offset in the file of the first page that is known as another one.
    pub fn read(&self, offset: u64, data: &[u8]) -> Result<(), u64> {
        let found: Vec<(u64, u32)> = sums_of(offset, data).collect();
        let mut sums = self.sums();
        for (page, sum) in found {
            match usize::try_from(page).ok().and_then(|page| sums.get(page)).copied() {
                None | Some(0) => set(&mut sums, page, sum),
                Some(known) if known == sum => {}
                Some(_) => return Err(page.saturating_mul(PAGE_BYTES)),
            }
        }
        Ok(())
    }
}

/// The pages that these bytes hold whole, with their checksums.
fn sums_of(offset: u64, data: &[u8]) -> impl Iterator<Item = (u64, u32)> {
    let size = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let first = offset.div_ceil(PAGE_BYTES);
    let skipped =
        usize::try_from(first.saturating_mul(PAGE_BYTES).saturating_sub(offset)).unwrap_or(usize::MAX);
    let contents = data.get(skipped..).unwrap_or_default().chunks_exact(size);
    (first..).zip(contents.map(|content| crc32c::crc32c(content).max(1)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_what_was_written_whole() {
        let pages = Pages::default();
        let mut data = vec![7; 3 * 4096];
        pages.wrote(4096, &data);
        assert_eq!(pages.read(4096, &data), Ok(()));
        data[4096 + 5] ^= 1;
        assert_eq!(pages.read(4096, &data), Err(8192));
        assert_eq!(pages.read(8192, &data[4096..]), Err(8192));
        // Parts of a page are not judged.
        assert_eq!(pages.read(8193, &data[4097..]), Ok(()));
        pages.forget(8192 + 100, 10);
        assert_eq!(pages.read(4096, &data), Ok(()));
    }

    #[test]
    fn a_page_is_known_from_when_it_was_first_read() {
        let pages = Pages::default();
        assert_eq!(pages.read(0, &[1; 8192]), Ok(()));
        assert_eq!(pages.read(4096, &[2; 4096]), Err(4096));
        assert_eq!(pages.read(0, &[1; 8192]), Ok(()));
    }

    #[test]
    fn what_was_cut_off_is_not_known() {
        let pages = Pages::default();
        pages.wrote(0, &[1; 8192]);
        pages.end(4096);
        assert_eq!(pages.read(4096, &[2; 4096]), Ok(()));
        assert_eq!(pages.read(0, &[2; 4096]), Err(0));
    }
}
