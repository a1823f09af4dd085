//! Every error that clients see: code and exact text, in one table.
//!
//! Clients of the API recognise errors by their text, so each must be exact to the byte. Source: the API's
//! published list of errors.

use tonic::{Code, Status};

use crate::machine::command::CommandError;
use crate::member::{AuthError, ChangeError, DowngradeError, PasswordError, TurnError};
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;
use crate::storage::defragment::DefragmentError;
use crate::storage::engine::EngineError;

/// An error of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The gRPC status code.
    pub code: Code,
    /// What clients recognise it by.
    pub text: &'static str,
}

impl ApiError {
    /// The code as gRPC libraries print it.
    pub fn code_name(self) -> String {
        format!("{:?}", self.code)
    }
}

macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $text:literal;)*) => {
        impl ApiError {
            $($(#[$doc])* pub const $name: ApiError = ApiError { code: Code::$code, text: $text };)*
        }

        /// The whole table, by name.
        pub const ALL: &[(&str, ApiError)] = &[$((stringify!($name), ApiError::$name)),*];
    };
}

table! {
    /// A request without a key.
    EMPTY_KEY = InvalidArgument, "etcdserver: key is not provided";
    /// A put that keeps the value or lease of a key that does not exist; an empty operation in a transaction.
    KEY_NOT_FOUND = InvalidArgument, "etcdserver: key not found";
    /// A put that keeps the value and brings one.
    VALUE_PROVIDED = InvalidArgument, "etcdserver: value is provided";
    /// A put that keeps the lease and brings one.
    LEASE_PROVIDED = InvalidArgument, "etcdserver: lease is provided";
    /// Too many operations at one level of a transaction.
    TOO_MANY_OPS = InvalidArgument, "etcdserver: too many operations in txn request";
    /// One key written twice in a transaction.
    DUPLICATE_KEY = InvalidArgument, "etcdserver: duplicate key given in txn request";
    /// An unknown order, or thing to order by.
    INVALID_SORT_OPTION = InvalidArgument, "etcdserver: invalid sort option";
    /// The revision is no longer stored.
    COMPACTED = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    /// The revision does not exist yet.
    FUTURE_REVISION = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    /// The quota is used up.
    NO_SPACE = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    /// No such lease.
    LEASE_NOT_FOUND = NotFound, "etcdserver: requested lease not found";
    /// The lease's id is taken.
    LEASE_EXISTS = FailedPrecondition, "etcdserver: lease already exists";
    /// The lease would live too long.
    LEASE_TTL_TOO_LARGE = OutOfRange, "etcdserver: too large lease TTL";
    /// No such member.
    MEMBER_NOT_FOUND = NotFound, "etcdserver: member not found";
    /// The id of a member, or of one that was removed, is taken for a new one.
    MEMBER_EXISTS = FailedPrecondition, "etcdserver: member ID already exist";
    /// Another member has one of the peer URLs.
    PEER_URL_EXISTS = FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// A change of the member list would leave too few started members to be a quorum.
    NOT_ENOUGH_STARTED = FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    /// The peer URLs of a member are none, or are no URLs.
    BAD_MEMBER_URLS = InvalidArgument, "etcdserver: given member URLs are invalid";
    /// A member that votes cannot be promoted.
    MEMBER_NOT_LEARNER = FailedPrecondition, "etcdserver: can only promote a learner member";
    /// The learner lags too far behind the leader to be given a vote.
    LEARNER_NOT_READY = FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    /// There are as many learners as there may be.
    TOO_MANY_LEARNERS = FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// Too few members are in touch with the leader for a change of the member list.
    UNHEALTHY = Unavailable, "etcdserver: unhealthy cluster";
    /// Only the leader can hand its office over.
    NOT_LEADER = FailedPrecondition, "etcdserver: not leader";
    /// The member that leadership should go to is not one that can take it.
    BAD_TRANSFEREE = FailedPrecondition, "etcdserver: bad leader transferee";
    /// A learner does not serve this.
    NOT_FOR_LEARNER = FailedPrecondition, "etcdserver: rpc not supported for learner";
    /// The member that leadership should go to did not take it in time.
    TIMEOUT_TRANSFER = Unknown, "etcdserver: request timed out, leader transfer took too long";
    /// The request is larger than the limit.
    REQUEST_TOO_LARGE = InvalidArgument, "etcdserver: request is too large";
    /// Too many requests wait.
    TOO_MANY_REQUESTS = ResourceExhausted, "etcdserver: too many requests";
    /// There is no leader, and the client wants one.
    NO_LEADER = Unavailable, "etcdserver: no leader";
    /// What the request waited for was taken away; it may be asked again.
    LEADER_CHANGED = Unavailable, "etcdserver: leader changed";
    /// The member stops.
    STOPPED = Unavailable, "etcdserver: server stopped";
    /// No quorum answered in time.
    TIMEOUT = Unavailable, "etcdserver: request timed out";
    /// The outcome of a request is unknown.
    TIMEOUT_LEADER_FAILED = Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    /// Clients are not asked who they are.
    AUTH_NOT_ENABLED = FailedPrecondition, "etcdserver: authentication is not enabled";
    /// There is no user `root`.
    ROOT_USER_NOT_FOUND = FailedPrecondition, "etcdserver: root user does not exist";
    /// The user `root` does not have the role `root`.
    ROOT_ROLE_NOT_GRANTED = FailedPrecondition, "etcdserver: root user does not have root role";
    /// A user of this name exists.
    USER_EXISTS = FailedPrecondition, "etcdserver: user name already exists";
    /// A user without a name, or a client that has not said who it is.
    USER_EMPTY = InvalidArgument, "etcdserver: user name is empty";
    /// No such user.
    USER_NOT_FOUND = FailedPrecondition, "etcdserver: user name not found";
    /// A role of this name exists.
    ROLE_EXISTS = FailedPrecondition, "etcdserver: role name already exists";
    /// No such role.
    ROLE_NOT_FOUND = FailedPrecondition, "etcdserver: role name not found";
    /// A role without a name.
    ROLE_EMPTY = InvalidArgument, "etcdserver: role name is empty";
    /// The user is not known, or its password is another.
    AUTH_FAILED = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    /// No permission is given.
    PERMISSION_NOT_GIVEN = InvalidArgument, "etcdserver: permission not given";
    /// The user may not do this.
    PERMISSION_DENIED = PermissionDenied, "etcdserver: permission denied";
    /// The user does not have the role.
    ROLE_NOT_GRANTED = FailedPrecondition, "etcdserver: role is not granted to the user";
    /// The role does not have the permission.
    PERMISSION_NOT_GRANTED = FailedPrecondition, "etcdserver: permission is not granted to the role";
    /// This member checks tokens, and cannot sign any.
    NO_SIGNING_KEY = Unknown, "etcdserver: token signing attempted with verify-only key";
    /// The token belongs to no session.
    INVALID_AUTH_TOKEN = Unauthenticated, "etcdserver: invalid auth token";
    /// What would lock everybody out, or a range of keys that is none.
    INVALID_AUTH_MANAGEMENT = InvalidArgument, "etcdserver: invalid auth management";
    /// Users or roles changed too often while a request was under way.
    AUTH_REVISION_OLD = InvalidArgument, "etcdserver: revision of auth store is old";
    /// The password is longer than what is looked at of it.
    PASSWORD_TOO_LONG = InvalidArgument, "etcdserver: password length exceeds 72 bytes";
    /// An action that the API does not have.
    UNKNOWN_METHOD = Unknown, "etcdserver: unknown method";
    /// The version to go down to is none.
    WRONG_DOWNGRADE_VERSION = InvalidArgument, "etcdserver: wrong downgrade target version format";
    /// It is not the one below the cluster's.
    INVALID_DOWNGRADE_TARGET = InvalidArgument, "etcdserver: invalid downgrade target version";
    /// Nobody knows the cluster's version yet.
    CLUSTER_VERSION_UNAVAILABLE = FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    /// The cluster is prepared for a downgrade already.
    DOWNGRADE_IN_PROGRESS = FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    /// It is prepared for none.
    NO_DOWNGRADE = FailedPrecondition, "etcdserver: no inflight downgrade job";
    /// Members disagree: writes are refused.
    CORRUPT = DataLoss, "etcdserver: corrupt cluster";
    /// A client that waited for a lock has lost its place, and with it most likely its lease.
    SESSION_EXPIRED = Unknown, "mutex: session is expired";
    /// Whoever asks does not stand for election, or no longer.
    ELECTION_NOT_LEADER = Unknown, "election: not leader";
    /// Nobody leads.
    ELECTION_NO_LEADER = Unknown, "election: no leader";
    /// A request about an office that does not say whose.
    LEADER_NOT_PROVIDED = Unknown, "\"leader\" field must be provided";
    /// The client's own deadline passed.
    DEADLINE_EXCEEDED = DeadlineExceeded, "context deadline exceeded";
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Status {
        Status::new(error.code, error.text)
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> ApiError {
        match error {
            CommandError::KeyNotFound => ApiError::KEY_NOT_FOUND,
            CommandError::Compacted(_) => ApiError::COMPACTED,
            CommandError::FutureRevision => ApiError::FUTURE_REVISION,
            CommandError::LeaseNotFound => ApiError::LEASE_NOT_FOUND,
            CommandError::LeaseExists => ApiError::LEASE_EXISTS,
            CommandError::LeaseTtlTooLarge => ApiError::LEASE_TTL_TOO_LARGE,
            CommandError::NoSpace => ApiError::NO_SPACE,
            CommandError::Corrupt => ApiError::CORRUPT,
            CommandError::MemberNotFound => ApiError::MEMBER_NOT_FOUND,
            CommandError::MemberExists => ApiError::MEMBER_EXISTS,
            CommandError::PeerUrlExists => ApiError::PEER_URL_EXISTS,
            CommandError::MemberNotLearner => ApiError::MEMBER_NOT_LEARNER,
            CommandError::NoVoterLeft => ApiError::NOT_ENOUGH_STARTED,
            CommandError::AuthNotEnabled => ApiError::AUTH_NOT_ENABLED,
            CommandError::RootUserNotFound => ApiError::ROOT_USER_NOT_FOUND,
            CommandError::RootRoleNotGranted => ApiError::ROOT_ROLE_NOT_GRANTED,
            CommandError::UserEmpty => ApiError::USER_EMPTY,
            CommandError::UserExists => ApiError::USER_EXISTS,
            CommandError::UserNotFound => ApiError::USER_NOT_FOUND,
            CommandError::RoleEmpty => ApiError::ROLE_EMPTY,
            CommandError::RoleExists => ApiError::ROLE_EXISTS,
            CommandError::RoleNotFound => ApiError::ROLE_NOT_FOUND,
            CommandError::RoleNotGranted => ApiError::ROLE_NOT_GRANTED,
            CommandError::PermissionNotGranted => ApiError::PERMISSION_NOT_GRANTED,
            CommandError::InvalidAuthManagement => ApiError::INVALID_AUTH_MANAGEMENT,
            CommandError::PermissionDenied => ApiError::PERMISSION_DENIED,
            CommandError::InvalidAuthToken => ApiError::INVALID_AUTH_TOKEN,
            CommandError::AuthRevisionOld => ApiError::AUTH_REVISION_OLD,
            CommandError::TooManyOps => ApiError::TOO_MANY_OPS,
            CommandError::DuplicateKey => ApiError::DUPLICATE_KEY,
            CommandError::DowngradeInProgress => ApiError::DOWNGRADE_IN_PROGRESS,
            CommandError::NoDowngrade => ApiError::NO_DOWNGRADE,
        }
    }
}

impl From<ProposeError> for ApiError {
    fn from(error: ProposeError) -> ApiError {
        match error {
            ProposeError::TooManyRequests => ApiError::TOO_MANY_REQUESTS,
            ProposeError::TooLarge => ApiError::REQUEST_TOO_LARGE,
            ProposeError::Timeout => ApiError::TIMEOUT,
            ProposeError::AnswerLost => ApiError::TIMEOUT_LEADER_FAILED,
            ProposeError::Stopped => ApiError::STOPPED,
        }
    }
}

impl From<DowngradeError> for ApiError {
    fn from(error: DowngradeError) -> ApiError {
        match error {
            DowngradeError::NotALevel(_) => ApiError::WRONG_DOWNGRADE_VERSION,
            DowngradeError::NotTheNext => ApiError::INVALID_DOWNGRADE_TARGET,
            DowngradeError::UnknownLevel => ApiError::CLUSTER_VERSION_UNAVAILABLE,
            DowngradeError::Refused(refused) => refused.into(),
            DowngradeError::Propose(error) => error.into(),
            DowngradeError::Read(error) => error.into(),
        }
    }
}

impl From<DefragmentError> for Status {
    /// The API has no words for it: a server of the reference is never in the way of its own defragmentation.
    fn from(error: DefragmentError) -> Status {
        match error {
            DefragmentError::UnderWay | DefragmentError::TooFast => Status::unavailable(error.to_string()),
            DefragmentError::Stopped => ApiError::STOPPED.into(),
            DefragmentError::Engine(EngineError::Refused { why, .. }) => Status::failed_precondition(why),
            DefragmentError::Engine(error) => Status::unknown(error.to_string()),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> ApiError {
        match error {
            ReadError::Timeout => ApiError::TIMEOUT,
            ReadError::Replaced => ApiError::LEADER_CHANGED,
            ReadError::Stopped => ApiError::STOPPED,
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> ApiError {
        match error {
            AuthError::WrongPassword => ApiError::AUTH_FAILED,
            AuthError::NoSigningKey => ApiError::NO_SIGNING_KEY,
            AuthError::Refused(refused) => refused.into(),
            AuthError::Password(PasswordError::TooMany) => ApiError::TOO_MANY_REQUESTS,
            AuthError::Password(PasswordError::TooLong) => ApiError::PASSWORD_TOO_LONG,
            AuthError::Password(PasswordError::Stopped) => ApiError::STOPPED,
            AuthError::Propose(error) => error.into(),
            AuthError::Read(error) => error.into(),
        }
    }
}

impl ApiError {
    /// Why a client did not get its turn; `gone` is what it means that its place is gone.
    pub fn of_turn(error: TurnError, gone: ApiError) -> ApiError {
        match error {
            TurnError::PlaceGone => gone,
            TurnError::NoLeader => ApiError::ELECTION_NO_LEADER,
            TurnError::Refused(refused) => refused.into(),
            TurnError::Propose(error) => error.into(),
            TurnError::Read(error) => error.into(),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> ApiError {
        match error {
            ChangeError::Refused(refused) => refused.into(),
            ChangeError::Propose(error) => error.into(),
            ChangeError::Timeout => ApiError::TIMEOUT,
            ChangeError::BadUrls => ApiError::BAD_MEMBER_URLS,
            ChangeError::Unhealthy => ApiError::UNHEALTHY,
            ChangeError::NotEnoughStarted => ApiError::NOT_ENOUGH_STARTED,
            ChangeError::TooManyLearners => ApiError::TOO_MANY_LEARNERS,
            ChangeError::LearnerNotReady => ApiError::LEARNER_NOT_READY,
            ChangeError::NotLeader => ApiError::NOT_LEADER,
            ChangeError::BadTransferee => ApiError::BAD_TRANSFEREE,
            ChangeError::TransferTimeout => ApiError::TIMEOUT_TRANSFER,
        }
    }
}

/// The answer to a call that is not offered.
///
/// # Errors
/// Always.
pub fn unimplemented<T>(call: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("{call} is not implemented")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_errors_share_a_text() {
        let texts: BTreeSet<&str> = ALL.iter().map(|(_, error)| error.text).collect();
        assert_eq!(texts.len(), ALL.len());
    }

    #[test]
    fn every_text_is_the_servers_or_of_a_known_other_kind() {
        for (name, error) in ALL {
            let begins =
                ["etcdserver: ", "mutex: ", "election: "].iter().any(|who| error.text.starts_with(who));
            let known = [ApiError::DEADLINE_EXCEEDED, ApiError::LEADER_NOT_PROVIDED].contains(error);
            assert!((begins && !error.text.ends_with('.')) || known, "{name}: {}", error.text);
        }
    }
}
