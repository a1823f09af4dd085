//! Plainer forms of one fault: what it does in one blow, or to whoever leads, instead of where and when it did.
//!
//! Invariant: a form is nearer to the plainest than what it stands for, so that going from form to form ends.

use crate::plan::ambush::Blow;
use crate::plan::fault::{Direction, Unseat};
use crate::plan::{Fault, Target};

/// The plainer forms of this fault, the plainest first; none when there is none.
pub fn plainer(fault: Fault) -> Vec<Fault> {
    match fault {
        Fault::Ambush { place, nth, hold_ms, blow, down_ms } => {
            let same = |nth, hold_ms, blow| Fault::Ambush { place, nth, hold_ms, blow, down_ms };
            let mut forms = vec![without_place(blow, hold_ms)];
            forms.extend((blow != Blow::None).then(|| same(nth, hold_ms, Blow::None)));
            forms.extend((nth > 1).then(|| same(1, hold_ms, blow)));
            forms.extend((hold_ms > PLAIN_HOLD_MS).then(|| same(nth, PLAIN_HOLD_MS, blow)));
            forms
        }
        Fault::Succession { first, second, dwell_ms, gap_ms, most_us } => {
            let same = |second, most_us| Fault::Succession { first, second, dwell_ms, gap_ms, most_us };
            let mut forms = vec![unseated(first)];
            forms.extend(second.map(|_| same(None, most_us)));
            forms.extend((most_us > 0).then(|| same(second, 0)));
            forms
        }
        Fault::KillInStart { target, .. } => vec![Fault::Kill { target }],
        Fault::PowerLoss { target } => vec![Fault::Kill { target }],
        Fault::KillThenPowerLoss { target, .. } | Fault::PowerLossInStall { target, .. } => {
            vec![Fault::Kill { target }, Fault::PowerLoss { target }]
        }
        Fault::PowerLossAll => vec![Fault::KillAll],
        Fault::KillAll => vec![Fault::Kill { target: Target::Leader }],
        Fault::DiskDeath { target, power: true, .. } => {
            vec![Fault::Kill { target }, Fault::PowerLoss { target }]
        }
        Fault::DiskDeath { target, .. } => vec![Fault::Kill { target }],
        Fault::Isolate { target, direction: Direction::In | Direction::Out }
        | Fault::Flap { target, .. }
        | Fault::Bridge { target } => vec![isolated(target)],
        Fault::Split { .. } | Fault::Ring { .. } | Fault::Swizzle { .. } => vec![isolated(Target::Leader)],
        Fault::ReplaceMember { target } => vec![Fault::RemoveMember { target }],
        _ => Vec::new(),
    }
}

/// Long enough for a few round trips.
const PLAIN_HOLD_MS: u64 = 100;

/// What an ambush does, to whoever leads.
fn without_place(blow: Blow, hold_ms: u64) -> Fault {
    let target = Target::Leader;
    match blow {
        Blow::None => Fault::Pause { target },
        Blow::Kill => Fault::Kill { target },
        Blow::Power => Fault::PowerLoss { target },
        Blow::Isolate => isolated(target),
        Blow::StallLog => Fault::PowerLossInStall { target, stall_ms: hold_ms },
    }
}

fn unseated(by: Unseat) -> Fault {
    let target = Target::Leader;
    match by {
        Unseat::Kill => Fault::Kill { target },
        Unseat::Pause => Fault::Pause { target },
        Unseat::Isolate => isolated(target),
    }
}

fn isolated(target: Target) -> Fault {
    Fault::Isolate { target, direction: Direction::Both }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::generate::generate;

    #[test]
    fn going_from_form_to_form_ends() {
        for fault in (0..40).flat_map(|seed| generate(seed).faults) {
            let mut now = vec![fault.fault];
            for _ in 0..8 {
                now = now.into_iter().flat_map(plainer).collect();
            }
            assert_eq!(now, [], "{fault:?} has plainer forms for ever");
        }
    }
}
