//! What is made of files, and made anew when they change.
//!
//! Files are small and are read whole, again and again: that notices every way of replacing them, a link that points
//! elsewhere included. What has changed is taken once two looks in a row have found the same, so that a file is not read
//! while it is written. What cannot be made of them is said once, and what was made before stays in force; so a certificate
//! whose key comes a moment later is no outage.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
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
        let contents = read(env, worker, &paths).await?;
        let first = make(worker, &recipe, &contents).await?;
        let made = Arc::new(Reloaded(Mutex::new(Arc::new(first))));
        let follower =
            Follower { recipe, paths, held: Arc::downgrade(&made), env: env.clone(), worker: worker.clone() };
        tokio::spawn(follower.follow(contents));
        Ok(made)
    }

    /// As it is now.
    pub fn now(&self) -> Arc<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who looks at the files.
struct Follower<R: Recipe> {
    recipe: R,
    paths: Arc<BTreeSet<PathBuf>>,
    held: Weak<Reloaded<R::Made>>,
    env: Env,
    worker: Arc<dyn Worker>,
}

impl<R: Recipe> Follower<R> {
    /// Looks again and again, since what was made of `contents`, until nobody holds it any more.
    async fn follow(self, mut contents: Contents) {
        let mut found_before = None;
        loop {
            self.env.clock.sleep(LOOK_INTERVAL).await;
            let found = match read(&self.env, &self.worker, &self.paths).await {
                Ok(found) => found,
                Err(why) => {
                    let of = self.recipe.what();
                    tracing::error!(of, %why, "certificates and keys are not looked at any more");
                    return;
                }
            };
            let Some(held) = self.held.upgrade() else { return };
            if found == contents {
                found_before = None;
                continue;
            }
            if found_before.as_ref() != Some(&found) {
                found_before = Some(found);
                continue;
            }
            (contents, found_before) = (found, None);
            let of = self.recipe.what();
            match make(&self.worker, &self.recipe, &contents).await {
                Ok(anew) => {
                    *held.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(anew);
                    tracing::info!(of, "certificates and keys were read anew");
                }
                Err(why) => tracing::error!(
                    of, %why,
                    "certificates and keys that changed cannot be used; those from before stay in force"
                ),
            }
        }
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

/// Makes it on `worker`: files may be large, and a broken one is no reason for anything else to end.
async fn make<R: Recipe>(
    worker: &Arc<dyn Worker>,
    recipe: &R,
    contents: &Contents,
) -> Result<R::Made, TlsError> {
    let (recipe, contents) = (recipe.clone(), contents.clone());
    // What is torn by a panic is dropped with it.
    let job = move || catch_unwind(AssertUnwindSafe(|| recipe.make(&contents)));
    match run(&**worker, job).await {
        Ok(Ok(made)) => made,
        Ok(Err(_panic)) => Err(TlsError::Library("reading the files met a bug".to_owned())),
        Err(error) => Err(TlsError::Library(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::env::Clock;

    /// Sleeps that last until the test lets them end.
    struct Ticks {
        over: Semaphore,
        /// Sleeps that have begun.
        begun: AtomicUsize,
    }

    impl Ticks {
        fn new() -> Arc<Ticks> {
            Arc::new(Ticks { over: Semaphore::new(0), begun: AtomicUsize::new(0) })
        }

        /// Lets the files be looked at so many times, and waits until all of that is over.
        async fn look(&self, times: usize) {
            for nth in 0..=times {
                let begun = self.begun.load(Ordering::Relaxed);
                if nth > 0 {
                    self.over.add_permits(1);
                } else if begun > 0 {
                    continue;
                }
                while self.begun.load(Ordering::Relaxed) == begun {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Their clock.
    struct Slow(Arc<Ticks>);

    impl Clock for Slow {
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn wall_ms(&self) -> u64 {
            0
        }

        fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
            let ticks = self.0.clone();
            Box::pin(async move {
                ticks.begun.fetch_add(1, Ordering::Relaxed);
                ticks.over.acquire().await.unwrap().forget();
            })
        }
    }

    /// The text of a file, unless it says that it is broken; and how often it was tried.
    #[derive(Clone)]
    struct Text {
        file: NamedFile,
        tried: Arc<AtomicUsize>,
    }

    impl Recipe for Text {
        type Made = String;

        fn what(&self) -> &'static str {
            "a test"
        }

        fn files(&self) -> Vec<&NamedFile> {
            vec![&self.file]
        }

        fn make(&self, contents: &Contents) -> Result<String, TlsError> {
            self.tried.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8_lossy(contents.of(&self.file)?).into_owned();
            assert_ne!(text, "panic");
            if text == "broken" { Err(TlsError::file(&self.file, text)) } else { Ok(text) }
        }
    }

    #[tokio::test]
    async fn what_changes_is_tried_once_and_what_cannot_be_used_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        let tried = Arc::new(AtomicUsize::new(0));
        let text = Text { file: NamedFile { flag: "cert-file", path: path.clone() }, tried: tried.clone() };
        let ticks = Ticks::new();
        let env = Env { clock: Arc::new(Slow(ticks.clone())), ..Env::real().unwrap() };
        let worker = env.workers.start("test");
        let absent = Reloaded::start(text.clone(), &env, &worker).await.err().unwrap().to_string();
        assert!(absent.contains("text (--cert-file): cannot be read: "), "{absent}");

        std::fs::write(&path, "one").unwrap();
        let made = Reloaded::start(text, &env, &worker).await.unwrap();
        ticks.look(2).await;
        assert_eq!((made.now().as_str(), tried.load(Ordering::Relaxed)), ("one", 2), "nothing has changed");
        for (now, says, count) in
            [("two", "two", 3), ("broken", "two", 4), ("panic", "two", 5), ("", "", 6), ("three", "three", 7)]
        {
            std::fs::write(&path, now).unwrap();
            ticks.look(1).await;
            assert_eq!(tried.load(Ordering::Relaxed), count - 1, "{now}: it may still be written");
            ticks.look(2).await;
            assert_eq!((made.now().as_str(), tried.load(Ordering::Relaxed)), (says, count), "{now}");
        }
        std::fs::remove_file(&path).unwrap();
        ticks.look(2).await;
        assert_eq!((made.now().as_str(), tried.load(Ordering::Relaxed)), ("three", 8));
        // Once nobody holds it, nobody looks any more.
        drop(made);
        ticks.over.add_permits(1);
        while Arc::strong_count(&tried) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_another_at_every_look_is_not_tried() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "one").unwrap();
        let tried = Arc::new(AtomicUsize::new(0));
        let text = Text { file: NamedFile { flag: "cert-file", path: path.clone() }, tried: tried.clone() };
        let ticks = Ticks::new();
        let env = Env { clock: Arc::new(Slow(ticks.clone())), ..Env::real().unwrap() };
        let worker = env.workers.start("test");
        let made = Reloaded::start(text, &env, &worker).await.unwrap();
        for nth in 0..5 {
            std::fs::write(&path, format!("half {nth}")).unwrap();
            ticks.look(1).await;
        }
        assert_eq!((made.now().as_str(), tried.load(Ordering::Relaxed)), ("one", 1));
        ticks.look(2).await;
        assert_eq!((made.now().as_str(), tried.load(Ordering::Relaxed)), ("half 4", 2));
    }
}
