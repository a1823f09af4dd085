//! Giving space back: the state engine's file is written anew beside the live one and takes its place, while reads and
//! writes go on.
//!
//! 1. A view of the engine is copied into a new file, page by page. What the engine is given meanwhile is noted, by key.
//! 2. What was noted is carried over from newer views, round after round, until little is left. Should there be ever more,
//!    the state changes faster than it can be copied: then it is given up.
//! 3. The engine is held, as a flush holds it: what is applied meanwhile waits in the buffer, where it can be read. The
//!    last changes are carried over, the log is made durable through all of them, then the new file, and then its name.
//!    Only now does the store use it.
//!
//! A crash leaves the old file or the new one under the name that a start looks at, each whole, and neither ahead of the
//! log. Until the name changes every failure of the new file leaves the member as it was, and nothing of that file: who asks
//! for this is short of space.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::storage::engine::{Engine, EngineError};
use crate::storage::state_dir::{Rewriting, StateDir, Step};
use crate::storage::store::{Place, Store};
use crate::storage::wal::WalHandle;

/// With no more changes than this the engine is held while they are carried over.
const LAST_CHANGES_MAX: usize = 1_000;
/// Rounds after which a state that goes on changing is given up.
const ROUNDS_MAX: u32 = 20;
/// Changes noted while it is copied beyond which it is given up, too: they are kept in memory.
const NOTED_CHANGES_MAX: usize = 4_000_000;

/// Why space was not given back. The member is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DefragmentError {
    /// Somebody else has asked for it.
    #[error("the state is being written anew already")]
    UnderWay,
    /// Copying is slower than what changes the state.
    #[error("the state changes faster than it can be written anew: try again when less is written")]
    TooFast,
    /// The member ends.
    #[error("the member stops")]
    Stopped,
    /// The file could not be written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Stops noting changes, whatever became of the copy.
struct Noting<'s>(&'s Store);

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        self.0.forget_changes();
    }
}

/// How carrying over ended.
enum Rounds {
    /// So few changes are left.
    Few(Rewriting, BTreeSet<Place>),
    /// The engine was replaced meanwhile, or the member stops: the copy is of no use.
    Replaced(Rewriting),
    /// It does not end.
    Endless(Rewriting),
}

impl Store {
    /// Writes the engine's file anew and puts it in the place of the live one.
    ///
    /// # Errors
    /// See [`DefragmentError`].
    pub async fn defragment(&self, place: &StateDir, wal: &WalHandle) -> Result<(), DefragmentError> {
        let _noting = Noting(self);
        let live = self.note_changes().await;
        let mut copying = place.rewrite(live.reader()?).await?;
        let (rewriting, engine) = loop {
            crate::disturb!("the state is written anew slowly", &*self.env().clock);
            if self.is_closed() {
                copying.discard().await;
                return Err(DefragmentError::Stopped);
            }
            if self.noted() > NOTED_CHANGES_MAX {
                copying.discard().await;
                return Err(DefragmentError::TooFast);
            }
            match copying.step().await? {
                Step::More(more) => copying = more,
                Step::Copied(rewriting, engine) => break (rewriting, engine),
            }
        };
        match self.carry_over(rewriting, &live, &engine).await? {
            Rounds::Few(rewriting, last) => self.exchange(rewriting, live, engine, last, wal).await,
            Rounds::Replaced(rewriting) => {
                rewriting.discard().await;
                if self.is_closed() { Err(DefragmentError::Stopped) } else { Ok(()) }
            }
            Rounds::Endless(rewriting) => {
                rewriting.discard().await;
                Err(DefragmentError::TooFast)
            }
        }
    }

    /// Carries changes over until few are left.
    async fn carry_over(
        &self,
        mut rewriting: Rewriting,
        live: &Arc<dyn Engine>,
        engine: &Arc<dyn Engine>,
    ) -> Result<Rounds, EngineError> {
        for _ in 0..ROUNDS_MAX {
            let Some(changes) = self.changes(live).await else { return Ok(Rounds::Replaced(rewriting)) };
            if changes.len() <= LAST_CHANGES_MAX {
                return Ok(Rounds::Few(rewriting, changes));
            }
            rewriting = rewriting.carry_over(changes, live.clone(), engine.clone()).await?;
        }
        Ok(Rounds::Endless(rewriting))
    }

    /// Lets the new engine be the live one.
    async fn exchange(
        &self,
        rewriting: Rewriting,
        live: Arc<dyn Engine>,
        engine: Arc<dyn Engine>,
        mut last: BTreeSet<Place>,
        wal: &WalHandle,
    ) -> Result<(), DefragmentError> {
        crate::disturb!("the last changes are carried over late", &*self.env().clock);
        let _exchange = self.exclusively().await;
        let held = self.hold().await;
        let Some(later) = self.changes(&live).await else {
            rewriting.discard().await;
            // A snapshot came: what is live now was just written.
            return if self.is_closed() { Err(DefragmentError::Stopped) } else { Ok(()) };
        };
        // The planted bug leaves out what came since the last round.
        if !crate::mutant!("defragment-leaves-out-the-last-changes") {
            last.extend(later);
        }
        let rewriting = rewriting.carry_over(last, live.clone(), engine.clone()).await?;
        // The planted bug lets the new file lead the log.
        if !crate::mutant!("defragment-ahead-of-the-log")
            && let Err(error) = self.log_durable(wal).await
        {
            rewriting.discard().await;
            return Err(error.into());
        }
        crate::disturb!("the state is exchanged late", &*self.env().clock);
        let rewriting = rewriting.flush(engine.clone()).await?;
        if let Err(error) = rewriting.put_in_place().await {
            self.fatal(&error.to_string());
            return Err(error.into());
        }
        if self.replace(&live, engine, &held)? {
            crate::sometimes!("the state was written anew");
        }
        Ok(())
    }
}
