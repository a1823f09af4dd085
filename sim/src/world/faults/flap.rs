//! Links that come and go: those of one member together, or some of all, one after the other.

use std::time::Duration;

use super::{Strike, unknown};
use crate::net::cuts::{between, pairs};
use crate::plan::dice::{Dice, Purpose};
use crate::plan::fault::Direction;
use crate::plan::{Fault, MemberIndex};
use crate::world::World;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let members: Vec<MemberIndex> = strike.world.members().collect();
    match fault {
        Fault::Flap { direction, period_ms, .. } => {
            flap(strike, &members, direction, Duration::from_millis(period_ms)).await;
        }
        Fault::Swizzle { key, permille } => swizzle(strike, &members, key, permille).await,
        other => unknown(other),
    }
}

async fn flap(strike: &Strike<'_>, members: &[MemberIndex], direction: Direction, period: Duration) {
    let links = World::links(&between(members, direction, |index| index == strike.struck));
    let period = period.max(Duration::from_millis(1));
    let mut left = strike.for_;
    while !left.is_zero() {
        strike.world.network().cut(&links);
        strike.wait(period.min(left)).await;
        strike.world.network().mend(&links);
        left = left.saturating_sub(period);
        strike.wait(period.min(left)).await;
        left = left.saturating_sub(period);
    }
}

/// The first half of the time links go, in the second they come back; each in its turn.
async fn swizzle(strike: &Strike<'_>, members: &[MemberIndex], key: u64, permille: u64) {
    let mut dice = Dice::keyed(key, Purpose::Fault, strike.id);
    let cut = World::links(&pairs(members, |_, _| dice.permille(permille)));
    let mended = shuffled(&mut dice, cut.clone());
    let cut = shuffled(&mut dice, cut);
    let steps = u32::try_from(cut.len() * 2).unwrap_or(u32::MAX).max(1);
    for link in &cut {
        strike.world.network().cut(std::slice::from_ref(link));
        strike.wait(strike.for_ / steps).await;
    }
    for link in &mended {
        strike.wait(strike.for_ / steps).await;
        strike.world.network().mend(std::slice::from_ref(link));
    }
}

fn shuffled<T>(dice: &mut Dice, mut things: Vec<T>) -> Vec<T> {
    let mut order = Vec::with_capacity(things.len());
    while !things.is_empty() {
        let nth = dice.below(u64::try_from(things.len()).unwrap_or(u64::MAX));
        order.push(things.swap_remove(usize::try_from(nth).unwrap_or(0)));
    }
    order
}
