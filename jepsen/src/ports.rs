//! Free ports that stay free while their member is down.
//!
//! They lie below the range from which the system gives ports to outgoing connections: a client that keeps asking
//! a dead member could otherwise be given the member's own port, and the member could never come back.

use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A port that nobody listens on, and that nobody else in this process is given.
pub fn free() -> u16 {
    free_run(1)
}

/// The first of `count` such ports that follow each other.
pub fn free_run(count: u16) -> u16 {
    static TRIED: Mutex<u16> = Mutex::new(0);
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    // Test programs that run side by side start at different places.
    let room = COUNT - count;
    let start = u16::try_from(std::process::id() * 61 % u32::from(room)).expect("below a u16");
    for _ in 0..COUNT {
        let first = FIRST + (start + *tried) % room;
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            *tried = (*tried + count) % room;
            return first;
        }
        *tried = (*tried + 1) % room;
    }
    panic!("no {count} free ports in a row between {FIRST} and {}", FIRST + COUNT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_all_are_low() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
        let run = free_run(6);
        assert!((run..run + 6).all(|port| !ports.contains(&port)), "a run is given out as single ports are");
    }
}
