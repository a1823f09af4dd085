//! A folder that goes away with its owner.
//!
//! It is left behind by a process that ends without returning (a second signal, a fatal error): then somebody may
//! want to look at it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Names that are tried before giving up.
const NAMES_MAX: u32 = 100;

/// The folder.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a new folder, private to its owner, where the host keeps temporary files.
    ///
    /// # Errors
    /// Those of making it.
    pub fn make(prefix: &str) -> io::Result<TempDir> {
        let process = std::process::id();
        for nth in 0..NAMES_MAX {
            let path = std::env::temp_dir().join(format!("{prefix}-{process}-{nth}"));
            // Never an existing one: it may be somebody else's.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(TempDir { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(dir = %self.path.display(), %error, "a temporary folder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_two_and_neither_outlives_its_owner() {
        let (one, other) = (TempDir::make("quorate-test").unwrap(), TempDir::make("quorate-test").unwrap());
        assert_ne!(one.path(), other.path());
        std::fs::create_dir_all(one.path().join("a/b")).unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
