//! File systems that are full for a while.
//!
//! A full disk is within what the product may assume: nothing acknowledged may be lost, and the member must be back
//! when there is space again. Until then it may stop, and say why.

use super::{Strike, unknown};
use crate::plan::Fault;

pub(super) async fn strike(strike: &Strike<'_>, fault: Fault) {
    let Fault::DiskFull { free_bytes, .. } = fault else { return unknown(fault) };
    strike.world.take_space(strike.struck, free_bytes);
    strike.last().await;
    strike.world.give_space(strike.struck);
}
