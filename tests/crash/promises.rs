//! Kills under load, and the verdict on everything that clients and watchers saw.
//!
//! `QUORATE_CRASH_SEED` chooses the questions and the kills. A history that does not pass is kept in the temporary
//! folder, where it can be judged again.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quorate_check::history::{History, MemberAsked, Outcome, Response};
use quorate_check::judge;
use quorate_check::verdict::Class;
use quorate_jepsen::chaos::{Chaos, Kills};
use quorate_jepsen::cluster::Cluster;
use quorate_jepsen::load::Session;
use quorate_jepsen::observer;
use quorate_jepsen::recorder::Recorder;
use quorate_jepsen::settle::{self, Late};

const MEMBERS: u32 = 3;
/// Clients of each member.
const CLIENTS_PER_MEMBER: u64 = 2;
/// Processes that a run has to kill, at least.
const KILLS: usize = 40;
/// How long the kills may take before the run is not worth its time.
const STRIKES_WITHIN: Duration = Duration::from_secs(240);
/// Operations below which a run says nothing.
const OPERATIONS_MIN: usize = 2_000;
/// Of a hundred operations, how many must have a known outcome.
const KNOWN_PERCENT_MIN: usize = 90;
/// How long the clients may go on behind the kills until they have asked that much: a slow machine has done little by then.
const LOAD_WITHIN: Duration = Duration::from_secs(240);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

fn seed() -> u64 {
    match std::env::var("QUORATE_CRASH_SEED") {
        Ok(text) => text.parse().expect("QUORATE_CRASH_SEED is a number"),
        Err(_) => 1,
    }
}

#[test]
fn what_was_promised_holds_through_kills_of_members_leaders_and_everybody() {
    let _alone = super::alone();
    let seed = seed();
    eprintln!("crash: seed {seed}");
    let (history, kills, late) = super::runtime().block_on(run(seed));
    eprintln!("crash: {kills:?}");
    let start = Instant::now();
    let promises = super::server().promises();
    let verdict = judge(&history, &promises);
    let counts = verdict.counts;
    eprintln!("crash: judged in {:?}: {verdict}", start.elapsed());
    eprintln!(
        "crash: {} answered, {} refused, {} unknown ({} of them seen to be applied)",
        counts.answered, counts.refused, counts.unknown, counts.revealed
    );
    if !verdict.is_pass() || late.is_err() {
        let path = std::env::temp_dir().join(format!("quorate-crash-{seed}-{}.jsonl", std::process::id()));
        history.write(BufWriter::new(File::create(&path).unwrap())).unwrap();
        panic!("seed {seed} is no pass; its history is {}\n{verdict}{late:?}", path.display());
    }
    assert!(is_enough(kills), "only {kills:?}");
    assert!(usize::try_from(counts.operations).unwrap() >= OPERATIONS_MIN, "only {counts:?}");
    assert!(counts.events > 0, "the observers saw nothing");
    assert_eq!(
        judge(&with_a_lost_write(history), &promises).class,
        Class::Safety,
        "a lost write goes unseen"
    );
}

/// Whether members, leaders and everybody have been killed, and often, and leaders paused.
fn is_enough(kills: Kills) -> bool {
    kills.processes >= KILLS && kills.leaders > 0 && kills.pauses > 0 && kills.all > 0
}

/// Lets the clients go on until they have asked much, and know what became of most of it.
async fn asked_enough(recorder: &Recorder) {
    let start = Instant::now();
    loop {
        let (ended, known) = recorder.ended_and_known();
        if ended >= OPERATIONS_MIN && known * 100 >= ended * KNOWN_PERCENT_MIN {
            return;
        }
        let waited = start.elapsed();
        assert!(waited < LOAD_WITHIN, "{waited:?} after the kills {ended} have ended, {known} of them known");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The history of a store that had lost one write by the time of the last read.
fn with_a_lost_write(mut history: History) -> History {
    let lost = history.operations.iter_mut().rev().find_map(|operation| match &mut operation.outcome {
        Outcome::Ok { response: Response::Range(found), .. } => found.kvs.pop().inspect(|_| found.count -= 1),
        _ => None,
    });
    assert!(lost.is_some(), "some read found something");
    history
}

async fn run(seed: u64) -> (History, Kills, Result<(), Late>) {
    let mut cluster = Cluster::start(super::server(), MEMBERS);
    let recorder = Arc::new(Recorder::default());
    let ids = cluster.record(recorder.clone()).await;
    let members: Vec<(MemberAsked, String)> =
        cluster.members().iter().zip(ids).map(|(member, id)| (member.asked(id), member.endpoint())).collect();
    let resume = cluster.server().resume();
    let observe = |(member, endpoint): &(MemberAsked, String)| {
        tokio::spawn(observer::follow(endpoint.clone(), *member, recorder.clone(), resume))
    };
    let observers: Vec<_> = members.iter().map(observe).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..u64::from(MEMBERS) * CLIENTS_PER_MEMBER {
        let home = usize::try_from(number).unwrap() % members.len();
        let session = Session::new(number, home, &members, recorder.clone(), seed);
        clients.push(tokio::spawn(session.run(stop.clone())));
    }

    let mut chaos = Chaos::new(seed);
    let start = Instant::now();
    while !is_enough(chaos.kills()) {
        assert!(start.elapsed() < STRIKES_WITHIN, "{:?} took {:?}", chaos.kills(), start.elapsed());
        chaos.strike(&mut cluster).await;
    }
    eprintln!("crash: the kills took {:?}", start.elapsed());
    asked_enough(&recorder).await;

    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client ends by itself");
    }
    let mut late = settle_all(&cluster, &recorder, &members).await;
    if late.is_ok() {
        // What is answered now comes from the disks of all members.
        cluster.kill_all();
        cluster.start_down();
        cluster.wait_all_ready();
        late = settle_all(&cluster, &recorder, &members).await;
    }
    for observer in observers {
        observer.abort();
    }
    (recorder.take(), chaos.kills(), late)
}

/// Lets the cluster settle; a client of its own asks each member at the end.
async fn settle_all(
    cluster: &Cluster,
    recorder: &Arc<Recorder>,
    members: &[(MemberAsked, String)],
) -> Result<(), Late> {
    // Names of operations are never used twice: clients of the end count on from the last.
    static LAST_CLIENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(100);
    let sessions = members.iter().map(|member| {
        let number = LAST_CLIENT.fetch_add(1, Ordering::Relaxed);
        Session::new(number, 0, std::slice::from_ref(member), recorder.clone(), 0)
    });
    settle::settle(cluster, recorder, sessions.collect()).await
}
