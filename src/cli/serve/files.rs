//! How many files the process may have open, and what of that is for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tls::places::Places;

/// Takes all files that the host lets the process have open, and says how many connections that is.
pub fn places() -> Places {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit is the highest of all.
    let count = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = raised
        && count(current) < count(maximum)
    {
        tracing::warn!(%error, files = count(current), "the limit of open files cannot be raised");
    }
    Places::for_files(count(getrlimit(Resource::Nofile).current))
}
