//! The first members of a member that was told a domain instead of a list.
//!
//! DNS is asked when there is no log: a data directory that has one says who its member is, and a restart must not wait for
//! a name server. What was found is kept beside the log, durably and before there is one: a founder that stopped before
//! it had founded anything still needs it, and so does one that has heard of nobody yet. The file is text, one URL a line:
//! where the member was told to be, then its peer URL as the records have it, then the others'.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::cli::discovery::{FirstMembers, MembersError, Resolver, first_members};
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
    let kept = || Kept::read(&*env.disk, &config.data_dir).map_err(failed);
    let has_log = identity_of(&*env.disk, &wal_dir(&config.data_dir)).map_err(failed)?.is_some();
    let known = if has_log {
        match kept()? {
            Some(kept) => kept,
            // It was founded or joined in another way, and its log says everything.
            None => return Ok(config.clone()),
        }
    } else if repair::lost_member(env, &config.data_dir).map_err(failed)?.is_some() {
        // Whom it asks to be taken back should be there today; those who were there at first are better than nobody.
        match look_up(config, srv, resolver).await {
            Ok(found) => found,
            Err(error) => kept()?.ok_or(error)?,
        }
    } else {
        let found = look_up(config, srv, resolver).await?;
        // What is to be warned about is said when the member starts.
        let _warning = prepare_data_dir(config)?;
        found.write(&*env.disk, &config.data_dir).map_err(failed)?;
        found
    };
    // One that has moved since is where its options say.
    let has_moved = config.advertise_peer_urls != [known.advertised];
    let own = if has_moved { config.advertise_peer_urls.clone() } else { vec![known.members.own] };
    Ok(config.with_first_members(own, &known.members.others)?)
}

async fn look_up(config: &ServeConfig, srv: &SrvDomain, resolver: &Resolver) -> Result<Kept, PlanError> {
    let refused = |why: MembersError| PlanError::Discovery { domain: srv.domain.clone(), why: Box::new(why) };
    let [advertised] = config.advertise_peer_urls.as_slice() else {
        return Err(refused(MembersError::OwnUrls(config.advertise_peer_urls.len())));
    };
    let members = first_members(resolver, srv, advertised).await.map_err(refused)?;
    let others: Vec<&str> = members.others.iter().map(Url::as_str).collect();
    tracing::info!(
        domain = %srv.domain,
        own = %members.own,
        others = others.join(","),
        "looked up the first members"
    );
    Ok(Kept { advertised: advertised.clone(), members })
}

/// What was found, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// The member's peer URL, as it was told.
    advertised: Url,
    /// The first members.
    members: FirstMembers,
}

impl Kept {
    /// What was found before, if anything.
    fn read(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Kept>> {
        let path = first_members_file(data_dir);
        let file = match disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let damaged = || {
            let what = format!(
                "{} is damaged: remove it; the log says who the members are, unless this one has never met another",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let len = usize::try_from(file.len()?.min(FILE_BYTES_MAX)).map_err(|_| damaged())?;
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes)?;
        Kept::decode(&bytes).map(Some).ok_or_else(damaged)
    }

    /// Writes it down, durably, in the place of what was found before.
    fn write(&self, disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
        let path = first_members_file(data_dir);
        let new = path.with_extension("new");
        let file = disk.open(&new, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(0, self.encode().as_bytes())?;
        file.sync_data()?;
        disk.rename(&new, &path)?;
        disk.sync_dir(data_dir)
    }

    fn encode(&self) -> String {
        let mut text = String::new();
        for url in [&self.advertised, &self.members.own].into_iter().chain(&self.members.others) {
            let _infallible = writeln!(text, "{url}");
        }
        text
    }

    /// The last line ends too: what was cut short is no list.
    fn decode(bytes: &[u8]) -> Option<Kept> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut urls = text.split('\n').map(Url::parse);
        let (advertised, own) = (urls.next()?.ok()?, urls.next()?.ok()?);
        let others = urls.collect::<Result<_, _>>().ok()?;
        Some(Kept { advertised, members: FirstMembers { own, others } })
    }
}

#[cfg(test)]
mod tests;
