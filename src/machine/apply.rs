//! Applying one batch: request by request, each either whole or refused without a trace.
//!
//! Every decision here depends on the state and the batch alone.

use crate::machine::alarm::alarm_key;
use crate::machine::command::{
    AlarmKind, Answer, Batch, Caller, Command, CommandError, Compact, Put, Reply, Txn,
};
use crate::machine::dedupe::dedupe_key;
use crate::machine::effects::{Effects, Records, RecordsError};
use crate::machine::lease::lease_key;
use crate::machine::overlay::Overlay;
use crate::machine::persist::Bucket;
use crate::machine::state::State;
use crate::machine::txn::{self, Plan};
use crate::types::{LeaseId, LogId, MemberId, RequestId, TtlSecs};

/// A command's outcome: the outer error stops the machine, the inner one is the client's.
type Outcome = Result<Result<Reply, CommandError>, RecordsError>;

impl State {
    /// Applies the batch of one log entry. The effects do not contain the applied log id: the caller persists
    /// [`crate::machine::state::applied_write`] once for all entries it groups into one engine write.
    ///
    /// # Errors
    /// [`RecordsError`] when `records` cannot answer. The state is then half-changed and must be given up.
    pub fn apply(
        &mut self,
        records: &dyn Records,
        log_id: LogId,
        batch: &Batch,
    ) -> Result<Effects, RecordsError> {
        self.set_applied(log_id);
        let mut effects = Effects::default();
        let mut overlay = Overlay::new(records);
        let (member, incarnation) = (batch.member, batch.incarnation);
        let (known, sums) = (self.known(member), (self.kv.sums, self.kv.compacted));
        let mut fresh = Vec::new();
        if let Some(sender) = self.dedupe.admit(member, incarnation) {
            sender.forget_below(batch.lowest_unanswered);
            fresh.extend(batch.requests.iter().filter(|request| sender.note(request.sequence)));
            if fresh.len() < batch.requests.len() {
                crate::sometimes!("a repeated request was passed over");
            }
        } else {
            crate::sometimes!("a batch of an earlier life was passed over");
        }
        self.persist_known(&mut effects, member, known);
        for request in fresh {
            let result = match self.check_caller(&request.caller, &request.command) {
                Ok(()) => self.command(&mut effects, &mut overlay, log_id, &request.command)?,
                Err(refused) => Err(refused),
            };
            let id = RequestId { member, incarnation, sequence: request.sequence };
            effects.answers.push((id, Answer { revision: self.kv.revision, result }));
        }
        if sums != (self.kv.sums, self.kv.compacted) {
            effects.writes.push(self.kv.meta_write());
        }
        Ok(effects)
    }

    /// Carries out one command that another store's log holds at `log_id`. Nothing is remembered of who sent it: it comes
    /// once. What it would have been refused it is refused.
    ///
    /// # Errors
    /// As [`State::apply`].
    pub fn carry_out(
        &mut self,
        records: &dyn Records,
        log_id: LogId,
        caller: &Caller,
        command: &Command,
    ) -> Result<Effects, RecordsError> {
        self.set_applied(log_id);
        let (mut effects, mut overlay) = (Effects::default(), Overlay::new(records));
        let sums = (self.kv.sums, self.kv.compacted);
        if self.check_caller(caller, command).is_ok() {
            drop(self.command(&mut effects, &mut overlay, log_id, command)?);
        }
        if sums != (self.kv.sums, self.kv.compacted) {
            effects.writes.push(self.kv.meta_write());
        }
        Ok(effects)
    }

    /// What is persisted of a member's requests: key and value.
    fn known(&self, member: MemberId) -> Option<(bytes::Bytes, bytes::Bytes)> {
        let sender = self.dedupe.sender(member)?;
        Some((dedupe_key(member, sender.incarnation()), sender.encode()))
    }

    fn persist_known(
        &mut self,
        effects: &mut Effects,
        member: MemberId,
        before: Option<(bytes::Bytes, bytes::Bytes)>,
    ) {
        let Some((key, new)) = self.known(member) else { return };
        let mut old = None;
        if let Some((old_key, old_value)) = before {
            if old_key == key {
                old = Some(old_value);
            } else {
                self.replace(effects, Bucket::Dedupe, old_key, Some(old_value), None);
            }
        }
        self.replace(effects, Bucket::Dedupe, key, old, Some(new));
    }

    fn command(
        &mut self,
        effects: &mut Effects,
        overlay: &mut Overlay<'_>,
        log_id: LogId,
        command: &Command,
    ) -> Outcome {
        if let Err(refused) = self.alarms.check(command) {
            crate::sometimes!("an alarm stopped a command");
            return Ok(Err(refused));
        }
        match command {
            Command::Put(put) => self.put(effects, overlay, put),
            Command::DeleteRange(delete) => {
                let before = self.kv.revision;
                let mut writer = self.writer(overlay);
                let reply = txn::delete_range(&mut writer, delete)?;
                writer.commit(effects);
                // The planted bug counts every deletion as a change.
                if self.kv.revision == before && crate::mutant!("mvcc-revision-raised-by-an-empty-delete") {
                    self.kv.revision = before.next();
                }
                Ok(Ok(reply))
            }
            Command::Txn(txn) => self.txn(effects, overlay, txn),
            Command::Compact(Compact { revision }) => {
                Ok(self.kv.compact(overlay, *revision)?.map(|()| Reply::Done))
            }
            Command::LeaseGrant { id, ttl } => Ok(self.lease_grant(effects, *id, *ttl)),
            Command::LeaseRevoke { id } => Ok(self
                .lease_end(effects, overlay, *id)
                .map(|deleted| Reply::LeaseRevoke { deleted })
                .ok_or(CommandError::LeaseNotFound)),
            Command::LeaseExpire { ids } => {
                for id in ids {
                    self.lease_end(effects, overlay, *id);
                }
                Ok(Ok(Reply::Done))
            }
            Command::LeaseCheckpoint { remaining } => {
                self.lease_checkpoint(effects, remaining);
                Ok(Ok(Reply::Done))
            }
            Command::Alarm { raise, member, kind } => {
                self.alarm(effects, *raise, *member, *kind);
                Ok(Ok(Reply::Done))
            }
            Command::MemberAttributes { member, name, client_urls } => {
                Ok(self.member_attributes(effects, *member, name, client_urls))
            }
            Command::Bootstrap { members } => {
                self.bootstrap(effects, members);
                Ok(Ok(Reply::Done))
            }
            Command::ChangeMembers(change) => Ok(self.change_members(effects, change)),
            Command::ChangeAuth(change) => Ok(self.change_auth(effects, change)),
            Command::Authenticate { user, auth_revision, token } => {
                Ok(self.authenticate(effects, log_id, user, *auth_revision, token))
            }
            Command::Downgrade(change) => Ok(self.change_downgrade(effects, *change)),
            Command::Noop => Ok(Ok(Reply::Done)),
        }
    }

    fn put(&mut self, effects: &mut Effects, overlay: &mut Overlay<'_>, put: &Put) -> Outcome {
        if let Err(refused) = txn::check_put(&self.kv, &self.leases, put) {
            return Ok(Err(refused));
        }
        let mut writer = self.writer(overlay);
        let reply = txn::put(&mut writer, put)?;
        writer.commit(effects);
        Ok(Ok(reply))
    }

    fn txn(&mut self, effects: &mut Effects, overlay: &mut Overlay<'_>, txn: &Txn) -> Outcome {
        let plan = Plan::decide(&self.kv, overlay, txn)?;
        if let Err(refused) = plan.check(&self.kv, &self.leases) {
            return Ok(Err(refused));
        }
        let mut writer = self.writer(overlay);
        let reply = plan.execute(&mut writer)?;
        writer.commit(effects);
        Ok(Ok(Reply::Txn(reply)))
    }

    fn lease_grant(
        &mut self,
        effects: &mut Effects,
        id: LeaseId,
        ttl: TtlSecs,
    ) -> Result<Reply, CommandError> {
        let lease = self.leases.grant(id, ttl)?;
        let (ttl, encoded) = (lease.ttl, lease.encode());
        self.replace(effects, Bucket::Leases, lease_key(id), None, Some(encoded));
        Ok(Reply::LeaseGrant { id, ttl })
    }

    /// Ends a lease and deletes its keys in one revision; answers how many, or `None` for no such lease.
    fn lease_end(&mut self, effects: &mut Effects, overlay: &mut Overlay<'_>, id: LeaseId) -> Option<i64> {
        let lease = self.leases.get(id)?;
        let (encoded, keys) = (lease.encode(), lease.keys().cloned().collect::<Vec<_>>());
        let mut writer = self.writer(overlay);
        let mut deleted = 0;
        for key in &keys {
            deleted += usize::from(writer.delete(key));
            // The planted bug deletes each key in a transaction of its own.
            if crate::mutant!("lease-keys-end-one-by-one") {
                writer.commit(effects);
                writer = self.writer(overlay);
            }
        }
        writer.commit(effects);
        assert!(deleted == keys.len(), "every key attached to a lease lives");
        if deleted > 1 {
            crate::sometimes!("a lease ended with several keys");
        }
        self.leases.remove(id);
        self.replace(effects, Bucket::Leases, lease_key(id), Some(encoded), None);
        Some(i64::try_from(deleted).unwrap_or(i64::MAX))
    }

    fn lease_checkpoint(&mut self, effects: &mut Effects, remaining: &[(LeaseId, TtlSecs)]) {
        for (id, remaining) in remaining {
            let Some(old) = self.leases.get(*id).map(|lease| lease.encode()) else { continue };
            let new = self.leases.checkpoint(*id, *remaining).map(|lease| lease.encode());
            self.replace(effects, Bucket::Leases, lease_key(*id), Some(old), new);
        }
    }

    fn alarm(&mut self, effects: &mut Effects, raise: bool, member: MemberId, kind: AlarmKind) {
        let empty = Some(bytes::Bytes::new());
        if raise {
            if self.alarms.raise(kind, member) {
                crate::sometimes!("an alarm was raised");
                self.replace(effects, Bucket::Alarms, alarm_key(kind, member), None, empty);
            }
            return;
        }
        for (kind, member) in self.alarms.clear(kind, member) {
            self.replace(effects, Bucket::Alarms, alarm_key(kind, member), empty.clone(), None);
        }
    }
}
