//! Places for connections: a process may have so many files open, and its disk needs some of them.
//!
//! A connection takes a place when it is accepted, whatever comes of it, and gives it back when it ends. Clients have
//! places of their own and peers have theirs, over all addresses: neither can shut the other out, and neither can leave
//! the log without a file. Those who have said nothing to the point yet are few among them, and the one who has been so
//! for longest makes room for the next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::AbortHandle;

use crate::config::limits::{
    ARRIVING_MAX, CLIENT_CONNECTIONS_MAX, FILES_COMMON, FILES_KEPT, PEER_CONNECTIONS_MAX,
};
use crate::config::tls::Whom;
use crate::tls::seldom::Seldom;

/// The places of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Places {
    clients: Arc<Room>,
    peers: Arc<Room>,
}

impl Places {
    /// Of a process that may have so many files open.
    pub fn for_files(files: u64) -> Places {
        let rest = files.saturating_sub(FILES_KEPT.min(files / 2));
        let rest = usize::try_from(rest).unwrap_or(usize::MAX);
        let peers = PEER_CONNECTIONS_MAX.min(rest / 4);
        let clients = CLIENT_CONNECTIONS_MAX.min(rest.saturating_sub(peers));
        Places { clients: Arc::new(Room::new(clients)), peers: Arc::new(Room::new(peers)) }
    }

    /// Those for one kind.
    pub fn of(&self, whom: Whom) -> &Arc<Room> {
        match whom {
            Whom::Clients => &self.clients,
            Whom::Peers => &self.peers,
        }
    }
}

impl Default for Places {
    fn default() -> Places {
        Places::for_files(FILES_COMMON)
    }
}

/// The places for one kind of connection.
#[derive(Debug)]
pub struct Room {
    most: usize,
    taken: AtomicUsize,
    /// Who has said nothing to the point yet, or has ended; the oldest first.
    arriving: Mutex<VecDeque<AbortHandle>>,
    told: Seldom,
}

impl Room {
    fn new(most: usize) -> Room {
        Room { most, taken: AtomicUsize::new(0), arriving: Mutex::default(), told: Seldom::default() }
    }

    /// How many there are.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many may be taken by those who have said nothing to the point yet.
    pub fn arriving_max(&self) -> usize {
        ARRIVING_MAX.min(self.most / 2).max(1)
    }

    /// What was told of connections of this kind.
    pub fn told(&self) -> &Seldom {
        &self.told
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let one_more = |taken: usize| (taken < self.most).then_some(taken.saturating_add(1));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(self.clone()))
    }

    /// One who has a place arrives. Whether too many do, so that the oldest had to be given up.
    pub fn arrives(&self, who: AbortHandle) -> bool {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        if arriving.len() >= self.arriving_max() {
            arriving.retain(|who| !who.is_finished());
        }
        let crowded = arriving.len() >= self.arriving_max();
        if crowded && let Some(oldest) = arriving.pop_front() {
            oldest.abort();
        }
        arriving.push_back(who);
        crowded
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(files: u64) -> (usize, usize) {
        let places = Places::for_files(files);
        (places.of(Whom::Clients).most(), places.of(Whom::Peers).most())
    }

    #[test]
    fn the_disk_and_peers_have_files_of_their_own() {
        assert_eq!(most(0), (0, 0));
        assert_eq!(most(64), (24, 8));
        assert_eq!(most(1_024), (576, 192));
        assert_eq!(most(20_000), (19_488, 256));
        assert_eq!(most(u64::MAX), (CLIENT_CONNECTIONS_MAX, PEER_CONNECTIONS_MAX));
    }

    #[test]
    fn a_place_is_there_again_when_it_is_given_back() {
        let places = Places::for_files(64);
        let clients = places.of(Whom::Clients);
        let mut taken: Vec<Place> = std::iter::from_fn(|| clients.take()).collect();
        assert_eq!(taken.len(), 24);
        assert!(places.of(Whom::Peers).take().is_some(), "peers have theirs");
        taken.pop();
        assert!(clients.take().is_some_and(|_held| clients.take().is_none()));
    }

    #[tokio::test]
    async fn whoever_has_arrived_for_longest_makes_room() {
        let places = Places::for_files(64);
        let peers = places.of(Whom::Peers);
        let arrives = || tokio::spawn(std::future::pending::<()>());
        let (first, second) = (arrives(), arrives());
        assert!(!peers.arrives(first.abort_handle()) && !peers.arrives(second.abort_handle()));
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        let more: Vec<bool> = (0..3).map(|_| peers.arrives(arrives().abort_handle())).collect();
        assert_eq!(more, [false, false, false], "one who has ended counts no more");
        assert!(peers.arrives(arrives().abort_handle()));
        assert!(first.await.unwrap_err().is_cancelled());
    }
}
