//! `snapshot restore`: a data directory of an image, ours or one of etcd's, or of a stopped etcd's own directory.
//!
//! The flags are `etcdutl`'s, and `--from-data-dir` beside them. What cannot be followed is refused before anything is made.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Render, Style};
use crate::cli::serve::{founder, make_private_dir};
use crate::config::{ServeConfig, Settings};
use crate::env::Env;
use crate::restore::{Order, Origin, Restored, restore};
use crate::storage::wal::Identity;

/// The words and flags of the command.
#[derive(Debug, Args)]
pub struct Restore {
    /// The file, or with --from-data-dir the directory
    #[arg(num_args = 0..)]
    words: Vec<String>,
    /// The data directory to make
    #[arg(long, default_value = "")]
    data_dir: String,
    /// Where the log is to lie (not supported yet)
    #[arg(long, default_value = "")]
    wal_dir: String,
    /// This member's name
    #[arg(long, default_value = "default")]
    name: String,
    /// The members of the new cluster
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// The new cluster's token
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// This member's peer URLs
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Believe an image without its checksum, such as a file copied from a data directory
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    skip_hash_check: bool,
    /// By how much to raise the revision
    #[arg(long, default_value_t = 0)]
    bump_revision: u64,
    /// Make all history before the raised revision unreadable: goes with --bump-revision
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    mark_compacted: bool,
    /// Taken for what scripts say; an image is never mapped here
    #[arg(long, default_value_t = 0)]
    initial_memory_map_size: u64,
    /// The word names the data directory of an etcd that has stopped
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false,
          default_missing_value = "true", action = ArgAction::Set)]
    from_data_dir: bool,
}

/// Runs the command.
///
/// # Errors
/// Bad words and flags; see [`crate::restore::RestoreError`].
pub fn run(command: &Restore, style: Style) -> Result<Vec<u8>, CtlError> {
    let order = order(command)?;
    let failed = |what: &dyn std::fmt::Display| CtlError::new(Exit::Error, what.to_string());
    let env = Env::real().map_err(|error| failed(&error))?;
    let existed = order.data_dir.exists();
    make_private_dir(&order.data_dir)
        .map_err(|error| failed(&format!("data-dir {:?}: {error}", order.data_dir.display().to_string())))?;
    let restored = restore(&env, &order).inspect_err(|_| {
        if !existed {
            // Only if it is empty.
            drop(std::fs::remove_dir(&order.data_dir));
        }
    });
    let restored = restored.map_err(|error| failed(&error))?;
    tell_of_log(&restored);
    style.render(&Made { from: command.words.concat(), dir: order.data_dir, restored })
}

/// What was found in a log is no part of the answer.
fn tell_of_log(restored: &Restored) {
    let Some(replayed) = &restored.replayed else { return };
    eprintln!("{} entries of its log were carried out on its state", replayed.entries);
    if replayed.beyond_commit > 0 {
        eprintln!("the last {} of them are not known to be committed: they count", replayed.beyond_commit);
    }
    if let Some(place) = &replayed.torn {
        eprintln!("its log ends in a write that was torn, which does not count: {place}");
    }
}

fn order(command: &Restore) -> Result<Order, CtlError> {
    let [from] = command.words.as_slice() else {
        return Err(CtlError::bad_args("snapshot restore requires exactly one argument"));
    };
    if (command.bump_revision > 0) != command.mark_compacted {
        return Err(CtlError::bad_args("--mark-compacted required if --bump-revision > 0, and only then"));
    }
    let bump = i64::try_from(command.bump_revision)
        .map_err(|_| CtlError::bad_args("--bump-revision is larger than any revision"))?;
    if !command.wal_dir.is_empty() {
        let text = "--wal-dir is not supported yet: the log would lie elsewhere";
        return Err(CtlError::new(Exit::BadFeature, text));
    }
    let place =
        founder(&settings(command)?).map_err(|error| CtlError::new(Exit::Error, error.to_string()))?;
    let from = Path::new(from).to_owned();
    let from = if command.from_data_dir {
        Origin::EtcdDataDir(from)
    } else {
        Origin::Image { file: from, trusted: command.skip_hash_check }
    };
    let data_dir = match command.data_dir.as_str() {
        "" => PathBuf::from(format!("{}.etcd", command.name)),
        dir => PathBuf::from(dir),
    };
    let identity = Identity { cluster: place.cluster, member: place.member };
    Ok(Order { from, data_dir, identity, members: place.members, bump })
}

/// The flags as the server would take them: it has to come to the same members.
fn settings(command: &Restore) -> Result<ServeConfig, CtlError> {
    let args = [
        ("name", &command.name),
        ("initial-cluster", &command.initial_cluster),
        ("initial-cluster-token", &command.initial_cluster_token),
        ("initial-advertise-peer-urls", &command.initial_advertise_peer_urls),
    ];
    let args: Vec<String> = args.into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
    let loaded = Settings::from_args(&args, &[]).and_then(ServeConfig::from_settings);
    Ok(loaded.map_err(|error| CtlError::new(Exit::Error, error.to_string()))?.config)
}

/// What was made, for who asked.
struct Made {
    from: String,
    dir: PathBuf,
    restored: Restored,
}

impl Made {
    fn row(&self) -> Vec<String> {
        let Restored { revision, compacted, keys, hash, .. } = &self.restored;
        vec![revision.to_string(), compacted.to_string(), keys.to_string(), format!("{hash:032x}")]
    }
}

impl Render for Made {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        let Restored { revision, compacted, keys, hash, .. } = &self.restored;
        let (from, dir) = (&self.from, self.dir.display());
        let text = format!(
            "Snapshot {from} restored in {dir}: revision {revision}, compacted revision {compacted}, {keys} keys, \
             state hash {hash:032x}\n"
        );
        out.extend(text.into_bytes());
    }

    fn json(&self) -> Json {
        Object::new()
            .with("revision", self.restored.revision.0)
            .with("compactRevision", self.restored.compacted.0)
            .with("totalKey", u64::try_from(self.restored.keys).unwrap_or(u64::MAX))
            .with("stateHash", format!("{:032x}", self.restored.hash).as_str())
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.value("Revision", self.restored.revision);
        out.value("CompactRevision", self.restored.compacted);
        out.value("Keys", self.restored.keys);
        out.value("StateHash", format!("{:032x}", self.restored.hash));
    }

    fn table(&self) -> Option<Table> {
        let headings = vec!["revision", "compact revision", "total keys", "state hash"];
        Some(Table { headings, rows: vec![self.row()] })
    }
}
