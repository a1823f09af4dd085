//! What keeps watches going beside applying: catch-up from history in bounded steps, and progress in time.
//!
//! A step reads history on a worker of its own, with neither hub nor state held, so that it holds up no
//! writer. Only a short scan is read with the hub held: it is small, and it must end where live events begin.
//!
//! Physical compaction may sweep records away under a scan. It only ever takes what lies below the compacted
//! revision, which was raised before: so whatever a scan missed, its watchers turn out to be compacted when the
//! scan is finished with the compacted revision as it is then.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::env::{Clock, Env, Worker, run};
use crate::machine::effects::RecordsError;
use crate::machine::watch::{CatchUpBudget, Scan};
use crate::raft::replica::Replica;

/// What one step of catch-up has come to.
enum Step {
    /// Nobody needs history now.
    Idle,
    /// Something was done; there may be more.
    Done,
    /// History is to be read apart.
    Read(Scan),
}

/// Starts catching watchers up and telling idle ones of progress, for as long as the member lives.
pub fn start(env: &Env, replica: &Arc<Replica>, budget: CatchUpBudget, progress_interval: Duration) {
    let worker = env.workers.start("watch");
    tokio::spawn(catch_up(replica.clone(), worker, budget));
    tokio::spawn(progress(env.clock.clone(), Arc::downgrade(replica), progress_interval));
}

async fn catch_up(replica: Arc<Replica>, worker: Arc<dyn Worker>, budget: CatchUpBudget) {
    while replica.watches().work().await {
        loop {
            match step(&replica, &*worker, budget).await {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => break,
                Err(error) => return replica.fatal(&error.to_string()),
            }
        }
    }
}

/// One bounded step; whether there may be more to do.
async fn step(
    replica: &Arc<Replica>,
    worker: &dyn Worker,
    budget: CatchUpBudget,
) -> Result<bool, RecordsError> {
    let budget = if crate::buggify!("watchers catch up in small steps") {
        CatchUpBudget { records: 1, ..budget }
    } else {
        budget
    };
    let scan = match begin(replica, budget)? {
        Step::Idle => return Ok(false),
        Step::Done => return Ok(true),
        Step::Read(scan) => scan,
    };
    crate::disturb!("a scan of history begins late", replica.clock());
    let reader = replica.clone();
    let read = run(worker, move || scan.read(reader.store(), &*reader, budget)).await;
    let caught_up = read.map_err(|error| RecordsError(error.to_string()))??;
    crate::disturb!("what a scan found is delivered late", replica.clock());
    replica.watches().with(|hub| {
        let compacted = replica.state().compacted();
        hub.finish_catch_up(caught_up, compacted);
    });
    Ok(true)
}

/// Plans a step, and does all of it when it is short.
fn begin(replica: &Replica, budget: CatchUpBudget) -> Result<Step, RecordsError> {
    replica.watches().with(|hub| {
        let compacted = replica.state().compacted();
        let Some(scan) = hub.begin_catch_up(compacted) else {
            return Ok(if hub.needs_catch_up() { Step::Done } else { Step::Idle });
        };
        if !scan.is_short() {
            crate::sometimes!("watch caught up by a long scan");
            return Ok(Step::Read(scan));
        }
        let caught_up = scan.read(replica.store(), replica, budget)?;
        let compacted = replica.state().compacted();
        hub.finish_catch_up(caught_up, compacted);
        Ok(Step::Done)
    })
}

/// Tells idle watchers of progress, once an interval.
async fn progress(clock: Arc<dyn Clock>, replica: Weak<Replica>, interval: Duration) {
    loop {
        clock.sleep(interval).await;
        match replica.upgrade() {
            Some(replica) if !replica.watches().is_stopped() => {
                replica.watches().with(|hub| hub.progress_tick_all());
            }
            Some(_) | None => return,
        }
    }
}
