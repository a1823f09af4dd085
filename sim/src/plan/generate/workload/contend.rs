//! Draws clients that contend for a few locks and look who holds them, and one that observes.

use quorate_check::types::{ClientId, OpId};

use super::FIRST_OP_MS;
use crate::plan::MemberIndex;
use crate::plan::dice::{Dice, Purpose};
use crate::plan::operation::{
    Ask, ClientPlan, HoldAsk, Keeper, OPS_WITH_PARTS, PATIENCE_MS, PlannedOp, Release, op_id,
};

/// Locks there are.
const LOCKS: u64 = 2;
/// Turns of a thousand, of those by a service, for which it makes the lease.
const SERVED_LEASE_PERMILLE: u64 = 200;
/// The lock for these: a place that is left behind stays for a minute.
const LOCK_OF_SERVED_LEASES: u16 = 2;

/// A client that does nothing else.
pub(super) fn client(seed: u64, id: ClientId, members: u8, duration_ms: u64) -> ClientPlan {
    let mut own = Dice::keyed(seed, Purpose::Client, id.0);
    let home = own.below(u64::from(members));
    let looks_permille = own.between(100, 600);
    let mut operations = Vec::new();
    let mut at_ms = FIRST_OP_MS;
    for nth in 1..OPS_WITH_PARTS {
        let mut dice = Dice::keyed(seed, Purpose::Operation, op_id(id, nth).0);
        at_ms += dice.between(20, 600);
        if at_ms >= duration_ms {
            break;
        }
        let member = if dice.permille(200) { dice.below(u64::from(members)) } else { home };
        let lock = u16::try_from(dice.below(LOCKS)).unwrap_or(0);
        let keeper = Dice::keyed(seed, Purpose::Keeper, op_id(id, nth).0)
            .weighted(&[(4, Keeper::Recipe), (3, Keeper::LockService), (3, Keeper::ElectionService)])
            .unwrap_or_default();
        let served_lease = keeper != Keeper::Recipe
            && Dice::keyed_twice(seed, Purpose::Keeper, op_id(id, nth).0, 2).permille(SERVED_LEASE_PERMILLE);
        let ask = match dice.permille(looks_permille) {
            true => Ask::Lead { lock, served: keeper != Keeper::Recipe },
            false => Ask::Hold(HoldAsk {
                lock: if served_lease { LOCK_OF_SERVED_LEASES } else { lock },
                keeper,
                served_lease,
                ttl_secs: dice.signed(1, 4),
                guarded: dice.between(0, 6),
                pause_ms: if dice.permille(300) { dice.between(100, 900) } else { dice.between(0, 50) },
                release: served(
                    seed,
                    op_id(id, nth),
                    dice.weighted(&[(6, Release::Delete), (2, Release::Revoke), (2, Release::Abandon)])
                        .unwrap_or_default(),
                ),
            }),
        };
        operations.push(PlannedOp {
            id: op_id(id, nth),
            at_ms,
            member: MemberIndex(u8::try_from(member).unwrap_or(0)),
            timeout_ms: dice.between(1_000, 3_000),
            ask,
        });
    }
    ClientPlan { id, operations }
}

/// How a lock is let go whose key would be deleted: half the time a service does it.
fn served(seed: u64, id: OpId, release: Release) -> Release {
    let mut dice = Dice::keyed_twice(seed, Purpose::Keeper, id.0, 1);
    let how = [(4, Release::Delete), (3, Release::Served), (2, Release::ServedLate)];
    if release == Release::Delete { dice.weighted(&how).unwrap_or(release) } else { release }
}

/// A client that observes the elections, one at a time, from one member or another.
pub(super) fn observer(seed: u64, id: ClientId, members: u8, duration_ms: u64) -> ClientPlan {
    let mut operations = Vec::new();
    let mut at_ms = FIRST_OP_MS;
    for nth in 1.. {
        let mut dice = Dice::keyed(seed, Purpose::Operation, op_id(id, nth).0);
        at_ms += dice.between(50, 500);
        if at_ms >= duration_ms {
            break;
        }
        let for_ms = dice.between(500, 9_000).min(duration_ms - at_ms);
        let lock = u16::try_from(dice.below(LOCKS)).unwrap_or(0);
        let member = MemberIndex(u8::try_from(dice.below(u64::from(members))).unwrap_or(0));
        let ask = Ask::Observe { lock, for_ms };
        operations.push(PlannedOp { id: op_id(id, nth), at_ms, member, timeout_ms: PATIENCE_MS, ask });
        at_ms += for_ms;
    }
    ClientPlan { id, operations }
}
