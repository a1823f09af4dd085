//! Members whose logs come back when their places are others' by now, and those whose disks are lost again.
//!
//! Nobody ever runs again under an id that was replaced once anything here or anybody there tells; and what a start was
//! told, the next one knows.

use std::fs;
use std::time::Duration;

use quorate::env::Env;
use quorate::member::MemberConfig;
use quorate::node::{StartError, repair, wal_dir};
use quorate::pb::peer::Fate;
use quorate::peer::join::{Place as Found, kept_place};
use quorate::peer::{Dialer, PeerError, Peers};
use quorate::storage::engine::EngineKind;
use quorate::types::MemberId;

use crate::cluster::{Place, quick, soon, until};
use crate::repair::{
    LOST, cluster_of, flip, is_back, names, repairing, replace, rot_the_log, second_third, stop,
    without_the_third,
};
use crate::running::{Elsewhere, Running};

/// Lives through this in a runtime of its own, with which all ends that was started in it.
fn apart<T: Send, F: Future<Output = T>>(story: impl FnOnce() -> F + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(story())
        });
        thread.join().unwrap()
    })
}

/// Whether the member of this number says that member 3 is gone, once it says anything.
async fn knows_that_third_is_gone(place: &Place, number: usize) -> bool {
    let peers = Peers::new(Env::real().unwrap().clock, Dialer::default(), LOST.cluster, LOST.member);
    let MemberConfig { member, peer_urls, .. } = place.config(number);
    peers.learn(member, &peer_urls);
    soon("an answer", async {
        loop {
            match peers.hello(member, Duration::from_secs(1)).await {
                Ok(fate) => return fate != Fate::HasRun,
                Err(PeerError::Removed(_)) => return true,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
}

const MOVED: [&str; 4] = ["damaged-3", "repair.lock", "state", "wal"];

/// It was replaced, and its process ended before it had written anything down; then its owner put the log right.
#[tokio::test]
async fn a_log_that_is_whole_again_when_another_has_the_place_leads_to_that_other_one() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let next = replace(&place, &others[0]).await;

    // Nothing on its disk says so: it runs until it hears it, and then it is written down.
    let third = Elsewhere::start(repairing(place.config(3)));
    until("the note", || place.data_dir(3).join("lost-member").exists().then_some(())).await;
    third.end();
    place.unlocked(3).await;
    assert_eq!(names(&place.data_dir(3)), ["lost-member", "state", "wal"]);

    // From here on nobody need answer to keep it from running.
    let nowhere = vec!["http://127.0.0.1:1".to_owned()];
    let nobody = MemberConfig { members: Vec::new(), seeds: nowhere, ..place.config(3) };
    let refused = Running::start(nobody).await.err().unwrap();
    assert!(matches!(refused, StartError::GivenUp { member: MemberId(3), .. }), "{refused}");

    let back = Running::start(repairing(place.config(3))).await.unwrap();
    assert_eq!(back.id(), next.0);
    is_back(&back, &others, &[3]).await;
    assert_eq!(names(&place.data_dir(3)), MOVED);
    assert_eq!(names(&place.data_dir(3).join("damaged-3")), ["state", "wal"]);
    stop(others.iter().chain([&back])).await;
}

/// Its place was empty, the other one's log not there yet, and the old log was put back in between.
#[tokio::test]
async fn a_log_that_is_put_back_before_the_other_one_has_started_is_moved_aside_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let next = replace(&place, &others[0]).await;
    let data = place.data_dir(3);
    repair::place_is_empty(&Env::real().unwrap(), &data, LOST).unwrap();
    fs::create_dir(data.join("damaged-3")).unwrap();

    // A copy that is still in the folder is not written over.
    fs::create_dir(data.join("damaged-3/wal")).unwrap();
    let refused = Running::start(place.config(3)).await.err().unwrap().to_string();
    assert!(refused.contains("are both there: remove one") && !refused.contains('\n'), "{refused}");
    fs::remove_dir(data.join("damaged-3/wal")).unwrap();

    let back = Running::start(place.config(3)).await.unwrap();
    assert_eq!(back.id(), next.0);
    is_back(&back, &others, &[3]).await;
    assert_eq!(names(&data), MOVED);
    assert_eq!(names(&data.join("damaged-3")), ["state", "wal"]);
    stop(others.iter().chain([&back])).await;
}

/// Two logs were exchanged: that of the one before is where that of the one after it was.
#[tokio::test]
async fn a_log_that_is_put_back_in_the_place_of_one_that_has_run_is_refused_in_a_sentence_that_says_what_to_do()
 {
    let dir = tempfile::tempdir().unwrap();
    let (place, others) = without_the_third(dir.path()).await;
    let (file, at) = rot_the_log(&place, 3);
    let back = Elsewhere::start(repairing(place.config(3)));
    let next = second_third(&others[0]).await;
    back.end();
    place.unlocked(3).await;

    let (data, aside) = (place.data_dir(3), place.data_dir(3).join("damaged-3"));
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    for name in ["wal", "state"] {
        fs::rename(data.join(name), theirs.join(name)).unwrap();
        fs::rename(aside.join(name), data.join(name)).unwrap();
    }
    flip(&file, std::iter::once(at));
    for config in [place.config(3), repairing(place.config(3))] {
        let refused = Running::start(config).await.err().unwrap();
        let StartError::Replaced { member: MemberId(3), by, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*by, next);
        let line = refused.to_string();
        for want in
            [&format!("start member {next} on its own data directory")[..], &data.display().to_string()]
        {
            assert!(line.contains(want) && !line.contains('\n'), "{want}: {line}");
        }
    }
    assert_eq!(names(&aside), <[&str; 0]>::default(), "nothing was moved");

    // What the sentence asks for.
    for name in ["wal", "state"] {
        fs::rename(data.join(name), aside.join(name)).unwrap();
        fs::rename(theirs.join(name), data.join(name)).unwrap();
    }
    let found = kept_place(&*Env::real().unwrap().disk, &wal_dir(&data), None).unwrap().unwrap();
    let Found { member, members, joins, .. } = found;
    let seeds = vec![format!("http://{}", place.addresses[0])];
    let back =
        Running::start(MemberConfig { member, members, joins, seeds, ..place.config(3) }).await.unwrap();
    assert_eq!(back.id(), next.0);
    is_back(&back, &others, &[3]).await;
    stop(others.iter().chain([&back])).await;
}

/// Its options name who it was at first, and who is asked may lag, or have no leader to confirm a list with. What the first
/// start was told is known to the next, which may hear nobody.
#[tokio::test]
async fn a_disk_that_is_lost_again_is_told_of_by_one_that_lags_or_one_that_knows_and_no_start_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path(), 5, EngineKind::Redb, quick());
    let second = apart(|| async {
        let (others, elsewhere) = cluster_of(&place, 5).await;
        let [third, fourth, fifth] = <[Elsewhere; 3]>::try_from(elsewhere).ok().unwrap();
        fifth.end();
        third.end();
        place.unlocked(3).await;
        fs::remove_dir_all(place.data_dir(3)).unwrap();
        let third = Elsewhere::start(repairing(place.config(3)));
        let second = second_third(&others[0]).await;
        third.end();
        fourth.end();
        stop(&others).await;
        second
    });

    // The fifth has not heard that the third was replaced, the first has; neither has anybody to elect it.
    for alone in [1, 5] {
        for number in [3, alone] {
            place.unlocked(number).await;
        }
        fs::remove_dir_all(place.data_dir(3)).unwrap();
        let told_by = Elsewhere::start(place.config(alone));
        assert_eq!(knows_that_third_is_gone(&place, alone).await, alone == 1);
        {
            let starting = std::pin::pin!(Running::start(repairing(place.config(3))));
            let noted = until("the note", || place.data_dir(3).join("lost-member").exists().then_some(()));
            futures_util::future::select(starting, std::pin::pin!(noted)).await;
        }
        told_by.end();
        assert_eq!(names(&place.data_dir(3)), ["lost-member", "repair.lock"]);
        let refused = Running::start(place.config(3)).await.err().unwrap();
        assert!(matches!(refused, StartError::GivenUp { member: MemberId(3), .. }), "{refused}");
        assert!(!wal_dir(&place.data_dir(3)).exists(), "it would found its cluster once more");
    }

    let _elsewhere = [4, 5].map(|number| Elsewhere::start(place.config(number)));
    let mut others = Vec::new();
    for number in [1, 2] {
        others.push(Running::start(place.config(number)).await.unwrap());
    }
    let back = Running::start(repairing(place.config(3))).await.unwrap();
    assert!(back.id() != 3 && back.id() != second.0);
    is_back(&back, &others, &[3, second.0]).await;
    stop(others.iter().chain([&back])).await;
}
