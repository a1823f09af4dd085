//! Which member of which cluster is to be started, as the options and the data directory have it.

use std::io;
use std::time::Duration;

use crate::cli::serve::plan::{PlanError, config_of, founder, prepare_data_dir, seeds, texts};
use crate::config::{ClusterState, ServeConfig};
use crate::env::Env;
use crate::node::{MemberConfig, Security, repair, wal_dir};
use crate::peer::join::{JoinError, Place, find_place, kept_place};
use crate::storage::wal::{Identity, Wal};

/// How long a member of a running cluster may take to say who belongs to it.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The member that `config` describes, in the place that it has or is to get, behind `security`.
///
/// # Errors
/// See [`PlanError`].
pub async fn member(config: &ServeConfig, security: Security, env: &Env) -> Result<MemberConfig, PlanError> {
    let founder = founder(config);
    let kept = kept_place(&*env.disk, &wal_dir(&config.data_dir), founder.as_ref().ok());
    let kept = kept.map_err(|error| failed(config, &error))?;
    if let Some(Place { cluster, member, joins: true, .. }) = &kept {
        tracing::info!(%member, %cluster, "the data directory says who this is; the initial cluster is not asked");
    }
    // One whose log is lost goes on to be taken back, whatever its options say of the initial cluster.
    let lost = repair::lost_member(env, &config.data_dir).map_err(|error| failed(config, &error))?;
    let place = match kept.or(lost.map(repair::lost_place)) {
        Some(place) => place,
        None if config.initial_cluster_state == ClusterState::Existing => {
            join(config, &security, env).await?
        }
        None => founder?,
    };
    Ok(MemberConfig { security, ..config_of(config, place)? })
}

fn failed(config: &ServeConfig, error: &io::Error) -> PlanError {
    PlanError::DataDir { dir: config.data_dir.clone(), why: error.to_string() }
}

/// Whether there is a log, if only one that does not say whose it is.
fn has_log(config: &ServeConfig, env: &Env) -> Result<bool, PlanError> {
    Wal::exists(&*env.disk, &wal_dir(&config.data_dir)).map_err(|error| failed(config, &error))
}

async fn join(config: &ServeConfig, security: &Security, env: &Env) -> Result<Place, PlanError> {
    let own = texts(&config.advertise_peer_urls);
    let seeds = seeds(config);
    match find_place(&*env.clock, &security.dialer, &seeds, &own, DISCOVER_TIMEOUT).await {
        // Its start says what is wrong with the log, and has it repaired where that is allowed.
        Err(JoinError::Started { cluster, member, .. }) if has_log(config, env)? => {
            Ok(repair::lost_place(Identity { cluster, member }))
        }
        Err(JoinError::Started { cluster, member, .. }) if config.self_repair => {
            prepare_data_dir(config)?;
            let lost = Identity { cluster, member };
            repair::disk_is_lost(env, &config.data_dir, lost).map_err(|error| failed(config, &error))?;
            Ok(repair::lost_place(lost))
        }
        Err(JoinError::Started { cluster, member, urls }) => {
            let why = JoinError::Started { cluster, member, urls };
            Err(PlanError::DiskLost { why, advice: repair::advice(member, &config.name, &own) })
        }
        found => found.map_err(PlanError::Join),
    }
}
