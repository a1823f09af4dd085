//! The reference: the API's rules, written as plainly as possible and with no thought of speed.
//!
//! It shares the vocabulary (commands, answers) with the machine and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate::machine::command::*;
use quorate::machine::downgrade::DowngradeChange;
use quorate::machine::effects::Event;
use quorate::types::{ApiLevel, LeaseId, MemberId, Revision, TtlSecs};

type Keys = BTreeMap<Bytes, KeyValue>;

#[derive(Clone, Debug)]
pub struct Model {
    /// The key space at every revision from 1 on.
    pub history: Vec<Keys>,
    /// The events of every revision, in order.
    pub events: Vec<Event>,
    pub compacted: i64,
    pub leases: BTreeMap<LeaseId, (TtlSecs, i64)>,
    pub alarms: BTreeSet<(AlarmKind, MemberId)>,
    pub downgrade: Option<ApiLevel>,
    pub members: Vec<Member>,
    pub removed: BTreeSet<MemberId>,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            history: vec![Keys::new()],
            events: Vec::new(),
            compacted: -1,
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            downgrade: None,
            members: Vec::new(),
            removed: BTreeSet::new(),
        }
    }
}

/// The state inside a transaction.
struct Draft<'m> {
    before: &'m Model,
    keys: Keys,
    events: Vec<Event>,
}

impl Model {
    pub fn revision(&self) -> i64 {
        i64::try_from(self.history.len()).unwrap()
    }

    fn now(&self) -> &Keys {
        self.history.last().unwrap()
    }

    fn at(&self, revision: i64) -> &Keys {
        &self.history[usize::try_from(revision).unwrap() - 1]
    }

    pub fn run(&mut self, command: &Command) -> (Answer, Vec<Event>) {
        let seen = self.events.len();
        let result = self.refusal(command).map_or_else(|| self.command(command), Err);
        (Answer { revision: Revision(self.revision()), result }, self.events[seen..].to_vec())
    }

    fn refusal(&self, command: &Command) -> Option<CommandError> {
        let alarmed = |kind| self.alarms.iter().any(|alarm| alarm.0 == kind);
        let name = format!("{command:?}");
        let of_keys = ["Put", "DeleteRange", "Txn", "Compact", "LeaseGrant", "LeaseRevoke", "LeaseExpire"];
        if alarmed(AlarmKind::Corrupt) && of_keys.iter().any(|kind| name.starts_with(kind)) {
            return Some(CommandError::Corrupt);
        }
        let needs_space = match command {
            Command::Put(_) | Command::LeaseGrant { .. } => true,
            Command::Txn(_) => name.contains("Put("),
            _ => false,
        };
        (alarmed(AlarmKind::NoSpace) && needs_space).then_some(CommandError::NoSpace)
    }

    fn command(&mut self, command: &Command) -> Result<Reply, CommandError> {
        match command {
            Command::Put(put) => {
                let txn = Txn { success: vec![TxnOp::Put(put.clone())], ..Txn::default() };
                Ok(self.txn(&txn)?.replies.remove(0).1)
            }
            Command::DeleteRange(delete) => {
                let txn = Txn { success: vec![TxnOp::DeleteRange(delete.clone())], ..Txn::default() };
                Ok(self.txn(&txn)?.replies.remove(0).1)
            }
            Command::Txn(txn) => self.txn(txn).map(Reply::Txn),
            Command::Compact(Compact { revision }) => {
                if revision.0 <= self.compacted {
                    return Err(CommandError::Compacted(Revision(self.compacted)));
                }
                if revision.0 > self.revision() {
                    return Err(CommandError::FutureRevision);
                }
                self.compacted = revision.0;
                Ok(Reply::Done)
            }
            Command::LeaseGrant { id, ttl } => {
                if self.leases.contains_key(id) {
                    return Err(CommandError::LeaseExists);
                }
                self.leases.insert(*id, (*ttl, 0));
                Ok(Reply::LeaseGrant { id: *id, ttl: *ttl })
            }
            Command::LeaseRevoke { id } => {
                self.leases.contains_key(id).then_some(()).ok_or(CommandError::LeaseNotFound)?;
                Ok(Reply::LeaseRevoke { deleted: self.end_lease(*id) })
            }
            Command::LeaseExpire { ids } => {
                ids.iter().for_each(|id| {
                    self.end_lease(*id);
                });
                Ok(Reply::Done)
            }
            Command::LeaseCheckpoint { remaining } => {
                for (id, left) in remaining {
                    if let Some(lease) = self.leases.get_mut(id) {
                        lease.1 = left.0.min(lease.0.0);
                    }
                }
                Ok(Reply::Done)
            }
            Command::ChangeAuth(_) | Command::Authenticate { .. } => {
                panic!("the model knows no users: {command:?}")
            }
            Command::Downgrade(change) => match (change, self.downgrade) {
                (DowngradeChange::Enable(_), Some(_)) => Err(CommandError::DowngradeInProgress),
                (DowngradeChange::Cancel, None) => Err(CommandError::NoDowngrade),
                (DowngradeChange::Enable(target), None) => {
                    self.downgrade = Some(*target);
                    Ok(Reply::Done)
                }
                (DowngradeChange::Cancel, Some(_)) => {
                    self.downgrade = None;
                    Ok(Reply::Done)
                }
            },
            Command::Alarm { raise: true, member, kind } => {
                self.alarms.insert((*kind, *member));
                Ok(Reply::Done)
            }
            Command::Alarm { raise: false, member, kind } => {
                self.alarms.retain(|alarm| alarm.0 != *kind || (member.0 != 0 && alarm.1 != *member));
                Ok(Reply::Done)
            }
            Command::MemberAttributes { member, name, client_urls } => {
                let member = self.member(*member)?;
                (member.name, member.client_urls) = (name.clone(), client_urls.clone());
                Ok(Reply::Done)
            }
            Command::Bootstrap { members } => {
                if self.members.is_empty() && self.removed.is_empty() {
                    self.members.clone_from(members);
                }
                Ok(Reply::Done)
            }
            Command::ChangeMembers(change) => self.change_members(change),
            Command::Noop => Ok(Reply::Done),
        }
    }

    fn member(&mut self, id: MemberId) -> Result<&mut Member, CommandError> {
        self.members.iter_mut().find(|member| member.id == id).ok_or(CommandError::MemberNotFound)
    }

    fn change_members(&mut self, change: &MemberChange) -> Result<Reply, CommandError> {
        let others = |id: MemberId| self.members.iter().filter(move |member| member.id != id);
        let taken = |id, urls: &[String]| {
            others(id).any(|other| other.peer_urls.iter().any(|url| urls.contains(url)))
        };
        match change {
            MemberChange::Add(member) => {
                let urls = &member.peer_urls;
                if self.members.iter().any(|other| other.peer_urls.iter().any(|url| urls.contains(url))) {
                    return Err(CommandError::PeerUrlExists);
                }
                if self.removed.contains(&member.id) || self.members.iter().any(|other| other.id == member.id)
                {
                    return Err(CommandError::MemberExists);
                }
                self.members.push(member.clone());
            }
            MemberChange::Remove(id) => {
                let votes = !self.member(*id)?.is_learner;
                if votes && !self.members.iter().any(|other| other.id != *id && !other.is_learner) {
                    return Err(CommandError::NoVoterLeft);
                }
                self.members.retain(|member| member.id != *id);
                self.removed.insert(*id);
            }
            MemberChange::Update { member: id, peer_urls } => {
                let taken = taken(*id, peer_urls);
                let member = self.member(*id)?;
                if taken {
                    return Err(CommandError::PeerUrlExists);
                }
                member.peer_urls.clone_from(peer_urls);
            }
            MemberChange::Promote(id) => {
                let member = self.member(*id)?;
                if !member.is_learner {
                    return Err(CommandError::MemberNotLearner);
                }
                member.is_learner = false;
            }
            MemberChange::Replace { member: id, by, peer_urls } => {
                let known = self.removed.contains(by) || self.members.iter().any(|other| other.id == *by);
                let before = self.member(*id)?;
                if before.peer_urls != *peer_urls {
                    return Err(CommandError::MemberNotFound);
                }
                if known {
                    return Err(CommandError::MemberExists);
                }
                *before = Member {
                    id: *by,
                    peer_urls: peer_urls.clone(),
                    is_learner: before.is_learner,
                    ..Member::default()
                };
                self.removed.insert(*id);
            }
        }
        self.members.sort_by_key(|member| member.id);
        Ok(Reply::Members(self.members.clone()))
    }

    fn end_lease(&mut self, id: LeaseId) -> i64 {
        if self.leases.remove(&id).is_none() {
            return 0;
        }
        let doomed: Vec<Bytes> =
            self.now().values().filter(|kv| kv.lease == id).map(|kv| kv.key.clone()).collect();
        let mut draft = Draft { before: self, keys: self.now().clone(), events: Vec::new() };
        doomed.iter().for_each(|key| draft.delete(key));
        let (keys, events) = (draft.keys, draft.events);
        self.accept(keys, events);
        i64::try_from(doomed.len()).unwrap()
    }

    fn accept(&mut self, keys: Keys, events: Vec<Event>) {
        if !events.is_empty() {
            self.history.push(keys);
            self.events.extend(events);
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<TxnReply, CommandError> {
        self.check(txn)?;
        let mut draft = Draft { before: self, keys: self.now().clone(), events: Vec::new() };
        let reply = draft.execute(txn);
        let (keys, events) = (draft.keys, draft.events);
        self.accept(keys, events);
        Ok(reply)
    }

    fn branch<'t>(&self, txn: &'t Txn) -> &'t [TxnOp] {
        if txn.compares.iter().all(|compare| self.holds(compare)) { &txn.success } else { &txn.failure }
    }

    fn check(&self, txn: &Txn) -> Result<(), CommandError> {
        for op in self.branch(txn) {
            match op {
                TxnOp::Range(range) => {
                    self.read_revision(range.revision)?;
                }
                TxnOp::Put(put) => {
                    if (put.ignore_lease || put.ignore_value) && !self.now().contains_key(&put.key) {
                        return Err(CommandError::KeyNotFound);
                    }
                    if put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
                        return Err(CommandError::LeaseNotFound);
                    }
                }
                TxnOp::DeleteRange(_) => {}
                TxnOp::Txn(nested) => self.check(nested)?,
            }
        }
        Ok(())
    }

    fn read_revision(&self, asked: Revision) -> Result<i64, CommandError> {
        let revision = if asked.0 <= 0 { self.revision() } else { asked.0 };
        if revision > self.revision() {
            Err(CommandError::FutureRevision)
        } else if revision < self.compacted {
            Err(CommandError::Compacted(Revision(self.compacted)))
        } else {
            Ok(revision)
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let found: Vec<&KeyValue> =
            self.now().values().filter(|kv| compare.range.contains(&kv.key)).collect();
        if found.is_empty() {
            let missing = KeyValue::default();
            return !matches!(compare.target, CompareTarget::Value(_)) && holds_for(compare, &missing);
        }
        found.iter().all(|kv| holds_for(compare, kv))
    }

    pub fn range(&self, query: &Range) -> Result<RangeReply, CommandError> {
        let revision = self.read_revision(query.revision)?;
        Ok(range_of(self.at(revision), query))
    }

    /// Bytes of the quota used: every change that some readable revision shows, or that ended at the compacted
    /// one, and every lease.
    pub fn size(&self) -> u64 {
        let mut size = 64 * self.leases.len();
        for (place, event) in self.events.iter().enumerate() {
            let successor = self.events[place + 1..].iter().find(|later| later.key() == event.key());
            let superseded = successor.is_some_and(|later| later.revision().0 <= self.compacted);
            size += match event {
                Event::Put(kv) if !superseded => 256 + kv.key.len() + kv.value.len(),
                Event::Delete { key, mod_revision } if mod_revision.0 >= self.compacted && !superseded => {
                    256 + key.len()
                }
                _ => 0,
            };
        }
        u64::try_from(size).unwrap()
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Less => order.is_lt(),
        CompareResult::Greater => order.is_gt(),
    }
}

fn range_of(keys: &Keys, query: &Range) -> RangeReply {
    let mut kvs: Vec<KeyValue> = keys.values().filter(|kv| query.range.contains(&kv.key)).cloned().collect();
    let count = i64::try_from(kvs.len()).unwrap();
    if query.count_only {
        return RangeReply { kvs: Vec::new(), more: false, count };
    }
    let limit = usize::try_from(query.limit).unwrap_or(0);
    let bounds = [
        query.min_mod_revision,
        query.max_mod_revision,
        query.min_create_revision,
        query.max_create_revision,
    ];
    let unsorted = query.sort_order == SortOrder::None
        || (query.sort_order, query.sort_target) == (SortOrder::Ascend, SortTarget::Key);
    if limit > 0 && unsorted && bounds == [Revision(0); 4] {
        kvs.truncate(limit + 1);
    }
    let [min_mod, max_mod, min_create, max_create] = bounds;
    kvs.retain(|kv| min_mod.0 == 0 || kv.mod_revision >= min_mod);
    kvs.retain(|kv| max_mod.0 == 0 || kv.mod_revision <= max_mod);
    kvs.retain(|kv| min_create.0 == 0 || kv.create_revision >= min_create);
    kvs.retain(|kv| max_create.0 == 0 || kv.create_revision <= max_create);
    kvs.sort_by(|a, b| {
        let order = match query.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if query.sort_order == SortOrder::Descend { order.reverse() } else { order }
    });
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if query.keys_only {
        for kv in &mut kvs {
            kv.value = Bytes::new();
            if query.sort_target != SortTarget::Value {
                kv.lease = LeaseId(0);
            }
        }
    }
    RangeReply { kvs, more, count }
}

impl Draft<'_> {
    fn revision(&self) -> i64 {
        self.before.revision() + i64::from(!self.events.is_empty())
    }

    fn delete(&mut self, key: &Bytes) {
        self.keys.remove(key);
        let mod_revision = Revision(self.before.revision() + 1);
        self.events.push(Event::Delete { key: key.clone(), mod_revision });
    }

    fn execute(&mut self, txn: &Txn) -> TxnReply {
        let succeeded = txn.compares.iter().all(|compare| self.before.holds(compare));
        let mut replies = Vec::new();
        for op in self.before.branch(txn) {
            let reply = match op {
                TxnOp::Range(query) => {
                    let past = query.revision.0 > 0;
                    let keys = if past { self.before.at(query.revision.0) } else { &self.keys };
                    Reply::Range(range_of(keys, query))
                }
                TxnOp::Put(put) => self.put(put),
                TxnOp::DeleteRange(delete) => {
                    let gone: Vec<KeyValue> =
                        self.keys.values().filter(|kv| delete.range.contains(&kv.key)).cloned().collect();
                    gone.iter().for_each(|kv| self.delete(&kv.key));
                    let deleted = i64::try_from(gone.len()).unwrap();
                    Reply::DeleteRange { deleted, prev_kvs: if delete.prev_kv { gone } else { Vec::new() } }
                }
                TxnOp::Txn(nested) => {
                    let reply = self.execute(nested);
                    replies.push((Revision(0), Reply::Txn(reply)));
                    continue;
                }
            };
            replies.push((Revision(self.revision()), reply));
        }
        TxnReply { succeeded, replies }
    }

    fn put(&mut self, put: &Put) -> Reply {
        let revision = Revision(self.before.revision() + 1);
        let before = self.keys.get(&put.key).cloned();
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.as_ref().map_or(1, |kv| kv.version + 1),
            value: match &before {
                Some(kv) if put.ignore_value => kv.value.clone(),
                _ => put.value.clone(),
            },
            lease: match &before {
                Some(kv) if put.ignore_lease => kv.lease,
                _ => put.lease,
            },
        };
        self.keys.insert(put.key.clone(), kv.clone());
        self.events.push(Event::Put(kv));
        Reply::Put { prev_kv: before.filter(|_| put.prev_kv) }
    }
}
