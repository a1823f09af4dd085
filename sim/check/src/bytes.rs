//! Keys and values: cheap to clone, ordered as the store orders them, readable in a history file.
//!
//! In JSON a byte string is a text: printable ASCII stands for itself, a backslash is doubled, every other byte
//! is `\xNN`. The encoding loses nothing and every byte string has exactly one form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A key or a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Bytes, BadBytes> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'\\' {
                if !is_plain(byte) {
                    return Err(BadBytes);
                }
                out.push(byte);
                continue;
            }
            match rest.next() {
                Some(b'\\') => out.push(b'\\'),
                Some(b'x') => {
                    let high = rest.next().and_then(digit).ok_or(BadBytes)?;
                    let low = rest.next().and_then(digit).ok_or(BadBytes)?;
                    out.push(high * 16 + low);
                }
                _ => return Err(BadBytes),
            }
        }
        Ok(Bytes(out.into()))
    }
}

/// The text of a byte string cannot be read: a stray backslash, or a byte that had to be escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text form of a byte string")]
pub struct BadBytes;

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0.iter() {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                _ if is_plain(byte) => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Bytes {
        Bytes(text.as_bytes().into())
    }
}

impl Borrow<[u8]> for Bytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        Bytes::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn printable_text_stands_for_itself() {
        assert_eq!(Bytes::from("key/1").to_string(), "key/1");
        assert_eq!(Bytes::from(&b"\0a\\"[..]).to_string(), "\\x00a\\\\");
        assert!(Bytes::parse("a\\q").is_err());
        assert!(Bytes::parse("\n").is_err());
    }

    proptest! {
        #[test]
        fn every_byte_string_survives(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            let json = serde_json::to_string(&bytes).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
        }
    }
}
