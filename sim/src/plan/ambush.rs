//! Ambushes: what happens to whoever comes to a place in the product's code.

use serde::{Deserialize, Deserializer, Serialize};

use crate::hooks;

/// A place of legal disturbance in the product, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PlaceName(pub &'static str);

impl<'de> Deserialize<'de> for PlaceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PlaceName, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = hooks::PLACES.iter().find(|place| place.name == name);
        known.map(|place| PlaceName(place.name)).ok_or_else(|| {
            serde::de::Error::custom(format!("the product has no place of disturbance called {name:?}"))
        })
    }
}

/// What strikes a member that is held up at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// Nothing: the world goes on around it.
    None,
    /// Its process dies there.
    Kill,
    /// Its machine loses power there.
    Power,
    /// Its links to all other members are cut, from then on and for a while after.
    Isolate,
    /// The next sync of its log stands still from then on; soon after it may go on from the place, the power goes.
    StallLog,
    /// The next sync of the folder of its state fails; some time after it has started again the power goes, and with it
    /// the names that no sync has confirmed.
    FailSync,
}
