//! What damage took from one file: for every damaged sector, what the platter would hold without it.
//!
//! Rot, misdirected and lost writes change what a disk gives back. A disk may be rescued by its owner (its controller
//! is replaced, its platters are read elsewhere), so what they should hold is remembered here until it is written
//! anew, cut off, or put back.
//!
//! Invariant: a sector that was written out after it was damaged is not damaged any more. Decides nothing.

use std::collections::BTreeMap;

use crate::platter::{SECTOR_BYTES, Sector};

/// The ledger of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    /// What the platter should hold, by sector.
    owed: BTreeMap<u64, Sector>,
    /// Writes that went astray and that no sync has covered yet: owed from the next sync on.
    astray: BTreeMap<u64, Sector>,
}

impl Harm {
    /// A sector of the platter is about to be changed behind the writer's back.
    pub(crate) fn spoilt(&mut self, sector: u64, before: &Sector) {
        self.owed.entry(sector).or_insert_with(|| before.clone());
    }

    /// A write was acknowledged and went nowhere, or elsewhere.
    pub(crate) fn strayed(&mut self, sector: u64, meant: &Sector) {
        self.astray.insert(sector, meant.clone());
    }

    /// The sector was written again, into the page cache.
    pub(crate) fn written(&mut self, sector: u64) {
        self.astray.remove(&sector);
    }

    /// The sector was written out.
    pub(crate) fn burnt(&mut self, sector: u64) {
        self.owed.remove(&sector);
    }

    /// The file was synced: what went astray should be durable now.
    pub(crate) fn synced(&mut self) {
        self.owed.append(&mut self.astray);
    }

    /// What went astray was not durable, and is not asked for any more.
    pub(crate) fn forget_astray(&mut self) {
        self.astray.clear();
    }

    /// The platter ends here from now on.
    pub(crate) fn cut(&mut self, len: u64) {
        self.owed.retain(|sector, _| sector * SECTOR_BYTES < len);
    }

    /// What the platter should hold.
    pub(crate) fn owed(&self) -> impl Iterator<Item = (u64, &Sector)> {
        self.owed.iter().map(|(sector, data)| (*sector, data))
    }

    /// Everything that is to be put back: on the platter, and into the page cache.
    pub(crate) fn settle(&mut self) -> (BTreeMap<u64, Sector>, BTreeMap<u64, Sector>) {
        (std::mem::take(&mut self.owed), std::mem::take(&mut self.astray))
    }
}
