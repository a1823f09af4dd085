//! Time to live of leases, in whole seconds as the API counts them.

/// Seconds a lease lives without a keep-alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TtlSecs(pub i64);
