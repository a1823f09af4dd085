//! The end of a member's process by its own will.

use quorate::env::Process;

use super::World;
use crate::plan::MemberIndex;

/// The process of one life.
pub struct SimProcess {
    /// Where it lives.
    pub world: World,
    /// Whose process.
    pub member: MemberIndex,
    /// Which life; a word from an earlier one changes nothing.
    pub life: u64,
}

impl Process for SimProcess {
    fn fatal(&self, reason: &str) {
        self.world.stopped_itself(self.member, self.life, &format!("stopped: {reason}"));
    }
}
