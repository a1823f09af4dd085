//! Draws what clients do: few keys, so that they meet; every seed its own mixture.

mod burst;
mod contend;

use quorate_check::history::{CompareResult, SortOrder, SortTarget};
use quorate_check::types::{ClientId, OpId};

use self::burst::Burst;
use super::{focus, knobs};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::operation::{
    Against, Ask, ClientPlan, CompareAsk, DeleteAsk, Keys, PlannedOp, PutAsk, RangeAsk, RevisionAt, StepAsk,
    TxnAsk, op_id,
};
use crate::plan::{Focus, MemberIndex};

/// Clients wait for the first leader, milliseconds.
const FIRST_OP_MS: u64 = 1_000;
/// Seeds of a thousand that have clients which contend for locks.
const CONTENDED_PERMILLE: u64 = 400;
/// Seeds of a thousand with so many keys that a range of all is read in many steps.
const WIDE_PERMILLE: u64 = 120;
/// How deep transactions within transactions go.
const TXN_DEPTH_MAX: u32 = 2;

/// The kinds of operation that a mixture weighs.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Delete,
    Range,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseList,
    LeasedPut,
    Stream,
    Status,
    MakeRoom,
    /// Several operations in quick succession.
    Burst(Burst),
}

/// What one seed's clients are like.
#[derive(Clone, Debug)]
struct Mixture {
    keys: u64,
    kinds: Vec<(u64, Kind)>,
    serializable_permille: u64,
    old_read_permille: u64,
    leased_permille: u64,
    large_permille: u64,
    wander_permille: u64,
    members: u8,
    /// Whether the client is one that only keeps leases.
    keeps_leases: bool,
}

/// The clients of a seed.
pub(super) fn clients(seed: u64, members: u8, duration_ms: u64) -> Vec<ClientPlan> {
    let mut shape = Dice::keyed(seed, Purpose::Shape, 1);
    let count = shape.between(6, 10);
    let contenders = if shape.permille(CONTENDED_PERMILLE) { shape.between(2, 4) } else { 0 };
    let operations = shape.between(3_000, 4_500);
    let gap_ms = ((duration_ms - FIRST_OP_MS) * count / operations).max(1);
    let keepers = if shape.permille(500) { shape.between(1, 2) } else { 0 };
    let steady = steady(seed, members, duration_ms, count, keepers, gap_ms);
    let last = count + contenders;
    let contenders = (count + 1..=last).map(|id| contend::client(seed, ClientId(id), members, duration_ms));
    let observer = (last > count).then(|| contend::observer(seed, ClientId(last + 1), members, duration_ms));
    steady.into_iter().chain(contenders).chain(observer).collect()
}

/// So many clients, each with an operation every `gap_ms` in the mean; the last `keepers` only keep leases.
pub(super) fn steady(
    seed: u64,
    members: u8,
    duration_ms: u64,
    count: u64,
    keepers: u64,
    gap_ms: u64,
) -> Vec<ClientPlan> {
    let mixture = mixture(seed, members);
    let keeping = keeping(&mixture);
    let mixture_of = |id| if id > count - keepers { &keeping } else { &mixture };
    (1..=count).map(|id| client(seed, ClientId(id), gap_ms, duration_ms, mixture_of(id))).collect()
}

fn mixture(seed: u64, members: u8) -> Mixture {
    let mut dice = Dice::keyed(seed, Purpose::Swarm, 1);
    let keys = if dice.permille(WIDE_PERMILLE) { dice.between(100, 300) } else { dice.between(5, 30) };
    let short_history = dice.permille(150) || focus::draw(seed) == Some(Focus::History);
    let many_leased = dice.permille(250);
    let many_large = dice.permille(400);
    let leases = dice.permille(800);
    let weight = |dice: &mut Dice, least, most| if leases { dice.between(least, most) } else { 0 };
    let on = |dice: &mut Dice, permille, least, most| {
        if dice.permille(permille) { dice.between(least, most) } else { 0 }
    };
    let kinds = vec![
        (dice.between(250, 450), Kind::Put),
        (dice.between(20, 120), Kind::Delete),
        (dice.between(150, 350), Kind::Range),
        (dice.between(50, 250), Kind::Txn),
        // A history that is short and often asked for, in some seeds.
        (if short_history { dice.between(20, 60) } else { dice.between(2, 12) }, Kind::Compact),
        (weight(&mut dice, 10, 40), Kind::LeaseGrant),
        (weight(&mut dice, 0, 15), Kind::LeaseRevoke),
        (weight(&mut dice, 10, 120), Kind::LeaseKeepAlive),
        (weight(&mut dice, 0, 30), Kind::LeaseTimeToLive),
        (weight(&mut dice, 0, 5), Kind::LeaseList),
        (on(&mut dice, 500, 5, 60), Kind::Stream),
        (on(&mut dice, 600, 1, 15), Kind::Status),
        (if knobs::draw(seed).quota_bytes.is_some() { dice.between(5, 20) } else { 0 }, Kind::MakeRoom),
        (on(&mut dice, if leases { 400 } else { 0 }, 1, 3), Kind::Burst(Burst::Leases)),
        (on(&mut dice, 400, 1, 4), Kind::Burst(Burst::Hot)),
        (on(&mut dice, 600, 1, 8), Kind::Burst(Burst::Hashes)),
    ];
    Mixture {
        keys,
        kinds,
        serializable_permille: dice.between(0, 400),
        old_read_permille: if short_history { dice.between(200, 600) } else { dice.between(0, 300) },
        leased_permille: if many_leased { dice.between(200, 700) } else { dice.between(0, 150) },
        large_permille: match dice.permille(600) {
            // Only what spans sectors can be torn.
            true if many_large => dice.between(300, 800),
            true => dice.between(10, 200),
            false => 0,
        },
        wander_permille: dice.between(0, 500),
        members,
        keeps_leases: false,
    }
}

/// The mixture of a client that does nothing but keep its leases: short ones, renewed again and again, on whatever
/// member it calls home, cut off or not.
fn keeping(mixture: &Mixture) -> Mixture {
    let kinds = vec![
        (0, Kind::Put),
        (0, Kind::Delete),
        (50, Kind::Range),
        (0, Kind::Txn),
        (0, Kind::Compact),
        (60, Kind::LeaseGrant),
        (10, Kind::LeaseRevoke),
        (700, Kind::LeaseKeepAlive),
        (30, Kind::LeaseTimeToLive),
        (150, Kind::LeasedPut),
    ];
    Mixture { kinds, wander_permille: 50, keeps_leases: true, ..mixture.clone() }
}

/// What a client has asked so far, for later operations to refer to.
#[derive(Debug, Default)]
struct Past {
    grants: Vec<OpId>,
    puts: Vec<OpId>,
}

/// How many of its latest grants and puts a client still refers to.
const REMEMBERED: usize = 4;

impl Past {
    fn note(&mut self, id: OpId, ask: &Ask) {
        let list = match ask {
            Ask::LeaseGrant { .. } => &mut self.grants,
            Ask::Put(_) => &mut self.puts,
            _ => return,
        };
        list.push(id);
        if list.len() > REMEMBERED {
            list.remove(0);
        }
    }
}

fn client(seed: u64, id: ClientId, gap_ms: u64, duration_ms: u64, mixture: &Mixture) -> ClientPlan {
    let mut own = Dice::keyed(seed, Purpose::Client, id.0);
    let home = own.below(u64::from(mixture.members));
    let mut past = Past::default();
    let mut operations = Vec::new();
    let mut at_ms = FIRST_OP_MS + own.below(gap_ms);
    let mut nth = 1;
    while at_ms < duration_ms {
        let mut dice = Dice::keyed(seed, Purpose::Operation, op_id(id, nth).0);
        let away = dice.permille(mixture.wander_permille);
        let member = if away { dice.below(u64::from(mixture.members)) } else { home };
        let asks = match dice.weighted(&mixture.kinds).unwrap_or(Kind::Put) {
            Kind::Burst(burst) => {
                burst.draw(&mut dice, mixture.keys, mixture.members, |part| op_id(id, nth + part))
            }
            kind => vec![(None, Draw { dice: &mut dice, mixture, past: &past }.ask(kind))],
        };
        for (elsewhere, ask) in asks {
            past.note(op_id(id, nth), &ask);
            operations.push(PlannedOp {
                id: op_id(id, nth),
                at_ms,
                member: elsewhere.unwrap_or(MemberIndex(u8::try_from(member).unwrap_or(0))),
                timeout_ms: if mixture.keeps_leases {
                    dice.between(300, 1_000)
                } else {
                    dice.between(2_000, 5_000)
                },
                ask,
            });
            nth += 1;
        }
        at_ms += dice.between(gap_ms / 4, gap_ms * 7 / 4).max(1);
    }
    ClientPlan { id, operations }
}

/// Draws one operation.
struct Draw<'a> {
    dice: &'a mut Dice,
    mixture: &'a Mixture,
    past: &'a Past,
}

impl Draw<'_> {
    fn ask(&mut self, kind: Kind) -> Ask {
        match kind {
            Kind::Put | Kind::Burst(_) => Ask::Put(self.put()),
            Kind::Delete => Ask::Delete(self.delete()),
            Kind::Range => Ask::Range(self.range()),
            Kind::Txn => Ask::Txn(self.txn(1)),
            Kind::Compact => {
                // Now and then all but the present: then whoever still reads the past is in its way.
                let most = if self.dice.permille(350) { 4 } else { 150 };
                Ask::Compact { at: RevisionAt::Back(self.dice.signed(0, most)) }
            }
            Kind::LeaseGrant => self.grant(),
            Kind::LeaseRevoke => self.of_a_lease(|grant| Ask::LeaseRevoke { grant }),
            Kind::LeaseKeepAlive => self.of_a_lease(|grant| Ask::LeaseKeepAlive { grant }),
            Kind::LeaseTimeToLive => {
                let keys = self.dice.permille(500);
                self.of_a_lease(|grant| Ask::LeaseTimeToLive { grant, keys })
            }
            Kind::LeaseList => Ask::LeaseList {},
            Kind::Stream => {
                let range = self.range();
                // Only in key order, without filters; mostly all there is.
                let keys = if self.dice.permille(700) { Keys::All } else { range.keys };
                let sort_order = SortOrder::None;
                let range = RangeAsk {
                    keys,
                    sort_order,
                    sort_target: SortTarget::Key,
                    modified_since: None,
                    ..range
                };
                let slow = self.dice.permille(500);
                Ask::Stream { range, pause_ms: if slow { self.dice.between(10, 300) } else { 0 } }
            }
            Kind::Status => Ask::Status {},
            Kind::MakeRoom => Ask::MakeRoom {},
            Kind::LeasedPut => {
                let lease = self.dice.pick(&self.past.grants).copied();
                Ask::Put(PutAsk { key: self.key(), lease, ..PutAsk::default() })
            }
        }
    }

    /// Short lives end within a run, and are renewed within an election; long ones are checkpointed.
    fn grant(&mut self) -> Ask {
        let longest = match self.dice.permille(500) {
            _ if self.mixture.keeps_leases => 3,
            true => 6,
            false => 60,
        };
        Ask::LeaseGrant { ttl_secs: self.dice.signed(1, longest) }
    }

    /// Something about one of the client's leases; a new lease when it has none.
    fn of_a_lease(&mut self, ask: impl FnOnce(OpId) -> Ask) -> Ask {
        match self.dice.pick(&self.past.grants).copied() {
            Some(grant) => ask(grant),
            None => self.grant(),
        }
    }

    fn key(&mut self) -> u16 {
        u16::try_from(self.dice.below(self.mixture.keys)).unwrap_or(0)
    }

    fn keys(&mut self) -> Keys {
        match self.dice.below(20) {
            0..=10 => Keys::One(self.key()),
            11..=13 => {
                let first = self.key();
                let span = u16::try_from(self.dice.below(self.mixture.keys)).unwrap_or(0);
                Keys::Between(first, first.saturating_add(span))
            }
            14 => {
                // The wrong way round: an empty range is legal.
                let first = self.key();
                Keys::Between(first, first / 2)
            }
            15 | 16 => Keys::Ten(self.key() / 10),
            17 => Keys::From(self.key()),
            _ => Keys::All,
        }
    }

    fn put(&mut self) -> PutAsk {
        let leased = self.dice.permille(self.mixture.leased_permille);
        let lease = if leased { self.dice.pick(&self.past.grants).copied() } else { None };
        let ignore_value = self.dice.permille(30);
        PutAsk {
            key: self.key(),
            lease,
            prev_kv: self.dice.permille(300),
            ignore_value,
            ignore_lease: lease.is_none() && self.dice.permille(30),
            pad: self.pad(),
        }
    }

    fn pad(&mut self) -> u16 {
        let large = self.dice.permille(self.mixture.large_permille);
        if large { u16::try_from(self.dice.between(400, 6_000)).unwrap_or(400) } else { 0 }
    }

    fn delete(&mut self) -> DeleteAsk {
        let keys = if self.dice.permille(700) { Keys::One(self.key()) } else { self.keys() };
        DeleteAsk { keys, prev_kv: self.dice.permille(500) }
    }

    fn range(&mut self) -> RangeAsk {
        let old = self.dice.permille(self.mixture.old_read_permille);
        let at = match self.dice.below(20) {
            _ if !old => RevisionAt::Now,
            0 => RevisionAt::Ahead(self.dice.signed(1, 50)),
            _ => RevisionAt::Back(self.dice.signed(0, 100)),
        };
        let sorted = self.dice.permille(150);
        RangeAsk {
            keys: self.keys(),
            limit: if self.dice.permille(200) { self.dice.signed(1, 5) } else { 0 },
            at,
            serializable: self.dice.permille(self.mixture.serializable_permille),
            count_only: self.dice.permille(100),
            keys_only: self.dice.permille(80),
            sort_order: if sorted { self.order() } else { SortOrder::None },
            sort_target: if sorted { self.target() } else { SortTarget::Key },
            modified_since: self.dice.permille(50).then_some(RevisionAt::Back(self.dice.signed(0, 50))),
        }
    }

    fn order(&mut self) -> SortOrder {
        if self.dice.permille(500) { SortOrder::Ascend } else { SortOrder::Descend }
    }

    fn target(&mut self) -> SortTarget {
        let targets =
            [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
        self.dice.pick(&targets).copied().unwrap_or_default()
    }

    fn txn(&mut self, depth: u32) -> TxnAsk {
        let compares = (0..self.dice.between(0, 2)).map(|_| self.compare()).collect();
        TxnAsk { compares, success: self.branch(depth), failure: self.branch(depth) }
    }

    /// A branch; mostly without a key written twice, which is refused.
    fn branch(&mut self, depth: u32) -> Vec<StepAsk> {
        let mut written = std::collections::BTreeSet::new();
        let careless = self.dice.permille(20);
        let mut steps = Vec::new();
        for _ in 0..self.dice.between(0, 3) {
            let step = match self.dice.below(20) {
                0..=9 => StepAsk::Put(self.put()),
                10..=15 => StepAsk::Range(self.range_inside()),
                16 | 17 => StepAsk::Delete(DeleteAsk { keys: Keys::One(self.key()), prev_kv: true }),
                _ if depth < TXN_DEPTH_MAX => StepAsk::Txn(self.txn(depth + 1)),
                _ => StepAsk::Range(self.range_inside()),
            };
            if careless || fresh(&step, &mut written) {
                steps.push(step);
            }
        }
        steps
    }

    /// Ranges in a transaction read the present: the transaction is one moment.
    fn range_inside(&mut self) -> RangeAsk {
        let mut range = self.range();
        range.at = RevisionAt::Now;
        range.serializable = false;
        range
    }

    fn compare(&mut self) -> CompareAsk {
        let key = self.key();
        let results =
            [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
        let result = self.dice.pick(&results).copied().unwrap_or_default();
        let against = match self.dice.below(12) {
            0 | 1 => Against::Version(self.dice.signed(0, 3)),
            2 | 3 => Against::VersionSeen(key),
            4..=6 => Against::ModSeen(key),
            7 => Against::Mod(RevisionAt::Back(self.dice.signed(0, 30))),
            8 => Against::Create(RevisionAt::Back(self.dice.signed(0, 60))),
            9 | 10 => match self.dice.pick(&self.past.puts) {
                Some(put) => Against::ValueOf(*put),
                None => Against::Version(0),
            },
            _ => match self.dice.pick(&self.past.grants) {
                Some(grant) => Against::LeaseOf(*grant),
                None => Against::Version(1),
            },
        };
        let keys = if self.dice.permille(850) { Keys::One(key) } else { self.keys() };
        CompareAsk { keys, result, against }
    }
}

/// Whether this step writes no key that an earlier one wrote; notes what it writes, at every depth.
fn fresh(step: &StepAsk, written: &mut std::collections::BTreeSet<u16>) -> bool {
    match step {
        StepAsk::Put(put) => written.insert(put.key),
        StepAsk::Delete(DeleteAsk { keys: Keys::One(key), .. }) => written.insert(*key),
        StepAsk::Delete(_) => false,
        StepAsk::Range(_) => true,
        StepAsk::Txn(txn) => {
            // The branches exclude each other, but staying clear of both is simpler and loses nothing.
            txn.success.iter().chain(&txn.failure).all(|step| fresh(step, written))
        }
    }
}
