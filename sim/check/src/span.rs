//! Which keys a `key` and `range_end` pair names, in the API's convention.
//!
//! An empty end is the one key, a single zero byte is "everything from the key on", else the interval is half-open.

use crate::bytes::Bytes;
use std::ops::Bound;

/// Whether `probe` lies in the range.
pub fn covers(key: &Bytes, range_end: &Bytes, probe: &Bytes) -> bool {
    match range_end.as_slice() {
        [] => key == probe,
        [0] => probe >= key,
        _ => probe >= key && probe < range_end,
    }
}

/// Whether the range holds every key there can be.
pub fn is_everything(key: &Bytes, range_end: &Bytes) -> bool {
    range_end.as_slice() == [0] && matches!(key.as_slice(), [] | [0])
}

/// The range as bounds for an ordered map; `None` if no key can lie in it.
pub fn bounds(key: &Bytes, range_end: &Bytes) -> Option<(Bound<Bytes>, Bound<Bytes>)> {
    let end = match range_end.as_slice() {
        [] => Bound::Included(key.clone()),
        [0] => Bound::Unbounded,
        _ if range_end <= key => return None,
        _ => Bound::Excluded(range_end.clone()),
    };
    Some((Bound::Included(key.clone()), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_range() {
        let b = |text: &str| Bytes::from(text);
        assert!(covers(&b("b"), &b(""), &b("b")) && !covers(&b("b"), &b(""), &b("ba")));
        assert!(covers(&b("b"), &b("\0"), &b("zz")) && !covers(&b("b"), &b("\0"), &b("a")));
        assert!(covers(&b("b"), &b("d"), &b("c")) && !covers(&b("b"), &b("d"), &b("d")));
        assert!(bounds(&b("d"), &b("b")).is_none());
        assert!(is_everything(&b("\0"), &b("\0")) && !is_everything(&b("a"), &b("\0")));
    }
}
