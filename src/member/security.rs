//! How a member is reached and known, and by what it knows others: who may connect, which tokens count.
//!
//! The default is plain text for everybody, and tokens that stand for sessions. What is said here is made by whoever starts
//! the member, because it comes from files and keys; a member only asks it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::peer::Dialer;
use crate::peer::listen::Gate;

/// What a signed token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub user: Arc<str>,
    /// The revision of the auth state in which the user was signed in; the token is good for no other.
    pub auth_revision: u64,
    /// The second since 1970 from which it is good.
    pub begins_secs: u64,
    /// The second from which it is good for nothing.
    pub ends_secs: u64,
}

/// Tokens that say under a signature whom they stand for.
pub trait SignedTokens: Send + Sync {
    /// What a token claims, if its signature holds; whether it has ended is the caller's to ask.
    fn verify(&self, token: &str) -> Option<Claims>;

    /// A token for a user, from `now_secs` since 1970 on; none without a key to sign it with.
    fn sign(&self, user: &str, auth_revision: u64, now_secs: u64) -> Option<String>;
}

/// Who may connect, how others are connected to, and what shows who a client is. Cheap to clone.
#[derive(Clone, Default)]
pub struct Security {
    /// What whoever connects to one of these addresses meets.
    pub gates: BTreeMap<SocketAddr, Gate>,
    /// What whoever connects to another one meets: plain text.
    pub plain: Gate,
    /// How peers are connected to.
    pub dialer: Dialer,
    /// Whether a client that shows no token is the user whose name its certificate bears.
    pub certificates_name_users: bool,
    /// Tokens that are signed; without them, tokens are those of sessions.
    pub signed_tokens: Option<Arc<dyn SignedTokens>>,
}

impl Security {
    /// What whoever connects to `address` meets.
    pub fn gate(&self, address: SocketAddr) -> Gate {
        self.gates.get(&address).unwrap_or(&self.plain).clone()
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are nobody's to read.
        f.debug_struct("Security")
            .field("gates", &self.gates.keys())
            .field("certificates_name_users", &self.certificates_name_users)
            .field("signed_tokens", &self.signed_tokens.is_some())
            .finish_non_exhaustive()
    }
}
