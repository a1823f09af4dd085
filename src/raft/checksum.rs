//! The checksum over the history of keys, computed in steps over a member's state, for clients and for peers.
//!
//! Between two steps the state is free for whoever applies. A snapshot that is installed meanwhile, or a compaction beyond
//! what the checksum leaves out, ends the attempt; whether the revision still stands is then asked anew.

use tokio::task::yield_now;

use crate::machine::command::CommandError;
use crate::machine::effects::RecordsError;
use crate::machine::mvcc::hash_kv::HashKv;
use crate::raft::replica::Replica;
use crate::types::Revision;

impl Replica {
    /// The checksum up to `revision` (0: the current one), as if history were compacted at `compacted`, or where it is if
    /// that is later; with the revision that the store had at the beginning.
    ///
    /// # Errors
    /// Outer: a record could not be read. Inner: the revision is compacted or in the future.
    pub async fn checksum(
        &self,
        revision: Revision,
        compacted: Revision,
    ) -> Result<(Revision, Result<HashKv, CommandError>), RecordsError> {
        loop {
            if let Some(answer) = self.try_checksum(revision, compacted).await? {
                return Ok(answer);
            }
        }
    }

    async fn try_checksum(
        &self,
        revision: Revision,
        compacted: Revision,
    ) -> Result<Option<(Revision, Result<HashKv, CommandError>)>, RecordsError> {
        let (current, installs, mut scan) = {
            let state = self.readable()?;
            match state.hash_kv_begin(revision, compacted) {
                Err(refused) => return Ok(Some((state.revision(), Err(refused)))),
                Ok(scan) => (state.revision(), self.installs(), scan),
            }
        };
        loop {
            {
                let state = self.readable()?;
                if self.installs() != installs {
                    return Ok(None);
                }
                match state.hash_kv_step(&mut scan, self.store())? {
                    Err(_) => return Ok(None),
                    Ok(Some(hash)) => return Ok(Some((current, Ok(hash)))),
                    Ok(None) => {}
                }
            }
            crate::disturb!("a checksum pauses", self.clock());
            yield_now().await;
        }
    }
}
