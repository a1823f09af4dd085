//! What is made of files, and made anew when they change.
//!
//! Files are small and are read whole, again and again: that notices every way of replacing them, a link that points
//! elsewhere included. What cannot be made of them is said once, and what was made before stays in force; so a certificate
//! whose key comes a moment later is no outage.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::tls::NamedFile;
use crate::env::{Env, Worker, run};
use crate::tls::TlsError;
use crate::tls::material::Contents;

/// How often files are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How something is made of files.
pub trait Recipe: Clone + Send + Sync + 'static {
    /// What is made.
    type Made: Send + Sync + 'static;

    /// What it is called in the log.
    fn what(&self) -> &'static str;

    /// The files that are needed.
    fn files(&self) -> Vec<&NamedFile>;

    /// Makes it.
    ///
    /// # Errors
    /// See [`TlsError`].
    fn make(&self, contents: &Contents) -> Result<Self::Made, TlsError>;
}

/// What was made last.
pub struct Reloaded<T>(Mutex<Arc<T>>);

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Makes it, and makes it anew on `worker` whenever the files change, for as long as somebody holds it.
    ///
    /// # Errors
    /// It cannot be made of the files as they are.
    pub async fn start<R: Recipe<Made = T>>(
        recipe: R,
        env: &Env,
        worker: &Arc<dyn Worker>,
    ) -> Result<Arc<Reloaded<T>>, TlsError> {
        let paths: Arc<BTreeSet<PathBuf>> =
            Arc::new(recipe.files().into_iter().map(|file| file.path.clone()).collect());
        let mut contents = read(env, worker, &paths).await?;
        let made = Arc::new(Reloaded(Mutex::new(Arc::new(recipe.make(&contents)?))));
        let (held, env, worker) = (Arc::downgrade(&made), env.clone(), worker.clone());
        tokio::spawn(async move {
            loop {
                env.clock.sleep(LOOK_INTERVAL).await;
                let Ok(found) = read(&env, &worker, &paths).await else { return };
                let Some(held) = held.upgrade() else { return };
                if found == contents {
                    continue;
                }
                contents = found;
                match recipe.make(&contents) {
                    Ok(anew) => {
                        *held.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(anew);
                        tracing::info!(of = recipe.what(), "certificates and keys were read anew");
                    }
                    Err(why) => tracing::error!(
                        of = recipe.what(), %why,
                        "certificates and keys that changed cannot be used; those from before stay in force"
                    ),
                }
            }
        });
        Ok(made)
    }

    /// As it is now.
    pub fn now(&self) -> Arc<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(
    env: &Env,
    worker: &Arc<dyn Worker>,
    paths: &Arc<BTreeSet<PathBuf>>,
) -> Result<Contents, TlsError> {
    let (disk, paths) = (env.disk.clone(), paths.clone());
    let read = run(&**worker, move || Contents::read(&*disk, &paths)).await;
    read.map_err(|error| TlsError::Library(error.to_string()))
}
