//! Draws operations in quick succession: what hurts by its number, or is compared.

use quorate_check::types::OpId;

use crate::plan::MemberIndex;
use crate::plan::dice::Dice;
use crate::plan::operation::{Ask, DeleteAsk, Keys, PutAsk, RevisionAt};

/// The kinds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Burst {
    /// Many leases that end together, some with keys.
    Leases,
    /// Puts and deletions of one key.
    Hot,
    /// The hash of one revision, asked of every member.
    Hashes,
}

/// An operation, and whom it is for when not for whom the client asks anyway.
type Addressed = (Option<MemberIndex>, Ask);

impl Burst {
    /// The operations, the `n`th of which is to be named `name(n)`.
    pub(super) fn draw(
        self,
        dice: &mut Dice,
        keys: u64,
        members: u8,
        name: impl Fn(u64) -> OpId,
    ) -> Vec<Addressed> {
        let key = |dice: &mut Dice| u16::try_from(dice.below(keys)).unwrap_or(0);
        match self {
            Burst::Leases => {
                let ttl_secs = dice.signed(1, 8);
                let mut asks: Vec<Addressed> = Vec::new();
                let mut grant = name(0);
                for nth in 0..dice.between(20, 120) {
                    let ask = match dice.below(if nth == 0 { 1 } else { 8 }) {
                        0..=4 => {
                            grant = name(nth);
                            Ask::LeaseGrant { ttl_secs }
                        }
                        5 | 6 => Ask::Put(PutAsk { key: key(dice), lease: Some(grant), ..PutAsk::default() }),
                        _ => Ask::LeaseTimeToLive { grant, keys: true },
                    };
                    asks.push((None, ask));
                }
                asks.push((None, Ask::LeaseList {}));
                asks
            }
            Burst::Hot => {
                let key = key(dice);
                let count = dice.between(20, 100);
                let mut one = || match dice.permille(700) {
                    true => Ask::Put(PutAsk { key, prev_kv: dice.permille(300), ..PutAsk::default() }),
                    false => Ask::Delete(DeleteAsk { keys: Keys::One(key), prev_kv: dice.permille(300) }),
                };
                (0..count).map(|_| (None, one())).collect()
            }
            Burst::Hashes => {
                let at =
                    if dice.permille(800) { RevisionAt::Round(dice.signed(5, 60)) } else { RevisionAt::Now };
                (0..members).map(|index| (Some(MemberIndex(index)), Ask::HashKv { at })).collect()
            }
        }
    }
}
