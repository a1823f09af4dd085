//! The generated wire types and service traits, one module a proto package.
//!
//! Nothing is written here by hand: `build.rs` generates it from `proto/`. The plain build gets tonic's real
//! clients and servers, the simulated build the simulator's, under the same names.
//! These types stop at the edges (`service/convert`, `peer`, the record codec); logic never sees them.

/// Includes one generated package, with the lints off that generated code cannot satisfy.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:tt) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            clippy::all,
            clippy::pedantic,
            clippy::unwrap_used,
            clippy::expect_used,
            clippy::indexing_slicing,
            clippy::as_conversions,
            clippy::panic,
            clippy::allow_attributes_without_reason,
            reason = "generated code, whose shape is the generator's"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

package!(
    /// Keys, values, events.
    mvccpb, "mvccpb"
);
package!(
    /// Users, roles, permissions.
    authpb, "authpb"
);
package!(
    /// The client API.
    etcdserverpb, "etcdserverpb"
);
package!(
    /// Locks.
    v3lockpb, "v3lockpb"
);
package!(
    /// Leader election.
    v3electionpb, "v3electionpb"
);
package!(
    /// Membership records of a store's image.
    membershippb, "membershippb"
);
package!(
    /// Lease records of a store's image.
    leasepb, "leasepb"
);
package!(
    /// gRPC health checks.
    health, "grpc.health.v1"
);
package!(
    /// What a member persists.
    record, "quorate.record"
);
package!(
    /// What members say to each other.
    peer, "quorate.peer"
);
