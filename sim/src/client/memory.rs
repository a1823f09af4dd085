//! What one client has seen so far: the newest revision, and each key's last known state.
//!
//! Only for asking interesting questions. Nothing is judged by it, so it may be out of date.

use std::collections::BTreeMap;

use quorate_check::bytes::Bytes;
use quorate_check::history::{Header, KeyValue, Request, Response};
use quorate_check::types::Revision;

/// A client's memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    newest: Revision,
    keys: BTreeMap<Bytes, Known>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its mod revision.
    pub mod_revision: Revision,
    /// Its version.
    pub version: i64,
}

impl Memory {
    /// The newest revision seen.
    pub fn newest(&self) -> Revision {
        self.newest
    }

    /// What was last seen of a key; all zero, as for a missing key, when nothing was.
    pub fn known(&self, key: &Bytes) -> Known {
        self.keys.get(key).copied().unwrap_or_default()
    }

    /// Learns from an answer.
    pub fn learn(&mut self, request: &Request, header: &Header, response: &Response) {
        self.newest = self.newest.max(header.revision);
        let keys = &mut self.keys;
        response.pairs(&mut |pair: &KeyValue| {
            let known = keys.entry(pair.key.clone()).or_default();
            if known.mod_revision < pair.mod_revision {
                *known = Known { mod_revision: pair.mod_revision, version: pair.version };
            }
        });
        match (request, response) {
            (Request::Put(put), Response::Put(_)) => {
                let known = keys.entry(put.key.clone()).or_default();
                *known = Known { mod_revision: header.revision, version: known.version + 1 };
            }
            (Request::DeleteRange(delete), Response::DeleteRange(_)) if delete.range_end.is_empty() => {
                keys.remove(&delete.key);
            }
            _ => {}
        }
    }
}
