//! The bytes of bbolt's pages. Source: go.etcd.io/bbolt, `page.go`, `db.go` and `bucket.go`; numbers are little-endian.
//!
//! A page begins with its number (8), its kind (2), how many elements it holds (2) and how many more pages it spans (4).
//! In a leaf an element is flags, place, key length, value length (4 each); in a branch place, key length (4 each) and the
//! child's page (8). Places count from the element itself. Keys and values follow all elements.

use bytes::{BufMut, BytesMut};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a page's header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of an element of a leaf or a branch, without its key and value.
pub const ELEMENT_BYTES: usize = 16;

/// Bytes of what a meta page says, behind its header.
pub const META_BYTES: usize = 64;

/// The page points to others.
pub const KIND_BRANCH: u16 = 0x01;
/// The page holds pairs.
pub const KIND_LEAF: u16 = 0x02;
/// The page says where everything begins.
pub const KIND_META: u16 = 0x04;
/// The page lists free pages.
pub const KIND_FREELIST: u16 = 0x10;

/// The element's value is a bucket.
pub const FLAG_BUCKET: u32 = 0x01;

/// What a file begins with, in each meta page.
pub const MAGIC: u32 = 0xED0C_DAED;
/// The version of all of this.
pub const VERSION: u32 = 2;

/// Appends a page's header.
pub fn put_header(page: &mut BytesMut, number: u64, kind: u16, count: usize, overflow: u64) {
    page.put_u64_le(number);
    page.put_u16_le(kind);
    page.put_u16_le(u16::try_from(count).unwrap_or(u16::MAX));
    page.put_u32_le(u32::try_from(overflow).unwrap_or(u32::MAX));
}

/// Bytes of a bucket as the value of its name; one without a page of its own has its only page behind them.
pub const BUCKET_BYTES: usize = 16;

/// A bucket as the value of its name: where its tree begins, and a sequence that nobody uses.
pub fn bucket_value(root: u64) -> [u8; BUCKET_BYTES] {
    let mut value = [0; BUCKET_BYTES];
    let (page, _sequence) = value.split_at_mut(8);
    page.copy_from_slice(&root.to_le_bytes());
    value
}

/// A meta page's content, behind its header: everything up to the checksum, then the checksum.
pub fn put_meta(page: &mut BytesMut, root: u64, free_list: u64, pages: u64, txid: u64) {
    let begin = page.len();
    page.put_u32_le(MAGIC);
    page.put_u32_le(VERSION);
    page.put_u32_le(u32::try_from(PAGE_BYTES).unwrap_or(u32::MAX));
    page.put_u32_le(0);
    page.put_slice(&bucket_value(root));
    page.put_u64_le(free_list);
    page.put_u64_le(pages);
    page.put_u64_le(txid);
    let sum = fnv1a(page.get(begin..).unwrap_or_default());
    page.put_u64_le(sum);
}

/// FNV-1a over 64 bits.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        // The vectors of the FNV authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
