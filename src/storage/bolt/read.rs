//! Reads a bbolt file: ours, or one that etcd wrote.
//!
//! Nothing in the file is believed: every page must be where its number says and within the file, no tree may visit more
//! pages than there are, the pairs of a leaf must have room in it, and keys must ascend. What contradicts that is an error
//! that names the page. So reading takes no more time and memory than an honest file of that size would. The file is only
//! read.

use std::sync::Arc;

use super::format::{
    BUCKET_BYTES, ELEMENT_BYTES, FLAG_BUCKET, HEADER_BYTES, KIND_BRANCH, KIND_LEAF, KIND_META, MAGIC,
    META_BYTES, VERSION, fnv1a,
};
use crate::env::File;

/// The page sizes that bbolt uses: the systems' own.
const PAGE_SIZES: [u64; 6] = [4_096, 8_192, 16_384, 32_768, 65_536, 1_024];

/// Said of a page whose tree leads to some page more than once.
const TOO_MANY: &str = "its tree has more pages than the file";

/// Why a file is no bbolt file, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum BoltError {
    /// The file cannot be read.
    #[error("cannot read page {page}: {source}")]
    Io {
        /// Which page.
        page: u64,
        /// What the disk said.
        source: std::io::Error,
    },
    /// Neither of its first two pages says what bbolt's say.
    #[error("it is no bbolt file: neither of its first two pages is sound")]
    NoMeta,
    /// A page contradicts itself or another.
    #[error("page {page} is damaged: {what}")]
    Damaged {
        /// Which page.
        page: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// What a visitor of pairs may answer: nothing, or why it wants no more.
pub type Visit<'a, E> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>;

/// A bbolt file that is open.
#[derive(Debug)]
pub struct BoltFile {
    file: Arc<dyn File>,
    page_bytes: u64,
    root: u64,
    pages: u64,
}

/// How far a walk through a tree has come.
#[derive(Default)]
struct Walked {
    /// Pages that were read, with all that they span.
    pages: u64,
    last_key: Option<Vec<u8>>,
}

/// A page in memory, with all that it spans.
struct Page {
    number: u64,
    bytes: Vec<u8>,
}

/// The value of an element of a leaf.
struct Pair<'a> {
    flags: u32,
    key: &'a [u8],
    value: &'a [u8],
}

struct Meta {
    page_bytes: u64,
    root: u64,
    pages: u64,
    txid: u64,
}

impl BoltFile {
    /// Opens `file` as its newest sound meta page has it.
    ///
    /// # Errors
    /// See [`BoltError`].
    pub fn open(file: Arc<dyn File>) -> Result<BoltFile, BoltError> {
        let at = |offset: u64| {
            let mut bytes = [0; HEADER_BYTES + META_BYTES];
            file.read_at(offset, &mut bytes).ok()?;
            Meta::decode(&bytes)
        };
        // The second one lies where the page size says, which only the first one knows: if that is damaged, it is looked for.
        let first = at(0);
        let sizes: Vec<u64> = match &first {
            Some(meta) => vec![meta.page_bytes],
            None => PAGE_SIZES.to_vec(),
        };
        let second = sizes.into_iter().find_map(|size| at(size).filter(|meta| meta.page_bytes == size));
        let newest = first.into_iter().chain(second).max_by_key(|meta| meta.txid);
        let Meta { page_bytes, root, pages, .. } = newest.ok_or(BoltError::NoMeta)?;
        let file_bytes = file.len().map_err(|source| BoltError::Io { page: 0, source })?;
        // Nor is it believed how many pages there are.
        let pages = pages.min(file_bytes.checked_div(page_bytes).unwrap_or(0));
        Ok(BoltFile { file, page_bytes, root, pages })
    }

    /// Bytes of the pages that the file says it has, as far as it has them.
    pub fn bytes(&self) -> u64 {
        self.pages.saturating_mul(self.page_bytes)
    }

    /// Visits every pair of the bucket `name` in order; nothing when there is no such bucket.
    ///
    /// # Errors
    /// See [`BoltError`]; and what `visit` says.
    pub fn each<E: From<BoltError>>(&self, name: &[u8], visit: Visit<'_, E>) -> Result<(), E> {
        let mut found = None;
        self.buckets(&mut |bucket, value| {
            if bucket == name {
                found = Some(value.to_vec());
            }
            Ok::<(), E>(())
        })?;
        let Some(value) = found else { return Ok(()) };
        let root = bucket_root(&value).ok_or(self.damaged(self.root, "a bucket's value is cut short"))?;
        let plain = &mut |pair: Pair<'_>| {
            // A bucket in a bucket; no store of etcd's has one.
            if pair.flags & FLAG_BUCKET != 0 { Ok(()) } else { visit(pair.key, pair.value) }
        };
        let mut walked = Walked::default();
        if root == 0 {
            // Small ones stand in their own value: a page behind the bucket's head.
            let bytes = value.get(BUCKET_BYTES..).unwrap_or_default().to_vec();
            return Page { number: self.root, bytes }.each(&mut walked, plain);
        }
        self.walk(root, &mut walked, plain)
    }

    /// The names of the buckets, in order.
    ///
    /// # Errors
    /// See [`BoltError`].
    pub fn names(&self) -> Result<Vec<Vec<u8>>, BoltError> {
        let mut names = Vec::new();
        self.buckets(&mut |name, _| {
            names.push(name.to_vec());
            Ok::<(), BoltError>(())
        })?;
        Ok(names)
    }

    fn buckets<E: From<BoltError>>(&self, visit: Visit<'_, E>) -> Result<(), E> {
        self.walk(self.root, &mut Walked::default(), &mut |pair| {
            if pair.flags & FLAG_BUCKET == 0 { Ok(()) } else { visit(pair.key, pair.value) }
        })
    }

    /// Visits the leaves below page `number`.
    fn walk<E: From<BoltError>>(
        &self,
        number: u64,
        walked: &mut Walked,
        visit: &mut dyn FnMut(Pair<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Pages to visit, the next one last: deep trees need no deep stack.
        let mut ahead = vec![number];
        while let Some(number) = ahead.pop() {
            let page = self.page(number, self.pages.saturating_sub(walked.pages))?;
            walked.pages = walked.pages.saturating_add(page.overflow()).saturating_add(1);
            match page.kind() {
                KIND_BRANCH => {
                    let children: Option<Vec<u64>> = (0..page.count()).map(|nth| page.child(nth)).collect();
                    let children = children.ok_or(self.damaged(number, "a child reaches beyond it"))?;
                    ahead.extend(children.into_iter().rev());
                    let to_come = u64::try_from(ahead.len()).unwrap_or(u64::MAX);
                    if walked.pages.saturating_add(to_come) > self.pages {
                        return Err(self.damaged(number, TOO_MANY).into());
                    }
                }
                KIND_LEAF => page.each(walked, visit)?,
                _ => return Err(self.damaged(number, "it belongs to no tree").into()),
            }
        }
        Ok(())
    }

    /// Reads a page, with all that it spans, which may be no more than `pages_max` pages.
    fn page(&self, number: u64, pages_max: u64) -> Result<Page, BoltError> {
        if number < 2 || number >= self.pages {
            return Err(self.damaged(number, "it is outside of the file"));
        }
        let first = self.read(number, 1)?;
        if first.own_number() != Some(number) {
            return Err(self.damaged(number, "it bears another number"));
        }
        match first.overflow() {
            more if number.saturating_add(more) >= self.pages => {
                Err(self.damaged(number, "it spans more than the file"))
            }
            more if more >= pages_max => Err(self.damaged(number, TOO_MANY)),
            0 => Ok(first),
            more => self.read(number, more.saturating_add(1)),
        }
    }

    fn read(&self, number: u64, pages: u64) -> Result<Page, BoltError> {
        let (at, len) = (number.saturating_mul(self.page_bytes), pages.saturating_mul(self.page_bytes));
        let len = usize::try_from(len).map_err(|_| self.damaged(number, "it is larger than memory"))?;
        let mut bytes = vec![0; len];
        let read = self.file.read_at(at, &mut bytes);
        read.map_err(|source| BoltError::Io { page: number, source })?;
        Ok(Page { number, bytes })
    }

    fn damaged(&self, page: u64, what: &'static str) -> BoltError {
        BoltError::Damaged { page, what }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// Where the tree of a bucket begins that has this value.
fn bucket_root(value: &[u8]) -> Option<u64> {
    u64_at(value, 0)
}

impl Page {
    /// Visits the pairs of a leaf.
    fn each<E: From<BoltError>>(
        &self,
        walked: &mut Walked,
        visit: &mut dyn FnMut(Pair<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = |what| BoltError::Damaged { page: self.number, what };
        if self.kind() != KIND_LEAF {
            return Err(damaged("it is no leaf").into());
        }
        // Pairs lie beside each other: those that overlap could say the same bytes again and again.
        let mut room = self.bytes.len();
        for nth in 0..self.count() {
            let pair = self.pair(nth).ok_or(damaged("a pair reaches beyond it"))?;
            let taken = pair.key.len().saturating_add(pair.value.len());
            room = room.checked_sub(taken).ok_or(damaged("its pairs overlap"))?;
            if walked.last_key.as_deref().is_some_and(|last| last >= pair.key) {
                return Err(damaged("its keys do not ascend").into());
            }
            walked.last_key = Some(pair.key.to_vec());
            visit(pair)?;
        }
        Ok(())
    }

    fn own_number(&self) -> Option<u64> {
        u64_at(&self.bytes, 0)
    }

    fn kind(&self) -> u16 {
        self.bytes
            .get(8..)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn count(&self) -> usize {
        let count = self.bytes.get(10..).and_then(|bytes| bytes.first_chunk());
        count.map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes)))
    }

    fn overflow(&self) -> u64 {
        u32_at(&self.bytes, 12).map_or(0, u64::from)
    }

    /// The bytes from the `nth` element on.
    fn element(&self, nth: usize) -> Option<&[u8]> {
        self.bytes.get(HEADER_BYTES.checked_add(nth.checked_mul(ELEMENT_BYTES)?)?..)
    }

    fn child(&self, nth: usize) -> Option<u64> {
        u64_at(self.element(nth)?, 8)
    }

    fn pair(&self, nth: usize) -> Option<Pair<'_>> {
        let element = self.element(nth)?;
        let (place, key, value) = (usize_at(element, 4)?, usize_at(element, 8)?, usize_at(element, 12)?);
        let (key, rest) = element.get(place..)?.split_at_checked(key)?;
        Some(Pair { flags: u32_at(element, 0)?, key, value: rest.get(..value)? })
    }
}

impl Meta {
    /// A meta page, if it is a sound one.
    fn decode(page: &[u8]) -> Option<Meta> {
        let kind = page.get(8..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))?;
        let meta = page.get(HEADER_BYTES..HEADER_BYTES.checked_add(META_BYTES)?)?;
        let (summed, sum) = meta.split_at_checked(META_BYTES.checked_sub(8)?)?;
        let sound = kind == KIND_META
            && u32_at(meta, 0) == Some(MAGIC)
            && u32_at(meta, 4) == Some(VERSION)
            && u64_at(sum, 0) == Some(fnv1a(summed));
        let page_bytes = u64::from(u32_at(meta, 8)?);
        (sound && PAGE_SIZES.contains(&page_bytes)).then_some(())?;
        Some(Meta { page_bytes, root: u64_at(meta, 16)?, pages: u64_at(meta, 40)?, txid: u64_at(meta, 48)? })
    }
}
