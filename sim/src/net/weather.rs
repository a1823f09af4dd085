//! What links are like: a base that never changes, and windows of worse weather, each over some links or over all.
//!
//! Windows may overlap: of several that cover a link, the worst counts. Plain data; nothing here waits.

use std::collections::BTreeMap;

use super::Link;
use crate::plan::Span;

/// What one link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// How long a message is under way, microseconds.
    pub latency_us: Span,
    /// Messages lost of a thousand; a lost one is sent again after a while, as a stream's are.
    pub loss_permille: u64,
    /// Requests of a thousand that arrive twice, where a member must bear that.
    pub copies_permille: u64,
}

impl Conditions {
    /// A link that takes so long and loses so many.
    pub const fn new(latency_us: Span, loss_permille: u64) -> Conditions {
        Conditions { latency_us, loss_permille, copies_permille: 0 }
    }
}

/// A window of bad weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Messages lost of a thousand.
    Loss(u64),
    /// How long messages take, microseconds.
    Delay(Span),
    /// Requests of a thousand that arrive twice.
    Copies(u64),
}

/// Which links a window covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Everywhere,
    /// These.
    Links(Vec<Link>),
}

impl Scope {
    fn covers(&self, link: Link) -> bool {
        match self {
            Scope::Everywhere => true,
            Scope::Links(links) => links.contains(&link),
        }
    }
}

/// The weather over all links.
#[derive(Clone, Debug)]
pub struct Sky {
    between_members: Conditions,
    to_clients: Conditions,
    windows: BTreeMap<u64, (Scope, Weather)>,
}

impl Sky {
    /// A sky without windows.
    pub fn new(between_members: Conditions, to_clients: Conditions) -> Sky {
        Sky { between_members, to_clients, windows: BTreeMap::new() }
    }

    /// Opens a window; one of the same number is replaced.
    pub fn open(&mut self, id: u64, scope: Scope, weather: Weather) {
        self.windows.insert(id, (scope, weather));
    }

    /// Closes it.
    pub fn close(&mut self, id: u64) {
        self.windows.remove(&id);
    }

    /// Ends all bad weather, the base loss included.
    pub fn clear(&mut self) {
        self.windows.clear();
        self.between_members.loss_permille = 0;
        self.to_clients.loss_permille = 0;
    }

    /// What a link is like now; `members` when both its ends are members.
    pub fn over(&self, link: Link, members: bool) -> Conditions {
        let mut now = if members { self.between_members } else { self.to_clients };
        for (_, weather) in self.windows.values().filter(|(scope, _)| scope.covers(link)) {
            match *weather {
                Weather::Loss(permille) => now.loss_permille = now.loss_permille.max(permille),
                Weather::Delay(span) if span.most > now.latency_us.most => now.latency_us = span,
                Weather::Delay(_) => {}
                Weather::Copies(permille) => now.copies_permille = now.copies_permille.max(permille),
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: u8, to: u8) -> Link {
        Link { from: [10, 0, 0, from].into(), to: [10, 0, 0, to].into() }
    }

    #[test]
    fn the_worst_window_over_a_link_counts_and_no_other() {
        let base = Conditions::new(Span::new(100, 200), 3);
        let mut sky = Sky::new(base, Conditions::new(Span::new(1, 2), 0));
        sky.open(1, Scope::Everywhere, Weather::Delay(Span::new(10, 900)));
        sky.open(2, Scope::Links(vec![link(1, 2)]), Weather::Delay(Span::new(10, 500)));
        sky.open(3, Scope::Links(vec![link(1, 2)]), Weather::Loss(70));
        assert_eq!(sky.over(link(1, 2), true), Conditions::new(Span::new(10, 900), 70));
        assert_eq!(sky.over(link(2, 1), true).loss_permille, 3, "a link has a direction");
        assert_eq!(sky.over(link(2, 1), false).loss_permille, 0, "clients have a base of their own");
        sky.close(1);
        assert_eq!(sky.over(link(1, 2), true).latency_us, Span::new(10, 500));
        assert_eq!(sky.over(link(2, 1), true), base);
        sky.clear();
        assert_eq!(sky.over(link(1, 2), true), Conditions::new(base.latency_us, 0));
    }
}
