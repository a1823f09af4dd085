//! Who a member's clients are, and what they may ask of it.
//!
//! A client shows a token with every call, or a certificate with its connection. Which user that is, and what the user may
//! do, is asked of the state in which the answer counts: for a command when it is applied, for a read in the state that is
//! read. What a member refuses by its own state alone it asks again once it knows everything that was acknowledged before
//! the call, so that a member that lags behind turns nobody away who has just been let in.
//!
//! What a member would allow by its own state alone it allows to watch, and to keep leases alive: as if the client had come
//! before what the member has not heard of yet. Whatever it writes, or reads linearizably, is checked in the newest state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::limits;
use crate::env::within;
use crate::machine::auth::ROOT;
use crate::machine::auth::change::{AuthChange, PasswordHash};
use crate::machine::command::{Answer, Caller, Command, CommandError, ProvenUser, Reply};
use crate::machine::state::State;
use crate::member::Member;
use crate::member::passwords::PasswordError;
use crate::member::security::Claims;
use crate::raft::pending::ProposeError;
use crate::raft::read_index::ReadError;

/// How often a command is proposed again because users or roles were changed while it was under way.
const CHANGES_MET_MAX: usize = 10;

/// What a client shows of who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// The token of a session.
    Token(String),
    /// A token whose signature holds, with what it claims.
    Signed(Claims),
    /// A token that was to be signed, and whose signature does not hold.
    Forged,
    /// A certificate that was verified, with the name of the user it stands for.
    Certificate(Arc<str>),
}

/// Why nobody was signed in, or no user or role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The user is not known, or its password is another; which of both does not show.
    #[error("authentication failed, invalid user ID or password")]
    WrongPassword,
    /// This member checks signed tokens, and has no key to sign one.
    #[error("this member has no private key to sign a token with")]
    NoSigningKey,
    /// The state refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The password was neither hashed nor checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The command did not get into the log, or nobody knows.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a password is to be checked against.
struct Challenge {
    /// The hash; none for a user who is not known or has no password, which must not show.
    hash: Option<PasswordHash>,
    /// One that takes as long to check as others do here.
    stand_in: Option<PasswordHash>,
    /// The revision of the auth state that says so.
    auth_revision: u64,
}

impl Member {
    /// Asks `check` of this member's state as it is, with whoever shows `who`.
    ///
    /// # Errors
    /// Outer: see [`ReadError`]. Inner: what `check` says, or the token is none.
    pub fn admit_here<T>(
        &self,
        who: &Credential,
        check: impl FnOnce(&State, &Caller) -> Result<T, CommandError>,
    ) -> Result<Result<T, CommandError>, ReadError> {
        let state = self.replica.readable().map_err(|error| self.unreadable(&error))?;
        Ok(self.caller_in(&state, who).and_then(|caller| check(&state, &caller)))
    }

    /// As [`Member::admit_here`], but what would be refused is asked anew, of a state that knows every change that was
    /// acknowledged before the call.
    ///
    /// # Errors
    /// As [`Member::admit_here`].
    pub async fn admit<T>(
        &self,
        who: &Credential,
        check: impl Fn(&State, &Caller) -> Result<T, CommandError>,
    ) -> Result<Result<T, CommandError>, ReadError> {
        self.cover_joining().await?;
        let admitted = self.admit_here(who, &check)?;
        // The planted bug believes a state that may lag behind.
        if admitted.is_ok() || crate::mutant!("auth-refused-from-behind") {
            return Ok(admitted);
        }
        self.linearizable().await?;
        self.admit_here(who, check)
    }

    /// Waits for what must be known here before a client is judged by the state of this member alone.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn know_client(&self, who: &Credential) -> Result<(), ReadError> {
        self.cover_joining().await?;
        self.await_session(who).await;
        Ok(())
    }

    /// Waits until this member's state covers the moment in which it joined: until then users may be asked who they are
    /// everywhere else, and here, by a state that begins with nothing, everybody may do everything. Its own name in the
    /// list tells, because it says it itself; no later start has to wait.
    async fn cover_joining(&self) -> Result<(), ReadError> {
        let is_named = |state: &State| {
            state.members().get(self.config.member).is_some_and(|member| !member.name.is_empty())
        };
        if self.covers_joining.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !is_named(&self.replica.state()) {
            self.linearizable().await?;
            crate::sometimes!("a client came before the member knew whom to ask");
        }
        self.covers_joining.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits for a session that this member will hear of soon: a token says in which entry it was opened. Not for long,
    /// and not together with many others, because nobody knows yet who asks.
    pub async fn await_session(&self, who: &Credential) {
        let Credential::Token(token) = who else { return };
        let opened_at = token.rsplit_once('.').and_then(|(_, index)| index.parse().ok());
        let Some(opened_at) = opened_at.filter(|_| self.is_unknown(token)) else { return };
        let Ok(_place) = self.session_waits.try_acquire() else { return };
        // Known or not: whoever waits looks again.
        let _known = within(&*self.env.clock, limits::SESSION_WAIT, self.applied(opened_at)).await;
    }

    fn is_unknown(&self, token: &str) -> bool {
        let state = self.replica.state();
        state.auth().is_enabled() && self.replica.user_of(token).is_none()
    }

    /// Who shows this, as `state` has it; the state is held meanwhile.
    pub(super) fn caller_in(&self, state: &State, who: &Credential) -> Result<Caller, CommandError> {
        let auth = state.auth();
        if !auth.is_enabled() {
            return Ok(Caller::Anonymous);
        }
        let now = auth.revision();
        let (user, auth_revision) = match who {
            Credential::None => return Ok(Caller::Anonymous),
            Credential::Token(token) => {
                (self.replica.user_of(token).ok_or(CommandError::InvalidAuthToken)?, now)
            }
            Credential::Signed(claims)
                if (claims.begins_secs..claims.ends_secs).contains(&self.wall_secs()) =>
            {
                (claims.user.clone(), claims.auth_revision)
            }
            Credential::Signed(_) | Credential::Forged => return Err(CommandError::InvalidAuthToken),
            Credential::Certificate(user) => (user.clone(), now),
        };
        Ok(Caller::User(ProvenUser { user, auth_revision }))
    }

    /// What a token is worth, before any state is asked.
    pub fn credential_of(&self, token: &str) -> Credential {
        match &self.config.security.signed_tokens {
            None => Credential::Token(token.to_owned()),
            Some(signed) => signed.verify(token).map_or(Credential::Forged, Credential::Signed),
        }
    }

    fn wall_secs(&self) -> u64 {
        self.env.clock.wall_ms() / 1_000
    }

    /// As [`Member::propose`], for a client: what it may not do is refused.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose_for(&self, who: &Credential, command: Command) -> Result<Answer, ProposeError> {
        for _ in 0..CHANGES_MET_MAX {
            let check = |state: &State, caller: &Caller| {
                state.check_caller(caller, &command).map(|()| caller.clone())
            };
            let caller = match self.admit(who, check).await? {
                Ok(caller) => caller,
                Err(refused) => return Ok(self.refused(refused)),
            };
            if *who == Credential::None {
                return self.propose(caller, command).await;
            }
            let says_nothing = caller == Caller::Anonymous;
            let answer = self.propose(caller, command.clone()).await?;
            // This member has applied by now what came in between, and knows more of its client.
            let goes_on = match &answer.result {
                Err(CommandError::AuthRevisionOld) => true,
                Err(CommandError::UserEmpty) => says_nothing && self.replica.state().auth().is_enabled(),
                _ => false,
            };
            if !goes_on {
                return Ok(answer);
            }
            crate::sometimes!("users or roles changed under a command");
        }
        Ok(self.refused(CommandError::AuthRevisionOld))
    }

    fn refused(&self, why: CommandError) -> Answer {
        Answer { revision: self.revision(), result: Err(why) }
    }

    /// Checks a user's password and opens a session; its token. A signed token needs no session.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn sign_in(&self, user: &str, password: &str) -> Result<String, AuthError> {
        for _ in 0..CHANGES_MET_MAX {
            self.linearizable().await?;
            let Challenge { hash, stand_in, auth_revision } = self.challenge(user)?;
            if !self.passwords.matches(password, hash, stand_in).await? {
                return Err(AuthError::WrongPassword);
            }
            if let Some(signed) = &self.config.security.signed_tokens {
                // Nobody has to hear of it: what it claims is checked whenever it is shown.
                return signed.sign(user, auth_revision, self.wall_secs()).ok_or(AuthError::NoSigningKey);
            }
            let (user, token) = (user.to_owned(), self.token_start());
            let command = Command::Authenticate { user, auth_revision, token };
            match self.propose(Caller::Member, command).await?.result {
                Ok(Reply::Token(token)) => return Ok(token),
                Ok(_) => return Err(ProposeError::AnswerLost.into()),
                Err(CommandError::AuthRevisionOld) => crate::sometimes!("users changed under a sign-in"),
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(CommandError::AuthRevisionOld.into())
    }

    /// What a user's password is to be checked against.
    fn challenge(&self, user: &str) -> Result<Challenge, AuthError> {
        let state = self.replica.readable().map_err(|error| self.unreadable(&error))?;
        let auth = state.auth();
        if !auth.is_enabled() {
            return Err(CommandError::AuthNotEnabled.into());
        }
        let hash_of = |user| auth.user(user).and_then(|user| user.password()).cloned();
        Ok(Challenge { hash: hash_of(user), stand_in: hash_of(ROOT), auth_revision: auth.revision() })
    }

    /// Makes one change of users and roles.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn change_auth(&self, who: &Credential, change: AuthChange) -> Result<(), AuthError> {
        self.propose_for(who, Command::ChangeAuth(change)).await?.result?;
        Ok(())
    }

    /// The hash of a password, for a change of users; only for whoever may make one.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn hash_password(&self, who: &Credential, password: &str) -> Result<PasswordHash, AuthError> {
        self.admit(who, |state, caller| state.auth().check_root(caller)).await??;
        Ok(self.passwords.hash(password).await?)
    }

    /// Sixteen random letters.
    fn token_start(&self) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPabcdefghijklmnop";
        let numbers = [self.env.entropy.next_u64(), self.env.entropy.next_u64()];
        let letters = numbers.iter().flat_map(|number| number.to_be_bytes());
        letters
            .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
            .map(|letter| char::from(*letter))
            .collect()
    }
}
