//! Passwords: hashed with bcrypt, and checked against such hashes.
//!
//! Both are slow on purpose, so they are done on a thread of their own, one at a time, and only so many may wait: who
//! guesses passwords takes time from others who sign in, and from nobody else.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::limits::PASSWORDS_WAITING_MAX;
use crate::env::{Env, Worker, run};
use crate::machine::auth::change::PasswordHash;

/// What bcrypt looks at of a password, bytes; the last is its end.
const PASSWORD_BYTES_MAX: usize = 72;

/// Why a password was neither hashed nor checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many requests")]
    TooMany,
    /// Longer than what bcrypt looks at: what follows would not count.
    #[error("password length exceeds {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The member is stopping.
    #[error("server stopped")]
    Stopped,
}

impl From<io::Error> for PasswordError {
    fn from(_: io::Error) -> PasswordError {
        PasswordError::Stopped
    }
}

/// Hashes and checks passwords.
pub struct Passwords {
    env: Env,
    worker: Arc<dyn Worker>,
    waiting: Semaphore,
    cost: u32,
}

impl Passwords {
    /// Hashes at this cost, a power of two.
    pub fn new(env: Env, cost: u32) -> Passwords {
        let worker = env.workers.start("passwords");
        Passwords { env, worker, waiting: Semaphore::new(PASSWORDS_WAITING_MAX), cost }
    }

    /// The hash of a password, with a salt of its own.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::TooMany)?;
        let mut salt = [0; 16];
        let (high, low) = salt.split_at_mut(8);
        high.copy_from_slice(&self.env.entropy.next_u64().to_be_bytes());
        low.copy_from_slice(&self.env.entropy.next_u64().to_be_bytes());
        let (password, cost) = (password.to_owned(), self.cost);
        let hash = run(&*self.worker, move || bcrypt::hash_with_salt(password, cost, salt)).await?;
        // Cost and length are in bounds, so there is nothing to refuse.
        let hash = hash.map_err(|_| PasswordError::TooLong)?;
        Ok(PasswordHash(hash.format_for_version(bcrypt::Version::TwoB).into()))
    }

    /// Whether a password is the one that was hashed. Without a hash it is not, and that takes as long.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn matches(&self, password: &str, hash: Option<PasswordHash>) -> Result<bool, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::TooMany)?;
        let (password, stand_in) = (password.to_owned(), stand_in(self.cost));
        run(&*self.worker, move || {
            let known = hash.is_some();
            let hash = hash.as_ref().and_then(|hash| str::from_utf8(&hash.0).ok()).unwrap_or(&stand_in);
            let matches = bcrypt::verify(&password, hash).unwrap_or(false);
            matches && known && password.len() <= PASSWORD_BYTES_MAX
        })
        .await
        .map_err(PasswordError::from)
    }
}

/// What passwords of users who have none are checked against: the hash of nothing anybody knows.
fn stand_in(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(Env::real().unwrap(), 4)
    }

    #[tokio::test]
    async fn a_password_matches_its_hash_alone() {
        let passwords = passwords();
        let hash = passwords.hash("secret").await.unwrap();
        assert!(hash.0.starts_with(b"$2b$04$"));
        assert_ne!(passwords.hash("secret").await.unwrap(), hash, "each hash has a salt of its own");
        assert_eq!(passwords.matches("secret", Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.matches("Secret", Some(hash.clone())).await, Ok(false));
        assert_eq!(passwords.matches("", Some(hash)).await, Ok(false));
        assert_eq!(passwords.matches("secret", None).await, Ok(false));
        let unreadable = PasswordHash("no hash".into());
        assert_eq!(passwords.matches("secret", Some(unreadable)).await, Ok(false));
    }

    #[tokio::test]
    async fn what_bcrypt_would_not_look_at_is_refused() {
        let passwords = passwords();
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        let hash = passwords.hash(&longest).await.unwrap();
        assert_eq!(passwords.matches(&longest, Some(hash.clone())).await, Ok(true));
        let longer = format!("{longest}y");
        assert_eq!(passwords.hash(&longer).await, Err(PasswordError::TooLong));
        assert_eq!(passwords.matches(&longer, Some(hash)).await, Ok(false));
    }

    #[test]
    fn the_stand_in_is_a_hash() {
        // Else it would be told from a real one by the time it takes.
        assert!(!bcrypt::verify("", &stand_in(4)).unwrap());
    }
}
