//! Spare segment files: made ahead, kept from segments that are no longer needed, handed out.
//!
//! A spare's content means nothing, and it never carries a segment's name. Old segments leave oldest first, each
//! name made durable before the next is touched.
//!
//! Only spares made in this process are used. The name of one that is found at start may be a rename whose sync
//! failed: no later sync makes it durable, and a segment made of it would vanish with it at a power loss.

use std::collections::VecDeque;

use super::directory::{Directory, fresh_name, is_spare, recycled_name, segment_name};
use super::error::WalError;
use super::header::Sequence;
use super::writer::Salts;
use crate::types::LogIndex;

/// A segment that takes no more batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) sequence: Sequence,
    /// The file's length.
    pub(super) length_bytes: u64,
    /// The highest index of an entry in it.
    pub(super) last_index: Option<LogIndex>,
}

/// The spares at hand.
#[derive(Debug)]
pub(super) struct Spares {
    names: VecDeque<String>,
    /// The usual length of a segment; a file of another length is not kept.
    segment_bytes: u64,
    /// How many are kept.
    wanted: usize,
    /// One is being made elsewhere.
    planned: bool,
}

/// An order to make a spare, to be carried out where it delays nobody.
#[derive(Debug)]
pub struct SparePlan {
    dir: Directory,
    name: String,
    bytes: u64,
}

/// A spare that a [`SparePlan`] made.
#[derive(Debug)]
pub struct Spare {
    name: String,
}

impl SparePlan {
    /// Makes the file: reserved, written, synced. Blocks.
    ///
    /// # Errors
    /// [`WalError::NoSpace`] when the disk is full, [`WalError::Io`] when it fails.
    pub fn carry_out(self) -> Result<Spare, WalError> {
        self.dir.make_spare(&self.name, self.bytes)?;
        Ok(Spare { name: self.name })
    }
}

impl Spares {
    /// No spare at hand; what an earlier process left is removed.
    pub(super) fn begin(
        dir: &Directory,
        names: &[String],
        segment_bytes: u64,
        wanted: usize,
    ) -> Result<Spares, WalError> {
        for name in names.iter().filter(|name| is_spare(name)) {
            dir.remove(name)?;
        }
        Ok(Spares { names: VecDeque::new(), segment_bytes, wanted, planned: false })
    }

    /// A spare of `bytes`, its space reserved; made on the spot, under a random name, when none is at hand.
    pub(super) fn take(&mut self, dir: &Directory, bytes: u64, salts: &Salts) -> Result<String, WalError> {
        let at_hand = if bytes == self.segment_bytes { self.names.pop_front() } else { None };
        if let Some(name) = at_hand {
            return Ok(name);
        }
        let name = fresh_name(salts.next().0);
        dir.make_spare(&name, bytes)?;
        Ok(name)
    }

    /// What to make so that enough spares are at hand; `None` when there are, or one is on its way.
    pub(super) fn plan(&mut self, dir: &Directory, salts: &Salts) -> Option<SparePlan> {
        if self.planned || self.names.len() >= self.wanted {
            return None;
        }
        self.planned = true;
        Some(SparePlan { dir: dir.clone(), name: fresh_name(salts.next().0), bytes: self.segment_bytes })
    }

    /// Takes in what became of the plan.
    pub(super) fn planned(&mut self, made: Option<Spare>) {
        self.planned = false;
        self.names.extend(made.map(|spare| spare.name));
    }

    /// Takes one old segment out of the log: kept as a spare when one is wanted, removed otherwise.
    pub(super) fn retire(&mut self, dir: &Directory, old: &Closed) -> Result<(), WalError> {
        let name = segment_name(old.sequence);
        if old.length_bytes == self.segment_bytes && self.names.len() < self.wanted {
            let spare = recycled_name(old.sequence);
            dir.rename(&name, &spare)?;
            self.names.push_back(spare);
            crate::sometimes!("segment recycled");
            Ok(())
        } else {
            dir.remove(&name)
        }
    }
}
