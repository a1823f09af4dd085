//! The simulator's only hooks in product code: planted bugs, legal disturbances, marks for rare events, and who is
//! told what members are seen doing (see [`Witness`](super::Witness)).
//!
//! In the plain build every one of them is a constant `false` or nothing at all. In the simulated build a run
//! may arm one planted bug by name before it starts; one process runs one seed, so the choice is process-wide.
//!
//! A disturbance is something that may happen anyway: a delay where the scheduler could have delayed, a smaller
//! step, an answer lost that a network could have lost. Never something that only a bug could do.

/// The state behind the hooks, in the simulated build only.
#[cfg(madsim)]
pub mod armed {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
    use std::time::Duration;

    use crate::env::{Clock, Observation};
    use crate::types::MemberId;

    /// Whether the disturbance at a place happens now, and how long it lasts where it is a delay.
    pub type Decide = Box<dyn Fn(&'static str) -> Option<Duration> + Send + Sync>;

    /// Who listens to what members are seen doing.
    pub type Listener = Box<dyn Fn(MemberId, Observation) + Send + Sync>;

    /// Is told whose call is carried out, and that it no longer is.
    pub type Calls = Box<dyn Fn(Option<&str>) + Send + Sync>;

    thread_local! {
        /// The name of the call that is being polled.
        static NAME: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    static MUTANT: OnceLock<String> = OnceLock::new();
    static MARKS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
    static MUTANT_HITS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    static BUGGIFY: OnceLock<Decide> = OnceLock::new();
    static DISTURBED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
    static LISTENER: OnceLock<Listener> = OnceLock::new();
    static CALLS: OnceLock<Calls> = OnceLock::new();

    /// What the name of a call is followed by, and then a number, for what is done beside it.
    pub const AFTER: &str = ".after";

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

    /// Installs the decision behind `buggify!` and its siblings; returns false when one was installed before.
    pub fn arm_buggify(decide: Decide) -> bool {
        BUGGIFY.set(decide).is_ok()
    }

    fn decided(place: &'static str) -> Option<Duration> {
        let delay = BUGGIFY.get()?(place)?;
        *lock(&DISTURBED).entry(place).or_default() += 1;
        Some(delay)
    }

    /// Whether the disturbance at `place` happens now.
    pub fn buggify(place: &'static str) -> bool {
        decided(place).is_some()
    }

    /// Waits, on the member's clock, if there is a delay at `place` now.
    pub async fn disturb(clock: &dyn Clock, place: &'static str) {
        if let Some(delay) = decided(place) {
            clock.sleep(delay).await;
        }
    }

    /// Does `work`: at once, or in a task of its own when there is a delay at `place` now.
    pub fn disturb_then(clock: &Arc<dyn Clock>, place: &'static str, work: impl FnOnce() + Send + 'static) {
        let Some(delay) = decided(place) else { return work() };
        let clock = clock.clone();
        tokio::spawn(async move {
            clock.sleep(delay).await;
            work();
        });
    }

    /// How often the disturbance at each place happened so far.
    pub fn disturbed() -> BTreeMap<&'static str, u64> {
        lock(&DISTURBED).clone()
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

    /// Installs who is told whose call is being carried out; returns false when one was installed before.
    pub fn arm_calls(tell: Calls) -> bool {
        CALLS.set(tell).is_ok()
    }

    /// Carries out a call that its client made under a name: at each turn the name is told, and then whose turn it was
    /// before.
    pub async fn named<T>(name: Option<String>, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        std::future::poll_fn(move |context| {
            let Some((tell, name)) = CALLS.get().zip(name.as_deref()) else {
                return call.as_mut().poll(context);
            };
            let before = NAME.replace(Some(name.to_owned()));
            tell(Some(name));
            let polled = call.as_mut().poll(context);
            tell(before.as_deref());
            NAME.set(before);
            polled
        })
        .await
    }

    /// The name of the call that is being carried out.
    pub fn name() -> Option<String> {
        NAME.with_borrow(Clone::clone)
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

/// Lets work that goes on in a task of its own have the name of the call that began it; nothing in the plain build.
pub fn in_its_name<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    #[cfg(madsim)]
    let work = armed::named(armed::name(), work);
    work
}

/// Lets the `nth` thing, from 0, that a member does by itself for a call, once it has come to nothing or before, have a name
/// that follows from the call's; nothing in the plain build.
#[cfg_attr(not(madsim), expect(unused_variables, reason = "names are the simulator's"))]
pub fn after_it<T>(nth: u32, work: impl Future<Output = T>) -> impl Future<Output = T> {
    #[cfg(madsim)]
    let work = armed::named(armed::name().map(|name| format!("{name}{}{nth}", armed::AFTER)), work);
    work
}

/// What `disturb!` comes to in the plain build: nothing.
#[cfg(not(madsim))]
pub fn undisturbed(_: &dyn crate::env::Clock) {}

/// What `disturb_then!` comes to in the plain build: the work.
#[cfg(not(madsim))]
pub fn undisturbed_then(_: &std::sync::Arc<dyn crate::env::Clock>, work: impl FnOnce()) {
    work();
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

/// Waits here when the simulator wants a legal delay; nothing in the plain build.
#[macro_export]
macro_rules! disturb {
    ($place:literal, $clock:expr) => {{
        #[cfg(madsim)]
        {
            $crate::env::armed::disturb($clock, $place).await;
        }
        #[cfg(not(madsim))]
        {
            $crate::env::undisturbed($clock);
        }
    }};
}

/// Does the work given, a closure, at once or later, as the simulator wants it; at once in the plain build.
#[macro_export]
macro_rules! disturb_then {
    ($place:literal, $clock:expr, $work:expr) => {{
        #[cfg(madsim)]
        {
            $crate::env::armed::disturb_then($clock, $place, $work);
        }
        #[cfg(not(madsim))]
        {
            $crate::env::undisturbed_then($clock, $work);
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
