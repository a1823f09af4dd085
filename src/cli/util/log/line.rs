//! Entries of the log as JSON, a line for each request.
//!
//! Keys and values are bytes and stand in base64, as the API's own JSON has them; ids of members and clusters are in
//! hexadecimal, as everywhere. What is as it is by itself (no lease, no end of a range) is left out.

use crate::cli::ctl::render::json::{Json, Object};
use crate::machine::auth::change::{Access, AuthChange, Permission};
use crate::machine::command::{
    AlarmKind, Batch, Caller, Command, Compare, CompareResult, CompareTarget, Member, MemberChange, Put,
    Request, Txn, TxnOp,
};
use crate::raft::codec::Content;
use crate::raft::membership::Configuration;
use crate::types::{KeyRange, LogId, MemberId, TtlSecs};

/// The lines of an entry.
pub fn lines(at: LogId, committed: bool, content: &Content) -> Vec<String> {
    let head = || place(at).with("committed", committed);
    match content {
        Content::Blank => vec![Json::from(head().with("kind", "blank")).to_string()],
        Content::Membership(configuration) => {
            let membership = membership(head().with("kind", "membership"), configuration);
            vec![Json::from(membership).to_string()]
        }
        Content::Batch(batch) => {
            let line = |request| Json::from(request_of(head(), batch, request)).to_string();
            batch.requests.iter().map(line).collect()
        }
    }
}

/// The line of an entry that this version cannot read.
pub fn unreadable(at: LogId, payload: &[u8]) -> String {
    Json::from(place(at).with("kind", "unknown").with("payload", Json::bytes(payload))).to_string()
}

fn place(at: LogId) -> Object {
    Object::new().with("term", at.term.0).with("index", at.index.0)
}

fn hex(id: MemberId) -> Json {
    Json::Text(id.to_string())
}

fn list<T>(items: impl IntoIterator<Item = T>, shown: impl Fn(T) -> Json) -> Json {
    Json::List(items.into_iter().map(shown).collect())
}

fn membership(object: Object, configuration: &Configuration) -> Object {
    let voters = list(&configuration.voters, |set| list(set, |id| hex(MemberId(*id))));
    let members = list(&configuration.nodes, |(id, node)| {
        Object::new().with("id", hex(MemberId(*id))).with("peer_urls", node.urls.as_slice()).into()
    });
    object.with("voters", voters).with("members", members)
}

fn request_of(head: Object, batch: &Batch, request: &Request) -> Object {
    let (kind, rest) = command(&request.command);
    let head = head.with("kind", kind);
    let head = match &request.caller {
        Caller::Member => head.with("caller", "member"),
        Caller::Anonymous => head.with("caller", "anonymous"),
        Caller::User(user) => {
            head.with("caller", "user").with("user", &*user.user).with("auth_revision", user.auth_revision)
        }
    };
    let head = head
        .with("member", hex(batch.member))
        .with("incarnation", batch.incarnation.0)
        .with("sequence", request.sequence)
        .with("wall_ms", batch.wall_ms);
    rest.into_iter().fold(head, |object, (name, value)| object.with_some(name, value))
}

/// What a command is called, and what it says.
type Said = (&'static str, Vec<(&'static str, Json)>);

fn command(command: &Command) -> Said {
    match command {
        Command::Put(put) => ("put", put_fields(put)),
        Command::DeleteRange(delete) => {
            let mut fields = range_fields(&delete.range);
            fields.push(("prev_kv", delete.prev_kv.into()));
            ("delete_range", fields)
        }
        Command::Txn(txn) => ("txn", txn_fields(txn)),
        Command::Compact(compact) => ("compact", vec![("revision", compact.revision.0.into())]),
        Command::LeaseGrant { id, ttl } => {
            ("lease_grant", vec![("lease", id.0.into()), ("ttl", ttl.0.into())])
        }
        Command::LeaseRevoke { id } => ("lease_revoke", vec![("lease", id.0.into())]),
        Command::LeaseExpire { ids } => ("lease_expire", vec![("leases", list(ids, |id| id.0.into()))]),
        Command::LeaseCheckpoint { remaining } => {
            let left = |(id, left): &(_, TtlSecs)| {
                let id: &crate::types::LeaseId = id;
                Object::new().with("lease", id.0).with("remaining", left.0).into()
            };
            ("lease_checkpoint", vec![("leases", list(remaining, left))])
        }
        Command::Alarm { raise, member, kind } => {
            let kind = match kind {
                AlarmKind::NoSpace => "NOSPACE",
                AlarmKind::Corrupt => "CORRUPT",
            };
            let action = if *raise { "activate" } else { "deactivate" };
            ("alarm", vec![("action", action.into()), ("alarm", kind.into()), ("of", hex(*member))])
        }
        Command::MemberAttributes { member, name, client_urls } => {
            let fields = vec![
                ("id", hex(*member)),
                ("name", name.as_str().into()),
                ("client_urls", client_urls.as_slice().into()),
            ];
            ("member_attributes", fields)
        }
        Command::Bootstrap { members } => ("bootstrap", vec![("members", list(members, member_of))]),
        Command::ChangeMembers(change) => member_change(change),
        Command::ChangeAuth(change) => auth_change(change),
        Command::Authenticate { user, auth_revision, token: _ } => {
            let fields =
                vec![("name", user.as_str().into()), ("checked_at_auth_revision", (*auth_revision).into())];
            ("authenticate", fields)
        }
        Command::Noop => ("noop", Vec::new()),
    }
}

fn range_fields(range: &KeyRange) -> Vec<(&'static str, Json)> {
    vec![("key", Json::bytes(&range.start)), ("range_end", Json::bytes(&range.wire_end()))]
}

fn put_fields(put: &Put) -> Vec<(&'static str, Json)> {
    vec![
        ("key", Json::bytes(&put.key)),
        ("value", Json::bytes(&put.value)),
        ("lease", put.lease.0.into()),
        ("prev_kv", put.prev_kv.into()),
        ("ignore_value", put.ignore_value.into()),
        ("ignore_lease", put.ignore_lease.into()),
    ]
}

fn txn_fields(txn: &Txn) -> Vec<(&'static str, Json)> {
    vec![
        ("compare", list(&txn.compares, compare)),
        ("success", list(&txn.success, operation)),
        ("failure", list(&txn.failure, operation)),
    ]
}

fn object_of(kind: &'static str, fields: Vec<(&'static str, Json)>) -> Json {
    let object = Object::new().with("kind", kind);
    fields.into_iter().fold(object, |object, (name, value)| object.with_some(name, value)).into()
}

fn operation(operation: &TxnOp) -> Json {
    match operation {
        TxnOp::Range(range) => {
            let mut fields = range_fields(&range.range);
            fields.push(("limit", range.limit.into()));
            fields.push(("revision", range.revision.0.into()));
            fields.push(("keys_only", range.keys_only.into()));
            fields.push(("count_only", range.count_only.into()));
            object_of("range", fields)
        }
        TxnOp::Put(put) => object_of("put", put_fields(put)),
        TxnOp::DeleteRange(delete) => {
            let mut fields = range_fields(&delete.range);
            fields.push(("prev_kv", delete.prev_kv.into()));
            object_of("delete_range", fields)
        }
        TxnOp::Txn(txn) => object_of("txn", txn_fields(txn)),
    }
}

fn compare(compare: &Compare) -> Json {
    let result = match compare.result {
        CompareResult::Equal => "EQUAL",
        CompareResult::Greater => "GREATER",
        CompareResult::Less => "LESS",
        CompareResult::NotEqual => "NOT_EQUAL",
    };
    let (target, value): (&str, Json) = match &compare.target {
        CompareTarget::Version(version) => ("version", (*version).into()),
        CompareTarget::Create(revision) => ("create_revision", revision.0.into()),
        CompareTarget::Mod(revision) => ("mod_revision", revision.0.into()),
        CompareTarget::Value(value) => ("value", Json::bytes(value)),
        CompareTarget::Lease(lease) => ("lease", lease.0.into()),
    };
    let object = Object::new().with("target", target).with("result", result);
    let object = range_fields(&compare.range)
        .into_iter()
        .fold(object, |object, (name, value)| object.with_some(name, value));
    object.with("with", value).into()
}

fn member_of(member: &Member) -> Json {
    Object::new()
        .with("id", hex(member.id))
        .with_some("name", member.name.as_str())
        .with_some("peer_urls", member.peer_urls.as_slice())
        .with_some("client_urls", member.client_urls.as_slice())
        .with_some("is_learner", member.is_learner)
        .into()
}

fn member_change(change: &MemberChange) -> Said {
    match change {
        MemberChange::Add(member) => ("member_add", vec![("added", member_of(member))]),
        MemberChange::Remove(id) => ("member_remove", vec![("id", hex(*id))]),
        MemberChange::Update { member, peer_urls } => {
            ("member_update", vec![("id", hex(*member)), ("peer_urls", peer_urls.as_slice().into())])
        }
        MemberChange::Promote(id) => ("member_promote", vec![("id", hex(*id))]),
    }
}

fn auth_change(change: &AuthChange) -> Said {
    let name = |name: &String| ("name", Json::from(name.as_str()));
    let both = |user: &String, role: &String| {
        vec![("name", Json::from(user.as_str())), ("role", Json::from(role.as_str()))]
    };
    match change {
        AuthChange::Enable => ("auth_enable", Vec::new()),
        AuthChange::Disable => ("auth_disable", Vec::new()),
        AuthChange::UserAdd { user, password } => {
            ("user_add", vec![name(user), ("no_password", password.is_none().into())])
        }
        AuthChange::UserDelete { user } => ("user_delete", vec![name(user)]),
        AuthChange::UserChangePassword { user, password: _ } => ("user_change_password", vec![name(user)]),
        AuthChange::UserGrantRole { user, role } => ("user_grant_role", both(user, role)),
        AuthChange::UserRevokeRole { user, role } => ("user_revoke_role", both(user, role)),
        AuthChange::RoleAdd { role } => ("role_add", vec![name(role)]),
        AuthChange::RoleDelete { role } => ("role_delete", vec![name(role)]),
        AuthChange::RoleGrantPermission { role, permission: Permission { range, access } } => {
            let access = match access {
                Access::Read => "READ",
                Access::Write => "WRITE",
                Access::ReadWrite => "READWRITE",
            };
            let fields = [vec![name(role), ("permission", access.into())], range_fields(range)].concat();
            ("role_grant_permission", fields)
        }
        AuthChange::RoleRevokePermission { role, range } => {
            ("role_revoke_permission", [vec![name(role)], range_fields(range)].concat())
        }
    }
}
