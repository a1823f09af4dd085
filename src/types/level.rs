//! Levels of the API: what members of different versions have in common.

use std::fmt;
use std::str::FromStr;

/// A level of the API: a version without the number of its fixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiLevel {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// A text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want a version like 3.6 or 3.6.0")]
pub struct NotALevel;

impl ApiLevel {
    /// The level below, which is the only one that a cluster can go down to at once; `None` where the first number would
    /// have to change.
    pub fn below(self) -> Option<ApiLevel> {
        Some(ApiLevel { minor: self.minor.checked_sub(1)?, ..self })
    }
}

impl fmt::Display for ApiLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

impl FromStr for ApiLevel {
    type Err = NotALevel;

    /// Reads two or three numbers; the third is of no matter.
    fn from_str(text: &str) -> Result<ApiLevel, NotALevel> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && (part.len() == 1 || !part.starts_with('0'));
            if plain { part.parse::<u32>().map_err(|_| NotALevel) } else { Err(NotALevel) }
        };
        let (major, rest) = text.split_once('.').ok_or(NotALevel)?;
        let minor = match rest.split_once('.') {
            None => rest,
            Some((minor, fixes)) => number(fixes).map(|_| minor)?,
        };
        Ok(ApiLevel { major: number(major)?, minor: number(minor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_or_three_numbers_are_a_level() {
        let level = |major, minor| Ok(ApiLevel { major, minor });
        for (text, want) in [
            ("3.7.1", level(3, 7)),
            ("3.6", level(3, 6)),
            ("3.10.0", level(3, 10)),
            ("0.0", level(0, 0)),
            ("3", Err(NotALevel)),
            ("", Err(NotALevel)),
            ("3.", Err(NotALevel)),
            ("3.6.", Err(NotALevel)),
            ("3.6.0.0", Err(NotALevel)),
            ("v3.6", Err(NotALevel)),
            ("3.06", Err(NotALevel)),
            ("3.+6", Err(NotALevel)),
            ("3.-6", Err(NotALevel)),
            ("3.6.x", Err(NotALevel)),
            ("3.99999999999", Err(NotALevel)),
        ] {
            assert_eq!(text.parse::<ApiLevel>(), want, "{text:?}");
        }
        assert_eq!(ApiLevel { major: 3, minor: 7 }.to_string(), "3.7.0");
        assert_eq!(ApiLevel { major: 3, minor: 7 }.below(), Some(ApiLevel { major: 3, minor: 6 }));
        assert_eq!(ApiLevel { major: 4, minor: 0 }.below(), None);
    }
}
