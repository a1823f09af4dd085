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
use crate::machine::downgrade::DowngradeChange;
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
        Command::Downgrade(DowngradeChange::Enable(target)) => {
            ("downgrade_enable", vec![("target", target.to_string().as_str().into())])
        }
        Command::Downgrade(DowngradeChange::Cancel) => ("downgrade_cancel", Vec::new()),
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
        MemberChange::Replace { member, by, peer_urls } => {
            let urls = peer_urls.as_slice().into();
            ("member_replace", vec![("id", hex(*member)), ("by", hex(*by)), ("peer_urls", urls)])
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::machine::auth::change::PasswordHash;
    use crate::machine::command::{DeleteRange, ProvenUser};
    use crate::types::{Incarnation, LeaseId, LogIndex, Revision, Term};

    fn at() -> LogId {
        LogId { term: Term(3), index: LogIndex(17) }
    }

    /// The lines of a batch, read back.
    fn shown(caller: Caller, commands: Vec<Command>) -> Vec<Value> {
        let request = |(sequence, command)| Request { sequence, caller: caller.clone(), command };
        let batch = Batch {
            member: MemberId(0xab),
            incarnation: Incarnation(2),
            lowest_unanswered: 5,
            wall_ms: 1_700,
            requests: (5..).zip(commands).map(request).collect(),
        };
        let lines = lines(at(), true, &Content::Batch(batch));
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_request_has_a_line_with_its_place_and_who_asked() {
        let user = Caller::User(ProvenUser { user: Arc::from("al\"ice"), auth_revision: 9 });
        let put = Put { key: "k".into(), value: "v".into(), lease: LeaseId(7), ..Put::default() };
        let lines = shown(user, vec![Command::Put(put), Command::Noop]);
        let head = json!({
            "term": 3, "index": 17, "committed": true, "kind": "put", "caller": "user", "user": "al\"ice",
            "auth_revision": 9, "member": MemberId(0xab).to_string(), "incarnation": 2, "sequence": 5, "wall_ms": 1700,
            "key": "aw==", "value": "dg==", "lease": 7,
        });
        assert_eq!(lines[0], head);
        assert_eq!((&lines[1]["kind"], &lines[1]["sequence"]), (&json!("noop"), &json!(6)));
    }

    #[test]
    fn a_transaction_is_told_whole() {
        let range = KeyRange::from_wire("a".into(), "c".into());
        let inner = Txn {
            success: vec![TxnOp::DeleteRange(DeleteRange { range: range.clone(), prev_kv: true })],
            ..Txn::default()
        };
        let txn = Txn {
            compares: vec![Compare {
                range,
                result: CompareResult::NotEqual,
                target: CompareTarget::Mod(Revision(0)),
            }],
            success: vec![TxnOp::Put(Put { key: "k".into(), ..Put::default() }), TxnOp::Txn(inner)],
            failure: Vec::new(),
        };
        let [line] = shown(Caller::Anonymous, vec![Command::Txn(txn)]).try_into().unwrap();
        let line: Value = line;
        assert_eq!(
            line["compare"],
            json!([{"target": "mod_revision", "result": "NOT_EQUAL", "key": "YQ==", "range_end": "Yw==", "with": 0}])
        );
        assert_eq!(line["success"][0], json!({"kind": "put", "key": "aw=="}));
        let deleted = json!({"kind": "delete_range", "key": "YQ==", "range_end": "Yw==", "prev_kv": true});
        assert_eq!(line["success"][1]["success"], json!([deleted]));
        assert_eq!(line["failure"], Value::Null);
    }

    #[test]
    fn no_secret_is_told() {
        let hash = PasswordHash("$2a$10$secret".into());
        let user = || "bob".to_owned();
        let commands = vec![
            Command::ChangeAuth(AuthChange::UserAdd { user: user(), password: Some(hash.clone()) }),
            Command::ChangeAuth(AuthChange::UserChangePassword { user: user(), password: hash }),
            Command::Authenticate { user: user(), auth_revision: 4, token: "secret".to_owned() },
        ];
        for line in shown(Caller::Member, commands) {
            assert_eq!(line["name"], "bob", "{line}");
            assert!(!line.to_string().contains("secret"), "{line}");
            let base64 = "JDJhJDEwJHNlY3JldA";
            assert!(!line.to_string().contains(base64), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_bytes() {
        let line: Value = serde_json::from_str(&unreadable(at(), &[9, 1])).unwrap();
        assert_eq!(line, json!({"term": 3, "index": 17, "kind": "unknown", "payload": "CQE="}));
    }
}
