//! What is asked for in the names of users: requests that the role allows, and requests that it does not.
//!
//! The role reads from `guard/a` to `guard/m` and writes from `guard/g` to `guard/t`.

use quorate::machine::auth::change::Access;
use quorate_check::bytes::Bytes;
use quorate_check::history::{
    Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRef, Put, Range, Request, Txn, TxnOp,
};
use quorate_check::types::{LeaseId, OpId, Revision};

use super::Given;
use crate::client::resolve::value_of;
use crate::plan::dice::Dice;

/// What the role may read.
pub(super) const READ: Given = ("guard/a", "guard/m", Access::Read);
/// What it may write.
pub(super) const WRITE: Given = ("guard/g", "guard/t", Access::Write);
/// Seconds that a lease of an episode lives.
const LEASE_SECS: i64 = 8;

/// Something to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    ask: Ask,
    /// Whether the role allows it.
    pub(super) within: bool,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Put {
        key: &'static str,
        prev_kv: bool,
    },
    Leased {
        key: &'static str,
        lease: LeaseId,
    },
    Range {
        key: &'static str,
        end: &'static str,
    },
    Delete {
        key: &'static str,
        end: &'static str,
        prev_kv: bool,
    },
    /// If `compared` is there, nothing; else a put, at this depth of transactions.
    Txn {
        compared: &'static str,
        put: &'static str,
        depth: u8,
    },
    Grant,
    Revoke {
        lease: LeaseId,
    },
    Leases,
}

/// A lease is made.
pub(super) const LEASE: Probe = Probe { ask: Ask::Grant, within: true };

const WITHIN: [Ask; 8] = [
    Ask::Put { key: "guard/h", prev_kv: false },
    Ask::Put { key: "guard/h", prev_kv: true },
    Ask::Put { key: "guard/n", prev_kv: false },
    Ask::Range { key: "guard/a", end: "guard/m" },
    Ask::Range { key: "guard/h", end: "" },
    Ask::Delete { key: "guard/g", end: "guard/t", prev_kv: false },
    Ask::Delete { key: "guard/g", end: "guard/m", prev_kv: true },
    Ask::Txn { compared: "guard/b", put: "guard/h", depth: 2 },
];

const BEYOND: [Ask; 11] = [
    Ask::Put { key: "guard/b", prev_kv: false },
    Ask::Put { key: "guard/n", prev_kv: true },
    Ask::Put { key: "guard/z", prev_kv: false },
    Ask::Range { key: "guard/a", end: "guard/n" },
    Ask::Range { key: "guard/z", end: "" },
    Ask::Range { key: "guard/a", end: "\0" },
    Ask::Delete { key: "guard/g", end: "guard/u", prev_kv: false },
    Ask::Delete { key: "guard/n", end: "guard/p", prev_kv: true },
    Ask::Txn { compared: "guard/z", put: "guard/h", depth: 1 },
    Ask::Txn { compared: "guard/b", put: "guard/b", depth: 1 },
    Ask::Txn { compared: "guard/b", put: "guard/z", depth: 2 },
];

/// Something for the user, who may not touch `lease`.
pub(super) fn of_user(dice: &mut Dice, lease: Option<LeaseId>) -> Probe {
    if let Some(lease) = lease.filter(|_| dice.permille(100)) {
        let ask =
            if dice.permille(500) { Ask::Revoke { lease } } else { Ask::Leased { key: "guard/h", lease } };
        return Probe { ask, within: false };
    }
    let within = dice.permille(600);
    let ask = if within { dice.pick(&WITHIN) } else { dice.pick(&BEYOND) };
    Probe { ask: ask.copied().unwrap_or(Ask::Leases), within }
}

/// Something for `root`, which may do everything. It leaves the key of the lease alone.
pub(super) fn of_root(dice: &mut Dice) -> Probe {
    let asks = [
        Ask::Put { key: "guard/b", prev_kv: true },
        Ask::Put { key: "guard/h", prev_kv: false },
        Ask::Range { key: "guard/", end: "guard0" },
        Ask::Txn { compared: "guard/z", put: "guard/y", depth: 2 },
    ];
    Probe { ask: dice.pick(&asks).copied().unwrap_or(Ask::Leases), within: true }
}

/// Something for somebody who says nothing.
pub(super) fn of_nobody(dice: &mut Dice) -> Probe {
    let asks = [
        Ask::Put { key: "guard/x", prev_kv: false },
        Ask::Range { key: "guard/x", end: "" },
        Ask::Delete { key: "guard/x", end: "", prev_kv: false },
        Ask::Txn { compared: "guard/w", put: "guard/x", depth: 1 },
        Ask::Grant,
        Ask::Leases,
    ];
    Probe { ask: dice.pick(&asks).copied().unwrap_or(Ask::Leases), within: false }
}

impl Probe {
    /// A key is written with this lease.
    pub(super) fn leased(lease: LeaseId, key: &'static str) -> Probe {
        Probe { ask: Ask::Leased { key, lease }, within: false }
    }

    /// The request of an operation of this name.
    pub(super) fn request(self, id: OpId) -> Request {
        let put =
            |key: &str, prev_kv| Put { key: key.into(), value: value_of(id), prev_kv, ..Put::default() };
        match self.ask {
            Ask::Put { key, prev_kv } => Request::Put(put(key, prev_kv)),
            Ask::Leased { key, lease } => Request::Put(Put { lease, ..put(key, false) }),
            Ask::Range { key, end } => {
                Request::Range(Range { key: key.into(), range_end: end.into(), ..Range::default() })
            }
            Ask::Delete { key, end, prev_kv } => {
                Request::DeleteRange(DeleteRange { key: key.into(), range_end: end.into(), prev_kv })
            }
            Ask::Txn { compared, put: key, depth } => Request::Txn(txn(compared, put(key, false), depth)),
            Ask::Grant => {
                let id = i64::try_from(id.0).map(LeaseId).unwrap_or(LeaseId(1));
                Request::LeaseGrant(LeaseGrant { id, ttl_secs: LEASE_SECS })
            }
            Ask::Revoke { lease } => Request::LeaseRevoke(LeaseRef { id: lease }),
            Ask::Leases => Request::LeaseLeases,
        }
    }
}

fn txn(compared: &str, put: Put, depth: u8) -> Txn {
    let compare = Compare {
        key: compared.into(),
        range_end: Bytes::default(),
        result: CompareResult::Greater,
        target: CompareTarget::Create(Revision(0)),
    };
    let inner = (1..depth).fold(TxnOp::Put(put), |op, _| {
        TxnOp::Txn(Txn { compare: Vec::new(), success: vec![op], failure: Vec::new() })
    });
    Txn { compare: vec![compare], success: Vec::new(), failure: vec![inner] }
}
