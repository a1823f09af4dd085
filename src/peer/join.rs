//! Finding one's place in a cluster: its id, its members, and which of them this one is.
//!
//! A log that is there decides: its member goes on as who it is, whatever its options say of the initial cluster.
//! Without one, the options found a new cluster, or name one that runs already.
//!
//! Whoever joins knows where some members are reached, and where it is to be reached itself; everything else the
//! cluster tells. It has been added to the member list before, so its peer URLs stand there, and by them it finds its
//! own id. It has never run, so it has no name there yet: one with a name has. Who answers confirms first that its list
//! is the newest: in an older one the member before it at the same place may stand, as one that has never run.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::env::{Clock, Disk};
use crate::machine::command::Member;
use crate::pb::peer as pb;
use crate::peer::client::discover;
use crate::peer::dial::Dialer;
use crate::storage::wal::{Identity, identity_of};
use crate::types::{ClusterId, MemberId};

/// A member's place in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterId,
    /// This member in it.
    pub member: MemberId,
    /// All members as far as they are known, this one among them.
    pub members: Vec<Member>,
    /// Whether others have founded the cluster: then it waits to be led, and founds nothing.
    pub joins: bool,
}

/// Why a member has no place in a running cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody answered.
    #[error("cannot join: no member of the cluster answers: {0}")]
    NoAnswer(String),
    /// The cluster knows a member with these peer URLs that has run before.
    #[error(
        "cannot join: cluster {cluster} knows the member with the peer URLs {urls} as one that has run before, and \
         the data directory is empty"
    )]
    Started {
        /// The cluster that answered.
        cluster: ClusterId,
        /// The member that it knows there.
        member: MemberId,
        /// This member's peer URLs.
        urls: String,
    },
    /// The cluster does not expect this member.
    #[error(
        "cannot join: cluster {cluster} has no member with the peer URLs {urls}: add this member first (member add)"
    )]
    NotListed {
        /// The cluster that answered.
        cluster: ClusterId,
        /// This member's peer URLs.
        urls: String,
    },
}

/// The place of the member whose log is in `wal_dir`, if there is one that says whose it is. `founder` is the place that its options give
/// it in a new cluster: a founder may have stopped before it had founded anything, and then still needs the members
/// named there. Any other learns everything from its log and its leader.
///
/// # Errors
/// When it cannot be read: another member's place is no answer to that.
pub fn kept_place(disk: &dyn Disk, wal_dir: &Path, founder: Option<&Place>) -> io::Result<Option<Place>> {
    let Some(Identity { cluster, member }) = identity_of(disk, wal_dir)? else {
        return Ok(None);
    };
    let founder = founder.filter(|place| place.cluster == cluster && place.member == member);
    let joined = || Place { cluster, member, members: Vec::new(), joins: true };
    Ok(Some(founder.cloned().unwrap_or_else(joined)))
}

/// Asks the members at `urls`, until one answers, for the place of the member that is reached at `own`.
///
/// # Errors
/// See [`JoinError`].
pub async fn find_place(
    clock: &dyn Clock,
    dialer: &Dialer,
    urls: &[String],
    own: &[String],
    timeout: Duration,
) -> Result<Place, JoinError> {
    let mut refused = Vec::new();
    for url in urls.iter().filter(|url| !own.contains(url)) {
        match discover(clock, dialer, url, timeout).await {
            Ok(answer) => return place_in(answer, own),
            Err(why) => refused.push(format!("{url}: {why}")),
        }
    }
    if refused.is_empty() {
        refused.push("none is named beside this one".to_owned());
    }
    Err(JoinError::NoAnswer(refused.join("; ")))
}

/// The place that the cluster has for the member that is reached at `own`.
fn place_in(answer: pb::DiscoverResponse, own: &[String]) -> Result<Place, JoinError> {
    let (cluster, urls) = (ClusterId(answer.cluster), own.join(","));
    let members = members_in(answer.members);
    match member_at(&members, own) {
        // The planted bug takes whoever has run for a newcomer.
        Some(member) if member.name.is_empty() || crate::mutant!("join-as-one-that-has-run") => {
            Ok(Place { cluster, member: member.id, members, joins: true })
        }
        Some(member) => Err(JoinError::Started { cluster, member: member.id, urls }),
        None => Err(JoinError::NotListed { cluster, urls }),
    }
}

/// Which cluster is reached at `url`, and its newest member list, as far as strangers are told of it.
///
/// # Errors
/// Why there was no answer.
pub async fn discovered(
    clock: &dyn Clock,
    dialer: &Dialer,
    url: &str,
    timeout: Duration,
) -> Result<(ClusterId, Vec<Member>), String> {
    let answer = discover(clock, dialer, url, timeout).await?;
    Ok((ClusterId(answer.cluster), members_in(answer.members)))
}

fn members_in(members: Vec<pb::PeerMember>) -> Vec<Member> {
    let member = |member: pb::PeerMember| Member {
        id: MemberId(member.id),
        name: member.name,
        peer_urls: member.peer_urls,
        ..Member::default()
    };
    members.into_iter().map(member).collect()
}

/// The member that is reached at exactly these URLs, in any order.
fn member_at<'m>(members: &'m [Member], own: &[String]) -> Option<&'m Member> {
    let set = |urls: &[String]| urls.iter().cloned().collect::<BTreeSet<String>>();
    let own = set(own);
    members.iter().find(|member| set(&member.peer_urls) == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_run_before_has_no_place() {
        let listed = |name: &str| pb::DiscoverResponse {
            cluster: 7,
            members: vec![pb::PeerMember {
                id: 5,
                name: name.to_owned(),
                peer_urls: vec!["http://a:1".to_owned()],
            }],
        };
        let own = |url: &str| vec![url.to_owned()];
        let place = place_in(listed(""), &own("http://a:1")).unwrap();
        assert_eq!((place.cluster, place.member, place.joins), (ClusterId(7), MemberId(5), true));
        let started = place_in(listed("m5"), &own("http://a:1"));
        assert!(matches!(started, Err(JoinError::Started { cluster: ClusterId(7), .. })));
        let stranger = place_in(listed(""), &own("http://b:1"));
        assert!(matches!(stranger, Err(JoinError::NotListed { cluster: ClusterId(7), .. })));
    }

    #[test]
    fn a_member_is_found_by_all_its_peer_urls() {
        let urls = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
        let at = |id, peer_urls| Member { id: MemberId(id), peer_urls, ..Member::default() };
        let members = [at(1, urls(&["http://a:1"])), at(2, urls(&["http://b:1", "http://b:2"]))];
        assert_eq!(member_at(&members, &urls(&["http://b:2", "http://b:1"])), Some(&members[1]));
        assert_eq!(member_at(&members, &urls(&["http://b:1"])), None);
        assert_eq!(member_at(&members, &[]), None);
    }
}
