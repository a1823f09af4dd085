//! Users, roles and permissions as stories: what each change does, and what each command then needs.

use quorate::machine::auth::change::{Access, AuthChange, PasswordHash, Permission};
use quorate::machine::codec::{decode_batch, encode_batch};
use quorate::machine::command::{
    AlarmKind, Caller, Command, CommandError, Compact, Compare, CompareResult, CompareTarget, DeleteRange,
    MemberChange, ProvenUser, Put, Range, Reply, Request, Txn, TxnOp,
};
use quorate::machine::effects::SessionChange;
use quorate::types::{KeyRange, LeaseId, MemberId, Revision, TtlSecs};

use crate::store::{Node, batch};

fn name(text: &str) -> String {
    text.to_owned()
}

fn keys(start: &str, end: &str) -> KeyRange {
    KeyRange::from_wire(start.to_owned().into(), end.to_owned().into())
}

fn user_add(user: &str) -> AuthChange {
    AuthChange::UserAdd { user: name(user), password: Some(PasswordHash("hash".into())) }
}

fn grant(user: &str, role: &str) -> AuthChange {
    AuthChange::UserGrantRole { user: name(user), role: name(role) }
}

fn allow(role: &str, start: &str, end: &str, access: Access) -> AuthChange {
    let permission = Permission { range: keys(start, end), access };
    AuthChange::RoleGrantPermission { role: name(role), permission }
}

/// A store of which one asks as whom one likes.
#[derive(Default)]
struct Guarded {
    node: Node,
    sequence: u64,
}

impl Guarded {
    /// With users `root` and `alice`, who may read below `m` and write from `g` to `t`; clients are asked who they are.
    fn new() -> Guarded {
        let mut store = Guarded::default();
        for change in [
            user_add("root"),
            grant("root", "root"),
            user_add("alice"),
            AuthChange::RoleAdd { role: name("reader") },
            AuthChange::RoleAdd { role: name("writer") },
            allow("reader", "a", "m", Access::Read),
            allow("writer", "g", "n", Access::Write),
            allow("writer", "n", "t", Access::Write),
            grant("alice", "reader"),
            grant("alice", "writer"),
            AuthChange::Enable,
        ] {
            assert_eq!(store.change(change.clone()), Ok(()), "{change:?}");
        }
        store
    }

    fn ask(&mut self, caller: Caller, command: Command) -> Result<Reply, CommandError> {
        self.sequence += 1;
        let mut entry = batch(1, self.sequence, Vec::new());
        entry.requests.push(Request { sequence: self.sequence, caller, command });
        let entry = decode_batch(encode_batch(&entry)).unwrap();
        let mut effects = self.node.apply(&entry);
        self.node.flush();
        let loaded = self.node.store.load();
        assert_eq!(loaded.auth(), self.node.state.auth(), "what is stored is what is known");
        assert_eq!(loaded.hash(), self.node.state.hash());
        effects.answers.remove(0).1.result
    }

    /// One change, by whoever may make any.
    fn change(&mut self, change: AuthChange) -> Result<(), CommandError> {
        self.ask(Caller::Member, Command::ChangeAuth(change)).map(drop)
    }

    fn revision(&self) -> u64 {
        self.node.state.auth().revision()
    }

    fn user(&self, user: &str) -> Caller {
        Caller::User(ProvenUser { user: user.into(), auth_revision: self.revision() })
    }

    fn as_user(&mut self, user: &str, command: Command) -> Result<Reply, CommandError> {
        self.ask(self.user(user), command)
    }
}

fn put(key: &str) -> Put {
    Put { key: key.to_owned().into(), ..Put::default() }
}

fn delete(range: KeyRange, prev_kv: bool) -> DeleteRange {
    DeleteRange { range, prev_kv }
}

fn range(range: KeyRange) -> Range {
    Range::of(range)
}

fn exists(key: &str) -> Compare {
    let range = KeyRange::single(key.to_owned());
    Compare { range, result: CompareResult::Greater, target: CompareTarget::Version(0) }
}

const DENIED: Result<(), CommandError> = Err(CommandError::PermissionDenied);

#[test]
fn each_command_needs_what_the_api_says() {
    let mut store = Guarded::new();
    let nested = |op: TxnOp| {
        let inner = Txn { failure: vec![op], ..Txn::default() };
        Command::Txn(Txn { success: vec![TxnOp::Txn(inner)], ..Txn::default() })
    };
    for (command, outcome) in [
        (Command::Put(put("h")), Ok(())),
        (Command::Put(put("f")), DENIED),
        (Command::Put(put("t")), DENIED),
        (Command::Put(Put { prev_kv: true, ..put("h") }), Ok(())),
        (Command::Put(Put { prev_kv: true, ..put("n") }), DENIED),
        (Command::DeleteRange(delete(keys("g", "t"), false)), Ok(())),
        (Command::DeleteRange(delete(keys("g", "u"), false)), DENIED),
        (Command::DeleteRange(delete(keys("g", "m"), true)), Ok(())),
        (Command::DeleteRange(delete(keys("g", "t"), true)), DENIED),
        (Command::DeleteRange(delete(keys("g", "\0"), false)), DENIED),
        (Command::Txn(Txn { compares: vec![exists("a")], ..Txn::default() }), Ok(())),
        (Command::Txn(Txn { compares: vec![exists("m")], ..Txn::default() }), DENIED),
        (Command::Txn(Txn { success: vec![TxnOp::Put(put("h"))], ..Txn::default() }), Ok(())),
        // The branch that is not taken needs its rights too.
        (Command::Txn(Txn { failure: vec![TxnOp::Put(put("a"))], ..Txn::default() }), DENIED),
        (nested(TxnOp::Put(put("h"))), Ok(())),
        (nested(TxnOp::Put(put("a"))), DENIED),
        (nested(TxnOp::Range(range(keys("a", "m")))), Ok(())),
        (nested(TxnOp::Range(range(keys("a", "n")))), DENIED),
        (nested(TxnOp::DeleteRange(delete(keys("g", "t"), true))), DENIED),
        (Command::LeaseGrant { id: LeaseId(5), ttl: TtlSecs(60) }, Ok(())),
        (Command::Compact(Compact { revision: Revision(2) }), DENIED),
        (Command::Alarm { raise: true, member: MemberId(1), kind: AlarmKind::NoSpace }, DENIED),
        (Command::ChangeMembers(MemberChange::Remove(MemberId(1))), DENIED),
        (Command::ChangeAuth(user_add("mallory")), DENIED),
        (Command::ChangeAuth(AuthChange::Disable), DENIED),
        (Command::Noop, DENIED),
    ] {
        let text = format!("{command:?}");
        assert_eq!(store.as_user("alice", command.clone()).map(drop), outcome, "{text}");
        let before = store.node.state.hash();
        let anonymous = store.ask(Caller::Anonymous, command.clone());
        assert_eq!(anonymous, Err(CommandError::UserEmpty), "{text}");
        let stranger = store.as_user("mallory", command);
        assert_eq!(stranger, Err(CommandError::PermissionDenied), "{text}");
        // Only that the requests were seen.
        assert_ne!(store.node.state.hash(), before);
        assert!(store.node.state.alarms().iter().next().is_none());
    }
    assert!(store.as_user("root", Command::Put(put("zzz"))).is_ok());
    assert!(store.as_user("root", Command::Compact(Compact { revision: Revision(2) })).is_ok());
}

#[test]
fn a_lease_belongs_to_whoever_may_write_its_keys() {
    let mut store = Guarded::new();
    let id = LeaseId(7);
    store.as_user("alice", Command::LeaseGrant { id, ttl: TtlSecs(60) }).unwrap();
    let leased = |key: &str| Command::Put(Put { lease: id, ..put(key) });
    assert!(store.as_user("alice", leased("h")).is_ok());
    assert!(store.node.state.check_lease(&store.user("alice"), id).is_ok());
    assert!(store.node.state.check_lease_keys(&store.user("alice"), id).is_ok());
    assert!(store.as_user("alice", leased("o")).is_ok());
    let seen = store.node.state.check_lease_keys(&store.user("alice"), id);
    assert_eq!(seen, DENIED, "it cannot read o");
    assert!(store.as_user("root", leased("z")).is_ok());
    for command in [leased("i"), Command::LeaseRevoke { id }] {
        assert_eq!(store.as_user("alice", command).map(drop), DENIED, "z would go with the lease");
    }
    assert_eq!(store.node.state.check_lease(&store.user("alice"), id), DENIED);
    assert!(store.as_user("alice", Command::LeaseRevoke { id: LeaseId(8) }).is_err());
    assert!(store.as_user("root", Command::LeaseRevoke { id }).is_ok());
}

#[test]
fn what_was_found_out_of_a_caller_holds_for_one_auth_revision() {
    let mut store = Guarded::new();
    let before = store.user("alice");
    store
        .change(AuthChange::UserChangePassword { user: name("alice"), password: PasswordHash("x".into()) })
        .unwrap();
    let late = store.ask(before, Command::Put(put("h")));
    assert_eq!(late, Err(CommandError::AuthRevisionOld));
    assert!(store.as_user("alice", Command::Put(put("h"))).is_ok());
    store.change(AuthChange::RoleDelete { role: name("writer") }).unwrap();
    assert_eq!(store.as_user("alice", Command::Put(put("h"))).map(drop), DENIED);
    assert!(store.node.state.auth().check_read(&store.user("alice"), &keys("a", "m")).is_ok());
    store.change(AuthChange::Disable).unwrap();
    assert!(store.ask(Caller::Anonymous, Command::Put(put("anything"))).is_ok());
}

#[test]
fn changes_are_made_whole_or_refused_by_the_apis_rules() {
    use CommandError as E;
    let mut store = Guarded::default();
    let both = |user: &str, role: &str| (name(user), name(role));
    let revoke = |(user, role): (String, String)| AuthChange::UserRevokeRole { user, role };
    let role = |text: &str| name(text);
    let password = PasswordHash("y".into());
    for (change, outcome, revision) in [
        (AuthChange::Enable, Err(E::RootUserNotFound), 1),
        (user_add("root"), Ok(()), 2),
        (AuthChange::Enable, Err(E::RootRoleNotGranted), 2),
        (user_add("root"), Err(E::UserExists), 2),
        (user_add(""), Err(E::UserEmpty), 2),
        (grant("root", "root"), Ok(()), 3),
        // Again: nothing to do.
        (grant("root", "root"), Ok(()), 3),
        (grant("nobody", "root"), Err(E::UserNotFound), 3),
        (grant("root", "nothing"), Err(E::RoleNotFound), 3),
        (AuthChange::RoleAdd { role: role("r") }, Ok(()), 4),
        (AuthChange::RoleAdd { role: role("r") }, Err(E::RoleExists), 4),
        (AuthChange::RoleAdd { role: role("") }, Err(E::RoleEmpty), 4),
        (allow("r", "b", "d", Access::Read), Ok(()), 5),
        (allow("r", "b", "d", Access::ReadWrite), Ok(()), 6),
        (allow("r", "b", "\0", Access::Read), Ok(()), 7),
        (allow("r", "d", "b", Access::Read), Err(E::InvalidAuthManagement), 7),
        (allow("r", "", "\0", Access::Read), Err(E::InvalidAuthManagement), 7),
        (allow("nothing", "a", "", Access::Read), Err(E::RoleNotFound), 7),
        (
            AuthChange::RoleRevokePermission { role: role("r"), range: keys("b", "") },
            Err(E::PermissionNotGranted),
            7,
        ),
        (
            AuthChange::RoleRevokePermission { role: role("n"), range: keys("b", "d") },
            Err(E::RoleNotFound),
            7,
        ),
        (AuthChange::RoleRevokePermission { role: role("r"), range: keys("b", "d") }, Ok(()), 8),
        (AuthChange::UserAdd { user: name("bob"), password: None }, Ok(()), 9),
        (AuthChange::UserChangePassword { user: name("bob"), password: password.clone() }, Ok(()), 10),
        (AuthChange::UserChangePassword { user: name("nobody"), password }, Err(E::UserNotFound), 10),
        (grant("bob", "r"), Ok(()), 11),
        (revoke(both("bob", "other")), Err(E::RoleNotGranted), 11),
        (revoke(both("nobody", "r")), Err(E::UserNotFound), 11),
        (AuthChange::Enable, Ok(()), 11),
        (AuthChange::Enable, Ok(()), 11),
        (AuthChange::UserDelete { user: name("root") }, Err(E::InvalidAuthManagement), 11),
        (AuthChange::RoleDelete { role: role("root") }, Err(E::InvalidAuthManagement), 11),
        (revoke(both("root", "root")), Err(E::InvalidAuthManagement), 11),
        (AuthChange::RoleDelete { role: role("nothing") }, Err(E::RoleNotFound), 11),
        (AuthChange::RoleDelete { role: role("r") }, Ok(()), 12),
        (revoke(both("bob", "r")), Err(E::RoleNotGranted), 12),
        (AuthChange::UserDelete { user: name("nobody") }, Err(E::UserNotFound), 12),
        (AuthChange::UserDelete { user: name("bob") }, Ok(()), 13),
        (AuthChange::Disable, Ok(()), 14),
        (AuthChange::Disable, Ok(()), 14),
        (AuthChange::UserDelete { user: name("root") }, Ok(()), 15),
    ] {
        let text = format!("{change:?}");
        assert!(!text.contains("hash"), "a password's hash is never shown: {text}");
        assert_eq!((store.change(change), store.revision()), (outcome, revision), "{text}");
    }
    assert!(
        store.node.state.auth().users().next().is_none() && store.node.state.auth().roles().next().is_none()
    );
}

#[test]
fn a_user_without_a_password_stays_without() {
    let mut store = Guarded::default();
    store.change(AuthChange::UserAdd { user: name("bob"), password: None }).unwrap();
    let password = PasswordHash("y".into());
    store.change(AuthChange::UserChangePassword { user: name("bob"), password }).unwrap();
    assert_eq!(store.node.state.auth().user("bob").unwrap().password(), None);
}

/// What `change` does to sessions.
fn sessions(store: &mut Guarded, command: Command) -> Vec<SessionChange> {
    store.sequence += 1;
    let mut entry = batch(1, store.sequence, Vec::new());
    entry.requests.push(Request { sequence: store.sequence, caller: Caller::Member, command });
    let effects = store.node.apply(&entry);
    store.node.flush();
    effects.sessions
}

#[test]
fn sessions_begin_with_a_password_of_now_and_end_with_what_they_rest_on() {
    let mut store = Guarded::new();
    let sign_in = |revision: u64| Command::Authenticate {
        user: name("alice"),
        auth_revision: revision,
        token: name("letters"),
    };
    let now = store.revision();
    assert_eq!(store.ask(Caller::Member, sign_in(now - 1)), Err(CommandError::AuthRevisionOld));
    assert_eq!(store.as_user("alice", sign_in(now)), Err(CommandError::PermissionDenied));
    let opened = sessions(&mut store, sign_in(now));
    let [SessionChange::Opened { token, user }] = opened.as_slice() else { panic!("{opened:?}") };
    assert!(token.starts_with("letters.") && &**user == "alice");
    let again = sessions(&mut store, sign_in(now));
    assert_ne!(again, opened, "no two sessions have one token");

    let alice = SessionChange::Ended { user: "alice".into() };
    let password = PasswordHash("z".into());
    let change = AuthChange::UserChangePassword { user: name("alice"), password };
    assert_eq!(sessions(&mut store, Command::ChangeAuth(change)), std::slice::from_ref(&alice));
    let change = AuthChange::RoleDelete { role: name("reader") };
    assert_eq!(sessions(&mut store, Command::ChangeAuth(change)), std::slice::from_ref(&alice));
    let change = AuthChange::UserDelete { user: name("alice") };
    assert_eq!(sessions(&mut store, Command::ChangeAuth(change)), [alice]);
    assert_eq!(store.ask(Caller::Member, sign_in(store.revision())), Err(CommandError::UserNotFound));
    assert_eq!(sessions(&mut store, Command::ChangeAuth(AuthChange::Disable)), [SessionChange::AllEnded]);
    assert_eq!(store.ask(Caller::Member, sign_in(store.revision())), Err(CommandError::AuthNotEnabled));
}

#[test]
fn what_an_older_member_would_misread_has_a_number_it_does_not_know() {
    let format = |caller: Caller, command: Command| {
        let mut entry = batch(1, 1, Vec::new());
        entry.requests.push(Request { sequence: 1, caller, command });
        let bytes = encode_batch(&entry);
        assert_eq!(decode_batch(bytes.clone()).unwrap(), entry);
        // The first field of a batch is its format: a tag byte and the number.
        bytes[1]
    };
    let user = || Caller::User(ProvenUser { user: "alice".into(), auth_revision: 3 });
    let alarm = || Command::Alarm { raise: true, member: MemberId(1), kind: AlarmKind::Corrupt };
    assert_eq!(format(Caller::Anonymous, Command::Put(put("a"))), 1);
    assert_eq!(format(Caller::Member, alarm()), 1);
    for (caller, command) in [
        (user(), Command::Put(put("a"))),
        (Caller::Member, Command::Put(put("a"))),
        (Caller::Anonymous, alarm()),
        (Caller::Anonymous, Command::ChangeAuth(AuthChange::Enable)),
        (user(), Command::ChangeAuth(allow("r", "a", "", Access::Write))),
        (Caller::Member, Command::Authenticate { user: name("a"), auth_revision: 1, token: name("t") }),
    ] {
        assert_eq!(format(caller, command), 3);
    }
}
