//! Who an engine belongs to, and the small header that says so.
//!
//! The header is the first thing read and is checked before any engine library touches a byte, so that a
//! folder of another member, or one written by a newer Quorate, is refused in one line instead of being opened
//! and changed. It stands twice, in different sectors of 512 bytes, so that one that rots does not make an engine
//! unreadable. Where the disk or the system reads whole pages of 4 KiB, a bad sector in the page takes both copies.
//!
//! Layout of one copy, big-endian: magic (8), format version (4), engine kind (4), cluster (8), member (8),
//! CRC-32C of all before (4). Every later format must keep these first 36 bytes.

use super::{EngineError, Identity};
use crate::types::{ClusterId, MemberId};

/// The version of everything an engine stores; raised when an older Quorate could no longer read it.
pub const ENGINE_FORMAT_VERSION: u32 = 1;

/// Room the header takes at the start of a file, in bytes: one page, so that what follows stays aligned.
pub const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"QRTSTATE";
/// What one copy takes, in bytes.
pub const COPY_BYTES: usize = 36;
/// Where the second copy stands: in the second half of the page.
pub const SECOND_COPY_OFFSET: usize = 2048;
const _: () = assert!(SECOND_COPY_OFFSET * 2 == HEADER_BYTES, "each copy has half a page to itself");

/// The kinds of engine as the header numbers them; never reuse a number.
#[cfg_attr(not(test), allow(dead_code, reason = "a number is taken from the day it is written down"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindNumber {
    /// The redb engine.
    Redb = 1,
    /// The sled engine.
    Sled = 2,
}

impl KindNumber {
    fn number(self) -> u32 {
        match self {
            KindNumber::Redb => 1,
            KindNumber::Sled => 2,
        }
    }
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// No copy can be read.
    Corrupt(String),
    /// The header is whole and names something that must not be opened.
    Refused(String),
}

impl HeaderFault {
    /// The engine error of a fault found at `path`.
    pub fn at(self, path: &str) -> EngineError {
        match self {
            HeaderFault::Corrupt(what) => EngineError::Corrupt { path: path.to_owned(), what },
            HeaderFault::Refused(why) => EngineError::Refused { path: path.to_owned(), why },
        }
    }
}

/// The header page of an engine of this kind and owner.
pub fn encode_header(kind: KindNumber, identity: Identity) -> Vec<u8> {
    let mut copy = Vec::with_capacity(COPY_BYTES);
    copy.extend_from_slice(&MAGIC);
    copy.extend_from_slice(&ENGINE_FORMAT_VERSION.to_be_bytes());
    copy.extend_from_slice(&kind.number().to_be_bytes());
    copy.extend_from_slice(&identity.cluster.0.to_be_bytes());
    copy.extend_from_slice(&identity.member.0.to_be_bytes());
    let crc = crc32c::crc32c(&copy);
    copy.extend_from_slice(&crc.to_be_bytes());
    assert!(copy.len() == COPY_BYTES, "the header's length is part of the format");
    let mut page = copy.clone();
    page.resize(SECOND_COPY_OFFSET, 0);
    page.extend_from_slice(&copy);
    page.resize(HEADER_BYTES, 0);
    page
}

/// Checks the header page `page` against what is expected. One good copy is enough.
///
/// # Errors
/// See [`HeaderFault`].
pub fn check_header(page: &[u8], kind: KindNumber, identity: Identity) -> Result<(), HeaderFault> {
    let fields = [0, SECOND_COPY_OFFSET]
        .into_iter()
        .find_map(|offset| page.get(offset..).and_then(Fields::decode))
        .ok_or_else(|| HeaderFault::Corrupt("no readable header at offset 0 or 2048".to_owned()))?;
    if fields.version > ENGINE_FORMAT_VERSION {
        return Err(HeaderFault::Refused(format!(
            "its format {} is newer than {ENGINE_FORMAT_VERSION}, the newest this version reads",
            fields.version
        )));
    }
    if fields.kind != kind.number() {
        return Err(HeaderFault::Refused("it was written by another storage engine".to_owned()));
    }
    let owner = Identity { cluster: ClusterId(fields.cluster), member: MemberId(fields.member) };
    if owner != identity {
        return Err(HeaderFault::Refused(format!(
            "it belongs to cluster {} member {}, not to cluster {} member {}",
            owner.cluster, owner.member, identity.cluster, identity.member
        )));
    }
    Ok(())
}

struct Fields {
    version: u32,
    kind: u32,
    cluster: u64,
    member: u64,
}

impl Fields {
    fn decode(bytes: &[u8]) -> Option<Fields> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (cluster, rest) = rest.split_first_chunk::<8>()?;
        let (member, rest) = rest.split_first_chunk::<8>()?;
        let (crc, _) = rest.split_first_chunk::<4>()?;
        let sealed = bytes.get(..COPY_BYTES.checked_sub(crc.len())?)?;
        if *magic != MAGIC || u32::from_be_bytes(*crc) != crc32c::crc32c(sealed) {
            return None;
        }
        Some(Fields {
            version: u32::from_be_bytes(*version),
            kind: u32::from_be_bytes(*kind),
            cluster: u64::from_be_bytes(*cluster),
            member: u64::from_be_bytes(*member),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Identity = Identity { cluster: ClusterId(0xc1), member: MemberId(0xa1) };

    #[test]
    fn one_good_copy_is_enough_and_none_is_corrupt() {
        let mut page = encode_header(KindNumber::Redb, OWNER);
        assert_eq!(check_header(&page, KindNumber::Redb, OWNER), Ok(()));
        page[9] ^= 1;
        assert_eq!(check_header(&page, KindNumber::Redb, OWNER), Ok(()));
        page[SECOND_COPY_OFFSET + 20] ^= 1;
        assert!(matches!(check_header(&page, KindNumber::Redb, OWNER), Err(HeaderFault::Corrupt(_))));
        assert!(matches!(check_header(&[], KindNumber::Redb, OWNER), Err(HeaderFault::Corrupt(_))));
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        let page = encode_header(KindNumber::Redb, OWNER);
        let other = Identity { member: MemberId(0xb2), ..OWNER };
        let Err(HeaderFault::Refused(why)) = check_header(&page, KindNumber::Redb, other) else {
            panic!("a foreign engine was accepted");
        };
        assert_eq!(why, "it belongs to cluster c1 member a1, not to cluster c1 member b2");
        assert!(matches!(check_header(&page, KindNumber::Sled, OWNER), Err(HeaderFault::Refused(_))));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut page = encode_header(KindNumber::Redb, OWNER);
        page[11] = 2;
        let crc = crc32c::crc32c(&page[..32]).to_be_bytes();
        page[32..36].copy_from_slice(&crc);
        let Err(HeaderFault::Refused(why)) = check_header(&page, KindNumber::Redb, OWNER) else {
            panic!("a newer format was accepted");
        };
        assert_eq!(why, "its format 2 is newer than 1, the newest this version reads");
    }
}
