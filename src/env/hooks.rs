//! The simulator's only hooks in product code: planted bugs, legal disturbances, marks for rare events, and who is
//! told what members are seen doing (see [`Witness`](super::Witness)).
//!
//! In the plain build every one of them is a constant `false` or nothing at all. In the simulated build a run
//! may arm one planted bug by name before it starts; one process runs one seed, so the choice is process-wide.

/// The state behind the hooks, in the simulated build only.
#[cfg(madsim)]
pub mod armed {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

    use crate::env::Observation;
    use crate::types::MemberId;

    /// Who listens to what members are seen doing.
    pub type Listener = Box<dyn Fn(MemberId, Observation) + Send + Sync>;

    static MUTANT: OnceLock<String> = OnceLock::new();
    static MARKS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
    static MUTANT_HITS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    static BUGGIFY: OnceLock<Box<dyn Fn(&'static str) -> bool + Send + Sync>> = OnceLock::new();

    static LISTENER: OnceLock<Listener> = OnceLock::new();

    fn lock<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Arms the planted bug `name` for this process; returns false when one was armed before.
    pub fn arm_mutant(name: &str) -> bool {
        MUTANT.set(name.to_owned()).is_ok()
    }

    /// Whether the planted bug `name` is armed; remembers that its place was reached.
    pub fn mutant(name: &'static str) -> bool {
        let armed = MUTANT.get().is_some_and(|armed| armed == name);
        if armed {
            lock(&MUTANT_HITS).insert(name);
        }
        armed
    }

    /// The armed bugs whose place in the code was reached so far.
    pub fn mutants_reached() -> Vec<&'static str> {
        lock(&MUTANT_HITS).iter().copied().collect()
    }

    /// Installs the decision behind `buggify!`; returns false when one was installed before.
    pub fn arm_buggify(decide: Box<dyn Fn(&'static str) -> bool + Send + Sync>) -> bool {
        BUGGIFY.set(decide).is_ok()
    }

    /// Whether the disturbance at `place` happens now.
    pub fn buggify(place: &'static str) -> bool {
        BUGGIFY.get().is_some_and(|decide| decide(place))
    }

    /// Installs who is told what members are seen doing; returns false when somebody was installed before.
    pub fn arm_listener(listener: Listener) -> bool {
        LISTENER.set(listener).is_ok()
    }

    /// Tells what a member was seen doing, if anybody listens.
    pub fn witness(member: MemberId, observe: impl FnOnce() -> Observation) {
        if let Some(listener) = LISTENER.get() {
            listener(member, observe());
        }
    }

    /// Counts a rare event.
    pub fn sometimes(mark: &'static str) {
        *lock(&MARKS).entry(mark).or_default() += 1;
    }

    /// How often each rare event happened so far.
    pub fn marks() -> BTreeMap<&'static str, u64> {
        lock(&MARKS).clone()
    }
}

/// True when the named planted bug is armed; constant `false` in the plain build.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(madsim)]
        {
            $crate::env::armed::mutant($name)
        }
        #[cfg(not(madsim))]
        {
            false
        }
    }};
}

/// True when the simulator wants a legal disturbance here; constant `false` in the plain build.
#[macro_export]
macro_rules! buggify {
    ($place:literal) => {{
        #[cfg(madsim)]
        {
            $crate::env::armed::buggify($place)
        }
        #[cfg(not(madsim))]
        {
            false
        }
    }};
}

/// Marks a rare situation that sweeps must reach now and then; nothing in the plain build.
#[macro_export]
macro_rules! sometimes {
    ($mark:literal) => {{
        #[cfg(madsim)]
        {
            $crate::env::armed::sometimes($mark);
        }
    }};
}
