//! The life of a server's process: members start, become ready, run until a signal, and stop.
//!
//! A member is *ready* when a quorum has confirmed that its state covers everything acknowledged before it
//! started, and the cluster knows its name and addresses. Until then it waits, for as long as there is no quorum.
//! A member that must not go on ends the process by itself (`env.process.fatal`); nothing here tries to save it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::serve::leadership;
use crate::cli::serve::plan::{self, PlanError};
use crate::env::{Env, within};
use crate::node::{self, Member, MemberConfig, StartError};
use crate::raft::read_index::ReadError;

/// How long members may take to stop; what they have acknowledged is durable all the same.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a process of members ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// The host's signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    /// The options cannot be followed.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A member did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A second signal came while the members stopped.
    #[error("a second signal ({0}) came: ended without waiting for a clean stop")]
    Impatient(&'static str),
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, LifeError> {
        let heard = |kind| signal(kind).map_err(LifeError::Signals);
        Ok(Signals { terminate: heard(SignalKind::terminate())?, interrupt: heard(SignalKind::interrupt())? })
    }

    /// The next signal's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupt",
        }
    }
}

/// Runs members until a signal asks them to stop; `on_ready` is called once all of them are ready.
///
/// # Errors
/// See [`LifeError`].
pub async fn run(configs: Vec<MemberConfig>, env: &Env, on_ready: impl FnOnce()) -> Result<(), LifeError> {
    // First of all, so that a signal during a long recovery counts.
    let mut signals = Signals::listen()?;
    for config in &configs {
        plan::check_ports(config)?;
    }
    let mut members = Vec::new();
    let asked = {
        let living = async {
            for config in configs {
                members.push(node::start(config, env.clone()).await?);
            }
            let serving = async {
                let ready = join_all(members.iter().map(|member| wait_until_ready(member))).await;
                if ready.into_iter().all(|ready| ready) {
                    on_ready();
                }
            };
            join(serving, join_all(members.iter().map(|member| leadership::tell(member)))).await;
            pending::<Result<(), StartError>>().await
        };
        tokio::select! {
            biased;
            name = signals.next() => name,
            ended = living => return Ok(ended?),
        }
    };
    tracing::info!(signal = asked, "received signal; shutting down");
    stop(&members, env, &mut signals).await
}

async fn stop(members: &[Arc<Member>], env: &Env, signals: &mut Signals) -> Result<(), LifeError> {
    let stopped = within(&*env.clock, STOP_TIMEOUT, join_all(members.iter().map(|member| member.stop())));
    tokio::select! {
        biased;
        name = signals.next() => return Err(LifeError::Impatient(name)),
        in_time = stopped => match in_time {
            Some(_) => tracing::info!("stopped"),
            None => tracing::warn!(
                timeout_ms = STOP_TIMEOUT.as_secs().saturating_mul(1_000),
                "did not stop in time; the next start recovers from the log"
            ),
        },
    }
    Ok(())
}

/// Waits until a member may serve, and says so. False when it ended before.
async fn wait_until_ready(member: &Member) -> bool {
    loop {
        match member.linearizable().await {
            Ok(()) => break,
            Err(ReadError::Timeout) => {
                tracing::warn!(name = %member.config().name, "waiting for a leader and a quorum");
            }
            // The state came anew, by a snapshot from the leader.
            Err(ReadError::Replaced) => {}
            Err(ReadError::Stopped) => return false,
        }
    }
    while !is_announced(member) {
        let applied = member.status().hash.0.map_or(0, |entry| entry.index.0);
        // What was applied between these two looks may have been the announcement.
        if is_announced(member) {
            break;
        }
        if !member.applied(applied.saturating_add(1)).await {
            return false;
        }
    }
    for address in &member.config().client_listen {
        tracing::info!(%address, name = %member.config().name, "ready to serve client requests");
    }
    true
}

/// Whether the cluster knows this member's name and where its clients reach it.
fn is_announced(member: &Member) -> bool {
    let config = member.config();
    let state = member.replica().state();
    let known = state.members().get(config.member);
    known.is_some_and(|known| known.name == config.name && known.client_urls == config.client_urls)
}
