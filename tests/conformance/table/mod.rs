//! Which test shows what of the client API: the rows come from the `.proto` files, what is shown from the tests.
//!
//! A test says in its comment what it shows, in a paragraph that begins with `Covers`:
//!
//! ```text
//! /// Covers Lock/Lock; LockRequest: name, lease; LockResponse: header, key.
//! ```
//!
//! [`rows`] names every call, every field that goes over the wire with it, and every value of its enumerations; [`claims`]
//! reads the tests; [`page`] writes both down. [`complaints`] is what keeps the page honest: a row that no test shows, a
//! claim of what does not exist, a claim in a file that never names the thing.

pub mod claims;
pub mod page;
pub mod rows;

use std::collections::{BTreeMap, BTreeSet};

use claims::Claim;
use rows::Row;

/// The claims of each row, by [`Row::name`].
pub fn by_row(claims: &[Claim]) -> BTreeMap<&str, Vec<&Claim>> {
    let mut shown: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        shown.entry(&claim.of).or_default().push(claim);
    }
    shown
}

/// What is wrong, a line each.
pub fn complaints(rows: &[Row], claims: &[Claim]) -> Vec<String> {
    let shown = by_row(claims);
    let known: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let bare = rows.iter().filter(|row| !shown.contains_key(row.name.as_str()));
    let bare = bare.map(|row| format!("{}: no test shows it", row.name));
    let unknown = claims.iter().filter(|claim| !known.contains(claim.of.as_str()));
    let unknown = unknown.map(|claim| format!("{}: {} is not in the API", claim.test, claim.of));
    let hollow = rows.iter().flat_map(|row| {
        let claims = shown.get(row.name.as_str()).into_iter().flatten();
        let hollow = claims.filter(|claim| !row.words.iter().any(|word| claim.words.contains(word)));
        hollow.map(|claim| {
            format!("{}: its file never says {}, for {}", claim.test, row.words.join(" or "), row.name)
        })
    });
    bare.chain(unknown).chain(hollow).collect()
}
