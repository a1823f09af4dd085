//! Draws what operators do for the members' upkeep, clients of their own, and what strikes members in its midst.
//!
//! One has states written anew and takes images; one raises, lists and clears alarms; two prepare for a lower version and
//! think better of it, in each other's way. Alarms stop others' writes, so none stays for long.
//!
//! A state that is written anew changes its file in a few moments that no other fault would meet, and is worth nothing
//! unless it outlives a crash: so most of these calls have an ambush laid for them, or a disk that dies inside them, and many
//! are followed by the end of the member's power once its log was purged by what the new file holds.

use quorate_check::history::{AlarmKind, DowngradeAction};
use quorate_check::types::{ClientId, OpId};

use super::faults::{QUIET_END_MS, QUIET_START_MS};
use crate::plan::ambush::{Blow, PlaceName};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::{DiskArea, DiskCall};
use crate::plan::operation::{AlarmAsk, Ask, ClientPlan, PlannedOp, op_id};
use crate::plan::{Fault, MemberIndex, PlannedFault, Target};

/// Seeds of a thousand in which states are written anew.
const REWRITTEN_PERMILLE: u64 = 350;
/// Seeds of a thousand in which images of states are taken.
const IMAGED_PERMILLE: u64 = 350;
/// Images are numbered from here on: no seed has as many rewrites.
const IMAGES: u64 = 1_000;
/// Seeds of a thousand in which operators raise alarms.
const ALARMED_PERMILLE: u64 = 250;
/// Of those, seeds of a thousand in which one of them says that members differ.
const CORRUPT_PERMILLE: u64 = 350;
/// Seeds of a thousand in which operators prepare for a lower version.
const LOWERED_PERMILLE: u64 = 250;
/// Names of operators among the clients, behind all others.
const OPERATOR: ClientId = ClientId(90);
const ALARMIST: ClientId = ClientId(91);
const LOWERERS: [ClientId; 2] = [ClientId(92), ClientId(93)];
/// Draws about alarms are numbered from here on, those of each operator who prepares for a lower version from there.
const ALARMS: u64 = 10_000;
const LOWERINGS: u64 = 20_000;
/// Names of faults begin here: other families never get so far.
const FIRST_ID: u64 = 7_000;
/// Names that belong to one rewrite.
const IDS_PER_REWRITE: u64 = 10;
/// How long an ambush waits for a member that was called, milliseconds.
const AMBUSH_MS: u64 = 4_000;
/// Where a copy of the state is made, page by page.
const COPIED: PlaceName = PlaceName("the state is written anew slowly");
/// Where the copy lacks only what came last.
const ALL_BUT_THE_LAST: PlaceName = PlaceName("the last changes are carried over late");
/// Where the copy is about to take its place.
const BEFORE_THE_EXCHANGE: PlaceName = PlaceName("the state is exchanged late");

/// A state that is to be written anew.
struct Rewrite {
    nth: u64,
    planned: PlannedOp,
    /// For what strikes in its midst.
    dice: Dice,
}

/// The rewrites of a seed, by time; each begins when the one before it is answered.
fn rewrites(seed: u64, founders: u8, duration_ms: u64) -> Vec<Rewrite> {
    if !Dice::keyed(seed, Purpose::Upkeep, 0).permille(REWRITTEN_PERMILLE) {
        return Vec::new();
    }
    let end_ms = duration_ms.saturating_sub(QUIET_END_MS);
    let (mut rewrites, mut at_ms) = (Vec::new(), QUIET_START_MS);
    for nth in 1.. {
        let mut dice = Dice::keyed(seed, Purpose::Upkeep, nth);
        at_ms += dice.between(1_500, 7_000);
        if at_ms >= end_ms {
            break;
        }
        let planned = call(&mut dice, op_id(OPERATOR, nth), at_ms, founders, Ask::Defragment {});
        rewrites.push(Rewrite { nth, planned, dice });
    }
    rewrites
}

/// The images that are taken in a seed, of members that were there from the beginning.
fn images(seed: u64, founders: u8, duration_ms: u64) -> Vec<PlannedOp> {
    let mut own = Dice::keyed(seed, Purpose::Upkeep, IMAGES);
    if !own.permille(IMAGED_PERMILLE) {
        return Vec::new();
    }
    let numbers = IMAGES + 1..=IMAGES + own.between(2, 5);
    let taken = numbers.map(|nth| {
        let mut dice = Dice::keyed(seed, Purpose::Upkeep, nth);
        let at_ms = QUIET_START_MS + dice.below(duration_ms.saturating_sub(QUIET_START_MS).max(1));
        call(&mut dice, op_id(OPERATOR, nth), at_ms, founders, Ask::Image {})
    });
    taken.collect()
}

fn call(dice: &mut Dice, id: OpId, at_ms: u64, founders: u8, ask: Ask) -> PlannedOp {
    let member = any_founder(dice, founders);
    PlannedOp { id, at_ms, member, timeout_ms: dice.between(1_000, 4_000), ask }
}

fn any_founder(dice: &mut Dice, founders: u8) -> MemberIndex {
    MemberIndex(u8::try_from(dice.below(u64::from(founders))).unwrap_or(0))
}

/// What is asked about alarms in a seed: each is cleared soon, by itself or with all of its kind.
fn alarms(seed: u64, founders: u8, duration_ms: u64) -> Vec<PlannedOp> {
    let mut own = Dice::keyed(seed, Purpose::Upkeep, ALARMS);
    if !own.permille(ALARMED_PERMILLE) {
        return Vec::new();
    }
    let differs = own.permille(CORRUPT_PERMILLE);
    let end_ms = duration_ms.saturating_sub(QUIET_END_MS);
    let (mut asked, mut at_ms) = (Vec::new(), QUIET_START_MS);
    for number in ALARMS + 1.. {
        let mut dice = Dice::keyed(seed, Purpose::Upkeep, number);
        at_ms += dice.between(4_000, 12_000);
        if at_ms >= end_ms {
            break;
        }
        for ask in episode(&mut dice, founders, differs) {
            let id = op_id(ALARMIST, u64::try_from(asked.len()).unwrap_or(u64::MAX));
            asked.push(call(&mut dice, id, at_ms, founders, ask));
            at_ms += dice.between(20, 700);
        }
    }
    asked
}

/// Alarms that are raised, and what is asked of them until they are cleared.
fn episode(dice: &mut Dice, founders: u8, differs: bool) -> Vec<Ask> {
    let kind = if differs && dice.permille(400) { AlarmKind::Corrupt } else { AlarmKind::NoSpace };
    let mut one = || match kind {
        AlarmKind::NoSpace => AlarmAsk::NoSpace(any_founder(dice, founders)),
        AlarmKind::Corrupt => AlarmAsk::Corrupt,
    };
    let (first, second) = (one(), one());
    let (one_kind, every_kind) = (Ask::ListAlarms { kind: Some(kind) }, Ask::ListAlarms { kind: None });
    let (raise, clear) = (|alarm| Ask::RaiseAlarm { alarm }, |alarm| Ask::ClearAlarm { alarm });
    let clear_all = Ask::ClearAlarms { kind };
    match dice.below(5) {
        0 | 1 => vec![raise(first), every_kind.clone(), clear(first), every_kind],
        2 => vec![raise(first), raise(second), clear(first), one_kind, clear_all],
        3 => vec![raise(first), clear(second), one_kind, clear_all, every_kind],
        _ => vec![every_kind, clear_all, one_kind],
    }
}

/// What one of those asks who prepare for a lower version.
fn lowerings(seed: u64, client: ClientId, founders: u8, duration_ms: u64) -> Vec<PlannedOp> {
    if !Dice::keyed(seed, Purpose::Upkeep, LOWERINGS).permille(LOWERED_PERMILLE) {
        return Vec::new();
    }
    let end_ms = duration_ms.saturating_sub(QUIET_END_MS);
    let (mut asked, mut at_ms) = (Vec::new(), QUIET_START_MS);
    for nth in 1.. {
        let mut dice = Dice::keyed_twice(seed, Purpose::Upkeep, LOWERINGS + nth, client.0);
        at_ms += dice.between(200, 4_000);
        if at_ms >= end_ms {
            break;
        }
        let actions =
            [(4, DowngradeAction::Enable), (4, DowngradeAction::Cancel), (3, DowngradeAction::Validate)];
        let action = dice.weighted(&actions).unwrap_or_default();
        let levels = if dice.permille(100) { 2 } else { 1 };
        asked.push(call(&mut dice, op_id(client, nth), at_ms, founders, Ask::Downgrade { action, levels }));
    }
    asked
}

/// The operators, in a seed that has some.
pub(super) fn clients(seed: u64, founders: u8, duration_ms: u64) -> Vec<ClientPlan> {
    let lowerers = LOWERERS.map(|client| (client, lowerings(seed, client, founders, duration_ms)));
    let others =
        [(OPERATOR, states(seed, founders, duration_ms)), (ALARMIST, alarms(seed, founders, duration_ms))];
    let plans = others.into_iter().chain(lowerers).map(|(id, operations)| ClientPlan { id, operations });
    plans.filter(|plan| !plan.operations.is_empty()).collect()
}

/// What is asked about members' states, by time.
fn states(seed: u64, founders: u8, duration_ms: u64) -> Vec<PlannedOp> {
    let rewrites = rewrites(seed, founders, duration_ms).into_iter().map(|rewrite| rewrite.planned);
    let mut operations: Vec<_> = rewrites.chain(images(seed, founders, duration_ms)).collect();
    operations.sort_by_key(|planned| (planned.at_ms, planned.id));
    operations
}

/// What strikes in the midst of the calls, and after them.
pub(super) fn faults(seed: u64, founders: u8, duration_ms: u64) -> Vec<PlannedFault> {
    let last_ms = duration_ms - QUIET_END_MS / 2;
    let struck = rewrites(seed, founders, duration_ms).into_iter().flat_map(|mut rewrite| {
        let first = FIRST_ID + rewrite.nth * IDS_PER_REWRITE;
        let in_its_midst = in_the_midst(&mut rewrite);
        let Rewrite { planned: PlannedOp { at_ms, member, .. }, dice, .. } = &mut rewrite;
        // Time for what was written since to call for a purge of the log.
        let power = dice.permille(400).then(|| {
            let fault = Fault::PowerLoss { target: Target::Member(*member) };
            (*at_ms + dice.between(800, 6_000), dice.between(50, 2_000), fault)
        });
        let both = in_its_midst.into_iter().chain(power);
        (first..).zip(both).map(|(id, (at_ms, for_ms, fault))| PlannedFault { id, at_ms, for_ms, fault })
    });
    struck.filter(|fault| fault.at_ms < last_ms).collect()
}

/// What strikes while the state is written, if anything does: when, for how long in milliseconds, and what.
fn in_the_midst(rewrite: &mut Rewrite) -> Option<(u64, u64, Fault)> {
    let Rewrite { planned: PlannedOp { at_ms, member, .. }, dice, .. } = rewrite;
    let (at_ms, member) = (*at_ms, *member);
    match dice.below(10) {
        0..=5 => {
            let places = [(1, COPIED), (6, ALL_BUT_THE_LAST), (3, BEFORE_THE_EXCHANGE)];
            let blows = [(4, Blow::None), (1, Blow::Kill), (2, Blow::Power), (7, Blow::StallLog)];
            let fault = Fault::Ambush {
                member: Some(member),
                place: dice.weighted(&places).unwrap_or(ALL_BUT_THE_LAST),
                nth: 1,
                hold_ms: dice.between(60, 500),
                blow: dice.weighted(&blows).unwrap_or(Blow::None),
                down_ms: dice.between(50, 2_000),
            };
            Some((at_ms, AMBUSH_MS, fault))
        }
        6 | 7 => {
            let call = if dice.permille(500) { DiskCall::Write } else { DiskCall::Sync };
            let (nth, power) = (dice.between(1, 12), dice.permille(700));
            let (target, area) = (Target::Member(member), DiskArea::Any);
            let fault = Fault::DiskDeath { target, call, area, nth, power, power_after_ms: None };
            Some((at_ms, dice.between(50, 2_000), fault))
        }
        _ => None,
    }
}
