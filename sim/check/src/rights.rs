//! The oracle of users and roles: who may do what, held against real time.
//!
//! Changes of rights have no revision, so what is judged is what real time decides: an operation that lies wholly where a
//! right was surely there must not be refused for want of it, and one that lies wholly where it was surely gone must not
//! be answered. A right is surely there from the acknowledgement of the change that gave it until the next change that
//! might take it is asked for. A change of unknown fate may happen at any time after it was asked for; but what was given up
//! before another was asked for, and had no time left to be on its way, comes before that other or never.
//!
//! Only what is answered from the newest state is judged: a serializable read, a status, a hash and a keep-alive may rest
//! on what a member knew some time ago.

use crate::history::{AskedBy, Asker, History, Operation, Outcome, Request, RightsAre, RightsChange};
use crate::types::{Nanos, OpId};
use crate::verdict::{Oracle, Violation};
use std::collections::BTreeMap;

/// How long what was given up may still be on its way to whoever leads.
const ON_THE_WAY_MAX: Nanos = Nanos(5_000_000_000);
/// The client may not do this.
const DENIED: &str = "etcdserver: permission denied";
/// The client did not say who it is.
const NOBODY: &str = "etcdserver: user name is empty";
/// The client's token is none.
const BAD_TOKEN: &str = "etcdserver: invalid auth token";

/// Judges every operation that rights decide about.
pub fn check(history: &History) -> Vec<Violation> {
    if history.rights.is_empty() {
        return Vec::new();
    }
    let askers: BTreeMap<OpId, Asker> =
        history.askers.iter().map(|AskedBy { operation, asker }| (*operation, *asker)).collect();
    let judged = history.operations.iter().filter(|operation| is_of_now(&operation.request));
    judged.filter_map(|operation| judge(history, operation, askers.get(&operation.id).copied())).collect()
}

/// Whether the answer rests on the newest state.
fn is_of_now(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::Txn(_) => request.is_linearizable(),
        Request::Put(_)
        | Request::DeleteRange(_)
        | Request::Compact(_)
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseTimeToLive(_)
        | Request::LeaseLeases
        | Request::Alarm(_)
        | Request::Downgrade(_) => true,
        Request::LeaseKeepAlive(_) | Request::Status | Request::HashKv(_) => false,
    }
}

fn judge(history: &History, operation: &Operation, asker: Option<Asker>) -> Option<Violation> {
    let span = (operation.invoked, operation.returned);
    let asked = surely(&history.rights, RightsAre::Asked, RightsAre::NotAsked, span);
    let refusal = operation.refusal();
    let answered = matches!(operation.outcome, Outcome::Ok { .. });
    let what = match (asked, asker) {
        (Some(false), _) if [DENIED, NOBODY, BAD_TOKEN].iter().any(|text| refusal == Some(*text)) => {
            format!("was refused with \"{}\", though nobody is asked who he is", refusal.unwrap_or_default())
        }
        (Some(true), None) if answered => {
            "was answered to somebody who said nothing, though everybody is asked who he is".to_owned()
        }
        (Some(true), Some(Asker::Root)) if refusal == Some(DENIED) => "was denied to root".to_owned(),
        (Some(true), Some(Asker::User { signed_in, within })) => {
            let granted = surely(&history.rights, RightsAre::Granted, RightsAre::Revoked, span);
            user(history, operation, signed_in, within, granted)?
        }
        _ => return None,
    };
    let sentence = format!("{} {} {what}", operation.request.name(), operation.id);
    Some(Violation::safety(Oracle::Rights, sentence).operation(operation.id))
}

/// What is wrong with what came of a user's operation while everybody is asked who he is.
fn user(
    history: &History,
    operation: &Operation,
    signed_in: Nanos,
    within: bool,
    granted: Option<bool>,
) -> Option<String> {
    if operation.answer().is_some() {
        if !within {
            return Some("was answered, though the user's role does not allow it".to_owned());
        }
        if granted == Some(false) {
            return Some("was answered, though the user's role had been taken away".to_owned());
        }
        let outdated = history.rights.iter().any(|change| {
            change.what == RightsAre::PasswordChanged
                && change.invoked >= signed_in
                && change.returned.is_some_and(|returned| returned < operation.invoked)
        });
        return outdated.then(|| "was answered, though the user's password had been changed".to_owned());
    }
    match operation.refusal() {
        Some(DENIED) if within && granted == Some(true) => {
            Some("was denied, though the user's role allows it".to_owned())
        }
        Some(NOBODY) => Some("was told to say who it is, though it showed a token".to_owned()),
        _ => None,
    }
}

/// Whether `on` was surely the case over the whole span, or surely not.
fn surely(changes: &[RightsChange], on: RightsAre, off: RightsAre, span: (Nanos, Nanos)) -> Option<bool> {
    let holds = |what: RightsAre, other: RightsAre, at_first: bool| {
        let undone_by = |change: &RightsChange, since: Option<Nanos>| {
            // What the log was given before it holds before it, or never. On the way there it may have been for a while.
            let behind = change.lost.map(|lost| Nanos(lost.0.saturating_add(ON_THE_WAY_MAX.0)));
            let end = change.returned.or(behind);
            let over = end.zip(since).is_some_and(|(end, since)| end <= since);
            change.what == other && change.invoked < span.1 && !over
        };
        let given = changes.iter().filter(|change| change.what == what);
        // When it was asked for: what was over by then cannot undo it.
        let mut since: Vec<Option<Nanos>> = given
            .filter(|change| change.returned.is_some_and(|returned| returned <= span.0))
            .map(|change| Some(change.invoked))
            .collect();
        since.extend(at_first.then_some(None));
        since.iter().any(|since| !changes.iter().any(|change| undone_by(change, *since)))
    };
    if holds(on, off, false) { Some(true) } else { holds(off, on, true).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_table::Code;
    use crate::history::{Header, Put, PutResponse, Range, Response};

    fn change(what: RightsAre, invoked: u64, returned: u64) -> RightsChange {
        let returned = (returned > 0).then_some(Nanos(returned));
        RightsChange { invoked: Nanos(invoked), returned, lost: None, what }
    }

    fn put(invoked: u64, returned: u64, refusal: Option<&str>) -> Operation {
        let outcome = match refusal {
            None => Outcome::Ok {
                header: Header::default(),
                response: Response::Put(PutResponse { prev_kv: None }),
            },
            Some(text) => Outcome::Failed { code: Code::PermissionDenied, message: text.to_owned() },
        };
        Operation {
            id: OpId(1),
            client: crate::types::ClientId(1),
            member: crate::history::MemberAsked::default(),
            invoked: Nanos(invoked),
            returned: Nanos(returned),
            request: Request::Put(Put::default()),
            outcome,
        }
    }

    fn found(rights: &[RightsChange], operation: Operation, asker: Option<Asker>) -> Option<String> {
        let askers = asker.map(|asker| AskedBy { operation: operation.id, asker }).into_iter().collect();
        let history =
            History { rights: rights.to_vec(), operations: vec![operation], askers, ..History::default() };
        check(&history).pop().map(|violation| violation.sentence)
    }

    const USER: Option<Asker> = Some(Asker::User { signed_in: Nanos(35), within: true });

    #[test]
    fn nobody_is_answered_while_everybody_is_asked() {
        let asked = [change(RightsAre::Asked, 10, 20), change(RightsAre::NotAsked, 50, 60)];
        assert!(found(&asked, put(21, 49, None), None).unwrap().contains("somebody who said nothing"));
        // Under way while that began, or while it ended.
        assert_eq!(found(&asked, put(19, 49, None), None), None);
        assert_eq!(found(&asked, put(21, 51, None), None), None);
        assert_eq!(found(&asked, put(21, 49, Some(NOBODY)), None), None);
        assert_eq!(found(&asked, put(61, 70, None), None), None);
        assert!(found(&asked, put(61, 70, Some(NOBODY)), None).unwrap().contains("nobody is asked"));
        assert!(found(&asked, put(1, 9, Some(NOBODY)), None).unwrap().contains("nobody is asked"));
        assert_eq!(found(&asked, put(1, 11, Some(NOBODY)), None), None);
        // Nobody knows whether, and when, the end came.
        let unknown = [change(RightsAre::Asked, 10, 20), change(RightsAre::NotAsked, 12, 0)];
        assert_eq!(found(&unknown, put(21, 49, None), None), None);
        assert_eq!(found(&unknown, put(21, 49, Some(NOBODY)), None), None);
        // Given up so long before the next was asked for that it came before that, or never.
        let later = |nth: u64| nth * ON_THE_WAY_MAX.0;
        let lost = RightsChange { lost: Some(Nanos(30)), ..unknown[1] };
        let again = [unknown[0], lost, change(RightsAre::Asked, later(2), later(3))];
        assert!(found(&again, put(later(4), later(5), None), None).is_some());
        let too_soon = [unknown[0], lost, change(RightsAre::Asked, 40, later(3))];
        assert_eq!(found(&too_soon, put(later(4), later(5), None), None), None);
    }

    #[test]
    fn a_user_is_answered_what_the_role_allows_and_nothing_else() {
        let mut rights = vec![change(RightsAre::Granted, 1, 2), change(RightsAre::Asked, 10, 20)];
        assert_eq!(found(&rights, put(40, 45, None), USER), None);
        assert!(found(&rights, put(40, 45, Some(DENIED)), USER).unwrap().contains("was denied"));
        let beyond = Some(Asker::User { signed_in: Nanos(35), within: false });
        assert!(found(&rights, put(40, 45, None), beyond).unwrap().contains("does not allow it"));
        assert_eq!(found(&rights, put(40, 45, Some(DENIED)), beyond), None);
        rights.push(change(RightsAre::Revoked, 50, 60));
        assert!(found(&rights, put(61, 65, None), USER).unwrap().contains("taken away"));
        assert_eq!(found(&rights, put(59, 65, None), USER), None);
        assert_eq!(found(&rights, put(49, 51, Some(DENIED)), USER), None);
        rights.push(change(RightsAre::Granted, 70, 80));
        assert_eq!(found(&rights, put(81, 85, None), USER), None);
        assert!(found(&rights, put(81, 85, Some(DENIED)), USER).is_some());
        // Signed in anew, with the password of then.
        rights.push(change(RightsAre::PasswordChanged, 90, 95));
        assert!(found(&rights, put(96, 99, None), USER).unwrap().contains("password"));
        assert_eq!(found(&rights, put(94, 99, None), USER), None);
        assert!(found(&rights, put(81, 85, Some(DENIED)), Some(Asker::Root)).unwrap().contains("root"));
        assert!(found(&rights, put(40, 45, Some(NOBODY)), USER).unwrap().contains("say who it is"));
    }

    #[test]
    fn what_may_rest_on_an_old_state_is_not_judged() {
        let asked = [change(RightsAre::Asked, 10, 20)];
        let range = |serializable| Operation {
            request: Request::Range(Range { serializable, ..Range::default() }),
            outcome: Outcome::Ok { header: Header::default(), response: Response::Range(Default::default()) },
            ..put(21, 49, None)
        };
        assert!(found(&asked, range(false), None).is_some());
        assert_eq!(found(&asked, range(true), None), None);
    }
}
