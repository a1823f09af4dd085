//! Passwords: hashed with bcrypt, and checked against such hashes.
//!
//! Both are slow on purpose, so they are done on a thread of their own, one at a time, and only so many may wait, each for
//! itself: who guesses passwords takes time from others who sign in, but neither memory nor the way to a new password.

use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::limits::PASSWORDS_WAITING_MAX;
use crate::env::{Env, Worker, run};
use crate::machine::auth::change::PasswordHash;

/// What bcrypt looks at of a password, bytes.
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
    to_hash: Arc<Semaphore>,
    to_check: Arc<Semaphore>,
    cost: u32,
}

impl Passwords {
    /// Hashes at this cost, a power of two.
    pub fn new(env: Env, cost: u32) -> Passwords {
        let worker = env.workers.start("passwords");
        let places = || Arc::new(Semaphore::new(PASSWORDS_WAITING_MAX));
        Passwords { env, worker, to_hash: places(), to_check: places(), cost }
    }

    /// The hash of a password, with a salt of its own.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let place = place(&self.to_hash)?;
        let mut salt = [0; 16];
        let (high, low) = salt.split_at_mut(8);
        high.copy_from_slice(&self.env.entropy.next_u64().to_be_bytes());
        low.copy_from_slice(&self.env.entropy.next_u64().to_be_bytes());
        let (password, cost) = (password.to_owned(), self.cost);
        let hash = run(&*self.worker, move || {
            let hash = bcrypt::hash_with_salt(password, cost, salt);
            drop(place);
            hash
        });
        // Cost and length are in bounds, so there is nothing to refuse.
        let hash = hash.await?.map_err(|_| PasswordError::TooLong)?;
        Ok(PasswordHash(hash.format_for_version(bcrypt::Version::TwoB).into()))
    }

    /// Whether a password is the one that was hashed. Without a hash it is not, and that takes as long as with
    /// `stand_in`, somebody else's.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn matches(
        &self,
        password: &str,
        hash: Option<PasswordHash>,
        stand_in: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        let place = place(&self.to_check)?;
        let is_too_long = password.len() > PASSWORD_BYTES_MAX;
        // No more of it waits than is looked at.
        let password: Vec<u8> = password.bytes().take(PASSWORD_BYTES_MAX).collect();
        let nobodys = nobodys_hash(self.cost);
        let matches = run(&*self.worker, move || {
            let known = hash.is_some();
            let hash = hash.or(stand_in);
            let hash = hash.as_ref().and_then(|hash| str::from_utf8(&hash.0).ok()).unwrap_or(&nobodys);
            let matches = bcrypt::verify(password, hash).unwrap_or(false);
            drop(place);
            matches && known && !is_too_long
        });
        matches.await.map_err(PasswordError::from)
    }
}

/// A place among those who wait. The work has it, not whoever asked for the work: who goes away leaves that behind.
fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, PasswordError> {
    places.clone().try_acquire_owned().map_err(|_| PasswordError::TooMany)
}

/// The hash of nothing that anybody knows.
fn nobodys_hash(cost: u32) -> String {
    format!("$2b${cost:02}${}", ".".repeat(53))
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_hash_alone() {
        let passwords = Passwords::new(Env::real().unwrap(), 4);
        let hash = passwords.hash("secret").await.unwrap();
        assert!(hash.0.starts_with(b"$2b$04$"));
        assert_ne!(passwords.hash("secret").await.unwrap(), hash, "each hash has a salt of its own");
        assert_eq!(passwords.matches("secret", Some(hash.clone()), None).await, Ok(true));
        assert_eq!(passwords.matches("Secret", Some(hash.clone()), None).await, Ok(false));
        assert_eq!(passwords.matches("", Some(hash), None).await, Ok(false));
        assert_eq!(passwords.matches("secret", None, None).await, Ok(false));
        let others = passwords.hash("secret").await.unwrap();
        assert_eq!(passwords.matches("secret", None, Some(others)).await, Ok(false), "that is another's");
        let unreadable = PasswordHash("no hash".into());
        assert_eq!(passwords.matches("secret", Some(unreadable), None).await, Ok(false));
    }

    #[tokio::test]
    async fn what_bcrypt_would_not_look_at_is_refused() {
        let passwords = Passwords::new(Env::real().unwrap(), 4);
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        let hash = passwords.hash(&longest).await.unwrap();
        assert_eq!(passwords.matches(&longest, Some(hash.clone()), None).await, Ok(true));
        let longer = format!("{longest}y");
        assert_eq!(passwords.hash(&longer).await, Err(PasswordError::TooLong));
        assert_eq!(passwords.matches(&longer, Some(hash), None).await, Ok(false));
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_work_and_its_place_behind() {
        let passwords = Passwords::new(Env::real().unwrap(), 4);
        let (release, held) = std::sync::mpsc::channel::<()>();
        passwords.worker.submit(Box::new(move || {
            held.recv().unwrap();
            Box::new(|| ())
        }));
        for _ in 0..PASSWORDS_WAITING_MAX {
            assert_eq!(passwords.matches("guess", None, None).now_or_never(), None);
        }
        assert_eq!(passwords.matches("guess", None, None).await, Err(PasswordError::TooMany));
        release.send(()).unwrap();
        // It comes behind all that waited.
        let hash = passwords.hash("secret").await.unwrap();
        assert_eq!(passwords.matches("secret", Some(hash), None).await, Ok(true));
    }

    #[test]
    fn nobodys_hash_is_a_hash() {
        // Else it would be told from a real one by the time it takes.
        assert!(!bcrypt::verify("", &nobodys_hash(4)).unwrap());
    }
}
