//! Between the API's messages and the machine's types: the only place where both are named.
//!
//! Requests are checked here for what can be told without looking at the store; what comes out is sound.

mod auth;
mod request;
mod response;

pub use auth::{permission, permissions, role, user};
pub use request::{compact, delete_range, is_linearizable, is_streamable, put, range, txn, watch_spec};
pub use response::{
    alarm_kind, alarm_member, key_value, member, range_response, reply_of_txn, watch_response,
};
