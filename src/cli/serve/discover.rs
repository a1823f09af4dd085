//! The first members of a member that was told a domain instead of a list.
//!
//! DNS is asked when there is no log: a data directory that has one says who its member is, and a restart must not wait for
//! a name server. What was found is kept beside the log, durably and before there is one: a founder that stopped before
//! it had founded anything still needs it, and so does one that has heard of nobody yet. The file is text, one peer URL a
//! line, the member's own first.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::cli::discovery::{FirstMembers, Resolver, first_members};
use crate::cli::serve::plan::{PlanError, prepare_data_dir};
use crate::config::discovery::SrvDomain;
use crate::config::{ServeConfig, Url};
use crate::env::{Disk, Env, OpenMode};
use crate::node::{repair, wal_dir};
use crate::storage::data_dir::first_members_file;
use crate::storage::wal::identity_of;

/// The largest file that is read, in bytes: that of some thousand members.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The options with the first members in them, wherever they come from.
///
/// # Errors
/// See [`PlanError`].
pub async fn with_first_members(
    config: &ServeConfig,
    resolver: &Resolver,
    env: &Env,
) -> Result<ServeConfig, PlanError> {
    let Some(srv) = &config.discovery else {
        return Ok(config.clone());
    };
    let failed =
        |error: io::Error| PlanError::DataDir { dir: config.data_dir.clone(), why: error.to_string() };
    let kept = || read(&*env.disk, &config.data_dir).map_err(failed);
    let has_log = identity_of(&*env.disk, &wal_dir(&config.data_dir)).map_err(failed)?.is_some();
    let found = if has_log {
        kept()?
    } else if repair::lost_member(env, &config.data_dir).map_err(failed)?.is_some() {
        // Whom it asks to be taken back should be there today; those who were there at first are better than nobody.
        match look_up(config, srv, resolver).await {
            Ok(found) => Some(found),
            Err(error) => Some(kept()?.ok_or(error)?),
        }
    } else {
        let found = look_up(config, srv, resolver).await?;
        // What is to be warned about is said when the member starts.
        let _warning = prepare_data_dir(config)?;
        write(&*env.disk, &config.data_dir, &found).map_err(failed)?;
        Some(found)
    };
    match found {
        Some(found) => Ok(config.with_first_members(&found.own, &found.others)?),
        // Its log was founded or joined in another way, and says everything.
        None => Ok(config.clone()),
    }
}

async fn look_up(
    config: &ServeConfig,
    srv: &SrvDomain,
    resolver: &Resolver,
) -> Result<FirstMembers, PlanError> {
    let found = first_members(resolver, srv, &config.advertise_peer_urls).await;
    let found =
        found.map_err(|why| PlanError::Discovery { domain: srv.domain.clone(), why: Box::new(why) })?;
    let others: Vec<&str> = found.others.iter().map(Url::as_str).collect();
    tracing::info!(
        domain = %srv.domain,
        own = %found.own,
        others = others.join(","),
        "looked up the first members"
    );
    Ok(found)
}

/// What was found before, if anything.
fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<FirstMembers>> {
    let path = first_members_file(data_dir);
    let file = match disk.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", path.display()));
    let len = usize::try_from(file.len()?.min(FILE_BYTES_MAX)).map_err(|_| damaged())?;
    let mut bytes = vec![0; len];
    file.read_at(0, &mut bytes)?;
    decode(&bytes).map(Some).ok_or_else(damaged)
}

/// Writes down what was found, in the place of what was found before.
fn write(disk: &dyn Disk, data_dir: &Path, found: &FirstMembers) -> io::Result<()> {
    let path = first_members_file(data_dir);
    let new = path.with_extension("new");
    let file = disk.open(&new, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, encode(found).as_bytes())?;
    file.sync_data()?;
    disk.rename(&new, &path)?;
    disk.sync_dir(data_dir)
}

fn encode(found: &FirstMembers) -> String {
    let mut text = String::new();
    for url in std::iter::once(&found.own).chain(&found.others) {
        let _infallible = writeln!(text, "{url}");
    }
    text
}

/// The last line ends too: what was cut short is no list.
fn decode(bytes: &[u8]) -> Option<FirstMembers> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let mut urls = text.split('\n').map(Url::parse);
    let own = urls.next()?.ok()?;
    Some(FirstMembers { own, others: urls.collect::<Result<_, _>>().ok()? })
}

#[cfg(test)]
mod tests;
