//! Searching a model: all of it, or for the shortest way to something wrong.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use crate::planted::Planted;

/// A model that the catalogue can hold.
pub trait Checked:
    Model<
        State: Clone + Debug + PartialEq + Hash + Send + Sync,
        Action: Clone + Debug + PartialEq + Send + Sync,
    > + Send
    + Sync
    + Sized
    + 'static
{
    /// What it is called on the command line.
    const NAME: &'static str;
    /// What it shows, in one line.
    const ABOUT: &'static str;
    /// The bugs that can be planted in it.
    const PLANTED: &'static [Planted];

    /// The model at its usual bounds, with a bug or [`Planted::Nothing`].
    fn new(planted: Planted) -> Self;
}

/// What an exhaustive search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Different states reached.
    pub states: usize,
    /// Steps tried from them, repeats included.
    pub steps: usize,
    /// Steps of the longest shortest way to a state.
    pub depth: usize,
    /// Properties that were violated, each with the way there.
    pub violated: Vec<Counterexample>,
    /// Situations that were to be reached and were not.
    pub missed: Vec<&'static str>,
}

/// A way to something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The property violated.
    pub property: &'static str,
    /// The steps, in order.
    pub steps: Vec<String>,
}

/// The properties that must hold in every state.
pub fn always<M: Checked>() -> Vec<&'static str> {
    let properties = M::new(Planted::Nothing).properties().into_iter();
    let always = properties.filter(|property| property.expectation.discovery_is_failure());
    always.map(|property| property.name).collect()
}

/// Searches every state within the model's bounds.
pub fn exhaust<M: Checked>(planted: Planted) -> Figures {
    let checker = M::new(planted).checker().spawn_bfs().join();
    // Every property was decided early only if every `always` was violated; otherwise all states were seen.
    assert!(checker.is_done(), "the search of {} ended before its end", M::NAME);
    let mut found = checker.discoveries();
    let (mut violated, mut missed) = (Vec::new(), Vec::new());
    for property in checker.model().properties() {
        let path = found.remove(property.name);
        match (property.expectation, path) {
            (Expectation::Sometimes, None) => missed.push(property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                violated.push(counterexample::<M>(checker.model(), property.name, path));
            }
            (Expectation::Sometimes, Some(_)) | (Expectation::Always | Expectation::Eventually, None) => {}
        }
    }
    Figures {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth().saturating_sub(1),
        violated,
        missed,
    }
}

/// The shortest way to a violation, if there is any.
pub fn hunt<M: Checked>(planted: Planted) -> Option<Counterexample> {
    let mut best: Option<Counterexample> = None;
    loop {
        // The checker looks at states shallower than this; the first of them is at depth 1.
        let below = best.as_ref().map(|best| best.steps.len().saturating_add(1));
        let mut builder = M::new(planted).checker().finish_when(HasDiscoveries::AnyFailures);
        if let Some(below) = below {
            builder = builder.target_max_depth(below);
        }
        let checker = builder.spawn_bfs().join();
        let mut found = checker.discoveries();
        let names = checker.model().properties().into_iter();
        let failures = names.filter(|property| property.expectation.discovery_is_failure());
        let shorter = failures
            .filter_map(|property| Some((property.name, found.remove(property.name)?)))
            .map(|(name, path)| counterexample::<M>(checker.model(), name, path))
            .min_by_key(|found| found.steps.len());
        let Some(shorter) = shorter else { return best };
        best = Some(shorter);
    }
}

fn counterexample<M: Checked>(
    model: &M,
    property: &'static str,
    path: Path<M::State, M::Action>,
) -> Counterexample {
    let steps = path.into_actions().iter().map(|action| model.format_action(action)).collect();
    Counterexample { property, steps }
}

/// Whether nothing is left to do: where what must come in the end must have come.
pub fn is_terminal<M: Model>(model: &M, state: &M::State) -> bool {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    !actions.into_iter().any(|action| model.next_state(state, action).is_some())
}
