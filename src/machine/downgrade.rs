//! A downgrade that the cluster is prepared for: a replicated fact, so that every member says the same of it.
//!
//! Nothing that is stored changes by it. Whether members of the lower level may come is for those who let them in to
//! judge by it.

use bytes::Bytes;
use prost::Message;

use crate::machine::State;
use crate::machine::command::{CommandError, Reply};
use crate::machine::effects::Effects;
use crate::machine::members::MemberKey;
use crate::machine::persist::Bucket;
use crate::pb::record as pb;
use crate::types::ApiLevel;

/// A change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DowngradeChange {
    /// Prepare for members of this level. One at a time.
    Enable(ApiLevel),
    /// Think better of it.
    Cancel,
}

/// A level as bytes.
pub fn encode_level(level: ApiLevel) -> Bytes {
    level_to_pb(level).encode_to_vec().into()
}

/// A level from bytes.
///
/// # Errors
/// The value is no level.
pub fn decode_level(value: Bytes) -> Result<ApiLevel, prost::DecodeError> {
    pb::ApiLevel::decode(value).map(|level| level_from_pb(&level))
}

/// A level as it is stored.
pub fn level_to_pb(level: ApiLevel) -> pb::ApiLevel {
    pb::ApiLevel { major: level.major, minor: level.minor }
}

/// A level from its stored form.
pub fn level_from_pb(level: &pb::ApiLevel) -> ApiLevel {
    ApiLevel { major: level.major, minor: level.minor }
}

impl State {
    /// The level that the cluster is prepared to go down to, if it is.
    pub fn downgrade(&self) -> Option<ApiLevel> {
        self.members.downgrade()
    }

    pub(crate) fn change_downgrade(
        &mut self,
        effects: &mut Effects,
        change: DowngradeChange,
    ) -> Result<Reply, CommandError> {
        let (old, new) = match (self.downgrade(), change) {
            // The planted bug leaves it to those who ask whether another is prepared.
            (Some(other), DowngradeChange::Enable(target)) if crate::mutant!("downgrade-prepared-twice") => {
                (Some(other), Some(target))
            }
            (Some(_), DowngradeChange::Enable(_)) => {
                crate::sometimes!("a downgrade was prepared for while another was asked for");
                return Err(CommandError::DowngradeInProgress);
            }
            (None, DowngradeChange::Cancel) => return Err(CommandError::NoDowngrade),
            (None, DowngradeChange::Enable(target)) => (None, Some(target)),
            (Some(target), DowngradeChange::Cancel) => (Some(target), None),
        };
        self.members.set_downgrade(new);
        let key = MemberKey::Downgrade.encode();
        self.replace(effects, Bucket::Members, key, old.map(encode_level), new.map(encode_level));
        Ok(Reply::Done)
    }
}
