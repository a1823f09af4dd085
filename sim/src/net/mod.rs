//! What a network does to messages, in numbers: links, what they are like, what a message meets, what is cut.
//!
//! Plain data and arithmetic, the same in every build; `world::network` carries messages by it.

pub mod chance;
pub mod cuts;
pub mod weather;

use std::fmt;
use std::net::Ipv4Addr;

/// A link, from one host to another. A member's host is its public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Where messages come from.
    pub from: Ipv4Addr,
    /// Where they go.
    pub to: Ipv4Addr,
}

impl Link {
    /// The way back.
    pub fn back(self) -> Link {
        Link { from: self.to, to: self.from }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.from, self.to)
    }
}
