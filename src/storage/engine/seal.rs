//! Values under a checksum of our own.
//!
//! Neither engine library verifies what it reads in normal operation (redb checks its page checksums only when
//! it repairs), so every value carries a CRC-32C over its bucket, its key and itself. A flipped bit, or a value
//! that strayed to another key, is found by the read that would have returned it. A pair that is missing
//! altogether is found by the integrity check, not here.

use bytes::Bytes;

use crate::machine::persist::Bucket;

/// What sealing adds to a value, in bytes.
pub const SEAL_BYTES: usize = 4;

fn checksum(bucket: Bucket, key: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&[bucket.number()]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value)
}

/// Puts `value` followed by its checksum into `sealed`, replacing what it held.
pub fn seal_into(sealed: &mut Vec<u8>, bucket: Bucket, key: &[u8], value: &[u8]) {
    sealed.clear();
    sealed.reserve(value.len().saturating_add(SEAL_BYTES));
    sealed.extend_from_slice(value);
    sealed.extend_from_slice(&checksum(bucket, key, value).to_be_bytes());
}

/// The value inside `sealed`, copied out; `None` when its checksum does not hold.
pub fn open_seal(bucket: Bucket, key: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (value, crc) = sealed.split_last_chunk::<SEAL_BYTES>()?;
    (u32::from_be_bytes(*crc) == checksum(bucket, key, value)).then(|| Bytes::copy_from_slice(value))
}

/// What a failed seal is called in an error: the bucket and the start of the key, in hex.
pub fn describe_broken_seal(bucket: Bucket, key: &[u8]) -> String {
    let shown: String = key.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    let more = if key.len() > 24 { "…" } else { "" };
    format!("the value under {} key {shown}{more} fails its checksum", bucket.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_binds_bucket_key_and_value() {
        let mut sealed = Vec::new();
        seal_into(&mut sealed, Bucket::Records, b"key", b"value");
        assert_eq!(open_seal(Bucket::Records, b"key", &sealed).as_deref(), Some(b"value".as_slice()));
        assert_eq!(open_seal(Bucket::Leases, b"key", &sealed), None);
        assert_eq!(open_seal(Bucket::Records, b"kez", &sealed), None);
        for at in 0..sealed.len() {
            let mut rotten = sealed.clone();
            rotten[at] ^= 0x10;
            assert_eq!(open_seal(Bucket::Records, b"key", &rotten), None, "flipped a bit of byte {at}");
        }
        assert_eq!(open_seal(Bucket::Records, b"key", b"abc"), None);
    }
}
