//! Key ranges in the API's own convention: one key, a half-open interval, or everything from a key on.

use bytes::Bytes;

/// Where a range of keys ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeEnd {
    /// The range is the single start key (an empty `range_end` on the wire).
    Single,
    /// The range ends before this key.
    Before(Bytes),
    /// The range has no end (`range_end` of one zero byte on the wire).
    Open,
}

/// A set of consecutive keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key of the range.
    pub start: Bytes,
    /// Where the range ends.
    pub end: RangeEnd,
}

impl KeyRange {
    /// The range of exactly one key.
    pub fn single(key: impl Into<Bytes>) -> KeyRange {
        KeyRange { start: key.into(), end: RangeEnd::Single }
    }

    /// Reads the wire's convention: empty end is one key, a single zero byte is open, else half-open.
    pub fn from_wire(key: Bytes, range_end: Bytes) -> KeyRange {
        let end = match range_end.as_ref() {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Open,
            _ => RangeEnd::Before(range_end),
        };
        KeyRange { start: key, end }
    }

    /// The `range_end` that the wire carries for this range.
    pub fn wire_end(&self) -> Bytes {
        match &self.end {
            RangeEnd::Single => Bytes::new(),
            RangeEnd::Open => Bytes::from_static(&[0]),
            RangeEnd::Before(end) => end.clone(),
        }
    }

    /// Whether `key` lies in the range. A half-open range whose end is not above its start holds no key.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Open => key >= self.start.as_ref(),
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_convention_round_trips() {
        for (end, inside, outside) in [
            (&b""[..], &b"b"[..], &b"ba"[..]),
            (&b"\0"[..], &b"zzz"[..], &b"a"[..]),
            (&b"d"[..], &b"czz"[..], &b"d"[..]),
        ] {
            let range = KeyRange::from_wire(Bytes::from_static(b"b"), Bytes::copy_from_slice(end));
            assert_eq!(range.wire_end(), end);
            assert!(range.contains(inside), "{inside:?} in {range:?}");
            assert!(!range.contains(outside), "{outside:?} not in {range:?}");
        }
    }

    #[test]
    fn reversed_range_is_empty() {
        let range = KeyRange::from_wire(Bytes::from_static(b"d"), Bytes::from_static(b"b"));
        assert!(![&b"a"[..], b"b", b"c", b"d", b"e"].iter().any(|key| range.contains(key)));
    }
}
