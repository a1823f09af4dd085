//! How long nobody's write is acknowledged once the leader, and only the leader, is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quorate_check::bytes::Bytes;
use quorate_check::history::{Outcome, Put, Request};
use quorate_jepsen::client::Connection;
use quorate_jepsen::cluster::Cluster;

/// How often the leader is killed.
const ROUNDS: usize = 5;
/// The longest time without an acknowledged write that is fine after most kills.
const SILENCE_USUAL_MAX: Duration = Duration::from_secs(3);
/// And after any: a busy host may hold one election up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A write without an answer is given up after this long, so that it is no part of what is measured.
const TIMEOUT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(5);
/// Acknowledged writes that count as calm.
const CALM_WRITES: usize = 50;
/// How long a calm cluster may take for them.
const CALM_WITHIN: Duration = Duration::from_secs(30);

/// When writes were acknowledged, in order.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

#[test]
fn writes_go_on_soon_after_the_leader_is_killed() {
    let _alone = super::alone();
    super::runtime().block_on(async {
        let mut cluster = Cluster::start(super::server(), 3);
        let acknowledged = Acknowledged::default();
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = cluster
            .endpoints()
            .into_iter()
            .map(|endpoint| tokio::spawn(write(endpoint, acknowledged.clone(), stop.clone())))
            .collect();
        let mut silences = Vec::new();
        for _ in 0..ROUNDS {
            calm(&acknowledged).await;
            let leader = cluster.leader().await;
            let killed = Instant::now();
            cluster.kill(leader);
            calm(&acknowledged).await;
            silences.push(longest_silence(&acknowledged.lock().unwrap(), killed));
            cluster.restart(leader);
            cluster.wait_ready(leader);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        eprintln!("leaders: longest time without an acknowledged write, kill by kill: {silences:?}");
        silences.sort();
        let (usual, longest) = (silences[ROUNDS / 2], silences[ROUNDS - 1]);
        assert!(usual < SILENCE_USUAL_MAX, "mostly {usual:?} without an acknowledged write");
        assert!(longest < SILENCE_MAX, "once {longest:?} without an acknowledged write");
    });
}

async fn write(endpoint: String, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let put = Put { key: Bytes::from(endpoint.as_str()), value: Bytes::from("x"), ..Put::default() };
    let request = Request::Put(put);
    let mut connection = Connection::new(endpoint);
    while !stop.load(Ordering::Relaxed) {
        if connection.reach().await
            && let Outcome::Ok { .. } = connection.call(&request, TIMEOUT).await
        {
            acknowledged.lock().unwrap().push(Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until writes are acknowledged as they should.
async fn calm(acknowledged: &Acknowledged) {
    let (start, before) = (Instant::now(), acknowledged.lock().unwrap().len());
    while acknowledged.lock().unwrap().len() < before + CALM_WRITES {
        assert!(start.elapsed() < CALM_WITHIN, "fewer than {CALM_WRITES} writes within {CALM_WITHIN:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The longest time between two neighbours, from the last one before `killed` on.
fn longest_silence(acknowledged: &[Instant], killed: Instant) -> Duration {
    let first = acknowledged.partition_point(|at| *at < killed).saturating_sub(1);
    let spans = acknowledged[first..].windows(2).map(|pair| pair[1] - pair[0]);
    spans.max().expect("writes after the kill")
}
