//! What every call has in common: whose answer it is, whether a leader must be known, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use crate::env::{Env, within};
use crate::machine::command::{Caller, CommandError};
use crate::machine::state::State;
use crate::member::{Credential, Member};
use crate::pb::etcdserverpb::ResponseHeader;
use crate::peer::listen;
use crate::service::status::ApiError;
use crate::types::Revision;

/// The metadata key by which a client asks for a known leader.
const HAS_LEADER: &str = "hasleader";
/// The metadata key of a signed-in client's token.
const TOKEN: &str = "token";
/// Where HTTP clients put it, behind an optional word for its kind.
const AUTHORIZATION: &str = "authorization";
/// That word.
const BEARER: &str = "Bearer ";
/// The metadata key of a client's deadline.
const TIMEOUT: &str = "grpc-timeout";
/// The metadata key of a call's name, in simulated runs.
#[cfg(madsim)]
pub const CALL_NAME: &str = "quorate-sim-call";
/// A stream whose client wants a leader ends after this many election timeouts without one.
const LEADERLESS_ELECTIONS_MAX: u32 = 3;

/// What the services share. Clones share the member.
#[derive(Clone)]
pub struct Calls {
    member: Arc<Member>,
    env: Env,
}

impl Calls {
    /// Calls to `member`.
    pub fn new(member: Arc<Member>, env: Env) -> Calls {
        Calls { member, env }
    }

    /// The seams of the member that is called.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The member that is called.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The header of an answer as of `revision`.
    pub fn header(&self, revision: Revision) -> ResponseHeader {
        let config = self.member.config();
        ResponseHeader {
            cluster_id: config.cluster.0,
            member_id: config.member.0,
            revision: revision.0,
            raft_term: self.member.term().0,
        }
    }

    /// The header of an answer as of now.
    pub fn header_now(&self) -> ResponseHeader {
        self.header(self.member.revision())
    }

    /// What a client shows of who it is: a token, or where it shows none the certificate of its connection, if
    /// certificates name users here.
    pub fn who(&self, metadata: &MetadataMap, extensions: &Extensions) -> Credential {
        let certificates = self.member.config().security.certificates_name_users;
        match token(metadata) {
            Some(token) => self.member.credential_of(token),
            None => listen::common_name(extensions)
                .filter(|_| certificates)
                .map_or(Credential::None, Credential::Certificate),
        }
    }

    /// As [`Calls::who`], of a request that is still whole.
    pub fn who_asks<T>(&self, request: &Request<T>) -> Credential {
        self.who(request.metadata(), request.extensions())
    }

    /// What `check` says of the client, by the state of this member: see [`Member::admit_here`].
    ///
    /// # Errors
    /// The client is refused, or the state cannot be read.
    pub async fn admit_here<T>(
        &self,
        who: &Credential,
        check: impl FnOnce(&State, &Caller) -> Result<T, CommandError>,
    ) -> Result<T, Status> {
        self.member.know_client(who).await.map_err(ApiError::from)?;
        self.said_here(who, check)
    }

    fn said_here<T>(
        &self,
        who: &Credential,
        check: impl FnOnce(&State, &Caller) -> Result<T, CommandError>,
    ) -> Result<T, Status> {
        let said = self.member.admit_here(who, check).map_err(ApiError::from)?;
        Ok(said.map_err(ApiError::from)?)
    }

    /// Refuses whoever is no user, by what this member knows, however little that is: for what tells nothing of keys, and is
    /// asked most of all when something is wrong.
    ///
    /// # Errors
    /// As [`Calls::admit_here`].
    pub async fn admit_known(&self, who: &Credential) -> Result<(), Status> {
        self.member.await_session(who).await;
        self.said_here(who, |state, caller| state.auth().check_known(caller))
    }

    /// Refuses whoever may not do everything. Asked of this member's state alone, once that covers its joining: its care
    /// must not need a quorum.
    ///
    /// # Errors
    /// As [`Calls::admit_here`].
    pub async fn admit_root(&self, who: &Credential) -> Result<(), Status> {
        self.admit_here(who, |state, caller| state.auth().check_root(caller)).await
    }

    /// Answers a unary call of which a learner does not answer: as [`Calls::unary_on_learner`] otherwise.
    ///
    /// # Errors
    /// What `answer` says; this member is a learner; no leader; deadline exceeded.
    pub async fn unary<T>(
        &self,
        metadata: &MetadataMap,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        self.refuse_on_learner()?;
        self.unary_on_learner(metadata, answer).await
    }

    /// Answers a unary call: at once when the client wants a leader and there is none, and within its deadline.
    ///
    /// # Errors
    /// What `answer` says; no leader; deadline exceeded.
    pub async fn unary_on_learner<T>(
        &self,
        metadata: &MetadataMap,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        if wants_leader(metadata) && !self.member.has_leader() {
            return Err(ApiError::NO_LEADER.into());
        }
        #[cfg(madsim)]
        let answer = crate::env::armed::named(name(metadata), answer);
        match timeout(metadata) {
            None => answer.await,
            Some(timeout) => within(&*self.env.clock, timeout, answer)
                .await
                .unwrap_or_else(|| Err(ApiError::DEADLINE_EXCEEDED.into())),
        }
    }

    fn refuse_on_learner(&self) -> Result<(), Status> {
        if self.member.is_learner() { Err(ApiError::NOT_FOR_LEARNER.into()) } else { Ok(()) }
    }

    /// As [`Calls::leaderless_on_learner`], of a stream of which a learner does not answer.
    ///
    /// # Errors
    /// At once, when there is no leader now, or this member is a learner.
    pub fn leaderless(
        &self,
        metadata: &MetadataMap,
    ) -> Result<impl Future<Output = Status> + Send + use<>, Status> {
        self.refuse_on_learner()?;
        self.leaderless_on_learner(metadata)
    }

    /// Completes when a stream must end because its client wants a leader and there was none for too long.
    ///
    /// # Errors
    /// At once, when there is none now.
    pub fn leaderless_on_learner(
        &self,
        metadata: &MetadataMap,
    ) -> Result<impl Future<Output = Status> + Send + use<>, Status> {
        let wanted = wants_leader(metadata);
        if wanted && !self.member.has_leader() {
            return Err(ApiError::NO_LEADER.into());
        }
        let (member, clock) = (self.member.clone(), self.env.clock.clone());
        let election = member.config().knobs.election_timeout;
        Ok(async move {
            if !wanted {
                return std::future::pending().await;
            }
            let mut missed = 0;
            while missed < LEADERLESS_ELECTIONS_MAX {
                clock.sleep(election).await;
                missed = if member.has_leader() { 0 } else { missed + 1 };
            }
            ApiError::NO_LEADER.into()
        })
    }
}

/// The name that a simulated client gave its call, by which a run's log is read.
#[cfg(madsim)]
fn name(metadata: &MetadataMap) -> Option<String> {
    metadata.get(CALL_NAME).and_then(|name| name.to_str().ok()).map(str::to_owned)
}

/// The token that a client shows.
fn token(metadata: &MetadataMap) -> Option<&str> {
    let shown = |key| metadata.get(key).and_then(|value| value.to_str().ok());
    shown(TOKEN).or_else(|| shown(AUTHORIZATION).map(|value| value.strip_prefix(BEARER).unwrap_or(value)))
}

fn wants_leader(metadata: &MetadataMap) -> bool {
    metadata.get(HAS_LEADER).is_some_and(|value| value == "true")
}

/// The client's deadline: a number of at most eight digits and a unit, as gRPC defines it. A malformed one is
/// none.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(count.saturating_mul(60))),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &'static str) -> Option<Duration> {
        let mut metadata = MetadataMap::new();
        metadata.insert(TIMEOUT, text.parse().unwrap());
        timeout(&metadata)
    }

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        assert_eq!(of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(of("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(of("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "S", "5", "5x", "-5S", "123456789S", "5 S"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(timeout(&MetadataMap::new()), None);
    }

    #[test]
    fn a_token_is_found_where_clients_put_it() {
        let mut metadata = MetadataMap::new();
        assert_eq!(token(&metadata), None);
        metadata.insert(AUTHORIZATION, "Bearer abc.7".parse().unwrap());
        assert_eq!(token(&metadata), Some("abc.7"));
        metadata.insert(AUTHORIZATION, "abc.8".parse().unwrap());
        assert_eq!(token(&metadata), Some("abc.8"));
        metadata.insert(TOKEN, "abc.9".parse().unwrap());
        assert_eq!(token(&metadata), Some("abc.9"));
    }

    #[test]
    fn a_leader_is_wanted_only_in_so_many_words() {
        let mut metadata = MetadataMap::new();
        assert!(!wants_leader(&metadata));
        metadata.insert(HAS_LEADER, "false".parse().unwrap());
        assert!(!wants_leader(&metadata));
        metadata.insert(HAS_LEADER, "true".parse().unwrap());
        assert!(wants_leader(&metadata));
    }
}
