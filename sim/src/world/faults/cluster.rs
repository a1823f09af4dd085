//! Members that come and go, and leadership that is handed over.

use super::{Strike, unknown};
use crate::plan::Fault;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let (world, struck) = (strike.world, strike.struck);
    match fault {
        Fault::MoveLeader { .. } => world.move_leader(struck).await,
        Fault::AddMember { learner } => world.add_member(strike.id, learner).await,
        Fault::PromoteMember {} => world.promote_member(strike.id).await,
        Fault::RemoveMember { .. } => world.remove_member(strike.id, struck).await,
        Fault::ReplaceMember { .. } => world.replace_member(strike.id, struck).await,
        other => unknown(other),
    }
}
