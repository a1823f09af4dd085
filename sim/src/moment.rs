//! A moment of a run as people name it: the number of an event in the trace, or a simulated time.

use std::fmt;
use std::str::FromStr;

use quorate_check::types::Nanos;

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The trace's event of this number, from 1.
    Event(u64),
    /// A simulated time.
    Time(Nanos),
}

/// Not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment: an event's number is wanted, as 4711, or a simulated time, as 3.2s, 250ms or 12us"
)]
pub struct BadMoment(String);

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Moment, BadMoment> {
        let wrong = || BadMoment(text.to_owned());
        let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(unit).ok_or_else(wrong)?;
        let digits = match unit {
            "" => return number.parse().map(Moment::Event).map_err(|_| wrong()),
            "s" => 9,
            "ms" => 6,
            "us" => 3,
            "ns" => 0,
            _ => return Err(wrong()),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > digits {
            return Err(wrong());
        }
        // Integers alone: the part behind the point is brought to whole nanoseconds.
        let nanos = format!("{whole}{part:0<digits$}");
        nanos.parse().map(|nanos| Moment::Time(Nanos(nanos))).map_err(|_| wrong())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Event(number) => write!(f, "event {number}"),
            Moment::Time(at) => f.write_str(&at.as_secs()),
        }
    }
}

impl Moment {
    /// Whether it has come when event `number` happens at `at`.
    pub fn has_come(self, number: u64, at: Nanos) -> bool {
        match self {
            Moment::Event(wanted) => number >= wanted,
            Moment::Time(wanted) => at >= wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bare_numbers_and_times_have_units() {
        for (text, moment) in [
            ("4711", Moment::Event(4711)),
            ("3s", Moment::Time(Nanos(3_000_000_000))),
            ("3.25s", Moment::Time(Nanos(3_250_000_000))),
            ("250ms", Moment::Time(Nanos(250_000_000))),
            ("0.5ms", Moment::Time(Nanos(500_000))),
            ("12us", Moment::Time(Nanos(12_000))),
            ("7ns", Moment::Time(Nanos(7))),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        for wrong in ["", "s", "3.5", "1h", "-3s", ".5s", "1.2.3s", "0.5ns", "3.s5", "+3s"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_has_come_at_it_and_after_it() {
        assert!(!Moment::Event(5).has_come(4, Nanos(99)));
        assert!(Moment::Event(5).has_come(5, Nanos(0)));
        assert!(!Moment::Time(Nanos(7)).has_come(99, Nanos(6)));
        assert!(Moment::Time(Nanos(7)).has_come(1, Nanos(7)));
    }
}
