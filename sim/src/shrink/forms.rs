//! Plainer forms of one fault: one blow instead of several, and the leader struck instead of who came to a place.
//!
//! Invariant: a form is nearer to the plainest than what it stands for, so that going from form to form ends.

use crate::plan::ambush::Blow;
use crate::plan::fault::{Direction, DiskArea, DiskCall, Unseat};
use crate::plan::{Fault, Target};

/// The plainer forms of this fault and of how long it lasts, in milliseconds, the plainest first; none when there is
/// none.
pub fn plainer(fault: Fault, for_ms: u64) -> Vec<(Fault, u64)> {
    let lasts = |form: &Fault| match (fault, form) {
        (_, Fault::Ambush { .. }) => for_ms,
        // An ambush lasts until somebody comes; what then happens has a time of its own.
        (Fault::Ambush { blow: Blow::None, hold_ms, .. }, _) => hold_ms,
        (Fault::Ambush { down_ms, .. }, _) => down_ms,
        _ => for_ms,
    };
    forms(fault).into_iter().map(|form| (form, lasts(&form))).collect()
}

fn forms(fault: Fault) -> Vec<Fault> {
    match fault {
        Fault::Ambush { member, place, nth, hold_ms, blow, down_ms } => {
            let same = |nth, hold_ms, blow| Fault::Ambush { member, place, nth, hold_ms, blow, down_ms };
            let mut forms =
                vec![without_place(member.map_or(Target::Leader, Target::Member), blow, hold_ms, down_ms)];
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
        Fault::PowerLossAll {} => vec![Fault::KillAll {}],
        Fault::KillAll {} | Fault::RollingRestart { .. } => vec![Fault::Kill { target: Target::Leader }],
        Fault::DiskDeath { target, power: true, .. } => {
            vec![Fault::Kill { target }, Fault::PowerLoss { target }]
        }
        Fault::DiskDeath { target, .. } => vec![Fault::Kill { target }],
        Fault::Isolate { target, direction: Direction::In | Direction::Out }
        | Fault::Flap { target, .. }
        | Fault::Bridge { target } => vec![isolated(target)],
        Fault::Split { .. } | Fault::Ring { .. } | Fault::Swizzle { .. } => vec![isolated(Target::Leader)],
        Fault::LoseDisk { target } => vec![Fault::PowerLoss { target }],
        Fault::DeathInRepair { call, nth, power } => {
            let same = |nth, power| Fault::DeathInRepair { call, nth, power };
            let mut forms = Vec::new();
            forms.extend(power.then(|| same(nth, false)));
            forms.extend((nth > 1).then(|| same(1, power)));
            forms
        }
        Fault::ReplaceMember { target } => vec![Fault::RemoveMember { target }],
        _ => Vec::new(),
    }
}

/// Long enough for a few round trips.
const PLAIN_HOLD_MS: u64 = 100;

/// What an ambush does, to whom it is laid for.
fn without_place(target: Target, blow: Blow, hold_ms: u64, down_ms: u64) -> Fault {
    match blow {
        Blow::None => Fault::Pause { target },
        Blow::Kill => Fault::Kill { target },
        Blow::Power => Fault::PowerLoss { target },
        Blow::Isolate => isolated(target),
        Blow::StallLog => Fault::PowerLossInStall { target, stall_ms: hold_ms },
        Blow::FailSync => {
            let (call, area) = (DiskCall::Sync, DiskArea::Any);
            Fault::DiskError { target, call, area, nth: 1, power_after_ms: Some(down_ms) }
        }
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
    use crate::plan::ambush::PlaceName;
    use crate::plan::generate::generate;

    #[test]
    fn going_from_form_to_form_ends() {
        for planned in (0..40).flat_map(|seed| generate(seed).faults) {
            let mut now = vec![(planned.fault, planned.for_ms)];
            for _ in 0..8 {
                now = now.into_iter().flat_map(|(fault, for_ms)| plainer(fault, for_ms)).collect();
            }
            assert_eq!(now, [], "{planned:?} has plainer forms for ever");
        }
    }

    #[test]
    fn a_blow_lasts_as_long_as_the_one_that_it_stands_for() {
        let place = PlaceName(crate::hooks::PLACES[0].name);
        let ambush = |blow| Fault::Ambush { member: None, place, nth: 1, hold_ms: 70, blow, down_ms: 900 };
        let target = Target::Leader;
        assert_eq!(plainer(ambush(Blow::Kill), 5_000)[0], (Fault::Kill { target }, 900));
        assert_eq!(plainer(ambush(Blow::None), 5_000), [(Fault::Pause { target }, 70)]);
    }
}
