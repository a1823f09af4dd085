//! The sessions of signed-in users that one member knows: which user a token stands for, and for how long.
//!
//! No part of the state: a session ends at each member when nobody has shown its token there for a while, and at a member
//! that restarts or is sent a snapshot, which cannot know what has ended meanwhile. Whoever shows a token that is not
//! known has to sign in again. Time is given from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::effects::SessionChange;

/// The sessions that one member knows.
#[derive(Debug)]
pub struct Sessions {
    by_token: BTreeMap<String, Session>,
    ttl: Duration,
    sessions_max: usize,
}

#[derive(Debug)]
struct Session {
    user: Arc<str>,
    ends: Duration,
}

impl Sessions {
    /// No session. Each will end when its token was not shown for `ttl`; beyond `sessions_max` the one that would end
    /// first makes room.
    pub fn new(ttl: Duration, sessions_max: usize) -> Sessions {
        Sessions { by_token: BTreeMap::new(), ttl, sessions_max }
    }

    /// Takes in what has happened, at `now`.
    pub fn follow(&mut self, change: SessionChange, now: Duration) {
        match change {
            SessionChange::Opened { token, user } => {
                if self.by_token.len() >= self.sessions_max {
                    self.make_room(now);
                }
                self.by_token.insert(token, Session { user, ends: now.saturating_add(self.ttl) });
            }
            SessionChange::Ended { user } => self.by_token.retain(|_, session| session.user != user),
            SessionChange::AllEnded => self.by_token.clear(),
        }
    }

    /// The user whose token this is. Showing it keeps the session alive.
    pub fn user_of(&mut self, token: &str, now: Duration) -> Option<Arc<str>> {
        let session = self.by_token.get_mut(token)?;
        if session.ends <= now {
            self.by_token.remove(token);
            return None;
        }
        session.ends = now.saturating_add(self.ttl);
        Some(session.user.clone())
    }

    /// Forgets the sessions that have ended.
    pub fn sweep(&mut self, now: Duration) {
        self.by_token.retain(|_, session| session.ends > now);
    }

    fn make_room(&mut self, now: Duration) {
        self.sweep(now);
        if self.by_token.len() >= self.sessions_max {
            let first = self.by_token.iter().min_by_key(|(_, session)| session.ends);
            if let Some(token) = first.map(|(token, _)| token.clone()) {
                self.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn opened(token: &str, user: &str) -> SessionChange {
        SessionChange::Opened { token: token.to_owned(), user: Arc::from(user) }
    }

    #[test]
    fn a_session_lives_for_as_long_as_its_token_is_shown() {
        let mut sessions = Sessions::new(TTL, 10);
        sessions.follow(opened("t.1", "alice"), at(0));
        for secs in [299, 598, 897] {
            assert_eq!(sessions.user_of("t.1", at(secs)).as_deref(), Some("alice"));
        }
        assert_eq!(sessions.user_of("t.1", at(897 + 300)), None);
        assert_eq!(sessions.user_of("t.1", at(898)), None, "what has ended does not come back");
        assert_eq!(sessions.user_of("t.2", at(898)), None);
    }

    #[test]
    fn all_sessions_of_a_user_end_together_and_nobody_elses() {
        let mut sessions = Sessions::new(TTL, 10);
        for (token, user) in [("a.1", "alice"), ("a.2", "alice"), ("b.3", "bob")] {
            sessions.follow(opened(token, user), at(0));
        }
        sessions.follow(SessionChange::ended("alice"), at(1));
        let known = |sessions: &mut Sessions, token: &str| sessions.user_of(token, at(2)).is_some();
        assert!(!known(&mut sessions, "a.1") && !known(&mut sessions, "a.2") && known(&mut sessions, "b.3"));
        sessions.follow(SessionChange::AllEnded, at(2));
        assert!(!known(&mut sessions, "b.3"));
    }

    #[test]
    fn what_would_end_first_makes_room() {
        let mut sessions = Sessions::new(TTL, 2);
        sessions.follow(opened("a.1", "alice"), at(0));
        sessions.follow(opened("a.2", "alice"), at(1));
        assert!(sessions.user_of("a.1", at(2)).is_some());
        sessions.follow(opened("a.3", "alice"), at(3));
        assert!(sessions.user_of("a.2", at(4)).is_none());
        assert!(sessions.user_of("a.1", at(4)).is_some() && sessions.user_of("a.3", at(4)).is_some());
        sessions.sweep(at(400));
        assert!(sessions.by_token.is_empty());
    }
}
