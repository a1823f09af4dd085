//! The seams of a tool that works offline, on a disk that is no member's.

use std::sync::Arc;

use quorate::env::{Env, Process};
use quorate_check::verdict::Class;
use quorate_disk::SimDisk;

use super::World;
use super::clock::{HostClock, SimClock};
use super::entropy::SimEntropy;
use super::workers::SimWorkers;
use crate::plan::{MemberIndex, MemberPlan};

/// Keys its draws: no member stands there.
const TOOL: MemberIndex = MemberIndex(u8::MAX);

/// A tool that must not end before its work is done.
struct Tool(World);

impl Process for Tool {
    fn fatal(&self, reason: &str) {
        self.0.finding(Class::Crash, "tool", format!("a tool stopped: {reason}"));
    }
}

impl World {
    /// The seams of a tool that works on this disk.
    pub fn tool(&self, disk: &SimDisk) -> Env {
        let plan = self.plan();
        Env {
            clock: Arc::new(SimClock(Arc::new(HostClock::new(self.time().clone(), MemberPlan::default())))),
            disk: disk.mount(),
            entropy: Arc::new(SimEntropy::new(plan.seed, TOOL, 0)),
            workers: Arc::new(SimWorkers {
                node: self.supervisor().clone(),
                disk: disk.clone(),
                time: self.time().clone(),
                knobs: plan.knobs,
                schedule_seed: plan.schedule_seed,
                member: TOOL,
                life: 0,
            }),
            process: Arc::new(Tool(self.clone())),
        }
    }
}
