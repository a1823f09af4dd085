//! How large a plan and its run are, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::report::Report;

/// The size of a plan and of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Planned faults.
    pub faults: usize,
    /// Planned operations.
    pub operations: usize,
    /// Members.
    pub members: usize,
    /// Simulated time that the run took, milliseconds.
    pub simulated_ms: u64,
}

impl Size {
    /// The size of a plan and of the run that this report is about.
    pub fn of(plan: &Plan, report: &Report) -> Size {
        Size {
            faults: plan.faults.len(),
            operations: plan.operations().count(),
            members: plan.members.len(),
            simulated_ms: report.figures.simulated_ms,
        }
    }

    /// `faults 41 -> 2, operations 9 812 -> 7, members 5 -> 3, 60 s -> 4.1 s`.
    pub fn to(&self, after: &Size) -> String {
        format!(
            "faults {} -> {}, operations {} -> {}, members {} -> {}, {} -> {}",
            self.faults,
            after.faults,
            grouped(self.operations),
            grouped(after.operations),
            self.members,
            after.members,
            seconds(self.simulated_ms),
            seconds(after.simulated_ms)
        )
    }
}

impl fmt::Display for Size {
    /// `2 faults, 7 operations, 3 members, 4.1 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { faults, members, .. } = self;
        let (operations, time) = (grouped(self.operations), seconds(self.simulated_ms));
        write!(f, "{faults} faults, {operations} operations, {members} members, {time}")
    }
}

/// A number in groups of three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Whole seconds from ten on, tenths below.
fn seconds(ms: u64) -> String {
    if ms >= 10_000 { format!("{} s", ms / 1000) } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_and_after_stand_side_by_side() {
        let before = Size { faults: 41, operations: 9_812, members: 5, simulated_ms: 60_100 };
        let after = Size { faults: 2, operations: 7, members: 3, simulated_ms: 4_199 };
        assert_eq!(before.to(&after), "faults 41 -> 2, operations 9 812 -> 7, members 5 -> 3, 60 s -> 4.1 s");
        assert_eq!(after.to_string(), "2 faults, 7 operations, 3 members, 4.1 s");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(123), "123");
    }
}
