//! A plan: everything a run will do, written down before it starts.
//!
//! A seed makes a plan; a run, a replay and a shrink act on the plan, so a saved failure survives every change to
//! the generator. Operations refer to each other by name ("the lease granted by operation 300017") and to
//! revisions relatively, and all chance inside a run is drawn by key, so that one thing taken out of a plan does
//! not re-roll the rest.
//!
//! Plain data: nothing here runs anything.

pub mod ambush;
pub mod dice;
pub mod ending;
mod family;
pub mod fault;
mod focus;
pub mod generate;
mod knobs;
pub mod operation;

use std::collections::BTreeSet;
use std::path::Path;

use quorate_check::types::MemberId;
use serde::{Deserialize, Serialize};

pub use ending::Ending;
pub use family::Family;
pub use fault::{Fault, PlannedFault, Target};
pub use focus::Focus;
pub use knobs::{Knobs, Span};
pub use operation::{Ask, ClientPlan, PlannedOp};

/// The form of plan this program writes and reads.
pub const VERSION: u32 = 1;

/// A member's place in the plan, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent, deny_unknown_fields)]
pub struct MemberIndex(pub u8);

impl std::fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m{}", u32::from(self.0) + 1)
    }
}

/// The first founder's id; the others follow.
const FIRST_MEMBER: u64 = 0xA1;
/// A member that there never is, and that operators say differs from the others: what members find themselves is of
/// somebody.
pub const NOBODY: MemberId = MemberId(0xAFFF);

/// The id of a founder.
pub fn founder_id(index: MemberIndex) -> MemberId {
    MemberId(FIRST_MEMBER + u64::from(index.0))
}

/// Everything a run will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The form of this plan; see [`VERSION`].
    pub version: u32,
    /// The seed it was made from. Keys entropy and disks too.
    #[serde(default)]
    pub seed: u64,
    /// Orders tasks and draws network latencies; another one gives the same story another course.
    #[serde(default)]
    pub schedule_seed: u64,
    /// How long clients and faults are at work, simulated milliseconds.
    pub duration_ms: u64,
    /// The places for members.
    pub members: Vec<MemberPlan>,
    /// How many of these, from the first on, found the cluster; the others are free until a member is added. All of
    /// them, when the plan says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founders: Option<u8>,
    /// The product's knobs and the world's base conditions; plain where the plan says nothing.
    #[serde(default)]
    pub knobs: Knobs,
    /// The fault families this seed drew; for people.
    #[serde(default)]
    pub families: BTreeSet<Family>,
    /// The part of the product whose disturbances are pressed; otherwise the seed may press a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub focus: Option<Focus>,
    /// How clients reach members.
    #[serde(default)]
    pub client_path: ClientPath,
    /// How observers do.
    #[serde(default)]
    pub observer_path: ClientPath,
    /// The clients with their operations.
    pub clients: Vec<ClientPlan>,
    /// The faults, by time.
    #[serde(default)]
    pub faults: Vec<PlannedFault>,
    /// What stays broken at the end, while a quorum is healed.
    #[serde(default)]
    pub ending: Ending,
}

/// How clients reach members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientPath {
    /// As objects, past services and network.
    #[default]
    Direct,
    /// Through the services, over the network, from a host of their own.
    Wire,
}

/// One member's own conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemberPlan {
    /// How much too fast its monotonic clock runs, in millionths; negative is slow.
    pub clock_ppm: i64,
    /// By how much its wall clock is wrong, milliseconds.
    pub wall_offset_ms: i64,
}

/// A plan that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read or written.
    #[error("plan {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the host said.
        error: std::io::Error,
    },
    /// It is not the JSON of a plan.
    #[error("plan {path}: {error}")]
    Json {
        /// The file.
        path: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// It says something that cannot be run.
    #[error("plan {path}: {what}")]
    Nonsense {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn load(path: &Path) -> Result<Plan, PlanError> {
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| PlanError::Io { path: shown.clone(), error })?;
        let plan: Plan =
            serde_json::from_str(&text).map_err(|error| PlanError::Json { path: shown.clone(), error })?;
        plan.check().map_err(|what| PlanError::Nonsense { path: shown, what })?;
        Ok(plan)
    }

    /// Writes the plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn save(&self, path: &Path) -> Result<(), PlanError> {
        let shown = path.display().to_string();
        let text = self.to_json().map_err(|error| PlanError::Json { path: shown.clone(), error })?;
        std::fs::write(path, text).map_err(|error| PlanError::Io { path: shown, error })
    }

    /// The plan as it is saved.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// What it is about, on one line.
    pub fn in_a_line(&self) -> String {
        let places = self.members.len();
        let founders = self.founders.map_or(places, usize::from);
        let named = |value: serde_json::Result<serde_json::Value>| {
            value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        let focus = self.focus.map(|focus| named(serde_json::to_value(focus)));
        let families: Vec<String> =
            self.families.iter().map(|family| named(serde_json::to_value(family))).collect();
        format!(
            "seed {}: {founders} members, {} places free, {} s, focus {}, {} operations, {} faults: {}",
            self.seed,
            places - founders.min(places),
            self.duration_ms / 1000,
            focus.as_deref().unwrap_or("none"),
            self.operations().count(),
            self.faults.len(),
            families.join(" ")
        )
    }

    /// Says what in this plan cannot be run, if anything.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("its version is {}, this program reads {VERSION}", self.version));
        }
        let members = self.members.len();
        if members == 0 || members > usize::from(u8::MAX) {
            return Err(format!("{members} members cannot form a cluster"));
        }
        if self.founders.is_some_and(|founders| founders == 0 || usize::from(founders) > members) {
            return Err(format!("its founders do not fit into {members} places"));
        }
        self.ending.check(members)?;
        let mut ids = BTreeSet::new();
        for (client, op) in self.operations() {
            if usize::from(op.member.0) >= members {
                return Err(format!("operation {} of {} asks a member that is not there", op.id, client.id));
            }
            if !ids.insert(op.id) {
                return Err(format!("operation {} is there twice", op.id));
            }
        }
        let mut ids = BTreeSet::new();
        for fault in &self.faults {
            if !ids.insert(fault.id) {
                return Err(format!("fault {} is there twice", fault.id));
            }
            if let Some(Target::Member(index)) = fault.fault.target()
                && usize::from(index.0) >= members
            {
                return Err(format!("fault {} strikes a member that is not there", fault.id));
            }
        }
        Ok(())
    }

    /// Whether the member in this place founds the cluster.
    pub fn founds(&self, index: MemberIndex) -> bool {
        self.founders.is_none_or(|founders| index.0 < founders)
    }

    /// Every operation with its client.
    pub fn operations(&self) -> impl Iterator<Item = (&ClientPlan, &PlannedOp)> {
        self.clients.iter().flat_map(|client| client.operations.iter().map(move |op| (client, op)))
    }
}
