//! Writes a bbolt file page by page, in the order of their places.
//!
//! The pages that say where everything begins come first and depend on all that follow. So whoever sends a file while it
//! is made writes it twice: once to learn the [`Layout`], and then, behind [`Layout::head`], to send it. Both times come to
//! the same pages, because they depend on the pairs alone.
//!
//! Memory: one open page on each level of a tree. A page of a tree is finished, and gets its place, when it is full; its
//! parent's element is written then. So branches lie between the leaves they point to, which bbolt does not mind.

use bytes::{BufMut, Bytes, BytesMut};

use super::format::{
    ELEMENT_BYTES, FLAG_BUCKET, HEADER_BYTES, KIND_BRANCH, KIND_FREELIST, KIND_LEAF, KIND_META, PAGE_BYTES,
    bucket_value, put_header, put_meta,
};

/// The page of the free list, behind the two meta pages.
const FREE_LIST_PAGE: u64 = 2;
/// The first page of a tree.
const FIRST_TREE_PAGE: u64 = 3;
/// The transactions of the two meta pages: the second is in force, and the next one that is written takes the place of the
/// first, as bbolt has it.
const TXIDS: [u64; 2] = [0, 1];

/// Where everything in a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The page at which the tree of buckets begins.
    root: u64,
    /// Pages of the whole file.
    pages: u64,
}

impl Layout {
    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.pages.saturating_mul(page_bytes())
    }

    /// The file's first pages: everything before what a [`BoltWriter`] writes.
    pub fn head(&self) -> BytesMut {
        let mut head = BytesMut::with_capacity(PAGE_BYTES.saturating_mul(3));
        for (number, txid) in (0..).zip(TXIDS) {
            put_header(&mut head, number, KIND_META, 0, 0);
            put_meta(&mut head, self.root, FREE_LIST_PAGE, self.pages, txid);
            pad(&mut head);
        }
        put_header(&mut head, FREE_LIST_PAGE, KIND_FREELIST, 0, 0);
        pad(&mut head);
        head
    }
}

/// Writes the trees of a file: buckets in the order of their names, in each the pairs in the order of their keys.
#[derive(Debug)]
pub struct BoltWriter {
    next_page: u64,
    tree: Tree,
    last_key: Option<Bytes>,
    buckets: Vec<(String, u64)>,
}

/// The open pages of the tree that is being written.
#[derive(Debug, Default)]
struct Tree {
    leaf: Open<Bytes>,
    /// From the lowest on: the keys at which the pages below begin, and those pages.
    branches: Vec<Open<u64>>,
}

/// A page that is not full yet: keys with what they carry.
#[derive(Debug)]
struct Open<T> {
    elements: Vec<(Bytes, T)>,
    bytes: usize,
}

impl<T> Default for Open<T> {
    fn default() -> Self {
        Open { elements: Vec::new(), bytes: HEADER_BYTES }
    }
}

impl<T> Open<T> {
    fn has_room(&self, bytes: usize) -> bool {
        self.elements.is_empty() || self.bytes.saturating_add(bytes) <= PAGE_BYTES
    }

    fn push(&mut self, key: Bytes, value: T, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.elements.push((key, value));
    }
}

impl Open<u64> {
    /// Takes the last child back.
    fn pop(&mut self) -> Option<(Bytes, u64)> {
        let (key, child) = self.elements.pop()?;
        self.bytes = self.bytes.saturating_sub(ELEMENT_BYTES.saturating_add(key.len()));
        Some((key, child))
    }
}

impl Default for BoltWriter {
    fn default() -> Self {
        BoltWriter { next_page: FIRST_TREE_PAGE, tree: Tree::default(), last_key: None, buckets: Vec::new() }
    }
}

impl BoltWriter {
    /// Writes a pair into the bucket that is open; finished pages go to `out`.
    pub fn put(&mut self, key: Bytes, value: Bytes, out: &mut BytesMut) {
        let in_order = self.last_key.as_ref().is_none_or(|last| *last < key);
        assert!(in_order, "pairs come in the order of their keys");
        self.last_key = Some(key.clone());
        let bytes = ELEMENT_BYTES.saturating_add(key.len()).saturating_add(value.len());
        if !self.tree.leaf.has_room(bytes) {
            self.end_leaf(0, out);
        }
        self.tree.leaf.push(key, value, bytes);
    }

    /// Ends the bucket that is open, which gets this name; its last pages go to `out`.
    pub fn end_bucket(&mut self, name: &str, out: &mut BytesMut) {
        let in_order = self.buckets.last().is_none_or(|(last, _)| last.as_str() < name);
        assert!(in_order, "buckets come in the order of their names");
        let root = self.end_tree(0, out);
        self.buckets.push((name.to_owned(), root));
    }

    /// Ends the file; its last pages go to `out`.
    pub fn finish(mut self, out: &mut BytesMut) -> Layout {
        for (name, root) in std::mem::take(&mut self.buckets) {
            let value = bucket_value(root);
            let bytes = ELEMENT_BYTES.saturating_add(name.len()).saturating_add(value.len());
            if !self.tree.leaf.has_room(bytes) {
                self.end_leaf(FLAG_BUCKET, out);
            }
            self.tree.leaf.push(name.into(), Bytes::copy_from_slice(&value), bytes);
        }
        let root = self.end_tree(FLAG_BUCKET, out);
        Layout { root, pages: self.next_page }
    }

    /// Ends the open tree; the page at which it begins.
    fn end_tree(&mut self, flags: u32, out: &mut BytesMut) -> u64 {
        self.last_key = None;
        if !self.tree.leaf.elements.is_empty() || self.tree.branches.is_empty() {
            self.end_leaf(flags, out);
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 >= self.tree.branches.len();
            let open = self.tree.branches.get(level).map(|open| open.elements.as_slice()).unwrap_or_default();
            match open {
                [(_, root)] if is_top => {
                    let root = *root;
                    self.tree = Tree::default();
                    return root;
                }
                _ => self.end_branch(level, out),
            }
            level += 1;
        }
    }

    fn end_leaf(&mut self, flags: u32, out: &mut BytesMut) {
        let leaf = std::mem::take(&mut self.tree.leaf);
        let number = self.begin_page(KIND_LEAF, leaf.elements.len(), leaf.bytes, out);
        let mut place = leaf.elements.len().saturating_mul(ELEMENT_BYTES);
        for (key, value) in &leaf.elements {
            out.put_u32_le(flags);
            out.put_u32_le(count(place));
            out.put_u32_le(count(key.len()));
            out.put_u32_le(count(value.len()));
            place = place.saturating_add(key.len()).saturating_add(value.len()).saturating_sub(ELEMENT_BYTES);
        }
        for (key, value) in &leaf.elements {
            out.put_slice(key);
            out.put_slice(value);
        }
        pad(out);
        let first = leaf.elements.into_iter().next().map(|(key, _)| key).unwrap_or_default();
        self.add_child(0, first, number, out);
    }

    fn end_branch(&mut self, level: usize, out: &mut BytesMut) {
        let branch = self.tree.branches.get_mut(level).map(std::mem::take).unwrap_or_default();
        let number = self.begin_page(KIND_BRANCH, branch.elements.len(), branch.bytes, out);
        let mut place = branch.elements.len().saturating_mul(ELEMENT_BYTES);
        for (key, child) in &branch.elements {
            out.put_u32_le(count(place));
            out.put_u32_le(count(key.len()));
            out.put_u64_le(*child);
            place = place.saturating_add(key.len()).saturating_sub(ELEMENT_BYTES);
        }
        branch.elements.iter().for_each(|(key, _)| out.put_slice(key));
        pad(out);
        let first = branch.elements.into_iter().next().map(|(key, _)| key).unwrap_or_default();
        self.add_child(level.saturating_add(1), first, number, out);
    }

    /// Notes that the page `child` of a lower level begins with `key`.
    fn add_child(&mut self, level: usize, key: Bytes, child: u64, out: &mut BytesMut) {
        let bytes = ELEMENT_BYTES.saturating_add(key.len());
        if self.tree.branches.len() <= level {
            self.tree.branches.resize_with(level.saturating_add(1), Open::default);
        }
        // bbolt gives up over a branch with one child when that child is to be merged with a neighbour. So the last child of
        // a full branch goes to the next one, which has two then, and a branch is full with three at the least.
        let full = self
            .tree
            .branches
            .get_mut(level)
            .filter(|open| open.elements.len() >= 3 && !open.has_room(bytes));
        let moved = full.and_then(Open::pop);
        if moved.is_some() {
            self.end_branch(level, out);
        }
        if let Some(open) = self.tree.branches.get_mut(level) {
            for (key, child) in moved.into_iter().chain([(key, child)]) {
                let bytes = ELEMENT_BYTES.saturating_add(key.len());
                open.push(key, child, bytes);
            }
        }
    }

    /// Gives a page of so many bytes its place, and writes its header.
    fn begin_page(&mut self, kind: u16, elements: usize, bytes: usize, out: &mut BytesMut) -> u64 {
        let number = self.next_page;
        let pages = bytes.div_ceil(PAGE_BYTES).max(1);
        let pages = u64::try_from(pages).unwrap_or(u64::MAX);
        self.next_page = number.saturating_add(pages);
        put_header(out, number, kind, elements, pages.saturating_sub(1));
        number
    }
}

/// A length or a place, which no page of ours makes larger than four bytes can hold.
fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Fills the last page up. Everything before it is whole pages.
fn pad(out: &mut BytesMut) {
    out.resize(out.len().next_multiple_of(PAGE_BYTES), 0);
}

fn page_bytes() -> u64 {
    u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX)
}
