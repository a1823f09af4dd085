//! `defrag`: has one member after the other give back the space that its state engine does not need.
//!
//! One at a time: each member writes its whole state anew, and a cluster should not do so everywhere at once.

use std::time::Instant;

use crate::cli::ctl::args::Defrag;
use crate::cli::ctl::client::Target;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::{emit, emit_error, member};
use crate::config::duration;
use crate::pb::etcdserverpb::DefragmentRequest;

/// Runs the command: each member's end is told as it comes, whatever the format. One that fails is named and passed
/// over; the command then fails at its end.
///
/// # Errors
/// A member did not do it.
pub async fn defrag(target: &Target, command: &Defrag) -> Result<Vec<u8>, CtlError> {
    let mut target = target.clone();
    if command.cluster {
        let client = target.connect().await?;
        let members = member::list(&client, false).await?.members;
        target.endpoints = members.into_iter().flat_map(|member| member.client_ur_ls).collect();
    }
    let mut failed = false;
    for endpoint in &target.endpoints {
        let begun = Instant::now();
        match defrag_one(&target, endpoint).await {
            Ok(()) => {
                let took = duration::format(begun.elapsed());
                emit(format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n").as_bytes())?;
            }
            Err(error) => {
                failed = true;
                emit_error(&format!("Failed to defragment etcd member[{endpoint}] ({error})\n"))?;
            }
        }
    }
    if failed { Err(CtlError::new(Exit::Error, "")) } else { Ok(Vec::new()) }
}

async fn defrag_one(target: &Target, endpoint: &str) -> Result<(), CtlError> {
    let client = target.connect_to(endpoint).await?;
    client.call(client.maintenance().defragment(client.request(DefragmentRequest {}))).await.map(drop)
}
