//! The generated messages and clients of the public API; `build.rs` makes them.

macro_rules! package {
    ($name:ident, $package:tt) => {
        #[allow(
            missing_docs,
            clippy::all,
            clippy::pedantic,
            clippy::indexing_slicing,
            clippy::as_conversions,
            clippy::allow_attributes_without_reason,
            dead_code,
            reason = "generated code, whose shape is the generator's"
        )]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

package!(mvccpb, "mvccpb");
package!(authpb, "authpb");
package!(etcdserverpb, "etcdserverpb");
