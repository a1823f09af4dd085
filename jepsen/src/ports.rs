//! Free ports that stay free while their member is down.
//!
//! They lie below the range from which the system gives ports to outgoing connections: a client that keeps asking
//! a dead member could otherwise be given the member's own port, and the member could never come back.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// A port that nobody listens on.
pub fn free() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side start at different places.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below a u16");
    for _ in 0..COUNT {
        let nth = TRIED.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + nth) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_all_are_low() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
    }
}
