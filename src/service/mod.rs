//! The client API: one thin file a gRPC service, over a running member.
//!
//! A service decodes and checks a request, asks the member, and encodes the answer. It holds no state and decides
//! nothing. What is not offered answers "unimplemented": services that are missing altogether do so by
//! themselves.

mod auth;
mod call;
mod cluster;
pub(crate) mod convert;
mod election;
mod health;
mod image;
mod kv;
mod lease;
mod lock;
mod maintenance;
pub mod status;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::limits;
use crate::config::tls::Whom;
use crate::env::Env;
use crate::member::Member;
use crate::pb::etcdserverpb::auth_server::AuthServer;
use crate::pb::etcdserverpb::cluster_server::ClusterServer;
use crate::pb::etcdserverpb::kv_server::KvServer;
use crate::pb::etcdserverpb::lease_server::LeaseServer;
use crate::pb::etcdserverpb::maintenance_server::MaintenanceServer;
use crate::pb::etcdserverpb::watch_server::WatchServer;
use crate::pb::health::health_server::HealthServer;
use crate::pb::v3electionpb::election_server::ElectionServer;
use crate::pb::v3lockpb::lock_server::LockServer;
use crate::peer::listen;
use crate::service::call::Calls;

/// The largest answer, bytes: what a 32-bit client can count.
const ANSWER_BYTES_MAX: usize = 0x7fff_ffff;

/// Serves the client API of `member` on `address`, for as long as the member lives.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(member: Arc<Member>, env: &Env, address: SocketAddr) -> std::io::Result<()> {
    let calls = Calls::new(member.clone(), env.clone());
    let request_bytes_max =
        member.config().knobs.request_bytes_max.saturating_add(limits::GRPC_OVERHEAD_BYTES);
    macro_rules! sized {
        ($server:expr) => {
            $server.max_decoding_message_size(request_bytes_max).max_encoding_message_size(ANSWER_BYTES_MAX)
        };
    }
    let router = listen::server()
        .add_service(sized!(KvServer::new(kv::KvService::new(calls.clone()))))
        .add_service(sized!(WatchServer::new(watch::WatchService::new(calls.clone()))))
        .add_service(sized!(LeaseServer::new(lease::LeaseService::new(calls.clone()))))
        .add_service(sized!(ClusterServer::new(cluster::ClusterService::new(calls.clone()))))
        .add_service(sized!(AuthServer::new(auth::AuthService::new(calls.clone()))))
        .add_service(sized!(LockServer::new(lock::LockService::new(calls.clone()))))
        .add_service(sized!(ElectionServer::new(election::ElectionService::new(calls.clone()))))
        .add_service(sized!(MaintenanceServer::new(maintenance::MaintenanceService::new(calls))))
        .add_service(HealthServer::new(health::HealthService));
    let gate = member.config().security.gate(address);
    listen::serve(router, address, gate, env, Whom::Clients).await
}
