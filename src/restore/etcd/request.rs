//! What an entry of etcd's log asks for, as a command of ours. Source: etcd 3.5 and later, `raft_internal.proto`.
//!
//! Requests that change nothing here (reads that went through the log, who signed in, who belongs to the cluster, versions)
//! are known and passed over. One of a kind that is not known is an error: it might have changed something.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::machine::auth::Auth;
use crate::machine::auth::change::{AuthChange, PasswordHash};
use crate::machine::command::{Caller, Command, ProvenUser};
use crate::pb::etcdserverpb as pb;
use crate::service::convert;
use crate::types::{KeyRange, LeaseId, MemberId, TtlSecs};

/// The shortest life that etcd gives a lease, seconds, unless its election timeout is not the usual one. It raises what was
/// asked for when it carries out a grant, and not before.
const LEASE_TTL_SECS_MIN: i64 = 2;

/// Fields that change nothing here: an id, one of the older API, a read, and the like.
const PASSED_OVER: [u32; 13] = [1, 2, 3, 100, 1012, 1013, 1102, 1106, 1107, 1202, 1300, 1301, 1302];
/// A test of theirs, which changes nothing either.
const DOWNGRADE_TEST: u32 = 9900;
/// Fields that do.
const CARRIED_OUT: [u32; 19] =
    [4, 5, 6, 7, 8, 9, 10, 11, 1000, 1011, 1100, 1101, 1103, 1104, 1105, 1200, 1201, 1203, 1204];

/// What was asked, and by whom.
#[derive(Debug)]
pub struct Asked {
    /// Who asked.
    pub by: Asker,
    /// For what.
    pub command: Command,
}

/// Who asked, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client, whose rights were looked at when it was carried out.
    Client(Option<ProvenUser>),
    /// Somebody who had to be `root`, if anybody asked.
    Admin(String),
    /// Whoever was let through before the request came into the log.
    Anybody,
}

impl Asker {
    /// Who that is to the machine, whose users are these.
    pub fn caller(&self, auth: &Auth) -> Caller {
        match self {
            Asker::Client(Some(user)) => Caller::User(user.clone()),
            Asker::Client(None) => Caller::Anonymous,
            Asker::Admin(name)
                if auth.is_enabled() && !auth.user(name).is_some_and(|user| user.is_root()) =>
            {
                Caller::Anonymous
            }
            Asker::Admin(_) | Asker::Anybody => Caller::Member,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "2")]
    username: String,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// A request as the log has it; one of the fields is there.
#[derive(Clone, PartialEq, Message)]
struct RaftRequest {
    #[prost(message, optional, tag = "100")]
    header: Option<Header>,
    #[prost(message, optional, tag = "4")]
    put: Option<pb::PutRequest>,
    #[prost(message, optional, tag = "5")]
    delete_range: Option<pb::DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    txn: Option<pb::TxnRequest>,
    #[prost(message, optional, tag = "7")]
    compaction: Option<pb::CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    lease_grant: Option<pb::LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    lease_revoke: Option<pb::LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    alarm: Option<pb::AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    lease_checkpoint: Option<pb::LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "1000")]
    auth_enable: Option<pb::AuthEnableRequest>,
    #[prost(message, optional, tag = "1011")]
    auth_disable: Option<pb::AuthDisableRequest>,
    #[prost(message, optional, tag = "1100")]
    user_add: Option<pb::AuthUserAddRequest>,
    #[prost(message, optional, tag = "1101")]
    user_delete: Option<pb::AuthUserDeleteRequest>,
    #[prost(message, optional, tag = "1103")]
    user_change_password: Option<pb::AuthUserChangePasswordRequest>,
    #[prost(message, optional, tag = "1104")]
    user_grant_role: Option<pb::AuthUserGrantRoleRequest>,
    #[prost(message, optional, tag = "1105")]
    user_revoke_role: Option<pb::AuthUserRevokeRoleRequest>,
    #[prost(message, optional, tag = "1200")]
    role_add: Option<pb::AuthRoleAddRequest>,
    #[prost(message, optional, tag = "1201")]
    role_delete: Option<pb::AuthRoleDeleteRequest>,
    #[prost(message, optional, tag = "1203")]
    role_grant_permission: Option<pb::AuthRoleGrantPermissionRequest>,
    #[prost(message, optional, tag = "1204")]
    role_revoke_permission: Option<pb::AuthRoleRevokePermissionRequest>,
}

/// A request of the API before this one, in which etcd up to 3.5 keeps who belongs to the cluster.
#[derive(Clone, PartialEq, Message)]
struct OlderRequest {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(string, tag = "3")]
    path: String,
}

/// What `data` asks for; `None` when it changes nothing here.
///
/// # Errors
/// It is no request of a kind that is known, in one line.
pub fn read(data: &Bytes) -> Result<Option<Asked>, String> {
    let (Ok(fields), Ok(request)) = (fields(data.clone()), RaftRequest::decode(data.clone())) else {
        let older = OlderRequest::decode(data.clone()).map_err(|error| error.to_string())?;
        let is_older = ["PUT", "POST", "DELETE", "QGET", "SYNC"].contains(&older.method.as_str());
        return if is_older { Ok(None) } else { Err("it is no request".to_owned()) };
    };
    let unknown = |field: &&u32| {
        !PASSED_OVER.contains(field) && !CARRIED_OUT.contains(field) && **field != DOWNGRADE_TEST
    };
    if let Some(field) = fields.iter().find(unknown) {
        return Err(format!("it is a request of a kind that is not known here (field {field})"));
    }
    if !fields.iter().any(|field| CARRIED_OUT.contains(field)) {
        return Ok(None);
    }
    asked(request)
}

/// The fields that a message has.
fn fields(mut data: Bytes) -> Result<Vec<u32>, prost::DecodeError> {
    let mut fields = Vec::new();
    while data.has_remaining() {
        let (field, kind) = decode_key(&mut data)?;
        skip_field(kind, field, &mut data, DecodeContext::default())?;
        fields.push(field);
    }
    Ok(fields)
}

fn asked(request: RaftRequest) -> Result<Option<Asked>, String> {
    let header = request.header.clone().unwrap_or_default();
    let user = ProvenUser { user: Arc::from(header.username.as_str()), auth_revision: header.auth_revision };
    let client = Asker::Client(Some(user).filter(|user| !user.user.is_empty()));
    let refused = |error: crate::service::status::ApiError| format!("it would have been refused: {error:?}");
    let (by, command) = if let Some(put) = request.put {
        (client, Command::Put(convert::put(put).map_err(refused)?))
    } else if let Some(delete) = request.delete_range {
        (client, Command::DeleteRange(convert::delete_range(delete).map_err(refused)?))
    } else if let Some(txn) = request.txn {
        (client, Command::Txn(convert::txn(txn).map_err(refused)?))
    } else if let Some(compaction) = request.compaction {
        (Asker::Anybody, Command::Compact(convert::compact(&compaction)))
    } else if let Some(grant) = request.lease_grant {
        let ttl = TtlSecs(grant.ttl.max(LEASE_TTL_SECS_MIN));
        (Asker::Anybody, Command::LeaseGrant { id: LeaseId(grant.id), ttl })
    } else if let Some(revoke) = request.lease_revoke {
        (client, Command::LeaseRevoke { id: LeaseId(revoke.id) })
    } else if let Some(checkpoint) = request.lease_checkpoint {
        let left = checkpoint.checkpoints.into_iter();
        let remaining = left.map(|left| (LeaseId(left.id), TtlSecs(left.remaining_ttl))).collect();
        (Asker::Anybody, Command::LeaseCheckpoint { remaining })
    } else if let Some(alarm) = request.alarm {
        let Some(command) = alarm_command(&alarm) else { return Ok(None) };
        (Asker::Anybody, command)
    } else {
        (Asker::Admin(header.username), Command::ChangeAuth(auth_change(request)?))
    };
    Ok(Some(Asked { by, command }))
}

fn alarm_command(alarm: &pb::AlarmRequest) -> Option<Command> {
    use pb::alarm_request::AlarmAction;
    let kind = convert::alarm_kind(alarm.alarm)?;
    let raise = match AlarmAction::try_from(alarm.action) {
        Ok(AlarmAction::Activate) => true,
        // To us member 0 is all members, to them it is none.
        Ok(AlarmAction::Deactivate) if alarm.member_id != 0 => false,
        _ => return None,
    };
    Some(Command::Alarm { raise, member: MemberId(alarm.member_id), kind })
}

fn auth_change(request: RaftRequest) -> Result<AuthChange, String> {
    let refused = |error: crate::service::status::ApiError| format!("it would have been refused: {error:?}");
    Ok(if request.auth_enable.is_some() {
        AuthChange::Enable
    } else if request.auth_disable.is_some() {
        AuthChange::Disable
    } else if let Some(add) = request.user_add {
        let without = add.options.is_some_and(|options| options.no_password);
        let password = if without { None } else { Some(password(&add.password, &add.hashed_password)?) };
        AuthChange::UserAdd { user: add.name, password }
    } else if let Some(delete) = request.user_delete {
        AuthChange::UserDelete { user: delete.name }
    } else if let Some(change) = request.user_change_password {
        let password = password(&change.password, &change.hashed_password)?;
        AuthChange::UserChangePassword { user: change.name, password }
    } else if let Some(grant) = request.user_grant_role {
        AuthChange::UserGrantRole { user: grant.user, role: grant.role }
    } else if let Some(revoke) = request.user_revoke_role {
        AuthChange::UserRevokeRole { user: revoke.name, role: revoke.role }
    } else if let Some(add) = request.role_add {
        AuthChange::RoleAdd { role: add.name }
    } else if let Some(delete) = request.role_delete {
        AuthChange::RoleDelete { role: delete.role }
    } else if let Some(grant) = request.role_grant_permission {
        let permission = convert::permission(grant.perm).map_err(refused)?;
        AuthChange::RoleGrantPermission { role: grant.name, permission }
    } else if let Some(revoke) = request.role_revoke_permission {
        let range = KeyRange::from_wire(revoke.key, revoke.range_end);
        AuthChange::RoleRevokePermission { role: revoke.role, range }
    } else {
        return Err("it asks for nothing".to_owned());
    })
}

/// A password's hash, as it stands in the log.
fn password(plain: &str, hashed: &str) -> Result<PasswordHash, String> {
    if hashed.is_empty() && !plain.is_empty() {
        return Err(
            "it sets a password as etcd before 3.5 did: start it once with 3.5 or take an image".to_owned()
        );
    }
    let hash = STANDARD.decode(hashed).map_err(|error| format!("its password: {error}"))?;
    Ok(PasswordHash(hash.into()))
}

#[cfg(test)]
mod tests {
    use prost::encoding::{WireType, encode_key};

    use super::*;
    use crate::machine::command::{AlarmKind, Put};

    fn bytes(request: &RaftRequest) -> Bytes {
        request.encode_to_vec().into()
    }

    #[test]
    fn who_asked_decides_whose_rights_count() {
        let header = Some(Header { username: "alice".to_owned(), auth_revision: 5 });
        let put = Some(pb::PutRequest { key: "k".into(), value: "v".into(), ..pb::PutRequest::default() });
        let by = |request: &RaftRequest| read(&bytes(request)).unwrap().unwrap().by;
        let alice = ProvenUser { user: Arc::from("alice"), auth_revision: 5 };
        let asked = RaftRequest { header: header.clone(), put, ..RaftRequest::default() };
        assert_eq!(by(&asked), Asker::Client(Some(alice)));
        assert_eq!(by(&RaftRequest { header: None, ..asked.clone() }), Asker::Client(None));
        let Some(Asked { command: Command::Put(put), .. }) = read(&bytes(&asked)).unwrap() else {
            panic!("no put")
        };
        assert_eq!(put, Put { key: "k".into(), value: "v".into(), ..Put::default() });
        let add = Some(pb::AuthRoleAddRequest { name: "r".to_owned() });
        let admin = RaftRequest { header, role_add: add, ..RaftRequest::default() };
        assert_eq!(by(&admin), Asker::Admin("alice".to_owned()));
        // While nobody is asked, everybody may.
        assert_eq!(by(&admin).caller(&Auth::default()), Caller::Member);
    }

    #[test]
    fn what_changes_nothing_here_is_passed_over_and_what_is_not_known_is_not() {
        let field = |number: u32| {
            let mut data = Vec::new();
            encode_key(1, WireType::Varint, &mut data);
            data.push(7);
            encode_key(number, WireType::LengthDelimited, &mut data);
            data.push(0);
            Bytes::from(data)
        };
        for known in [3, 1012, 1013, 1102, 1300, 1301, 1302, 9900] {
            assert!(matches!(read(&field(known)), Ok(None)), "field {known}");
        }
        for unknown in [12, 1014, 1400] {
            let error = read(&field(unknown)).unwrap_err();
            assert!(error.ends_with(&format!("not known here (field {unknown})")), "{error}");
        }
        let older = |method: &str| OlderRequest { method: method.to_owned(), path: "/0/members".to_owned() };
        // All its fields are written, zero or not, and its fifth is a number: so it never passes for a request of today.
        let older = |method: &str| Bytes::from([&older(method).encode_to_vec()[..], &[5 << 3, 0]].concat());
        for method in ["PUT", "POST", "DELETE", "QGET", "SYNC"] {
            assert!(matches!(read(&older(method)), Ok(None)), "{method}");
        }
        assert!(read(&older("PATCH")).is_err());
        assert!(read(&Bytes::from_static(&[0xff; 4])).is_err());
    }

    #[test]
    fn a_password_comes_as_its_hash_or_not_at_all() {
        let add =
            |password: &str, hashed_password: &str, no_password| -> Result<Option<PasswordHash>, String> {
                let options = Some(crate::pb::authpb::UserAddOptions { no_password });
                let (password, hashed_password) = (password.to_owned(), hashed_password.to_owned());
                let user =
                    pb::AuthUserAddRequest { name: "u".to_owned(), password, options, hashed_password };
                let asked = read(&bytes(&RaftRequest { user_add: Some(user), ..RaftRequest::default() }))?;
                match asked.map(|asked| asked.command) {
                    Some(Command::ChangeAuth(AuthChange::UserAdd { password, .. })) => Ok(password),
                    other => panic!("no user: {other:?}"),
                }
            };
        assert_eq!(add("", &STANDARD.encode("$2a$10$x"), false), Ok(Some(PasswordHash("$2a$10$x".into()))));
        assert_eq!(add("", "", true), Ok(None));
        assert!(add("plain", "", false).unwrap_err().contains("as etcd before 3.5 did"));
        assert!(add("", "not base64!", false).is_err());
    }

    #[test]
    fn leases_live_as_long_as_etcd_lets_them_and_an_alarm_of_nobody_clears_none() {
        let grant = Some(pb::LeaseGrantRequest { ttl: 1, id: 9 });
        let asked = read(&bytes(&RaftRequest { lease_grant: grant, ..RaftRequest::default() }));
        let Ok(Some(Asked { command: Command::LeaseGrant { id, ttl }, .. })) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!((id, ttl), (LeaseId(9), TtlSecs(2)));
        let alarm = |action, member_id| {
            let alarm = Some(pb::AlarmRequest { action, member_id, alarm: 1 });
            read(&bytes(&RaftRequest { alarm, ..RaftRequest::default() })).unwrap().map(|asked| asked.command)
        };
        let kind = AlarmKind::NoSpace;
        assert_eq!(alarm(1, 5), Some(Command::Alarm { raise: true, member: MemberId(5), kind }));
        assert_eq!(alarm(2, 5), Some(Command::Alarm { raise: false, member: MemberId(5), kind }));
        assert_eq!((alarm(2, 0), alarm(0, 5)), (None, None));
    }
}
