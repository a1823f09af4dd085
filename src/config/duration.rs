//! Durations as operators write them ("100ms", "1h30m") and as `etcdctl` prints them ("1.5ms").
//!
//! The syntax is that of the Go programs whose place this one takes: a sequence of decimal numbers, each with a
//! unit. A number without a unit is refused, except zero, because nobody can know what it means.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number followed by a unit.
    #[error("want a duration like 100ms, 5s or 1h30m")]
    Syntax,
    /// A negative duration.
    #[error("a duration here cannot be negative")]
    Negative,
    /// More than 2^63 nanoseconds.
    #[error("the duration is too long")]
    TooLong,
}

/// Units and their nanoseconds; longer names first, so that "ms" is not read as "m".
const UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The longest duration that the programs we take the place of can hold.
const NANOS_MAX: u128 = (1 << 63) - 1;

/// Reads a duration.
///
/// # Errors
/// See [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(DurationError::Syntax);
        }
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, unit)| after.strip_prefix(name).map(|after| (*unit, after)))
            .ok_or(DurationError::Syntax)?;
        nanos = nanos
            .checked_add(scaled(whole, fraction, unit)?)
            .filter(|nanos| *nanos <= NANOS_MAX)
            .ok_or(DurationError::TooLong)?;
        rest = after;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| DurationError::TooLong)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// `whole.fraction` units, in nanoseconds, rounded down.
fn scaled(whole: &str, fraction: &str, unit: u128) -> Result<u128, DurationError> {
    let mut nanos = match whole {
        "" => 0,
        digits => {
            digits.parse::<u128>().ok().and_then(|n| n.checked_mul(unit)).ok_or(DurationError::TooLong)?
        }
    };
    let mut digit_value = unit;
    for digit in fraction.chars().filter_map(|c| c.to_digit(10)) {
        digit_value /= 10;
        nanos = nanos.saturating_add(u128::from(digit).saturating_mul(digit_value));
    }
    Ok(nanos)
}

/// Writes a duration in its shortest exact form: "0s", "90ms", "1.5s", "1h0m0s".
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    for (unit, name) in [(1, "ns"), (1_000, "µs"), (1_000_000, "ms")] {
        if nanos < unit * 1_000 {
            return format!("{}{name}", decimal(nanos, unit));
        }
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `nanos` in units, without trailing zeros after the point.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, mut rest) = (nanos / unit, nanos % unit);
    let mut text = whole.to_string();
    let mut place = unit;
    if rest > 0 {
        text.push('.');
    }
    while rest > 0 {
        place /= 10;
        text.push_str(&(rest / place).to_string());
        rest %= place;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_operators_write() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("100ms", 100_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1us", 1_000),
            ("2h45m30.5s", 9_930_500_000_000),
            ("7ns", 7),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, error) in [
            ("", DurationError::Syntax),
            ("5", DurationError::Syntax),
            ("ms", DurationError::Syntax),
            ("5 s", DurationError::Syntax),
            ("5d", DurationError::Syntax),
            ("-5s", DurationError::Negative),
            ("99999999999h", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn prints_the_shortest_exact_form() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_234_567, "1.234567ms"),
            (1_000_000_000, "1s"),
            (1_010_000_000, "1.01s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }
}
