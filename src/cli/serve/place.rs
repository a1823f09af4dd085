//! Which member of which cluster is to be started.
//!
//! A log that is there decides: its member goes on as who it is, whatever the options say of the initial cluster.
//! Without one, the options found a new cluster, or name a running one, which then tells who this member is.

use std::time::Duration;

use crate::cli::serve::plan::{PlanError, config_of, founder};
use crate::config::{ClusterState, ServeConfig, Url};
use crate::env::Env;
use crate::node::{MemberConfig, wal_dir};
use crate::peer::join::{Place, find_place};
use crate::storage::wal::{Identity, identity_of};

/// How long a member of a running cluster may take to say who belongs to it.
const DISCOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The member that `config` describes, in the place that it has or is to get.
///
/// # Errors
/// See [`PlanError`].
pub async fn member(config: &ServeConfig, env: &Env) -> Result<MemberConfig, PlanError> {
    let stored = identity_of(&*env.disk, &wal_dir(&config.data_dir))
        .map_err(|error| PlanError::DataDir { dir: config.data_dir.clone(), why: error.to_string() })?;
    let existing = config.initial_cluster_state == ClusterState::Existing;
    let (place, joins) = match stored {
        Some(identity) => restarted(config, identity),
        None if existing => (join(config, env).await?, true),
        None => (founder(config)?, false),
    };
    config_of(config, place, joins)
}

/// The place of a member that has run before. A founder may have stopped before it had founded anything, so it still
/// needs its options; another learns everything from its log and its leader.
fn restarted(config: &ServeConfig, identity: Identity) -> (Place, bool) {
    let founder = founder(config).ok().filter(|place| {
        place.cluster == identity.cluster
            && place.member == identity.member
            && config.initial_cluster_state == ClusterState::New
    });
    match founder {
        Some(place) => (place, false),
        None => {
            let (cluster, member) = (identity.cluster, identity.member);
            tracing::info!(%member, %cluster, "the data directory says who this is; the initial cluster is not asked");
            (Place { cluster, member, members: Vec::new() }, true)
        }
    }
}

async fn join(config: &ServeConfig, env: &Env) -> Result<Place, PlanError> {
    let texts = |urls: &[Url]| urls.iter().map(|url| url.as_str().to_owned()).collect::<Vec<_>>();
    let asked: Vec<String> = config.initial_cluster.members().flat_map(|(_, urls)| texts(urls)).collect();
    let own = texts(&config.advertise_peer_urls);
    find_place(&*env.clock, &asked, &own, DISCOVER_TIMEOUT).await.map_err(PlanError::Join)
}
