//! How long nobody's write is acknowledged once the leader, and only the leader, is gone or does nothing any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quorate_check::bytes::Bytes;
use quorate_check::history::{Outcome, Put, Range, Request, Response};
use quorate_jepsen::client::Connection;
use quorate_jepsen::cluster::Cluster;

/// How often the leader goes.
const ROUNDS: usize = 5;
/// The longest time without an acknowledged write that is fine mostly.
const SILENCE_USUAL_MAX: Duration = Duration::from_secs(3);
/// And at any time: a busy host may hold one election up.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A write without an answer is given up after this long, so that it is no part of what is measured.
const TIMEOUT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(5);
/// Acknowledged writes that count as calm.
const CALM_WRITES: usize = 50;
/// How long a calm cluster may take for them.
const CALM_WITHIN: Duration = Duration::from_secs(30);

/// The key that says what is new.
const MARK: &str = "mark";

/// When writes were acknowledged, in order.
type Acknowledged = Arc<Mutex<Vec<Instant>>>;

#[test]
fn writes_go_on_soon_after_the_leader_is_killed() {
    let back = |cluster: &mut Cluster, leader: usize| {
        cluster.restart(leader);
        cluster.wait_ready(leader);
    };
    lose_leaders("killed", |cluster, leader| _ = cluster.kill(leader), back);
}

/// A paused process keeps its connections: the others must see by its silence that it is gone. When it goes on it still
/// takes itself for the leader.
#[test]
fn writes_go_on_soon_after_the_leader_is_paused_and_it_tells_nothing_stale_when_it_goes_on() {
    lose_leaders("paused", Cluster::pause, Cluster::resume);
}

/// Takes the leader away with `gone` and brings it `back`, again and again.
fn lose_leaders(how: &str, gone: impl Fn(&mut Cluster, usize), back: impl Fn(&mut Cluster, usize)) {
    let _alone = super::alone();
    super::runtime().block_on(async {
        let mut cluster = Cluster::start(super::server(), 3);
        let acknowledged = Acknowledged::default();
        let stop = Arc::new(AtomicBool::new(false));
        let endpoints = cluster.endpoints();
        let writers: Vec<_> = endpoints
            .iter()
            .map(|endpoint| tokio::spawn(write(endpoint.clone(), acknowledged.clone(), stop.clone())))
            .collect();
        let mut silences = Vec::new();
        for round in 0..ROUNDS {
            calm(&acknowledged).await;
            let leader = cluster.leader().await;
            let left = Instant::now();
            gone(&mut cluster, leader);
            calm(&acknowledged).await;
            silences.push(longest_silence(&acknowledged.lock().unwrap(), left));
            let news = format!("round {round}");
            mark(&endpoints[(leader + 1) % endpoints.len()], &news).await;
            let question = tokio::spawn(marked(endpoints[leader].clone()));
            // Given a little, it waits in the socket of one that is paused: the first thing that it sees.
            tokio::time::sleep(PAUSE * 10).await;
            back(&mut cluster, leader);
            assert_eq!(question.await.unwrap(), Bytes::from(news.as_str()), "{how}: stale");
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        eprintln!("leaders {how}: longest time without an acknowledged write, each time: {silences:?}");
        silences.sort();
        let (usual, longest) = (silences[ROUNDS / 2], silences[ROUNDS - 1]);
        assert!(usual < SILENCE_USUAL_MAX, "{how}: mostly {usual:?} without an acknowledged write");
        assert!(longest < SILENCE_MAX, "{how}: once {longest:?} without an acknowledged write");
    });
}

/// Writes what is new until it is acknowledged.
async fn mark(endpoint: &str, news: &str) {
    let put = Put { key: MARK.into(), value: news.into(), ..Put::default() };
    answered(endpoint, &Request::Put(put), TIMEOUT).await;
}

/// What a member answers first to a linearizable read, asked from now on.
async fn marked(endpoint: String) -> Bytes {
    let request = Request::Range(Range { key: MARK.into(), ..Range::default() });
    match answered(&endpoint, &request, CALM_WITHIN).await {
        Response::Range(range) => range.kvs.into_iter().next().map(|kv| kv.value).unwrap_or_default(),
        other => panic!("{other:?} answers no range"),
    }
}

/// Asks until there is an answer, each time for so long.
async fn answered(endpoint: &str, request: &Request, timeout: Duration) -> Response {
    let mut connection = Connection::new(endpoint.to_owned());
    let start = Instant::now();
    loop {
        if connection.reach().await
            && let Outcome::Ok { response, .. } = connection.call(request, timeout).await
        {
            return response;
        }
        assert!(start.elapsed() < CALM_WITHIN, "{endpoint} does not answer {request:?}");
        tokio::time::sleep(PAUSE).await;
    }
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

/// The longest time between two neighbours, from the last one before `left` on.
fn longest_silence(acknowledged: &[Instant], left: Instant) -> Duration {
    let first = acknowledged.partition_point(|at| *at < left).saturating_sub(1);
    let spans = acknowledged[first..].windows(2).map(|pair| pair[1] - pair[0]);
    spans.max().expect("writes afterwards")
}
